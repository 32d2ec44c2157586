//! The whole system on workerd: what only the Workers edition has, and what survives there. What
//! every edition does alike is in `contract`.
//!
//! One program, so that it is linked once and most tests share one server. Tests run many at a
//! time: each has users of its own, and a server of its own only where it needs other settings or
//! kills it.

mod acts;
mod archive;
mod crowd;
mod durability;
mod fallbacks;
mod frames;
mod groups;
mod inbox;
mod media;
mod ordering;
mod presence;
mod receipts;
mod security;
mod sessions;
mod sockets;
mod spin_glue;
mod spin_host_options;
mod typing;
mod unread;
