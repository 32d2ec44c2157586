//! Under which headers bytes are shown, whatever their uploader says that they are.

use parlance_shared::protocol::media::MediaType;

/// How a medium's bytes are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition` (RFC 6266).
    pub disposition: String,
}

impl Serving {
    /// Pictures, films and sound are shown as what they are. All else is a download of bytes, so
    /// that no page runs at storage's address.
    #[must_use]
    pub fn of(content_type: &MediaType, file_name: Option<&str>) -> Self {
        let is_shown = content_type.is_shown();
        let kind = if is_shown { "inline" } else { "attachment" };
        let disposition = match file_name {
            Some(name) => format!("{kind}; filename*=UTF-8''{}", encoded(name)),
            None => kind.to_owned(),
        };
        let content_type = if is_shown || content_type.as_str() == "application/pdf" {
            content_type.as_str()
        } else {
            "application/octet-stream"
        };
        Self {
            content_type: content_type.to_owned(),
            disposition,
        }
    }
}

/// A value as RFC 8187 (section 3.2) writes it: all but `attr-char` as percent signs and digits.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_is_a_download_of_bytes() {
        for (content_type, name, served, disposition) in [
            ("image/png", None, "image/png", "inline"),
            ("text/html", None, "application/octet-stream", "attachment"),
            (
                "image/svg+xml",
                None,
                "application/octet-stream",
                "attachment",
            ),
            ("application/pdf", None, "application/pdf", "attachment"),
            (
                "text/html",
                Some("a \"b\"; c=\r\n\u{e9}.html"),
                "application/octet-stream",
                "attachment; filename*=UTF-8''a%20%22b%22%3B%20c%3D%0D%0A%C3%A9.html",
            ),
        ] {
            let serving = Serving::of(&content_type.parse().unwrap(), name);
            assert_eq!(serving.content_type, served);
            assert_eq!(serving.disposition, disposition);
        }
    }
}
