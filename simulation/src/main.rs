//! `make prove`: runs seeds, and tells how each failing one failed.
//!
//!     parlance-simulation [--seeds N] [--seed FIRST] [--jobs N] [--trace]
//!
//! Ends with 1 where a seed failed: with a command that runs it again, and what is left of its plan
//! when everything that does not matter is taken away.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parlance_simulation::plan::Plan;
use parlance_simulation::shrink::shrink;
use parlance_simulation::{Report, run};

struct Options {
    seeds: u64,
    first: u64,
    jobs: usize,
    traced: bool,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        seeds: 1000,
        first: 1,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        traced: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("seed") => options.first = parser.value()?.parse()?,
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("trace") => options.traced = true,
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Sums {
    seeds: u64,
    events: u64,
    messages: u64,
    shown: u64,
    retries: u64,
    syncs: u64,
    failed: Option<u64>,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.messages += report.messages;
        self.shown += report.shown;
        self.retries += report.retries;
        self.syncs += report.syncs;
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nusage: [--seeds N] [--seed FIRST] [--jobs N] [--trace]");
            return ExitCode::from(2);
        }
    };
    // A panic in a run is a finding, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicU64::new(options.first);
    let end = options.first.saturating_add(options.seeds);
    let stop = AtomicBool::new(false);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let report = run(&Plan::of(seed), options.traced);
                    let mut sums = sums
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    sums.add(&report);
                    for line in &report.trace {
                        println!("{line}");
                    }
                    if report.violation.is_some() {
                        sums.failed = Some(sums.failed.map_or(seed, |one| one.min(seed)));
                        stop.store(true, Ordering::Relaxed);
                    } else if sums.seeds.is_multiple_of(500) {
                        eprintln!("{} of {} seeds", sums.seeds, options.seeds);
                    }
                }
            });
        }
    });
    let sums = sums
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "{} seeds: {} events, {} messages acknowledged, {} events shown to clients, {} sent again, {} gaps asked for",
        sums.seeds, sums.events, sums.messages, sums.shown, sums.retries, sums.syncs
    );
    match sums.failed {
        None => {
            println!("all kept what is promised");
            ExitCode::SUCCESS
        }
        Some(seed) => {
            tell(seed);
            ExitCode::FAILURE
        }
    }
}

fn tell(seed: u64) {
    let plan = Plan::of(seed);
    let Some(violation) = run(&plan, false).violation else {
        return println!(
            "seed {seed} failed once and not again: that is a fault of the simulation"
        );
    };
    println!("\nseed {seed} FAILED: {violation}");
    println!("again: make prove SEEDS=1 SEED={seed} TRACE=1\n");
    let (small, violation) = shrink(&plan, &violation);
    println!(
        "{} of {} steps are enough:",
        small.steps.len(),
        plan.steps.len()
    );
    let report = run(&small, true);
    for line in &report.trace {
        println!("{line}");
    }
    println!(
        "users and their devices: {:?}, wave {}, hot {:?}, {:?}",
        small.users, small.wave, small.hot, small.weather
    );
    for step in &small.steps {
        println!("{:>9.3}  {:?}", step.at as f64 / 1000.0, step.what);
    }
    println!("\nseed {seed} FAILED: {violation}");
}
