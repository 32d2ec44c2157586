//! Token buckets: how often something may be done, with room for a burst.

use std::time::Duration;

use crate::time::Timestamp;

/// How a bucket refills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refill {
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens that it holds when full.
    pub burst: f64,
}

impl Refill {
    /// The limit, multiplied by the deployment's scale; none where the scale is 0.
    #[must_use]
    pub fn scaled(self, scale: f64) -> Option<Self> {
        (scale > 0.0).then(|| Self {
            per_second: self.per_second * scale,
            burst: (self.burst * scale).max(1.0),
        })
    }
}

/// A bucket, full at first.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bucket {
    /// Tokens missing from a full bucket, at the time of the last use.
    spent: f64,
    last: Option<Timestamp>,
}

impl Bucket {
    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait for one, where there is none; nothing is taken then.
    pub fn take(&mut self, refill: Refill, now: Timestamp) -> Result<(), Duration> {
        let elapsed = self.last.map_or(0.0, |last| now.since(last).as_secs_f64());
        let spent = (self.spent - elapsed * refill.per_second).max(0.0);
        self.last = Some(now);
        if spent + 1.0 > refill.burst {
            self.spent = spent;
            let missing = spent + 1.0 - refill.burst;
            return Err(Duration::from_secs_f64(missing / refill.per_second));
        }
        self.spent = spent + 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Refill = Refill {
        per_second: 2.0,
        burst: 3.0,
    };

    #[test]
    fn a_burst_is_taken_at_once_and_the_rest_has_to_wait() {
        let mut bucket = Bucket::default();
        let mut now = Timestamp::from_millis(0);
        for _ in 0..3 {
            assert_eq!(bucket.take(REFILL, now), Ok(()));
        }
        assert_eq!(bucket.take(REFILL, now), Err(Duration::from_millis(500)));
        now = now + Duration::from_millis(500);
        assert_eq!(bucket.take(REFILL, now), Ok(()));
        assert!(bucket.take(REFILL, now).is_err());
        now = now + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(bucket.take(REFILL, now), Ok(()));
        }
        assert!(bucket.take(REFILL, now).is_err());
    }

    #[test]
    fn a_scale_multiplies_and_nought_means_no_limit() {
        assert_eq!(REFILL.scaled(0.0), None);
        assert_eq!(REFILL.scaled(2.0).unwrap().per_second, 4.0);
        assert_eq!(REFILL.scaled(0.1).unwrap().burst, 1.0);
    }
}
