//! One message to 1,024 attached sockets.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::failure::Outcome;
use crate::load::Crowd;
use crate::report::{Limit, Line, Report};
use crate::room::Room;
use crate::samples::Samples;
use crate::server::{Server, Subject};

/// As many members as a group can have.
const MEMBERS: usize = 1024;

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
    Ok(())
}
