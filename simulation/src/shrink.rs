//! Making a plan that fails as small as it gets: steps and kinds of bad weather are left out for
//! as long as it still fails.

use crate::plan::{Plan, Weather};
use crate::run;
use crate::world::Violation;

/// Runs that are spent on it.
const RUNS: usize = 600;

/// The smallest plan found that fails, and how.
#[must_use]
pub fn shrink(plan: &Plan, violation: &Violation) -> (Plan, Violation) {
    let mut best = (plan.clone(), violation.clone());
    let mut left = RUNS;
    let rule = violation.rule;
    let mut attempt = |best: &mut (Plan, Violation), candidate: Plan| {
        if left == 0 || candidate == best.0 {
            return false;
        }
        left -= 1;
        match run(&candidate, false).violation {
            Some(found) if found.rule == rule => {
                *best = (candidate, found);
                true
            }
            _ => false,
        }
    };
    loop {
        let before = best.0.clone();
        for weather in calmer(&best.0.weather) {
            let candidate = Plan {
                weather,
                ..best.0.clone()
            };
            attempt(&mut best, candidate);
        }
        let candidate = Plan {
            hot: None,
            ..best.0.clone()
        };
        attempt(&mut best, candidate);
        let mut size = best.0.steps.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < best.0.steps.len() {
                let mut candidate = best.0.clone();
                let to = (from + size).min(candidate.steps.len());
                candidate.steps.drain(from..to);
                if !attempt(&mut best, candidate) {
                    from += size;
                }
            }
            if size == 1 {
                break;
            }
            size = size.div_ceil(2);
        }
        if best.0 == before {
            return best;
        }
    }
}

/// The weather without one kind of it.
fn calmer(weather: &Weather) -> Vec<Weather> {
    let weather = *weather;
    vec![
        Weather::CALM,
        Weather {
            lost_request: 0,
            ..weather
        },
        Weather {
            lost_answer: 0,
            ..weather
        },
        Weather {
            doubled: 0,
            ..weather
        },
        Weather { slow: 0, ..weather },
        Weather {
            crash: 0,
            ..weather
        },
        Weather {
            amnesia: 0,
            ..weather
        },
        Weather {
            late_alarm: 0,
            ..weather
        },
        Weather {
            lazy_disk: 0,
            ..weather
        },
        Weather {
            bad_disk: 0,
            ..weather
        },
        Weather {
            bad_store: 0,
            ..weather
        },
    ]
}
