//! The seeds that every change has to pass: always the same ones, and some that no change ran before.

use std::process::Command;

use parlance_simulation::counts::Counts;
use parlance_simulation::parallel::on_all_cores;
use parlance_simulation::plan::Plan;
use parlance_simulation::run;

/// How many are always run, from 1 on.
const ALWAYS: u64 = 1000;
/// How many begin where the commit says.
const NEW: u64 = 500;
/// What every run of the suite has to have reached, and how often.
const REACHED: [(&str, &str, u64); 18] = [
    ("event", "role", 100),
    ("event", "removed", 300),
    ("event", "ended", 20),
    ("fault", "storage fails", 300),
    ("fault", "memory lost", 500),
    ("fault", "crash, writes lost", 300),
    ("fault", "conversation socket broken", 300),
    ("fault", "archive damages", 10),
    ("frame", "msg_ack of a repeat", 200),
    ("frame", "message_hidden", 100),
    (
        "promise looked at",
        "nothing is withheld from a session",
        5000,
    ),
    (
        "promise looked at",
        "one who is blocked does not write",
        100,
    ),
    (
        "promise looked at",
        "what was acknowledged is acknowledged again",
        100,
    ),
    (
        "promise looked at",
        "scheduled messages are sent in the order in which they were made",
        500,
    ),
    ("request", "mark_left", 100),
    ("request", "set_block", 200),
    ("request", "deliver_now", 100),
    ("archive", "segment got", 1000),
];

/// Runs `seeds` from `first` on, and fails where one does.
fn all_keep_what_is_promised(first: u64, seeds: u64) -> Counts {
    let again = format!("make prove SEEDS={seeds} SEED={first}");
    println!("{seeds} seeds from {first} on; again: {again}");
    let seeds: Vec<u64> = (first..first + seeds).collect();
    let reports = on_all_cores(&seeds, |seed| run(&Plan::of(*seed), false));
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    for (seed, report) in seeds.iter().zip(reports) {
        counts.absorb(&report.counts);
        if let Some(violation) = report.violation {
            println!("seed {seed}: {violation}\nagain: make prove SEEDS=1 SEED={seed} TRACE=1");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{failed:?} failed; all again: {again}");
    counts
}

#[test]
fn a_thousand_seeds_keep_what_is_promised_and_reach_everything() {
    let counts = all_keep_what_is_promised(1, ALWAYS);
    println!("{counts}");
    for (group, what, least) in REACHED {
        let count = counts.of(group, what);
        assert!(
            count >= least,
            "{group}, {what}: {count} of at least {least}"
        );
    }
}

/// Each change explores a new place, and the same change always the same one.
#[test]
fn seeds_that_no_change_ran_before_keep_what_is_promised() {
    all_keep_what_is_promised(first_of_commit(), NEW);
}

/// Where the seeds of this commit begin: at the first digits of its hash. Without a commit, at 0.
fn first_of_commit() -> u64 {
    let head = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let hash = head.map(|head| String::from_utf8_lossy(&head.stdout).into_owned());
    let digits = hash.unwrap_or_default();
    let digits = digits.get(..10).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let plan = Plan::of(7);
    let (one, other) = (run(&plan, true), run(&plan, true));
    assert!(one.events > 100);
    assert_eq!(one.trace, other.trace);
}
