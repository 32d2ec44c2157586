//! The editions of the service, and what each cannot do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the tests of this process run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// Cloudflare Workers and Durable Objects, on workerd.
    Workers,
    /// Spin, on wasmtime.
    Spin,
}

impl Edition {
    /// The one that the environment variable `EDITION` names; `workers` where it is not set.
    ///
    /// # Panics
    /// When it names none.
    #[must_use]
    pub fn current() -> Self {
        match std::env::var("EDITION").as_deref() {
            Err(_) | Ok("" | "workers") => Self::Workers,
            Ok("spin") => Self::Spin,
            Ok(other) => panic!("EDITION is {other}: it must be workers or spin"),
        }
    }

    /// Whether it has WebSockets.
    #[must_use]
    pub const fn has_sockets(self) -> bool {
        matches!(self, Self::Workers)
    }

    /// Whether it has media in development without an S3 endpoint.
    #[must_use]
    pub const fn has_bucket(self) -> bool {
        matches!(self, Self::Workers)
    }

    /// Whether it makes thumbnails of pictures that come without one.
    #[must_use]
    pub const fn makes_thumbnails(self) -> bool {
        matches!(self, Self::Workers)
    }

    /// Whether older events leave the database for an archive. Nobody notices, where they do.
    #[must_use]
    pub const fn has_archive(self) -> bool {
        matches!(self, Self::Workers)
    }

    /// The command that starts it on a free port with its state in `state`, and prints where.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn command(self, state: &Path, variables: &BTreeMap<String, String>) -> Command {
        let root = repository();
        let program = match self {
            Self::Workers => root.join("node_modules/.bin/node"),
            Self::Spin => root.join("functions/spin/build/spin-host"),
        };
        let parts = match self {
            Self::Workers => ["scripts/dev.mjs", "functions/worker/build"].as_slice(),
            Self::Spin => ["functions/spin/build/parlance_spin.wasm"].as_slice(),
        };
        let needed = parts.iter().map(|part| root.join(part));
        for needed in needed.chain([program.clone()]) {
            let path = needed.display();
            assert!(needed.exists(), "{path} is missing: `make test` builds it");
        }
        let mut command = Command::new(program);
        command.current_dir(root);
        match self {
            Self::Workers => {
                command
                    .arg("scripts/dev.mjs")
                    .env("PORT", "0")
                    .env("STATE_DIR", state)
                    .env("VARS", text(variables))
                    .env("QUIET", "1");
            }
            Self::Spin => {
                command
                    .args(["--listen", "127.0.0.1:0", "--database"])
                    .arg(state.join("parlance.db"));
                for (name, value) in variables {
                    command.arg("--variable").arg(format!("{name}={value}"));
                }
                command.arg("functions/spin/build/parlance_spin.wasm");
            }
        }
        command
    }
}

fn text(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{name}={value}").expect("a string takes all");
    }
    text
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
        .to_owned()
}
