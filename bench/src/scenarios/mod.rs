//! What is measured, one module a subject. Each puts its lines into the [`crate::report::Report`].

pub mod counted;
pub mod crowd;
pub mod long;
pub mod presence;
pub mod side_by_side;
pub mod start;
pub mod wake;
