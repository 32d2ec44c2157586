//! The services in a simulated world: one thread, one seed, every fault.
//!
//! Users with several devices chat over the real services and real SQLite, while the network
//! drops, delays, doubles and reorders requests, objects are evicted and crash, storage fails and
//! clocks move. What is promised is checked after every step and at the end. docs/simulation.md
//! says what is modelled and what is not.
//!
//! A run is a [`plan::Plan`], made from a seed. [`run`] runs it; [`shrink::shrink`] makes one that
//! fails as small as it gets.

pub mod chance;
pub mod client;
pub mod counts;
mod deeds;
pub mod disk;
pub mod network;
pub mod objects;
pub mod oracle;
pub mod parallel;
pub mod plan;
pub mod runtime;
pub mod shrink;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use counts::Counts;
use plan::Plan;
use world::{Violation, World};

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What happened, where it was wanted.
    pub trace: Vec<String>,
    /// How many events there were.
    pub events: u64,
    /// How many messages were acknowledged.
    pub messages: u64,
    /// How many events clients were shown.
    pub shown: u64,
    /// How often clients sent again.
    pub retries: u64,
    /// How often they asked for what was missing.
    pub syncs: u64,
    /// How often things happened.
    pub counts: Counts,
}

/// Runs a plan.
#[must_use]
pub fn run(plan: &Plan, traced: bool) -> Report {
    let mut world = World::new(plan, traced);
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let violation = world.violation.take().or_else(|| {
        panicked.map(|panic| Violation {
            rule: "nothing panics",
            text: panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default(),
        })
    });
    Report {
        violation,
        trace: world.trace.take().unwrap_or_default(),
        events: world.events,
        messages: world.oracle.messages,
        shown: world.oracle.shown,
        retries: world.oracle.retries,
        syncs: world.oracle.syncs,
        counts: std::mem::take(&mut world.counts),
    }
}
