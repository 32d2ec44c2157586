//! `make prove`: runs seeds, and tells how each failing one failed.
//!
//!     parlance-simulation [--seeds N] [--seed FIRST] [--jobs N] [--keep] [--trace]
//!
//! Begins anywhere, unless told where. Ends with 1 where a seed failed: with a command that runs it
//! again, and what is left of its plan when everything that does not matter is taken away. With
//! `--keep` it goes on, and lists the seeds that failed by the promise that was broken.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use parlance_simulation::counts::Counts;
use parlance_simulation::plan::Plan;
use parlance_simulation::shrink::shrink;
use parlance_simulation::world::Violation;
use parlance_simulation::{Report, run};

const USAGE: &str = "[--seeds N] [--seed FIRST] [--jobs N] [--keep] [--trace]";
/// Runs begin below this, where nobody says where: so that a seed is a number one can read.
const ANYWHERE: u64 = 1_000_000_000_000;
/// After so many seeds it is told how far it has come.
const STEP: u64 = 500;

struct Options {
    seeds: u64,
    first: u64,
    jobs: usize,
    keeps: bool,
    traced: bool,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        seeds: 1000,
        first: RandomState::new().hash_one(0) % ANYWHERE,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        keeps: false,
        traced: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("seed") => options.first = parser.value()?.parse()?,
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("keep") => options.keeps = true,
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
    counts: Counts,
    failed: BTreeMap<u64, Violation>,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.messages += report.messages;
        self.shown += report.shown;
        self.retries += report.retries;
        self.syncs += report.syncs;
        self.counts.absorb(&report.counts);
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nusage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{} seeds from {} on", options.seeds, options.first);
    // A panic in a run is a finding, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let sums = run_all(&options);
    println!("{}", sums.counts);
    println!(
        "{} seeds from {} on: {} events, {} messages acknowledged, {} events shown to clients, {} sent again, {} gaps asked for",
        sums.seeds, options.first, sums.events, sums.messages, sums.shown, sums.retries, sums.syncs
    );
    let Some((first, _)) = sums.failed.first_key_value() else {
        println!("all kept what is promised");
        return ExitCode::SUCCESS;
    };
    if options.keeps {
        list(&sums.failed);
    } else {
        tell(*first);
    }
    ExitCode::FAILURE
}

fn run_all(options: &Options) -> Sums {
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
                    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                    sums.add(&report);
                    for line in &report.trace {
                        println!("{line}");
                    }
                    if sums.seeds.is_multiple_of(STEP) {
                        eprintln!("{} of {} seeds", sums.seeds, options.seeds);
                    }
                    if let Some(violation) = report.violation {
                        println!("seed {seed} FAILED: {violation}");
                        sums.failed.insert(seed, violation);
                        stop.fetch_or(!options.keeps, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sums.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The seeds that failed, by promise.
fn list(failed: &BTreeMap<u64, Violation>) {
    let mut by_promise: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, violation) in failed {
        by_promise.entry(violation.rule).or_default().push(*seed);
    }
    println!("{} seeds FAILED:", failed.len());
    for (rule, seeds) in by_promise {
        println!("{:>6}  {rule}: {seeds:?}", seeds.len());
    }
    println!("one of them again: make prove SEEDS=1 SEED=... TRACE=1");
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
