//! How much a device may say: the token buckets of its messages, its typing and presence, and
//! its other frames.
//!
//! Inside a Durable Object they live in memory only: an object with sockets sleeps after ten
//! seconds without a frame, and by then every bucket is full again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::DeviceId;
use crate::limiter::{Bucket, Rate};
use crate::limits;
use crate::protocol::frame::ClientFrame;
use crate::protocol::problem::Problem;
use crate::time::Timestamp;

/// Refusals in a row after which a socket is closed.
const PATIENCE: u32 = 200;
/// Devices after which those that have said nothing for a while are forgotten.
const DEVICES: usize = 2048;

/// One device's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameRates {
    messages: Bucket,
    signals: Bucket,
    others: Bucket,
    refused: u32,
}

/// A frame came too soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooSoon {
    /// What the client is told.
    pub problem: Problem,
    /// It has been told so often enough: the socket is to be closed.
    pub is_last: bool,
}

impl FrameRates {
    /// Takes a token for a frame. `scale` multiplies the limits; 0 turns them off.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit(
        &mut self,
        frame: &ClientFrame,
        scale: f64,
        now: Timestamp,
    ) -> Result<(), Box<TooSoon>> {
        let (bucket, rate) = match frame {
            ClientFrame::SendMessage(_) | ClientFrame::Act(_) => {
                (&mut self.messages, limits::MESSAGE_RATE)
            }
            ClientFrame::TypingStart(_)
            | ClientFrame::TypingStop(_)
            | ClientFrame::PresenceSubscribe(_) => (&mut self.signals, limits::SIGNAL_RATE),
            _ => (&mut self.others, limits::FRAME_RATE),
        };
        match take(bucket, rate, scale, now) {
            Ok(()) => {
                self.refused = 0;
                Ok(())
            }
            Err(problem) => {
                self.refused = self.refused.saturating_add(1);
                Err(Box::new(TooSoon {
                    problem,
                    is_last: self.refused >= PATIENCE,
                }))
            }
        }
    }

    /// Takes a token for a message that came over HTTP.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit_message(&mut self, scale: f64, now: Timestamp) -> Result<(), Problem> {
        take(&mut self.messages, limits::MESSAGE_RATE, scale, now)
    }

    fn is_full(&self, now: Timestamp) -> bool {
        [self.messages, self.signals, self.others]
            .iter()
            .all(|bucket| bucket.full_at() <= now)
    }
}

fn take(bucket: &mut Bucket, rate: Rate, scale: f64, now: Timestamp) -> Result<(), Problem> {
    let Some(rate) = rate.scaled(scale) else {
        return Ok(());
    };
    bucket
        .take(rate, now)
        .map_err(|wait| Problem::rate_limited("Too much at once.", wait))
}

/// The buckets of many devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceRates(BTreeMap<DeviceId, FrameRates>);

impl DeviceRates {
    /// No device has said anything.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The buckets of a device. Those that are full are forgotten once there are many: a full
    /// bucket is what a device begins with.
    pub fn of(&mut self, device_id: DeviceId, now: Timestamp) -> &mut FrameRates {
        if self.0.len() >= DEVICES {
            self.0.retain(|_, rates| !rates.is_full(now));
        }
        self.0.entry(device_id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn a_burst_passes_and_what_goes_on_is_refused_and_at_last_ended() {
        let mut rates = FrameRates::default();
        for _ in 0..1000 {
            assert_eq!(rates.admit(&ClientFrame::Ping, 1.0, START), Ok(()));
        }
        for count in 1..=PATIENCE {
            let refusal = rates.admit(&ClientFrame::Ping, 1.0, START).unwrap_err();
            assert_eq!(refusal.problem.retry_after_ms, Some(10));
            assert_eq!(refusal.is_last, count == PATIENCE);
        }
        let later = START + Duration::from_secs(1);
        assert_eq!(rates.admit(&ClientFrame::Ping, 1.0, later), Ok(()));
        assert_eq!(rates.refused, 0);
    }

    #[test]
    fn messages_have_a_bucket_of_their_own_and_a_scale() {
        let mut rates = FrameRates::default();
        for _ in 0..60 {
            assert_eq!(rates.admit_message(1.0, START), Ok(()));
        }
        assert!(rates.admit_message(1.0, START).is_err());
        assert_eq!(
            rates.admit_message(0.0, START),
            Ok(()),
            "0 turns limits off"
        );
        assert_eq!(rates.admit(&ClientFrame::Ping, 1.0, START), Ok(()));
        assert!(
            rates
                .admit_message(1.0, START + Duration::from_millis(49))
                .is_err()
        );
        assert_eq!(
            rates.admit_message(1.0, START + Duration::from_millis(50)),
            Ok(())
        );
    }

    #[test]
    fn devices_that_are_quiet_are_forgotten() {
        let entropy = SeededEntropy::new(1);
        let mut rates = DeviceRates::new();
        for _ in 0..DEVICES {
            let device_id = DeviceId::random(&entropy);
            rates
                .of(device_id, START)
                .admit_message(1.0, START)
                .unwrap();
        }
        let later = START + Duration::from_secs(60);
        rates.of(DeviceId::random(&entropy), later);
        assert_eq!(rates.0.len(), 1);
    }
}
