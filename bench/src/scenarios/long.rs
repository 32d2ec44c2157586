//! What does not get slower: a log of a million events beside an empty one, and a list of 100,000
//! conversations beside one of 100.
//!
//! Sending a million messages would take longer than the rest together. The rows are written
//! into the objects' databases while nothing runs: see [`crate::seed`].

use std::time::{Duration, Instant};

use crate::Bench;
use crate::api::{Api, Person};
use crate::failure::{Failure, Outcome};
use crate::load::Crowd;
use crate::report::{Limit, Line, Report};
use crate::room::{Room, door};
use crate::samples::{Samples, median};
use crate::seed;
use crate::server::{Server, Subject};

const EVENTS: u64 = 1_000_000;
const SHORT_LIST: usize = 100;
const LONG_LIST: usize = 100_000;
const PACE: Duration = Duration::from_millis(20);

/// Measures both.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    bench.say("a log of 1,000,000 events, and a list of 100,000 conversations: writing the rows");
    let mut server = Server::start(&bench.root, Subject::Parlance)?;
    let api = Api::of(&server)?;
    let mut long = Room::of(&server, 2).await?;
    let mut short = Room::of(&server, 2).await?;
    for room in [&long, &short] {
        let crowd = Crowd::connect(&room.conversation, &room.doors).await?;
        crowd.burst(1).await?;
        drop(crowd);
        api.until_listed(&room.people, &room.conversation, 1)
            .await?;
    }
    server.stop();
    seed::log(&server, &long, EVENTS)?;
    let (owner, other) = match (long.people.first(), short.people.first()) {
        (Some(owner), Some(other)) => (owner.clone(), other.clone()),
        _ => return Err(Failure::from("a direct chat has two people")),
    };
    seed::list(&server, &owner, LONG_LIST)?;
    seed::list(&server, &other, SHORT_LIST)?;
    server.run()?;
    for room in [&mut long, &mut short] {
        let doors = room
            .people
            .iter()
            .map(|person| door(&server, &room.conversation, person));
        room.doors = doors.collect::<Outcome<_>>()?;
    }
    log(bench, &long, &short, report).await?;
    list(bench, &server, &owner, &other, report).await
}

async fn log(bench: &Bench, long: &Room, short: &Room, report: &mut Report) -> Outcome<()> {
    bench.say("sending into the long log and the short one, in turns");
    let crowds = [
        Crowd::connect(&long.conversation, &long.doors).await?,
        Crowd::connect(&short.conversation, &short.doors).await?,
    ];
    let (mut measured, mut beside) = (Vec::new(), Vec::new());
    let [in_long, in_short] = &crowds;
    for crowd in &crowds {
        crowd.paced(2, 50, PACE).await?;
    }
    for _ in 0..bench.pick(4, 10) {
        measured.push(in_long.paced(2, 50, PACE).await?.ack.median());
        beside.push(in_short.paced(2, 50, PACE).await?.ack.median());
    }
    let (measured, beside) = (median(measured), median(beside));
    report.line(Line {
        name: "send to ack with a log of 1,000,000 events: p50",
        budget: "at most 1.1 x an empty log".to_owned(),
        limit: Limit::AtMost(1.1 * beside),
        measured,
        reference: Some(beside),
        unit: "ms",
    });
    Ok(())
}

async fn list(
    bench: &Bench,
    server: &Server,
    owner: &Person,
    other: &Person,
    report: &mut Report,
) -> Outcome<()> {
    bench.say("the first page of the long list and of the short one");
    let api = Api::of(server)?;
    let times = async |person: &Person| -> Outcome<Samples> {
        let mut times = Vec::new();
        for _ in 0..bench.pick(10, 30) {
            let begun = Instant::now();
            api.get("/conversations", &person.token).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(times.into_iter().collect())
    };
    let beside = times(other).await?;
    let measured = times(owner).await?;
    report.line(Line {
        name: "first page of 100,000 conversations: p95",
        budget: "under 200 ms".to_owned(),
        limit: Limit::AtMost(200.0),
        measured: measured.percentile(0.95),
        reference: Some(beside.percentile(0.95)),
        unit: "ms",
    });
    Ok(())
}
