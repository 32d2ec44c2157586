//! The corpus, and a short run of every target. `make fuzz SEEDS=n` goes on from there.

use parlance_fuzz::target::{TARGETS, Target};

/// Seeds of a short run.
const SEEDS: u64 = 12;

fn target(name: &str) -> &'static Target {
    let mut targets = TARGETS.iter();
    targets
        .find(|target| target.name == name)
        .expect("a target")
}

#[test]
fn whatever_is_in_the_corpus_is_told_well_and_changes_nothing_that_it_must_not() {
    for target in &TARGETS {
        let corpus = target.corpus();
        assert!(!corpus.is_empty(), "{} has a corpus", target.name);
        for path in corpus {
            let text = std::fs::read_to_string(&path).expect("a text");
            if let Err(failure) = target.try_entry(&text) {
                panic!("{}: {}", path.display(), failure.0);
            }
        }
    }
}

fn short_run(name: &str) {
    let mut tried = 0;
    for seed in 1..=SEEDS {
        match target(name).try_seed(seed) {
            Ok(count) => tried += count,
            Err(failure) => panic!("{}", failure.0),
        }
    }
    assert!(tried > 300, "{name}: {tried} inputs");
}

#[test]
fn requests_to_every_route_are_told_well_and_refused_ones_change_nothing() {
    short_run("requests");
}

#[test]
fn frames_on_a_conversation_s_socket_are_told_well_and_refused_ones_change_nothing() {
    short_run("frames");
}

#[test]
fn frames_on_a_session_are_told_well() {
    short_run("session-frames");
}

#[test]
fn no_changed_token_holds() {
    short_run("tokens");
}

#[test]
fn no_damaged_segment_is_read_and_none_takes_more_than_it_may() {
    short_run("segments");
}

#[test]
fn cursors_open_nothing_and_fail_nothing() {
    short_run("cursors");
}
