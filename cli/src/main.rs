//! Tools for those who run a deployment.
//!
//!     parlance archive cat FILE...      the events of segments, as JSON, one a line
//!     parlance archive check FILE...    whether segments are as they were written
//!
//! A segment is an object of the bucket that is bound as `ARCHIVE`; `npx wrangler r2 object get`
//! brings one (docs/archive.md). `-` is standard input. Exit: 0, or 1 with a reason on standard
//! error for each file that cannot be read, or 2 where it is called otherwise.
//!
//! Must not: change anything.

mod archive;

use std::io::{self, Write as _};
use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "usage: parlance archive cat|check FILE...   (docs/archive.md)";

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            let _ = writeln!(io::stderr(), "parlance: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Some((command, files)) = command else {
        let _ = writeln!(io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    };
    match archive::run(command, &files, &mut io::stdout().lock(), &mut io::stderr()) {
        Ok(true) => ExitCode::SUCCESS,
        // Whoever read the output may have enough of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// What is asked for; none where it is how to ask.
fn parse(
    mut arguments: lexopt::Parser,
) -> Result<Option<(archive::Command, Vec<String>)>, lexopt::Error> {
    let mut words = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let mut words = words.into_iter();
    let command = match (words.next().as_deref(), words.next().as_deref()) {
        (Some("archive"), Some("cat")) => archive::Command::Cat,
        (Some("archive"), Some("check")) => archive::Command::Check,
        _ => return Err("there is no such command".into()),
    };
    let files: Vec<_> = words.collect();
    if files.is_empty() {
        return Err("it is not said which file".into());
    }
    Ok(Some((command, files)))
}
