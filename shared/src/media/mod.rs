//! Media: what was uploaded, by whom, and where it was sent.
//!
//! One object for each medium knows what the medium is to be, whether its bytes are there, and in
//! which messages it was sent. The bytes themselves are in object storage, and never pass through
//! here: what is to be done there an object asks for as an [`errand::Errand`].

pub mod call;
pub mod errand;
pub mod schema;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
