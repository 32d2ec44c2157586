//! Waking up: chats that slept until the runtime evicted their objects, and the first message
//! after that, beside those that follow.

use std::time::Duration;

use crate::Bench;
use crate::api::Api;
use crate::failure::{Outcome, failed};
use crate::load::Crowd;
use crate::report::{Limit, Line, Report};
use crate::room::Room;
use crate::samples::Samples;
use crate::server::{Server, Subject};

const CHATS: usize = 12;
/// Longer than it takes an object to be evicted: its alarm goes off five seconds after the last
/// message, and ten idle seconds later it is gone.
const SLEEP: Duration = Duration::from_secs(20);

/// Measures it.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    bench.say("waking from hibernation");
    let server = Server::start(&bench.root, Subject::Parlance)?;
    let api = Api::of(&server)?;
    let mut crowds = Vec::new();
    for _ in 0..CHATS {
        let room = Room::of(&server, 2).await?;
        let crowd = Crowd::connect(&room.conversation, &room.doors).await?;
        crowd.paced(1, 5, Duration::from_millis(20)).await?;
        crowds.push(crowd);
    }
    tokio::time::sleep(SLEEP).await;
    let before = api.counts().await?;
    let (mut woken, mut warm) = (Vec::new(), Vec::new());
    for crowd in &crowds {
        woken.push(crowd.burst(1).await?.delivery.most());
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            warm.push(crowd.burst(1).await?.delivery.most());
        }
    }
    let started = api.counts().await?.since(&before);
    let started = started.of("objects_started", "conversation");
    if started < CHATS as f64 {
        return failed(format!(
            "of {CHATS} objects only {started} had been evicted"
        ));
    }
    let woken: Samples = woken.into_iter().collect();
    let warm: Samples = warm.into_iter().collect();
    report.line(Line {
        name: "wake from hibernation to delivery: p95",
        budget: "under 50 ms over a warm delivery".to_owned(),
        limit: Limit::AtMost(warm.median() + 50.0),
        measured: woken.percentile(0.95),
        reference: Some(warm.median()),
        unit: "ms",
    });
    Ok(())
}
