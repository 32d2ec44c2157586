//! Accounts: who owns a phone number.
//!
//! One object per number, named by a keyed hash of it, makes a number unique without a central
//! table. It holds the number's user id, the current verification code, and the counts that
//! limit codes and guesses. It never holds the number itself.

pub mod call;
pub mod schema;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
