//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::prelude::*;

/// What `--help` prints.
pub const HELP: &str = "\
Serves a Spin component on wasmtime.

    spin-host [OPTION...] COMPONENT.wasm

    --listen ADDRESS:PORT      where to listen (127.0.0.1:3000; port 0 picks a free one)
    --database FILE            the SQLite database, made where there is none (parlance.db)
    --variable NAME=VALUE      a variable of the component, in any case; may be repeated
    --variables-file FILE      the same, one on each line; lines that begin with # are left out
    --concurrency N            requests that one instance runs at the same time (16)
    --maintenance-seconds N    how often the maintenance endpoint is called (1; 0 for never); where
                               no variable MAINTENANCE_TOKEN is given, it is set for this
    --stop-with-parent         end when the process that started this one is gone
    --hint                     say what to try, once it serves
    --measure                  print the component's size and how long it takes to start; serve
                               nothing
    --help                     print this

Compiled code is kept in wasmtime's cache, so that only the first start compiles. SIGINT and
SIGTERM end it.";

/// What is asked for.
#[derive(Debug)]
pub enum Command {
    /// Serve a component.
    Serve(Options),
    /// Say how large it is, and how fast it starts.
    Measure(Options),
    /// Explain.
    Help,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// The component's file.
    pub component: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The database's file.
    pub database: PathBuf,
    /// The variables, by their names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Requests that one instance runs at the same time.
    pub concurrency: usize,
    /// How often the maintenance endpoint is called; 0 for never.
    pub maintenance_seconds: u64,
    /// Whether to end with the process that started this one.
    pub stops_with_parent: bool,
    /// Whether to say what to try.
    pub hints: bool,
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut component = None;
    let mut measures = false;
    let mut options = Options {
        component: PathBuf::new(),
        listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
        database: PathBuf::from("parlance.db"),
        variables: BTreeMap::new(),
        concurrency: 16,
        maintenance_seconds: 1,
        stops_with_parent: false,
        hints: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => options.listen = parser.value()?.parse()?,
            Long("database") => options.database = PathBuf::from(parser.value()?),
            Long("variable") => {
                let text = parser.value()?.string()?;
                let (name, value) = variable(&text)?;
                options.variables.insert(name, value);
            }
            Long("variables-file") => {
                let path = PathBuf::from(parser.value()?);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                for line in text.lines().map(str::trim) {
                    if !line.is_empty() && !line.starts_with('#') {
                        let (name, value) = variable(line)?;
                        options.variables.insert(name, value);
                    }
                }
            }
            Long("concurrency") => options.concurrency = parser.value()?.parse()?,
            Long("maintenance-seconds") => options.maintenance_seconds = parser.value()?.parse()?,
            Long("stop-with-parent") => options.stops_with_parent = true,
            Long("hint") => options.hints = true,
            Long("measure") => measures = true,
            Long("help") => return Ok(Command::Help),
            Value(path) if component.is_none() => component = Some(PathBuf::from(path)),
            other => return Err(other.unexpected()),
        }
    }
    options.component = component.ok_or("which component?")?;
    if options.concurrency == 0 {
        return Err("--concurrency must be at least 1".into());
    }
    Ok(if measures {
        Command::Measure(options)
    } else {
        Command::Serve(options)
    })
}

/// `NAME=VALUE`, with quotes around the value taken off.
fn variable(text: &str) -> Result<(String, String), lexopt::Error> {
    let (name, value) = text.split_once('=').ok_or("a variable is NAME=VALUE")?;
    let value = value.trim();
    let bare = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    Ok((
        name.trim().to_ascii_lowercase(),
        bare.unwrap_or(value).to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, String> {
        let arguments = ["spin-host"].iter().chain(arguments).map(OsString::from);
        parse(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_named_in_lower_case_and_lose_their_quotes() {
        let command = parsed(&["--variable", "TOKEN_KEYS=\"k1:x=\"", "a.wasm"]).unwrap();
        let Command::Serve(options) = command else {
            panic!("{command:?}");
        };
        assert_eq!(options.variables["token_keys"], "k1:x=");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            &[][..],
            &["a.wasm", "b.wasm"],
            &["--listen", "nowhere", "a.wasm"],
            &["--concurrency", "0", "a.wasm"],
            &["--variable", "nothing", "a.wasm"],
            &["--unknown", "a.wasm"],
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }
}
