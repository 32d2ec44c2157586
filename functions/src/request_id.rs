//! The name of a request in logs and answers.

use http::{HeaderMap, HeaderName};
use parlance_shared::entropy::Entropy;

/// Where a request's name travels, in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// How long a client's own name for a request may be.
const MOST_CHARS: usize = 64;

/// The client's name for the request, where it is 1 to 64 of `A-Z a-z 0-9 _ -`; else a new one.
#[must_use]
pub fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> String {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|text| {
            (1..=MOST_CHARS).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        })
        .map_or_else(
            || format!("{:032x}", u128::from_be_bytes(entropy.bytes())),
            str::to_owned,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use parlance_shared::entropy::SeededEntropy;

    #[test]
    fn a_sound_name_is_kept_and_any_other_replaced() {
        let entropy = SeededEntropy::new(1);
        let name = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            of(&headers, &entropy)
        };
        assert_eq!(name("Trace_1-a"), "Trace_1-a");
        assert_eq!(name(&"a".repeat(64)), "a".repeat(64));
        for bad in ["", "a b", "a\"b", "+14155550100", &"a".repeat(65)] {
            let made = name(bad);
            assert_ne!(made, bad);
            assert_eq!(made.len(), 32, "{bad:?}");
        }
        assert_ne!(
            of(&HeaderMap::new(), &entropy),
            of(&HeaderMap::new(), &entropy)
        );
    }
}
