//! `make bench`: measures the service against its budgets (docs/benchmarks.md).
//!
//!     parlance-bench [--quick] [--only SCENARIO,...]
//!
//! Each scenario starts its own servers on fresh state and ends them. What a run finds is
//! printed; a run of all of them also writes `bench/results.json`, `bench/results.svg` and the table in
//! docs/benchmarks.md. Nothing is asserted: a budget that is not met is told, and is no failure.

mod api;
mod failure;
mod load;
mod machine;
mod price;
mod report;
mod room;
mod samples;
mod scenarios;
mod seed;
mod server;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use failure::{Outcome, failed};
use report::Report;

/// The scenarios, in the order of the budgets.
const SCENARIOS: [&str; 7] = [
    "side", "counted", "long", "crowd", "wake", "presence", "start",
];

/// How this run is made.
pub struct Bench {
    /// The repository.
    root: PathBuf,
    is_quick: bool,
    only: Vec<String>,
    begun: Instant,
}

impl Bench {
    fn from_arguments() -> Outcome<Self> {
        let mut bench = Self {
            root: PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .ok_or("the crate lies in the repository")?
                .to_owned(),
            is_quick: false,
            only: Vec::new(),
            begun: Instant::now(),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                lexopt::Arg::Long("quick") => bench.is_quick = true,
                lexopt::Arg::Long("only") => {
                    let names = arguments.value()?.to_string_lossy().into_owned();
                    bench.only = names.split(',').map(str::to_owned).collect();
                }
                other => return Err(other.unexpected().into()),
            }
        }
        match bench
            .only
            .iter()
            .find(|name| !SCENARIOS.contains(&name.as_str()))
        {
            Some(name) => failed(format!("{name} is none of {}", SCENARIOS.join(" "))),
            None => Ok(bench),
        }
    }

    /// `quick` in a quick run, `whole` in a whole one.
    const fn pick<T: Copy>(&self, quick: T, whole: T) -> T {
        if self.is_quick { quick } else { whole }
    }

    /// Says what is being done.
    fn say(&self, text: &str) {
        eprintln!("{:6.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    async fn measure(&self, scenario: &str, report: &mut Report) -> Outcome<()> {
        use scenarios as of;
        match scenario {
            "side" => of::side_by_side::measure(self, report).await,
            "counted" => of::counted::measure(self, report).await,
            "long" => of::long::measure(self, report).await,
            "crowd" => of::crowd::measure(self, report).await,
            "wake" => of::wake::measure(self, report).await,
            "presence" => of::presence::measure(self, report).await,
            _ => of::start::measure(self, report).await,
        }
    }

    async fn run(&self) -> Outcome<bool> {
        let mut report = Report::new(machine::today(), machine::describe(&self.root));
        let mut failed = Vec::new();
        for scenario in SCENARIOS {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == scenario) {
                continue;
            }
            // What the others find is worth having all the same.
            if let Err(failure) = self.measure(scenario, &mut report).await {
                eprintln!("{scenario} could not be measured: {failure}");
                failed.push(scenario);
            }
        }
        println!("{}", report.table());
        self.say("done");
        if self.only.is_empty() {
            for scenario in &failed {
                report.missing(scenario);
            }
            let page = self.root.join("docs/benchmarks.md");
            report.write(&self.root.join("bench"), &page)?;
        }
        Ok(failed.is_empty())
    }
}

fn main() -> ExitCode {
    let run = || -> Outcome<bool> {
        let bench = Bench::from_arguments()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        tokio::task::LocalSet::new().block_on(&runtime, bench.run())
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
