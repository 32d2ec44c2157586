//! The service under test: an edition as it was built, on its runtime, as a process of its own.
//!
//! What always holds: a server has a state directory and a port that no other has; its whole
//! process group is gone when [`Server`] is dropped, and also when the test process dies in any
//! other way: a watchdog then reads the end of its pipe and kills the group.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use crate::Edition;
use crate::token::Key;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(120);

/// What the server prints when it takes requests, before its address.
const RUNNING: &str = "Parlance is running on ";

/// Kills group `$1` and removes directory `$2` unless it is told that this has been done.
const WATCHDOG: &str = r#"
    read -r line && exit 0
    kill -s KILL -- "-$1"
    tries=50
    while kill -s 0 -- "-$1" && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.1; done
    rm -rf -- "$2"
"#;

/// The server that the tests of one file share, for those that need no other settings. It
/// lives as long as the test process.
#[must_use]
pub fn shared() -> &'static Server {
    static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
    &SHARED
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    vars: BTreeMap<String, String>,
    state: TempDir,
    log: Arc<Mutex<String>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    group: Pid,
    watchdog: Child,
    url: String,
}

impl Server {
    /// Starts a server with fixed keys, no rate limits and codes that the answer shows.
    ///
    /// # Panics
    /// When nothing has been built, or the server does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Server::start`], with other variables. An empty value removes one.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[must_use]
    pub fn start_with(vars: &[(&str, &str)]) -> Self {
        let mut server = Self {
            vars: defaults(),
            state: TempDir::with_prefix("parlance-test-").expect("a state directory"),
            log: Arc::default(),
            running: None,
        };
        server.set(vars);
        server.run();
        server
    }

    fn set(&mut self, vars: &[(&str, &str)]) {
        for (name, value) in vars {
            if value.is_empty() {
                self.vars.remove(*name);
            } else {
                self.vars.insert((*name).to_owned(), (*value).to_owned());
            }
        }
    }

    /// The address, without a slash at the end.
    ///
    /// # Panics
    /// When the server was killed and not started again.
    #[must_use]
    pub fn url(&self) -> &str {
        &self
            .running
            .as_ref()
            .expect("the server is not running")
            .url
    }

    /// Bytes of all objects in its buckets.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        bytes_below(self.state.path())
    }

    /// All that the server has printed until now, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Kills all its processes with SIGKILL, as a power cut would.
    pub fn kill_hard(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Starts it again on the same state; kills it first where it still runs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`Server::restart`], with other variables. An empty value removes one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_with(&mut self, vars: &[(&str, &str)]) {
        self.kill_hard();
        self.set(vars);
        self.run();
    }

    fn run(&mut self) {
        let mut command = Edition::current().command(self.state.path(), &self.vars);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().expect("the server's process starts");
        let group = Pid::from_child(&child);
        let watchdog = watch(group, self.state.path());

        let (found, url) = mpsc::channel();
        drain(child.stdout.take(), Arc::clone(&self.log), Some(found));
        drain(child.stderr.take(), Arc::clone(&self.log), None);
        let url = url.recv_timeout(START);
        let running = Running {
            child,
            group,
            watchdog,
            url: url.clone().unwrap_or_default(),
        };
        if let Err(error) = url {
            running.kill();
            panic!(
                "the server did not start ({error}); it printed:\n{}",
                self.log()
            );
        }
        self.running = Some(running);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(60).collect::<Vec<_>>();
            eprintln!("--- the server's last lines ---");
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
        self.kill_hard();
    }
}

impl Running {
    fn kill(mut self) {
        // An error means that the group is gone already.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        // A killed process counts until init has reaped it, which may take long.
        let mut tries = 20;
        while test_kill_process_group(self.group).is_ok() && tries > 0 {
            tries -= 1;
            thread::sleep(Duration::from_millis(50));
        }
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}

/// What admins of these servers prove themselves with.
pub const ADMIN_TOKEN: &str = "parlance-tests-admin-token-of-many-characters";

fn defaults() -> BTreeMap<String, String> {
    [
        ("TOKEN_KEYS", Key::first().setting()),
        (
            "PHONE_HASH_KEY",
            "cGFybGFuY2UtdGVzdHMtcGhvbmUtaGFzaC1rZXktMDE".to_owned(),
        ),
        ("DEVELOPMENT", "1".to_owned()),
        ("CODE_PROVIDER", "dev".to_owned()),
        ("RATE_LIMIT_SCALE", "0".to_owned()),
        ("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// In a process group of its own, so that a Ctrl-C which ends the tests leaves it alive.
fn watch(group: Pid, state: &Path) -> Child {
    Command::new("sh")
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(group.as_raw_nonzero().to_string())
        .arg(state)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the watchdog starts")
}

/// Bytes of the files in directories that are called `blobs`: there the buckets' objects are.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(_) if directory.ends_with("blobs") => entry.metadata().map_or(0, |it| it.len()),
        _ => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

/// Reads what the server prints for as long as it does, so that it never blocks on a full pipe.
fn drain<R: Read + Send + 'static>(
    from: Option<R>,
    log: Arc<Mutex<String>>,
    mut found: Option<Sender<String>>,
) {
    let from = from.expect("the output is piped");
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line);
            if let Some((_, rest)) = line.split_once(RUNNING)
                && let Some(found) = found.take()
            {
                let url: String = rest
                    .chars()
                    .take_while(|c| !c.is_whitespace() && !c.is_control())
                    .collect();
                // Nobody listens any more where the start took too long.
                let _ = found.send(url.trim_end_matches('/').to_owned());
            }
            let mut log = lock(&log);
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A test that panicked while it held the log does not take it from the others.
fn lock(log: &Mutex<String>) -> MutexGuard<'_, String> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
