//! The seeds that are always run.

use parlance_simulation::parallel::on_all_cores;
use parlance_simulation::plan::Plan;
use parlance_simulation::run;

const SEEDS: u64 = 1000;

#[test]
fn a_thousand_seeds_keep_what_is_promised() {
    let seeds: Vec<u64> = (1..=SEEDS).collect();
    let violations = on_all_cores(&seeds, |seed| run(&Plan::of(*seed), false).violation);
    let failed: Vec<_> = seeds
        .iter()
        .zip(violations)
        .filter_map(|(seed, violation)| Some((seed, violation?)))
        .collect();
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}\nagain: make prove SEEDS=1 SEED={seed} TRACE=1");
    }
    assert!(failed.is_empty(), "{} of {SEEDS} failed", failed.len());
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let plan = Plan::of(7);
    let (one, other) = (run(&plan, true), run(&plan, true));
    assert!(one.events > 100);
    assert_eq!(one.trace, other.trace);
}
