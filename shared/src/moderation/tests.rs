//! The rules of moderation, natively.
