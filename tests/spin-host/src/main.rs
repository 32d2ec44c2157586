//! `spin-host`: serves a Spin component on wasmtime, where there is no Spin.
//!
//! It does what the Spin edition needs of Spin, in the same way: instances are reused and run
//! requests at the same time, several share the database, and statements run on another thread
//! while an instance waits. The cron trigger is played by a call of the maintenance endpoint.
//!
//! What always holds: a component gets no file, no environment and no socket but outgoing HTTP.

mod component;
mod database;
mod instance;
mod options;
mod serve;
mod variables;

use std::error::Error;
use std::process::ExitCode;

use crate::options::{Command, Options};
use crate::serve::MAINTENANCE_TOKEN;

#[tokio::main]
async fn main() -> ExitCode {
    let command = match options::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("spin-host: {error}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spin-host: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Help => {
            println!("{}", options::HELP);
            Ok(())
        }
        Command::Measure(options) => component::measure(&options).await,
        Command::Serve(options) => serve(options).await,
    }
}

async fn serve(mut options: Options) -> Result<(), Box<dyn Error>> {
    if options.maintenance_seconds > 0 {
        let token = options.variables.entry(MAINTENANCE_TOKEN.to_owned());
        token.or_insert(random_token()?);
    }
    let component = component::Loaded::load(&options)?;
    serve::run(component, options).await
}

/// A token that nobody else knows, for the timer that this host plays.
fn random_token() -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
