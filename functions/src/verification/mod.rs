//! Sending verification codes to phone numbers.
//!
//! A provider is chosen by the configuration. What always holds: neither a number nor a code
//! reaches the log.

pub mod dev;
pub mod twilio;

use parlance_shared::protocol::auth::PhoneNumber;

use crate::backend::Backend;
use dev::Dev;
use twilio::Twilio;

/// Sends codes.
#[allow(async_fn_in_trait)] // One thread at the edge: the futures need not be Send.
pub trait CodeSender {
    /// Sends `code` to `number`.
    ///
    /// # Errors
    /// [`SendFailure`]; the code must then be withdrawn.
    async fn send<B: Backend>(
        &self,
        backend: &B,
        number: &PhoneNumber,
        code: &str,
    ) -> Result<Delivery, SendFailure>;
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is on its way to the phone.
    Sent,
    /// It is to be shown to the client.
    Shown,
}

/// A code was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The provider knows that the number is none, or takes no messages. The text is for the log.
    #[error("{0}")]
    InvalidNumber(String),
    /// Anything else. The text is for the log.
    #[error("{0}")]
    Failed(String),
}

/// The configured provider.
#[derive(Debug)]
pub enum Provider {
    /// Shows codes to the client: development only.
    Dev,
    /// Twilio's Messages API.
    Twilio(Twilio),
}

impl CodeSender for Provider {
    async fn send<B: Backend>(
        &self,
        backend: &B,
        number: &PhoneNumber,
        code: &str,
    ) -> Result<Delivery, SendFailure> {
        match self {
            Self::Dev => Dev.send(backend, number, code).await,
            Self::Twilio(twilio) => twilio.send(backend, number, code).await,
        }
    }
}
