//! A host that serves the component of tests/sql-spin, as a process of its own.
//!
//! What always holds: it has a port and a database that no other has; it is gone when [`Host`] is
//! dropped, and ends by itself where the test process has died.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long it may take to start: it may have to compile the component.
const START: Duration = Duration::from_secs(120);

/// A host, killed when it is dropped.
#[derive(Debug)]
pub struct Host {
    /// What asks it.
    pub client: reqwest::Client,
    /// Where its database is.
    pub state: TempDir,
    options: Vec<String>,
    url: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Host {
    /// Starts one with these options and a database of its own.
    ///
    /// # Panics
    /// When something was not built, or it does not start.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let state = TempDir::with_prefix("parlance-spin-host-").unwrap();
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let log = Arc::default();
        let (child, url) = spawn(&options, state.path(), &log);
        Self {
            client: reqwest::Client::new(),
            state,
            options,
            url,
            child,
            log,
        }
    }

    /// Kills it, and starts it on the same database.
    ///
    /// # Panics
    /// As [`Host::start`].
    pub fn restart(&mut self) {
        self.kill();
        (self.child, self.url) = spawn(&self.options, self.state.path(), &self.log);
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Ends it by SIGTERM; its exit code.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// An address at the host.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// What the component answers.
    ///
    /// # Panics
    /// When it answers with an error, or not at all.
    pub async fn ask(&self, path: &str) -> Value {
        let response = self.client.get(self.at(path)).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}\n{}", self.log());
        serde_json::from_str(&text).unwrap()
    }

    /// Has the component keep `entry`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn keep(&self, entry: &'static str) {
        let request = self.client.post(self.at("/keep")).body(entry);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the host to its end.
///
/// # Panics
/// When something was not built.
#[must_use]
pub fn run(options: &[&str], database: &Path) -> Output {
    let mut command = command(database);
    command.args(options).output().unwrap()
}

fn command(database: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = root.join("functions/spin/build/spin-host");
    let component = root.join("tests/sql-spin/build/dev/parlance_sql_spin.wasm");
    for needed in [&program, &component] {
        let path = needed.display();
        assert!(
            needed.exists(),
            "{path} is missing: run `make test STAGE=build-for-tests` first"
        );
    }
    let mut command = Command::new(program);
    command
        .arg("--database")
        .arg(database)
        .arg(component)
        .stdin(Stdio::null());
    command
}

fn spawn(options: &[String], state: &Path, log: &Arc<Mutex<String>>) -> (Child, String) {
    let mut child = command(&state.join("probe.db"))
        .args(["--listen", "127.0.0.1:0", "--maintenance-seconds", "0"])
        .arg("--stop-with-parent")
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (found, url) = mpsc::channel();
    drain(child.stdout.take().unwrap(), Arc::clone(log), found.clone());
    drain(child.stderr.take().unwrap(), Arc::clone(log), found);
    match url.recv_timeout(START) {
        Ok(url) => (child, url),
        Err(error) => {
            let _ = child.kill();
            panic!("it did not start: {error}\n{}", lock(log));
        }
    }
}

fn drain(from: impl Read + Send + 'static, log: Arc<Mutex<String>>, found: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("Parlance is running on ") {
                // Nobody listens any more where the start took too long.
                let _ = found.send(url.to_owned());
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
