//! What a socket costs in memory while nobody speaks: as many people as there are sockets, each
//! with a session, asleep.

use std::time::Duration;

use futures_util::future::join_all;

use crate::Bench;
use crate::api::Api;
use crate::failure::Outcome;
use crate::load;
use crate::report::Report;
use crate::room::session_door;
use crate::server::{Server, Subject};

/// Longer than it takes until idle objects are evicted.
const SLEEP: Duration = Duration::from_secs(25);
const PARALLEL: usize = 32;

/// Measures it.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let sockets: usize = bench.pick(500, 5000);
    bench.say(&format!("{sockets} idle sockets: signing people up"));
    let server = Server::start(&bench.root, Subject::Parlance)?;
    let api = Api::of(&server)?;
    let people = api.sign_up_many(sockets).await?;
    tokio::time::sleep(SLEEP).await;
    let before = server.resident_bytes()?;
    let mut open = Vec::with_capacity(sockets);
    for some in people.chunks(PARALLEL) {
        let doors = some
            .iter()
            .map(|person| session_door(&server, person))
            .collect::<Outcome<Vec<_>>>()?;
        for stream in join_all(doors.iter().map(load::open)).await {
            open.push(stream?);
        }
    }
    let awake = server.resident_bytes()?;
    bench.say("  all are open; waiting until they sleep");
    tokio::time::sleep(SLEEP).await;
    let (asleep, cpu) = (server.resident_bytes()?, server.cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle_cpu = (server.cpu_seconds()? - cpu) / 5.0;
    let kib = |bytes: f64| bytes / sockets as f64 / 1024.0;
    report.figure("idle session sockets", sockets as f64, None, "sockets");
    report.figure(
        "memory of an idle, hibernated session socket",
        kib(asleep - before),
        None,
        "KiB",
    );
    report.figure(
        "memory of the same while its object is awake",
        kib(awake - before),
        None,
        "KiB",
    );
    report.figure(
        "server CPU with all of them idle",
        idle_cpu,
        None,
        "cpu s/s",
    );
    drop(open);
    Ok(())
}
