//! Each planted fault is found, within a bounded number of seeds.

use parlance_shared::planted::{Bug, plant};
use parlance_simulation::parallel::on_all_cores;
use parlance_simulation::plan::Plan;
use parlance_simulation::run;

/// Seeds in which a fault has to show.
const SEEDS: u64 = 1000;

/// The first seed that a fault breaks, and the promise that is broken then. A fault is planted in
/// the thread that runs, and nowhere else.
fn found(bug: Bug) -> Option<(u64, &'static str)> {
    plant(Some(bug));
    let found = (1..=SEEDS).find_map(|seed| {
        let violation = run(&Plan::of(seed), false).violation?;
        Some((seed, violation.rule))
    });
    plant(None);
    found
}

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    let bugs = Bug::ALL.as_slice();
    for (bug, found) in bugs.iter().zip(on_all_cores(bugs, |bug| found(*bug))) {
        match found {
            Some((seed, rule)) => println!("{bug:?}: seed {seed}, {rule}"),
            None => {
                println!("{bug:?}: NOT FOUND");
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
