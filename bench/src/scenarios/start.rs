//! How large the WebAssembly is, and what it takes to start.
//!
//! workerd's own start is much longer than ours. What is ours is told by the reference, which is
//! started in turns: the same runtime, and next to no code.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Bench;
use crate::failure::{Outcome, failed};
use crate::report::{Limit, Line, Report};
use crate::samples::median;
use crate::server::{Server, Subject};

const WASM: &str = "functions/worker/build/index_bg.wasm";
const MEGABYTE: f64 = 1e6;

/// Measures both.
pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    bench.say("the size of the WebAssembly, and starts");
    let wasm = std::fs::read(bench.root.join(WASM))?;
    report.line(Line {
        name: "wasm, gzip",
        budget: "under 1.5 MB".to_owned(),
        limit: Limit::AtMost(1.5),
        measured: gzipped(&wasm)? as f64 / MEGABYTE,
        reference: None,
        unit: "MB",
    });
    report.figure("wasm", wasm.len() as f64 / MEGABYTE, None, "MB");
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    let mut first = Vec::new();
    for _ in 0..bench.pick(3, 7) {
        reference.push(start(bench, Subject::Reference).await?.cpu);
        let started = start(bench, Subject::Parlance).await?;
        ours.push(started.cpu);
        first.push(started.first);
    }
    let (ours, reference) = (median(ours), median(reference));
    report.line(Line {
        name: "start-up CPU: until the first answer, over the reference's",
        budget: "under 100 ms".to_owned(),
        limit: Limit::AtMost(100.0),
        measured: ours - reference,
        reference: None,
        unit: "ms",
    });
    report.figure(
        "CPU of workerd until the first answer",
        ours,
        Some(reference),
        "ms",
    );
    report.figure(
        "first request of a new isolate, wasm compiled and started",
        median(first),
        None,
        "ms",
    );
    Ok(())
}

struct Started {
    /// Processor milliseconds of workerd until the first answer.
    cpu: f64,
    /// Milliseconds of the first request.
    first: f64,
}

async fn start(bench: &Bench, subject: Subject) -> Outcome<Started> {
    let server = Server::start(&bench.root, subject)?;
    let begun = Instant::now();
    let answer = reqwest::get(format!("{}/healthz", server.url()?)).await?;
    let first = begun.elapsed().as_secs_f64() * 1000.0;
    if !answer.status().is_success() {
        return failed(format!("the first answer was {}", answer.status()));
    }
    Ok(Started {
        cpu: server.cpu_seconds()? * 1000.0,
        first,
    })
}

/// How many bytes `gzip -9` makes of it.
fn gzipped(bytes: &[u8]) -> Outcome<usize> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = gzip.stdin.take().ok_or("gzip takes no input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        gzip.wait_with_output()
    })?;
    Ok(output.stdout.len())
}
