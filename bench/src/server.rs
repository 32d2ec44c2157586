//! The services under measurement, each as a process of its own: Parlance as it was built, and
//! the reference, both served by `scripts/dev.mjs` straight from workerd's own port.
//!
//! What always holds: a server has a fresh state directory and a free port; it is gone when
//! [`Server`] is dropped, and ends by itself where this process dies.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Outcome, failed};
use crate::machine;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a server prints before its address, when it takes requests.
const RUNNING: &str = "Parlance is running on ";
/// What admins prove themselves with.
pub const ADMIN_TOKEN: &str = "parlance-bench-admin-token-of-many-characters";

/// Keys for the length of a run, which protect nothing. Nothing grows old enough to be archived:
/// full speed fills the hot window within seconds, and the reference keeps everything in one place.
const VARS: &str = "DEVELOPMENT=1 CODE_PROVIDER=dev RATE_LIMIT_SCALE=0 HOT_WINDOW_EVENTS=100000000 \
    TOKEN_KEYS=bench:cGFybGFuY2UtYmVuY2gtc2lnbmluZy1rZXktMDEyMzQ \
    PHONE_HASH_KEY=cGFybGFuY2UtYmVuY2gtcGhvbmUtaGFzaC1rZXktMDE";

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// This repository's.
    Parlance,
    /// `bench/reference`.
    Reference,
}

/// A running service.
#[derive(Debug)]
pub struct Server {
    root: PathBuf,
    subject: Subject,
    state: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    url: String,
    workerd: u32,
}

impl Server {
    /// Starts a service with nothing stored.
    pub fn start(root: &Path, subject: Subject) -> Outcome<Self> {
        // On another disk, or on none: the disk's own speed is most of what a commit takes.
        let state = match std::env::var_os("BENCH_STATE") {
            Some(directory) => PathBuf::from(directory),
            None => root.join(".state/bench"),
        };
        forget(&state)?;
        let mut server = Self {
            root: root.to_owned(),
            subject,
            state,
            running: None,
        };
        server.run()?;
        Ok(server)
    }

    /// Starts it again on what it has stored.
    pub fn run(&mut self) -> Outcome<()> {
        self.stop();
        let config = match self.subject {
            Subject::Parlance => "wrangler.toml",
            Subject::Reference => "bench/reference/wrangler.toml",
        };
        let mut child = Command::new(self.root.join("node_modules/.bin/node"))
            .arg("scripts/dev.mjs")
            .current_dir(&self.root)
            .env("CONFIG", config)
            .env("PORT", "0")
            .env("STATE_DIR", &self.state)
            .env("VARS", format!("{VARS} ADMIN_TOKEN={ADMIN_TOKEN}"))
            .env("QUIET", "1")
            .env("STOP_WITH_PARENT", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let (found, url) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || drain(output, &found));
        }
        let Ok(url) = url.recv_timeout(PATIENCE) else {
            end(&mut child);
            return failed("the server did not start");
        };
        let workerd = fs::read_to_string(self.state.join("workerd.pid"))
            .map_err(Failure::from)
            .and_then(|text| Ok(text.split(' ').next().unwrap_or("").parse()?));
        match workerd {
            Ok(workerd) => {
                self.running = Some(Running {
                    child,
                    url,
                    workerd,
                });
                Ok(())
            }
            Err(error) => {
                end(&mut child);
                failed(format!("workerd is not to be found: {error}"))
            }
        }
    }

    /// Ends it; what it has stored stays.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            end(&mut running.child);
        }
    }

    fn running(&self) -> Outcome<&Running> {
        self.running
            .as_ref()
            .ok_or("the server is not running".into())
    }

    /// Which service it is.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> Outcome<&str> {
        Ok(&self.running()?.url)
    }

    /// Processor seconds that its workerd has used.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        machine::cpu_seconds(self.running()?.workerd)
    }

    /// Bytes of memory that its workerd holds.
    pub fn resident_bytes(&self) -> Outcome<f64> {
        machine::resident_bytes(self.running()?.workerd)
    }

    /// The databases of a class's objects.
    pub fn databases(&self, class: &str) -> Outcome<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut left = vec![self.state.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path);
                } else if path
                    .extension()
                    .is_some_and(|extension| extension == "sqlite")
                    && directory.to_string_lossy().contains(class)
                {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // What cannot be removed now is removed by the next start.
        let _ = forget(&self.state);
    }
}

fn forget(state: &Path) -> Outcome<()> {
    match fs::remove_dir_all(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Asks the server to end, so that it ends its workerd, and waits until it has.
fn end(child: &mut Child) {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads what the server prints for as long as it does, so that it never blocks on a full pipe.
fn drain(output: impl Read, found: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        if let Some((_, url)) = line.split_once(RUNNING) {
            // Nobody listens any more where the start took too long.
            let _ = found.send(url.trim().trim_end_matches('/').to_owned());
        } else if line.contains(r#""level":"error""#) {
            eprintln!("the server says: {line}");
        }
    }
}
