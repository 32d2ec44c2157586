//! The rules of an account: codes, guesses, and who owns the number.
//!
//! What always holds: the writes of a request are one transaction, and a wrong try is counted
//! (and the count committed) before it is answered. An account that was never asked for a code
//! stays without tables.
//!
//! Must not: put a code or a number into an error.

use std::time::Duration;

use super::call::{
    AccountRequest, CodeIssued, FindUser, RequestCode, Verified, VerifyCode, WithdrawCode,
};
use super::schema;
use super::store::{self, Account, StoredCode};
use crate::entropy::Entropy;
use crate::ids::UserId;
use crate::limits;
use crate::object;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::migrations::LazySchema;
use crate::sql::{Sql, transact};
use crate::time::Timestamp;

/// The window in which codes are counted.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// How much a number may ask for. The tries of one code are limited always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Codes in any hour; `None` for no limit.
    pub codes_per_hour: Option<u32>,
    /// Wrong tries in a row, over all codes, after which the number is locked; `None` for never.
    pub lock_tries: Option<u32>,
}

impl AccountLimits {
    /// The protocol's limits, with the hour's codes multiplied by `scale` (at least one is left).
    /// 0 turns off both limits. What makes no sense (a negative number, NaN) counts as 1, so
    /// that a slip in the settings never takes the limits away.
    #[must_use]
    pub fn scaled(scale: f64) -> Self {
        if scale == 0.0 {
            return Self {
                codes_per_hour: None,
                lock_tries: None,
            };
        }
        let scale = if scale > 0.0 { scale } else { 1.0 };
        // The conversion saturates.
        let codes = (f64::from(limits::CODES_PER_HOUR) * scale).floor().max(1.0) as u32;
        Self {
            codes_per_hour: Some(codes),
            lock_tries: Some(limits::LOCK_TRIES),
        }
    }

    /// Refuses while the number is locked.
    fn check_lock(&self, account: &Account, now: Timestamp) -> Result<(), Problem> {
        match (self.lock_tries, account.locked_until) {
            (Some(_), Some(until)) if now < until => Err(Problem::rate_limited(
                "There were too many wrong codes for this number.",
                until.since(now),
            )),
            _ => Ok(()),
        }
    }

    /// Counts a new code, or refuses it.
    fn count_code(&self, account: &mut Account, now: Timestamp) -> Result<(), Problem> {
        let Some(most) = self.codes_per_hour else {
            return Ok(());
        };
        let ends = |issued: i64| Timestamp::from_millis(issued) + HOUR;
        account.issued_at.retain(|issued| now < ends(*issued));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // With this many in the window, a new one fits once this one has left it.
        if let Some(oldest) = account
            .issued_at
            .len()
            .checked_sub(most)
            .and_then(|position| account.issued_at.get(position))
        {
            return Err(Problem::rate_limited(
                "This number has had all the codes of the hour.",
                ends(*oldest).since(now),
            ));
        }
        account.issued_at.push(now.as_millis());
        Ok(())
    }

    /// Counts a wrong try, and locks the number where it was one too many.
    fn count_wrong(&self, account: &mut Account, now: Timestamp) {
        let Some(most) = self.lock_tries else {
            return;
        };
        account.wrong_tries = account.wrong_tries.saturating_add(1);
        if account.wrong_tries >= most {
            account.locked_until = Some(now + limits::LOCK_TIME);
            account.wrong_tries = 0;
        }
    }
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self::scaled(1.0)
    }
}

/// The account of one phone number.
#[derive(Debug)]
pub struct AccountService<S: Sql> {
    sql: S,
    scope: i64,
    limits: AccountLimits,
    schema: LazySchema,
}

impl<S: Sql> AccountService<S> {
    /// The account that `scope` of this database holds.
    pub const fn new(sql: S, scope: i64, limits: AccountLimits) -> Self {
        Self {
            sql,
            scope,
            limits,
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
        }
    }

