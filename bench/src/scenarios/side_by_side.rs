//! Parlance beside the reference: the same load on both, one after the other, several times.
//! Each figure is the median over the rounds, and ratios are of those.

use std::time::Duration;

use crate::Bench;
use crate::failure::Outcome;
use crate::load::{Crowd, Rate};
use crate::report::{Limit, Line, Report};
use crate::room::Room;
use crate::samples::median;
use crate::server::{Server, Subject};

/// Sockets in the group.
const GROUP: usize = 100;
/// Members of the group who send.
const SENDERS: usize = 10;
/// Messages a second of the paced load.
const PER_SECOND: u32 = 50;
/// Messages that each sender has under way at full speed.
const WINDOW: usize = 32;
/// The runtime translates WebAssembly and JavaScript once more, for speed, while they run hot.
/// That is no part of what is measured, and takes seconds of a processor.
const HEAT: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_millis(1000);
/// Until all that the heat left to do is done.
const REST: Duration = Duration::from_secs(3);

/// What one round gave of one service.
#[derive(Debug, Clone, Copy)]
struct Round {
    ack_p50: f64,
    ack_p95: f64,
    delivery_p50: f64,
    delivery_p95: f64,
    direct: Rate,
    group: Rate,
}

impl Round {
    fn per_cpu_second(&self) -> f64 {
        self.group.delivered / self.group.cpu.max(0.01)
    }
}

/// Measures both.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for round in 0..bench.pick(2, 3) {
        let mut order = [Subject::Reference, Subject::Parlance];
        order.rotate_left((round + 1) % 2);
        for subject in order {
            bench.say(&format!("side by side, round {}: {subject:?}", round + 1));
            let measured = round_of(bench, subject).await?;
            bench.say(&format!(
                "  group of {GROUP}: ack p95 {:.1} ms, delivery p95 {:.1} ms; at full speed {:.0} \
                 deliveries/s, {:.0} per cpu second; direct {:.0} messages/s (cpu {:.2}, ours {:.2})",
                measured.ack_p95,
                measured.delivery_p95,
                measured.group.delivered,
                measured.per_cpu_second(),
                measured.direct.acked,
                measured.direct.cpu,
                measured.direct.own_cpu,
            ));
            match subject {
                Subject::Parlance => ours.push(measured),
                Subject::Reference => reference.push(measured),
            }
        }
    }
    lines(report, &ours, &reference);
    Ok(())
}

fn lines(report: &mut Report, ours: &[Round], reference: &[Round]) {
    let of = |rounds: &[Round], figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let both = |figure| (of(ours, figure), of(reference, figure));

    let (measured, beside) = both(|round| round.ack_p95);
    report.line(Line {
        name: "send to ack, group of 100 attached, 50 messages/s: p95",
        budget: "at most 1.3 x the reference".to_owned(),
        limit: Limit::AtMost(1.3 * beside),
        measured,
        reference: Some(beside),
        unit: "ms",
    });
    let (measured, beside) = both(|round| round.delivery_p95);
    report.line(Line {
        name: "send to delivery, same load: p95",
        budget: "at most 1.3 x the reference, and under 100 ms".to_owned(),
        limit: Limit::AtMost((1.3 * beside).min(100.0)),
        measured,
        reference: Some(beside),
        unit: "ms",
    });
    let (measured, beside) = both(Round::per_cpu_second);
    report.line(Line {
        name: "deliveries per second of server CPU, 100 sockets, saturated",
        budget: "at least 2 x the reference".to_owned(),
        limit: Limit::AtLeast(2.0 * beside),
        measured,
        reference: Some(beside),
        unit: "deliveries/cpu s",
    });
    let (measured, beside) = both(|round| round.direct.acked);
    report.line(Line {
        name: "messages per second in one direct chat, durable before ack",
        budget: "at least 1.5 x the reference".to_owned(),
        limit: Limit::AtLeast(1.5 * beside),
        measured,
        reference: Some(beside),
        unit: "messages/s",
    });
    for (name, figure, unit) in [
        (
            "send to ack, group of 100: p50",
            (|round| round.ack_p50) as fn(&Round) -> f64,
            "ms",
        ),
        (
            "send to delivery, group of 100: p50",
            |round| round.delivery_p50,
            "ms",
        ),
        (
            "deliveries, 100 sockets, saturated",
            |round| round.group.delivered,
            "deliveries/s",
        ),
        (
            "server CPU, 100 sockets, saturated",
            |round| round.group.cpu,
            "cpu s/s",
        ),
        (
            "load generator's CPU, 100 sockets, saturated",
            |round| round.group.own_cpu,
            "cpu s/s",
        ),
        (
            "server CPU, direct chat, saturated",
            |round| round.direct.cpu,
            "cpu s/s",
        ),
        (
            "load generator's CPU, direct chat, saturated",
            |round| round.direct.own_cpu,
            "cpu s/s",
        ),
    ] {
        let (measured, beside) = both(figure);
        report.figure(name, measured, Some(beside), unit);
    }
}

async fn round_of(bench: &Bench, subject: Subject) -> Outcome<Round> {
    let server = Server::start(&bench.root, subject)?;
    let length = Duration::from_secs(bench.pick(3, 5));
    let cpu = || server.cpu_seconds();

    let room = Room::of(&server, GROUP).await?;
    let group = Crowd::connect(&room.conversation, &room.doors).await?;
    let room = Room::of(&server, 2).await?;
    let direct = Crowd::connect(&room.conversation, &room.doors).await?;
    let at_once = Duration::ZERO;
    direct.saturated(2, WINDOW, at_once, HEAT, cpu).await?;
    group.saturated(SENDERS, WINDOW, at_once, HEAT, cpu).await?;
    let pace = Duration::from_secs(1) / PER_SECOND;
    group.paced(SENDERS, 100, pace).await?;
    tokio::time::sleep(REST).await;

    let paced = group.paced(SENDERS, bench.pick(250, 500), pace).await?;
    let at_full_speed = group
        .saturated(SENDERS, WINDOW, WARM_UP, length, cpu)
        .await?;
    tokio::time::sleep(REST).await;
    let direct = direct.saturated(2, WINDOW, WARM_UP, length, cpu).await?;
    Ok(Round {
        ack_p50: paced.ack.median(),
        ack_p95: paced.ack.percentile(0.95),
        delivery_p50: paced.delivery.median(),
        delivery_p95: paced.delivery.percentile(0.95),
        direct,
        group: at_full_speed,
    })
}
