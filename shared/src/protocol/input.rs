//! Reading what a client sent: JSON into a type, with the field that does not fit named.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use super::problem::{FieldError, Problem};
use crate::limits;

/// Reads a JSON body or frame, which is always an object.
///
/// # Errors
/// `invalid_request`: where the text is not JSON, or, with the field's path, where a field is
/// missing or does not fit.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    // serde would take a list for an object: its items for the fields in their order.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        return Err(Problem::invalid("The JSON must be an object."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| {
        Problem::invalid(format!("The JSON has something after its end: {error}."))
    })?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    if error.classify() != Category::Data {
        return Problem::invalid(format!("The text is not JSON: {error}."));
    }
    let said = error.to_string();
    // serde_json adds " at line L column C" to what a type said.
    let said = said.split(" at line ").next().unwrap_or(&said);
    // What the client sent is not repeated: it can be large, and the log may not have it.
    let said = match said.rsplit_once(", expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => said.to_owned(),
    };
    let parent = if path == "." { "" } else { path };
    let (field, message) = match said
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        Some(name) if parent.is_empty() => (name.to_owned(), "is missing".to_owned()),
        Some(name) => (format!("{parent}.{name}"), "is missing".to_owned()),
        None if parent.is_empty() => {
            return Problem::invalid(format!("The JSON {said}."));
        }
        None => (parent.to_owned(), said),
    };
    Problem::invalid_fields(vec![FieldError { field, message }])
}

/// Tells a field that is there from one that is not, so that null is not taken for absence.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Collects what is wrong with the fields of one body, so that the client is told all at once.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `field` does not fit unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, message: impl Into<String>) {
        if !holds {
            self.0.push(FieldError {
                field: field.to_owned(),
                message: message.into(),
            });
        }
    }

    /// A name or description: at most `most` characters, no control characters but line breaks
    /// and tabs, and not blank.
    pub fn label(&mut self, field: &str, text: &str, most: usize) {
        self.require(!text.trim().is_empty(), field, "must not be blank");
        self.text(field, text, most);
    }

    /// As [`Fields::label`], but may be empty.
    pub fn text(&mut self, field: &str, text: &str, most: usize) {
        self.require(
            text.chars().count() <= most,
            field,
            format!("must have at most {most} characters"),
        );
        self.require(
            !text
                .chars()
                .any(|c| c.is_control() && !matches!(c, '\n' | '\t')),
            field,
            "must not have control characters",
        );
    }

    /// A link to a picture.
    pub fn https_url(&mut self, field: &str, url: &str) {
        self.require(
            url.len() <= limits::URL_BYTES,
            field,
            format!("must have at most {} bytes", limits::URL_BYTES),
        );
        self.require(
            is_https_url(url),
            field,
            "must be a URL that begins with https:// and a host, without spaces",
        );
    }

    /// Ends the check.
    ///
    /// # Errors
    /// `invalid_request` with all that was noted.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid_fields(self.0))
        }
    }
}

fn is_https_url(text: &str) -> bool {
    text.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', '?', '#', ':', '@'])
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[allow(dead_code)]
        name: String,
        #[allow(dead_code)]
        ids: Vec<UserId>,
    }

    fn problem(text: &str) -> Problem {
        json::<Body>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let missing = problem(r#"{"name":"a"}"#);
        assert_eq!(missing.errors[0].field, "ids");
        assert_eq!(missing.errors[0].message, "is missing");
        let wrong = problem(r#"{"name":1,"ids":[]}"#);
        assert_eq!(wrong.errors[0].field, "name");
        assert_eq!(wrong.errors[0].message, "must be a string");
        let inner = problem(r#"{"name":"a","ids":["00000000-0000-4000-8000-000000000001","X"]}"#);
        assert_eq!(inner.errors[0].field, "ids[1]");
        assert_eq!(
            inner.errors[0].message,
            "must be a UUID in lower case with hyphens"
        );
    }

    #[test]
    fn what_the_client_sent_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Colour {
            Red,
            Green,
        }
        #[derive(Debug, Deserialize)]
        struct Paint {
            #[allow(dead_code)]
            colour: Colour,
            #[allow(dead_code)]
            coats: u64,
        }
        for body in [
            r#"{"colour":"secret"}"#,
            r#"{"colour":"red","coats":"secret"}"#,
        ] {
            let problem = json::<Paint>(body.as_bytes()).unwrap_err();
            assert!(!problem.detail.contains("secret"), "{}", problem.detail);
        }
        let unknown = json::<Paint>(br#"{"colour":"blue","coats":1}"#).unwrap_err();
        assert_eq!(unknown.errors[0].message, "must be `red` or `green`");
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so() {
        for text in [
            "",
            "{",
            "nonsense",
            "{\"name\":\"a\",\"ids\":[]} trailing",
            "[]",
            "\u{0}",
        ] {
            let problem = problem(text);
            assert_eq!(problem.status, 400, "{text:?}");
        }
        assert!(problem("{").detail.contains("not JSON"));
    }

    #[test]
    fn a_list_is_no_object_even_where_its_items_would_fit() {
        assert_eq!(
            problem(r#" ["a",[]]"#).detail,
            "The JSON must be an object."
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(json::<Body>(br#"{"name":"a","ids":[],"later":1}"#).is_ok());
    }
}
