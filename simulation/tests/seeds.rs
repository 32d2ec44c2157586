//! The seeds that every change has to pass. `make prove` runs as many as one likes.

use parlance_simulation::plan::Plan;
use parlance_simulation::run;

const SEEDS: u64 = 1000;

#[test]
fn a_thousand_seeds_keep_what_is_promised() {
    for seed in 1..=SEEDS {
        let report = run(&Plan::of(seed), false);
        if let Some(violation) = report.violation {
            panic!("seed {seed}: {violation}\nagain: make prove SEEDS=1 SEED={seed}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let plan = Plan::of(7);
    let (one, other) = (run(&plan, true), run(&plan, true));
    assert!(one.events > 100);
    assert_eq!(one.trace, other.trace);
}
