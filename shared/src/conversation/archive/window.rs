//! How much of a conversation stays in its object: the hot window.

use std::time::Duration;

use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// So many events more than twice the window are not left to wait for the alarm.
const PRESSING: u64 = 2000;
/// A day.
const DAY: f64 = 24.0 * 60.0 * 60.0;
/// Days that a window may have: a hundred years.
const MOST_DAYS: f64 = 36_500.0;

/// What is outside of it goes to the archive. So that a segment is worth its while, nothing goes
/// until a quarter more than the window is there; then everything goes that is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotWindow {
    /// The newest so many events are within it.
    pub events: u64,
    /// What is younger is within it.
    pub age: Duration,
}

impl Default for HotWindow {
    fn default() -> Self {
        Self {
            events: 20_000,
            age: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl HotWindow {
    /// With `HOT_WINDOW_EVENTS` as a deployment sets it.
    ///
    /// # Errors
    /// What it must be.
    pub fn with_events(self, text: &str) -> Result<Self, &'static str> {
        let events = text
            .trim()
            .parse()
            .map_err(|_| "HOT_WINDOW_EVENTS must be a whole number from 0")?;
        Ok(Self { events, ..self })
    }

    /// With `HOT_WINDOW_DAYS` as a deployment sets it; a fraction is taken.
    ///
    /// # Errors
    /// What it must be.
    pub fn with_days(self, text: &str) -> Result<Self, &'static str> {
        let days: f64 = text
            .trim()
            .parse()
            .ok()
            .filter(|days| (0.0..=MOST_DAYS).contains(days))
            .ok_or("HOT_WINDOW_DAYS must be a number from 0 to 36500")?;
        let age = Duration::from_secs_f64(days * DAY);
        Ok(Self { age, ..self })
    }

    /// Whether an event is outside, where the newest is `head`.
    pub(super) fn is_outside(
        &self,
        seq: Seq,
        created_at: Timestamp,
        head: Seq,
        now: Timestamp,
    ) -> bool {
        head.distance_from(seq) >= self.events || created_at + self.age <= now
    }

    /// Whether there is twice as much as the window holds, and a segment's worth.
    pub(super) fn is_pressing(&self, head: Seq, archived: Seq) -> bool {
        head.distance_from(archived) >= self.events.saturating_mul(2).saturating_add(PRESSING)
    }

    /// When events are to go, where those up to `archived` have gone and the first that has not is
    /// of `oldest_at`.
    pub(super) fn due_at(
        &self,
        head: Seq,
        archived: Seq,
        oldest_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let most = self.events.saturating_add((self.events / 4).max(1));
        if head.distance_from(archived) >= most {
            return Some(Timestamp::from_millis(0));
        }
        oldest_at.map(|at| at + self.age + self.age / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_sets_it_and_is_told_what_it_must_be() {
        let window = HotWindow::default();
        assert_eq!(window.with_events(" 1000 ").unwrap().events, 1000);
        assert_eq!(window.with_events("0").unwrap().events, 0);
        assert_eq!(
            window.with_days("0.5").unwrap().age,
            Duration::from_secs(12 * 60 * 60)
        );
        assert_eq!(window.with_days("0").unwrap().age, Duration::ZERO);
        for bad in ["", "-1", "1.5", "many", "1e3"] {
            assert!(window.with_events(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-1", "NaN", "inf", "40000", "many"] {
            assert!(window.with_days(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_far_beyond_the_window_presses() {
        let window = HotWindow::default().with_events("1000").unwrap();
        assert!(!window.is_pressing(Seq::new(4049), Seq::new(50)));
        assert!(window.is_pressing(Seq::new(4050), Seq::new(50)));
        let none = HotWindow::default().with_events(&u64::MAX.to_string());
        assert!(!none.unwrap().is_pressing(Seq::BEYOND, Seq::ZERO));
    }

    #[test]
    fn nothing_goes_until_there_is_a_quarter_more() {
        let window = HotWindow {
            events: 100,
            age: Duration::from_secs(400),
        };
        let at = Timestamp::from_millis(1_790_000_000_000);
        let due = |head| window.due_at(Seq::new(head), Seq::new(50), Some(at));
        assert_eq!(due(174), Some(at + Duration::from_secs(500)));
        assert_eq!(due(175), Some(Timestamp::from_millis(0)));
        let outside = |seq| window.is_outside(Seq::new(seq), at, Seq::new(175), at);
        assert!(outside(75));
        assert!(!outside(76));
        let old = at + Duration::from_secs(400);
        assert!(window.is_outside(Seq::new(175), at, Seq::new(175), old));
    }
}
