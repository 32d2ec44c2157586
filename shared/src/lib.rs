//! The rules of chat.
//!
//! Everything here is a function of its arguments: time ([`time::Timestamp`], [`time::Clock`]),
//! randomness ([`entropy::Entropy`]) and storage ([`sql::Sql`]) are handed in, and what a rule
//! wants done to the world it returns as data. The same code runs inside Durable Objects, in
//! the Spin component and in native tests.
//!
//! Must not: name a platform (`worker`, `spin-sdk`), read a clock, roll a die, or log the
//! content of a message or a phone number.

pub mod account;
pub mod conversation;
pub mod entropy;
pub mod frame_rate;
pub mod ids;
pub mod limiter;
pub mod limits;
pub mod moderation;
pub mod need;
pub mod object;
pub mod page;
pub mod protocol;
pub mod sql;
pub mod time;
pub mod user;
