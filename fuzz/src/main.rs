//! Fuzzes all targets, or one: `parlance-fuzz [--seeds N] [--first SEED] [--target NAME]`
//! (`make fuzz SEEDS=N`). Prints progress and a last line with what was tried; the exit status is
//! 1 where something did not hold, and the seed that shows it is printed.

use std::time::{Duration, Instant};

use lexopt::prelude::*;
use parlance_fuzz::target::TARGETS;

/// How often it tells how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

struct Options {
    seeds: u64,
    first: u64,
    target: Option<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        seeds: 200,
        first: 1,
        target: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("first") => options.first = parser.value()?.parse()?,
            Long("target") => options.target = Some(parser.value()?.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let known = |name: &String| TARGETS.iter().any(|target| target.name == name);
    if options.target.as_ref().is_some_and(|name| !known(name)) {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("the targets are {}", names.join(", ")).into());
    }
    Ok(options)
}

fn main() -> std::process::ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("parlance-fuzz: {error}");
            return 2.into();
        }
    };
    // A panic is told below, with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut inputs, mut failed) = (0, 0);
    let mut told = Instant::now();
    for target in TARGETS {
        if options
            .target
            .as_deref()
            .is_some_and(|name| name != target.name)
        {
            continue;
        }
        let mut tried = 0;
        for seed in options.first..options.first.saturating_add(options.seeds) {
            match target.try_seed(seed) {
                Ok(count) => tried += count,
                Err(failure) => {
                    failed += 1;
                    eprintln!("{}", failure.0);
                    eprintln!("  make fuzz SEEDS=1 SEED={seed} TARGET={}", target.name);
                }
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                println!("{}: seed {seed}, {tried} inputs", target.name);
            }
        }
        println!("{}: {} seeds, {tried} inputs", target.name, options.seeds);
        inputs += tried;
    }
    println!("fuzzed {inputs} inputs: {failed} seeds failed");
    u8::from(failed > 0).into()
}
