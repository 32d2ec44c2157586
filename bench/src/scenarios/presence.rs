//! How soon others learn that someone has come, has gone, and is writing.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::Bench;
use crate::failure::{Failure, Outcome};
use crate::load::{self, Crowd};
use crate::report::{Limit, Line, Report};
use crate::room::{Room, session_door};
use crate::samples::Samples;
use crate::server::{Server, Subject};

/// Measures it.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    bench.say("presence and typing");
    let server = Server::start(&bench.root, Subject::Parlance)?;
    let room = Room::of(&server, 2).await?;
    let crowd = Crowd::connect(&room.conversation, &room.doors).await?;
    crowd.burst(1).await?;
    drop(crowd);
    let (Some(alice), Some(bob)) = (room.people.first(), room.people.get(1)) else {
        return Err(Failure::from("a direct chat of two"));
    };
    let mut watcher = load::open(&session_door(&server, alice)?).await?;
    load::until(&mut watcher, "sync_complete").await?;
    let subscribe = format!(
        r#"{{"type":"presence_subscribe","user_ids":["{}"]}}"#,
        bob.id
    );
    watcher.send(Message::text(subscribe)).await?;
    load::until(&mut watcher, "presence_update").await?;
    let (mut come, mut gone) = (Vec::new(), Vec::new());
    let took = |begun: Instant, at: Instant| (at - begun).as_secs_f64() * 1000.0;
    for _ in 0..bench.pick(5, 15) {
        let begun = Instant::now();
        let mut session = load::open(&session_door(&server, bob)?).await?;
        let at = load::until(&mut watcher, r#""status":"online""#).await?;
        come.push(took(begun, at));
        load::until(&mut session, "sync_complete").await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        session.close(None).await?;
        let at = load::until(&mut watcher, r#""status":"offline""#).await?;
        gone.push(took(begun, at));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let changes: Samples = come.into_iter().chain(gone).collect();
    report.line(Line {
        name: "presence change to subscriber: p95",
        budget: "under 500 ms".to_owned(),
        limit: Limit::AtMost(500.0),
        measured: changes.percentile(0.95),
        reference: None,
        unit: "ms",
    });
    drop(watcher);

    // Of one writer a conversation passes a start on every few seconds only: so several chats.
    let mut typed = Vec::new();
    for _ in 0..bench.pick(4, 12) {
        let room = Room::of(&server, 2).await?;
        let mut sockets = Vec::new();
        for door in &room.doors {
            sockets.push(load::open(door).await?);
        }
        let [one, other] = sockets.as_mut_slice() else {
            return Err(Failure::from("a direct chat of two"));
        };
        for is_answer in [false, true] {
            let (writer, reader) = if is_answer {
                (&mut *other, &mut *one)
            } else {
                (&mut *one, &mut *other)
            };
            for kind in ["typing_start", "typing_stop"] {
                tokio::time::sleep(Duration::from_millis(30)).await;
                let frame = format!(
                    r#"{{"type":"{kind}","conversation_id":"{}"}}"#,
                    room.conversation
                );
                let begun = Instant::now();
                writer.send(Message::text(frame)).await?;
                typed.push(took(begun, load::until(reader, kind).await?));
            }
        }
    }
    report.line(Line {
        name: "typing to the other: p95",
        budget: "under 50 ms".to_owned(),
        limit: Limit::AtMost(50.0),
        measured: typed.into_iter().collect::<Samples>().percentile(0.95),
        reference: None,
        unit: "ms",
    });
    Ok(())
}
