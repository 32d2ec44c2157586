//! The HTTP contract: what every edition does alike.
//!
//! The suite runs against the edition that the environment variable `EDITION` names (`workers`,
//! the default, or `spin`). What an edition cannot do it declares in
//! [`parlance_tests::Edition`]; a test that asks for it says so.

mod access;
mod acts;
mod auth;
mod codes;
mod conversations;
mod durability;
mod edition;
mod errors;
mod fallbacks;
mod groups;
mod later;
mod moderation;
mod people;
mod security;
mod writers;
