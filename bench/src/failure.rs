//! What ends a measurement early: a text for the person who ran it.

/// Why something could not be measured.
pub type Failure = Box<dyn std::error::Error>;

/// What may fail.
pub type Outcome<T> = Result<T, Failure>;

/// A failure that says this.
pub fn failed<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::from(text.into()))
}
