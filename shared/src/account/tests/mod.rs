//! The rules of an account, at the height of its service.

mod codes;
mod limits;
mod storage;

use std::rc::Rc;
use std::time::Duration;

use super::call::*;
use super::service::{AccountLimits, AccountService};
use crate::entropy::SeededEntropy;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::OBJECT_SCOPE;
use crate::sql::probe::ProbeSql;
use crate::time::{Clock, ManualClock, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DUMP: &str = "SELECT * FROM account";

struct Fixture {
    sql: Rc<ProbeSql>,
    service: AccountService<Rc<ProbeSql>>,
    clock: ManualClock,
    entropy: SeededEntropy,
}

impl Fixture {
    fn new() -> Self {
        Self::with_scale(1.0)
    }

    fn with_scale(scale: f64) -> Self {
        let sql = Rc::new(ProbeSql::new());
        Self {
            service: AccountService::new(sql.clone(), OBJECT_SCOPE, AccountLimits::scaled(scale)),
            sql,
            clock: ManualClock::new(Timestamp::from_millis(1_790_000_000_000)),
            entropy: SeededEntropy::new(11),
        }
    }

    fn request(&mut self) -> Result<String, Problem> {
        self.service
            .request_code(RequestCode {}, self.clock.now(), &self.entropy)
            .map(|issued| issued.code)
            .map_err(ServiceError::into_problem)
    }

    fn verify(&mut self, code: &str) -> Result<crate::ids::UserId, Problem> {
        self.service
            .verify_code(
                &VerifyCode {
                    code: code.to_owned(),
                },
                self.clock.now(),
                &self.entropy,
            )
            .map(|verified| verified.user_id)
            .map_err(ServiceError::into_problem)
    }

    fn withdraw(&mut self, code: &str) {
        self.service
            .withdraw_code(&WithdrawCode {
                code: code.to_owned(),
            })
            .unwrap();
    }

    /// Tries a wrong code `times` times; each must be refused as such.
    fn guess(&mut self, right: &str, times: u32) {
        for _ in 0..times {
            assert_eq!(
                self.verify(&wrong(right)).unwrap_err().code,
                Code::Unauthenticated
            );
        }
    }
}

fn wrong(right: &str) -> String {
    let number: u32 = right.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

fn retry_after(problem: &Problem) -> Duration {
    assert_eq!(problem.code, Code::RateLimited);
    Duration::from_millis(problem.retry_after_ms.unwrap())
}
