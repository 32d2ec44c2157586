//! Reading queries: unknown parameters are ignored, each known one may be there once.

use std::borrow::Cow;
use std::time::Duration;

use http::Uri;
use parlance_shared::limits::PageLimit;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::protocol::seq::Seq;

/// The greatest seq that a client can name: what a JavaScript number holds exactly.
pub(crate) const MOST_SEQ: u64 = (1 << 53) - 1;

/// The parameters of a request's query.
#[derive(Debug)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// The query of `uri`.
    #[must_use]
    pub fn of(uri: &'a Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect())
    }

    /// A parameter's value, if it is there.
    ///
    /// # Errors
    /// `invalid_request` where it is there more than once.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_ref());
        if values.next().is_some() {
            return Err(Problem::invalid_field(name, "must be given once"));
        }
        Ok(value)
    }

    /// The parameter `limit`: at least 1; above the most that a page holds, it is that.
    ///
    /// # Errors
    /// `invalid_request` where it is anything else.
    pub fn limit(&self, page: PageLimit) -> Result<u32, Problem> {
        let Some(text) = self.text("limit")? else {
            return Ok(page.default);
        };
        match digits(text) {
            None | Some(0) => Err(Problem::invalid_field("limit", "must be an integer from 1")),
            Some(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX).min(page.most)),
        }
    }

    /// A parameter that is a whole number of seconds; above `most` it is that.
    ///
    /// # Errors
    /// `invalid_request` where it is anything else.
    pub fn seconds(&self, name: &str, default: u64, most: u64) -> Result<Duration, Problem> {
        let seconds = match self.text(name)? {
            None => default,
            Some(text) => digits(text)
                .ok_or_else(|| Problem::invalid_field(name, "must be an integer from 0"))?
                .min(most),
        };
        Ok(Duration::from_secs(seconds))
    }

    /// A parameter that names an event's number, or the position before the first.
    ///
    /// # Errors
    /// `invalid_request` where it is anything else.
    pub fn seq(&self, name: &str) -> Result<Option<Seq>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        digits(text)
            .filter(|number| *number <= MOST_SEQ)
            .map(|number| Some(Seq::new(number)))
            .ok_or_else(|| Problem::invalid_field(name, "must be an integer from 0"))
    }

    /// A parameter that is `true` or `false`; absent, it is `false`.
    ///
    /// # Errors
    /// `invalid_request` where it is anything else.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid_field(name, "must be true or false")),
        }
    }
}

/// A number written in digits alone; one that is too large is the largest.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: PageLimit = PageLimit {
        default: 20,
        most: 100,
    };

    fn limit(query: &str) -> Result<u32, String> {
        let uri = format!("/?{query}").parse().unwrap();
        Query::of(&uri)
            .limit(PAGE)
            .map_err(|problem| problem.errors[0].field.clone())
    }

    #[test]
    fn a_limit_is_kept_within_the_page() {
        assert_eq!(limit("other=1&other=2"), Ok(20));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=101"), Ok(100));
        assert_eq!(limit("limit=99999999999999999999999"), Ok(100));
        for bad in [
            "limit=",
            "limit=0",
            "limit=-1",
            "limit=1.5",
            "limit=+1",
            "limit=ten",
            "limit=1&limit=2",
        ] {
            assert_eq!(limit(bad), Err("limit".to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn seconds_are_whole_and_kept_within_the_most() {
        let wait = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            Query::of(&uri)
                .seconds("wait", 25, 55)
                .map(|wait| wait.as_secs())
                .map_err(|problem| problem.errors[0].field.clone())
        };
        assert_eq!(wait(""), Ok(25));
        assert_eq!(wait("wait=0"), Ok(0));
        assert_eq!(wait("wait=55"), Ok(55));
        assert_eq!(wait("wait=56"), Ok(55));
        assert_eq!(wait("wait=99999999999999999999999"), Ok(55));
        for bad in ["wait=", "wait=-1", "wait=1.5", "wait=x", "wait=1&wait=1"] {
            assert_eq!(wait(bad), Err("wait".to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn a_seq_is_a_whole_number_from_zero() {
        let seq = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            Query::of(&uri)
                .seq("after_seq")
                .map_err(|problem| problem.errors[0].field.clone())
        };
        assert_eq!(seq(""), Ok(None));
        assert_eq!(seq("after_seq=0"), Ok(Some(Seq::ZERO)));
        assert_eq!(
            seq("after_seq=9007199254740991"),
            Ok(Some(Seq::new(MOST_SEQ)))
        );
        for bad in [
            "after_seq=",
            "after_seq=-1",
            "after_seq=9007199254740992",
            "after_seq=x",
            "after_seq=1&after_seq=1",
        ] {
            assert_eq!(seq(bad), Err("after_seq".to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn a_flag_is_true_or_false() {
        let flag = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            Query::of(&uri)
                .flag("archived")
                .map_err(|problem| problem.errors[0].field.clone())
        };
        assert_eq!(flag(""), Ok(false));
        assert_eq!(flag("archived=%74rue"), Ok(true));
        for bad in [
            "archived",
            "archived=1",
            "archived=True",
            "archived=true&archived=true",
        ] {
            assert_eq!(flag(bad), Err("archived".to_owned()), "{bad:?}");
        }
    }
}