    /// Does what is asked. The answer is the JSON of the call's reply.
    ///
    /// # Errors
    /// As the method of the call.
    pub fn handle(
        &mut self,
        request: AccountRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, ServiceError> {
        match request {
            AccountRequest::RequestCode(call) => {
                object::reply_json(&self.request_code(call, now, entropy)?)
            }
            AccountRequest::WithdrawCode(call) => object::reply_json(&self.withdraw_code(&call)?),
            AccountRequest::VerifyCode(call) => {
                object::reply_json(&self.verify_code(&call, now, entropy)?)
            }
            AccountRequest::FindUser(call) => object::reply_json(&self.find_user(call)?),
        }
    }

    /// Makes a code, which replaces the one before.
    ///
    /// # Errors
    /// `rate_limited` after the hour's last code, or while the number is locked.
    pub fn request_code(
        &mut self,
        _call: RequestCode,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<CodeIssued, ServiceError> {
        self.schema.make(&self.sql)?;
        transact(&self.sql, || {
            let mut account = store::load(&self.sql, self.scope)?;
            self.limits.check_lock(&account, now)?;
            self.limits.count_code(&mut account, now)?;
            let code = format!("{:06}", entropy.below(1_000_000));
            account.code = Some(StoredCode::new(&code, now, entropy));
            store::save(&self.sql, self.scope, &account)?;
            Ok(CodeIssued {
                code,
                expires_in: limits::CODE_LIFETIME.as_secs(),
            })
        })
    }

    /// Takes back a code that could not be sent. Does nothing where it is not the newest, or was
    /// used. Wrong tries at it still count.
    ///
    /// # Errors
    /// When storage fails.
    pub fn withdraw_code(&mut self, call: &WithdrawCode) -> Result<(), ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Ok(());
        }
        transact(&self.sql, || {
            let mut account = store::load(&self.sql, self.scope)?;
            if account
                .code
                .as_ref()
                .is_some_and(|code| code.matches(&call.code))
            {
                account.code = None;
                account.issued_at.pop();
                store::save(&self.sql, self.scope, &account)?;
            }
            Ok(())
        })
    }

    /// Checks a code, which is used up when it is right. Tries while no code lives are not
    /// counted: they cannot guess anything.
    ///
    /// # Errors
    /// `invalid_request` where it is not six digits, which is not counted as a try;
    /// `rate_limited` while the number is locked; `unauthenticated` for a wrong, used, expired,
    /// replaced or dead code, all alike.
    pub fn verify_code(
        &mut self,
        call: &VerifyCode,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Verified, ServiceError> {
        if call.code.len() != 6 || !call.code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem::invalid_field("verification_code", "must be six digits").into());
        }
        let verified = if self.schema.is_there(&self.sql)? {
            transact(&self.sql, || self.try_code(&call.code, now, entropy))?
        } else {
            None
        };
        verified.map(|user_id| Verified { user_id }).ok_or_else(|| {
            Problem::unauthenticated("The verification code is wrong, used or expired.").into()
        })
    }

    /// The number's user where the code is right. A wrong try is no error here, so that its
    /// count is committed.
    fn try_code(
        &self,
        tried: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Option<UserId>, ServiceError> {
        let mut account = store::load(&self.sql, self.scope)?;
        self.limits.check_lock(&account, now)?;
        let Some(code) = account.code.as_mut().filter(|code| code.is_live(now)) else {
            return Ok(None);
        };
        let user_id = if code.matches(tried) {
            account.code = None;
            account.wrong_tries = 0;
            account.locked_until = None;
            Some(
                *account
                    .user_id
                    .get_or_insert_with(|| UserId::random(entropy)),
            )
        } else {
            code.count_wrong();
            self.limits.count_wrong(&mut account, now);
            None
        };
        store::save(&self.sql, self.scope, &account)?;
        Ok(user_id)
    }

    /// Who owns the number.
    ///
    /// # Errors
    /// When storage fails.
    pub fn find_user(&mut self, _call: FindUser) -> Result<Option<UserId>, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Ok(None);
        }
        Ok(store::load(&self.sql, self.scope)?.user_id)
    }
}
