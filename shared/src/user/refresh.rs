//! Refresh tokens.
//!
//! A token names its user, its device and its generation, and proves itself by an HMAC under a
//! key that only the device's row holds. So any older generation is recognised as having been
//! ours (and its use again as theft) without storing it, and an invented one changes nothing.
