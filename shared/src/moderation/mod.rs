//! Moderation: reports of messages, and what admins do.
//!
//! One object per deployment keeps the reports and the log of every admin act. It acts on nobody:
//! what an admin decides is carried out by the edge at the user objects, after it was noted here.

pub mod call;
pub mod schema;
pub mod service;
#[cfg(test)]
mod tests;
