//! What a message costs in rows and requests, by the service's own counts, and what that comes
//! to at list price.

use std::time::Duration;

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::Bench;
use crate::api::{Api, Counts};
use crate::failure::{Failure, Outcome};
use crate::load::{self, Crowd};
use crate::price::{Inputs, Price};
use crate::report::{Limit, Line, Report};
use crate::room::{Room, door, session_door};
use crate::samples::Samples;
use crate::server::{Server, Subject};
use crate::wire;

/// Members of the groups without sockets.
const MEMBERS: usize = 100;
/// Messages of a burst.
const BURST: usize = 100;
/// What bookkeeping that is shared by many messages may add to a whole number of rows.
const SLACK: f64 = 0.05;
/// Longer than it takes until everyone has what was sent, and its alarm has gone off.
const SETTLE: Duration = Duration::from_secs(7);

/// Counts both.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let server = Server::start(&bench.root, Subject::Parlance)?;
    let api = Api::of(&server)?;
    bench.say("counting: a conversation's own rows");
    let rows = conversation_rows(bench, &server, &api).await?;
    report.line(Line {
        name: "rows written per message in the conversation",
        budget: "2 (row and its dedup index)".to_owned(),
        limit: Limit::AtMost(2.0 + SLACK),
        measured: rows,
        reference: None,
        unit: "rows",
    });
    bench.say("counting: members without a socket");
    let room = Room::of(&server, MEMBERS).await?;
    let sender = Crowd::connect(&room.conversation, room.doors.get(..1).unwrap_or(&[])).await?;
    let spaced = bench.pick(10, 20);
    let idle = counted(&api, async {
        sender
            .paced(1, spaced, Duration::from_millis(400))
            .await
            .map(|_| ())
    });
    let idle = PerRecipient::of(&idle.await?, spaced);
    let burst = counted(&api, async { sender.burst(BURST).await.map(|_| ()) });
    let burst = PerRecipient::of(&burst.await?, BURST);
    drop(sender);
    for (name, budget, most, measured, unit) in [
        (
            "rows written per recipient and message, idle",
            "1",
            1.0 + SLACK,
            idle.rows,
            "rows",
        ),
        (
            "rows written per recipient and message, burst of 100",
            "under 0.2",
            0.2,
            burst.rows,
            "rows",
        ),
        (
            "object requests per recipient and message, members without a socket, idle",
            "1",
            1.0 + SLACK,
            idle.requests,
            "requests",
        ),
        (
            "object requests per recipient and message, members without a socket, burst of 100",
            "under 0.1",
            0.1,
            burst.requests,
            "requests",
        ),
    ] {
        report.line(Line {
            name,
            budget: budget.to_owned(),
            limit: Limit::AtMost(most),
            measured,
            reference: None,
            unit,
        });
    }
    price(bench, &server, &api, report).await
}

/// What user objects had to do for each member and message. The sender is a member like the
/// others: its own object is told too, for its other devices and its list.
struct PerRecipient {
    rows: f64,
    requests: f64,
}

impl PerRecipient {
    fn of(counts: &Counts, messages: usize) -> Self {
        let shares = (MEMBERS * messages) as f64;
        Self {
            rows: (counts.of("rows_written", "user") + counts.of("alarms_set", "user")) / shares,
            requests: counts.of("object_requests", "user") / shares,
        }
    }
}

async fn counted(api: &Api, work: impl Future<Output = Outcome<()>>) -> Outcome<Counts> {
    let before = api.counts().await?;
    work.await?;
    tokio::time::sleep(SETTLE).await;
    Ok(api.counts().await?.since(&before))
}

/// Rows that a conversation writes for a message, its alarms with them.
async fn conversation_rows(bench: &Bench, server: &Server, api: &Api) -> Outcome<f64> {
    let room = Room::of(server, 2).await?;
    let crowd = Crowd::connect(&room.conversation, &room.doors).await?;
    let count = bench.pick(300, 1000);
    let work = async {
        crowd
            .paced(2, count, Duration::from_millis(10))
            .await
            .map(|_| ())
    };
    let counts = counted(api, work).await?;
    let rows = counts.of("rows_written", "conversation") + counts.of("alarms_set", "conversation");
    Ok(rows / count as f64)
}

/// A direct chat of two apps that are open, at a pace of people who write often.
async fn price(bench: &Bench, server: &Server, api: &Api, report: &mut Report) -> Outcome<()> {
    bench.say("counting: what a direct message to an open app costs");
    let room = Room::of(server, 2).await?;
    let (Some(alice), Some(bob)) = (room.people.first(), room.people.get(1)) else {
        return Err(Failure::from("a direct chat of two"));
    };
    // Both have met: what it costs to make the chat is no part of it.
    let first = Crowd::connect(
        &room.conversation,
        &[door(server, &room.conversation, alice)?],
    )
    .await?;
    first.burst(1).await?;
    drop(first);
    let mut from = load::open(&session_door(server, alice)?).await?;
    let mut to = load::open(&session_door(server, bob)?).await?;
    load::until(&mut from, "sync_complete").await?;
    load::until(&mut to, "sync_complete").await?;
    tokio::time::sleep(SETTLE).await;

    let count = bench.pick(30, 100);
    let mut times = Vec::new();
    let before = api.counts().await?;
    let run = load::next_run();
    for index in 0..count {
        let name = wire::Name { run, index };
        let begun = std::time::Instant::now();
        let text = wire::send_message(&room.conversation, name);
        from.send(Message::text(text)).await?;
        let came = load::until(&mut to, &wire::beginning(name)).await?;
        times.push((came - begun).as_secs_f64());
        // The first event of the chat is the message above.
        let ack = format!(
            r#"{{"type":"ack","conversation_id":"{}","up_to_seq":{}}}"#,
            room.conversation,
            index + 2
        );
        to.send(Message::text(ack)).await?;
        load::until(&mut from, "delivery_receipt").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(SETTLE).await;
    let counts = api.counts().await?.since(&before);
    let messages = f64::from(u32::try_from(count)?);
    let inputs = Inputs {
        requests: counts.all("object_requests") / messages,
        alarms: counts.all("alarms") / messages,
        socket_messages: counts.all("socket_messages_received") / messages,
        rows_written: counts.all("rows_written") / messages,
        alarms_set: counts.all("alarms_set") / messages,
        seconds: times.into_iter().collect::<Samples>().median(),
    };
    let price = Price::of(inputs);
    report.line(Line {
        name: "price of a million direct messages delivered to an open app",
        budget: "printed".to_owned(),
        limit: Limit::None,
        measured: price.total(),
        reference: None,
        unit: "USD",
    });
    report.price(price);
    Ok(())
}
