//! Opaque cursors of paged lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::problem::Problem;

/// Makes the cursor that stands for `position`.
#[must_use]
pub fn cursor(position: &impl Serialize) -> String {
    // Positions are plain structs of ids and numbers, which always serialize.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// Reads a cursor that [`cursor`] made.
///
/// # Errors
/// `invalid_request` for any other text.
pub fn position<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Problem::invalid_field("cursor", "is not a cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_gives_its_position_back_and_nothing_else_is_one() {
        let text = cursor(&(17_u64, true));
        assert_eq!(position::<(u64, bool)>(&text).unwrap(), (17, true));
        for bad in ["", "x", "AAAA", text.trim_start_matches("W")] {
            assert!(position::<(u64, bool)>(bad).is_err(), "{bad:?}");
        }
    }
}
