//! The targets, and how they are run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::{cursors, frames, requests, segments, tokens};

/// What is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its part of the corpus.
    pub name: &'static str,
    /// What it makes of a seed: how many inputs it tried, or what did not hold.
    seed: fn(u64) -> Result<usize, String>,
    /// What it makes of an entry of the corpus.
    entry: fn(&str) -> Result<(), String>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target {
        name: "requests",
        seed: requests::run,
        entry: requests::replay,
    },
    Target {
        name: "frames",
        seed: frames::run,
        entry: frames::replay,
    },
    Target {
        name: "session-frames",
        seed: frames::run_session,
        entry: frames::replay_session,
    },
    Target {
        name: "tokens",
        seed: tokens::run,
        entry: tokens::replay,
    },
    Target {
        name: "cursors",
        seed: cursors::run,
        entry: cursors::replay,
    },
    Target {
        name: "segments",
        seed: segments::run,
        entry: segments::replay,
    },
];

/// What did not hold, and for which input.
#[derive(Debug, Clone)]
pub struct Failure(pub String);

impl Target {
    /// Tries what a seed makes, and says how many inputs that were.
    ///
    /// # Errors
    /// What did not hold.
    pub fn try_seed(&self, seed: u64) -> Result<usize, Failure> {
        let Self {
            name, seed: run, ..
        } = self;
        caught(|| run(seed)).map_err(|told| Failure(format!("target {name}, seed {seed}: {told}")))
    }

    /// Tries an entry of the corpus.
    ///
    /// # Errors
    /// What did not hold.
    pub fn try_entry(&self, text: &str) -> Result<(), Failure> {
        caught(|| (self.entry)(text)).map_err(|told| Failure(format!("{}: {told}", self.name)))
    }

    /// The files of its corpus.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn corpus(&self) -> Vec<PathBuf> {
        // Frames are the same on both kinds of sockets.
        let folder = self.name.trim_start_matches("session-");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(folder);
        let entries = std::fs::read_dir(&folder).expect("a part of the corpus");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
        paths.sort();
        paths
    }
}

/// A panic is what must not be, and is told like everything else.
fn caught<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let told = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", told.unwrap_or("without a word")))
    })
}
