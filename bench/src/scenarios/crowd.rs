//! A group as large as one can be: one message to 1,024 attached sockets, and what 5,000 idle
//! sockets of its members cost in memory while everyone sleeps.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::Bench;
use crate::failure::Outcome;
use crate::load::{self, Crowd};
use crate::report::{Limit, Line, Report};
use crate::room::{Room, session_door};
use crate::samples::Samples;
use crate::server::{Server, Subject};

/// As many members as a group can have.
const MEMBERS: usize = 1024;
/// Idle sockets in all.
const IDLE: usize = 5000;
/// Longer than it takes until idle objects are evicted.
const SLEEP: Duration = Duration::from_secs(25);
/// Sockets that are opened at once.
const PARALLEL: usize = 32;

/// Measures it.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    bench.say("a group of 1,024, all attached");
    let server = Server::start(&bench.root, Subject::Parlance)?;
    let begun = Instant::now();
    let room = Room::of(&server, MEMBERS).await?;
    report.figure(
        "1,024 people signed up, and their group in all lists",
        begun.elapsed().as_secs_f64(),
        None,
        "s",
    );
    let crowd = Crowd::connect(&room.conversation, &room.doors).await?;
    crowd.paced(1, 3, Duration::from_millis(500)).await?;
    let (mut acks, mut last) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(5, 15) {
        let measured = crowd.burst(1).await?;
        acks.push(measured.ack.most());
        last.push(measured.delivery.most());
        // Until the members' own objects have it too.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    drop(crowd);
    report.line(Line {
        name: "one message to 1,024 attached sockets: the last has it",
        budget: "under 1 s".to_owned(),
        limit: Limit::AtMost(1000.0),
        measured: last.into_iter().collect::<Samples>().percentile(0.95),
        reference: None,
        unit: "ms",
    });
    report.line(Line {
        name: "one message to 1,024 attached sockets: ack",
        budget: "under 100 ms".to_owned(),
        limit: Limit::AtMost(100.0),
        measured: acks.into_iter().collect::<Samples>().percentile(0.95),
        reference: None,
        unit: "ms",
    });
    idle(bench, &server, &room, report).await
}

/// Opens a session for each member, and sockets of the group up to [`IDLE`] in all.
async fn idle(bench: &Bench, server: &Server, room: &Room, report: &mut Report) -> Outcome<()> {
    bench.say("5,000 idle sockets: opening them, once everything sleeps");
    tokio::time::sleep(SLEEP).await;
    let before = server.resident_bytes()?;
    let sessions = room
        .people
        .iter()
        .map(|person| session_door(server, person));
    let doors = sessions.collect::<Outcome<Vec<_>>>()?;
    let doors: Vec<_> = doors
        .iter()
        .chain(room.doors.iter().cycle())
        .take(IDLE)
        .collect();
    let mut open = Vec::with_capacity(IDLE);
    for some in doors.chunks(PARALLEL) {
        for stream in join_all(some.iter().map(|door| load::open(door))).await {
            open.push(stream?);
        }
    }
    let awake = server.resident_bytes()?;
    bench.say("  waiting until they sleep");
    tokio::time::sleep(SLEEP).await;
    let (asleep, cpu) = (server.resident_bytes()?, server.cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle_cpu = (server.cpu_seconds()? - cpu) / 5.0;
    let kib = |bytes: f64| bytes / IDLE as f64 / 1024.0;
    for (name, measured, unit) in [
        (
            "idle sockets: 1,024 sessions, the rest in the group",
            IDLE as f64,
            "sockets",
        ),
        (
            "memory of an idle, hibernated socket",
            kib(asleep - before),
            "KiB",
        ),
        (
            "memory of the same while its object is awake",
            kib(awake - before),
            "KiB",
        ),
        ("server CPU with all of them idle", idle_cpu, "cpu s/s"),
    ] {
        report.figure(name, measured, None, unit);
    }
    drop(open);
    Ok(())
}
