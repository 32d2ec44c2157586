//! Contents that are not plain text: polls and places (as JSON in `content`), and emoji.

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation as _;

use super::input::Fields;
use super::message::ContentType;
use super::problem::{FieldError, Problem};
use crate::limits;

/// The `content` of a poll, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// What is asked.
    pub question: String,
    /// What can be answered, each once.
    pub options: Vec<String>,
    /// Whether a vote may be for several.
    #[serde(default)]
    pub multiple: bool,
}

/// The `content` of a place, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north, from -90 to 90.
    pub lat: f64,
    /// Degrees east, from -180 to 180.
    pub lon: f64,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Poll {
    /// Reads a poll's content.
    ///
    /// # Errors
    /// `invalid_request` on `content` where it is none.
    pub fn read(content: &str) -> Result<Self, Problem> {
        let poll: Self = within_content(super::input::json(content.as_bytes()))?;
        let mut fields = Fields::new();
        fields.label(
            "content.question",
            &poll.question,
            limits::POLL_QUESTION_CHARS,
        );
        fields.require(
            (limits::POLL_OPTIONS_LEAST..=limits::POLL_OPTIONS).contains(&poll.options.len()),
            "content.options",
            format!(
                "must have {} to {} items",
                limits::POLL_OPTIONS_LEAST,
                limits::POLL_OPTIONS
            ),
        );
        for (place, option) in poll.options.iter().enumerate() {
            let field = format!("content.options[{place}]");
            fields.label(&field, option, limits::POLL_OPTION_CHARS);
            let is_first = poll.options.iter().position(|other| other == option) == Some(place);
            fields.require(is_first, &field, "is there already");
        }
        fields.finish()?;
        Ok(poll)
    }

    /// Checks a vote: options that there are, each once, and not several where one is asked for.
    ///
    /// # Errors
    /// `invalid_request` on `options`.
    pub fn check_vote(&self, options: &[u8]) -> Result<(), Problem> {
        let mut fields = Fields::new();
        fields.require(
            options
                .iter()
                .all(|option| usize::from(*option) < self.options.len()),
            "options",
            "must be numbers of the poll's options, from 0",
        );
        let mut sorted = options.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        fields.require(
            sorted.len() == options.len(),
            "options",
            "must name each option once",
        );
        fields.require(
            self.multiple || options.len() <= 1,
            "options",
            "must be at most one: this poll takes no more",
        );
        fields.finish()
    }
}

impl Location {
    /// Reads a place's content.
    ///
    /// # Errors
    /// `invalid_request` on `content` where it is none.
    pub fn read(content: &str) -> Result<Self, Problem> {
        let place: Self = within_content(super::input::json(content.as_bytes()))?;
        let mut fields = Fields::new();
        fields.require(
            (-90.0..=90.0).contains(&place.lat),
            "content.lat",
            "must lie from -90 to 90",
        );
        fields.require(
            (-180.0..=180.0).contains(&place.lon),
            "content.lon",
            "must lie from -180 to 180",
        );
        if let Some(name) = &place.name {
            fields.label("content.name", name, limits::NAME_CHARS);
        }
        fields.finish()?;
        Ok(place)
    }
}

/// Checks content whose type says that it is JSON.
///
/// # Errors
/// `invalid_request` on `content`.
pub fn check(content_type: ContentType, content: &str) -> Result<(), Problem> {
    match content_type {
        ContentType::Poll => Poll::read(content).map(|_| ()),
        ContentType::Location => Location::read(content).map(|_| ()),
        _ => Ok(()),
    }
}

/// Names the field of the JSON within `content`.
fn within_content<T>(read: Result<T, Problem>) -> Result<T, Problem> {
    read.map_err(|problem| {
        if problem.errors.is_empty() {
            return Problem::invalid_field("content", "must be the JSON of its content_type");
        }
        let errors = problem.errors.into_iter().map(|error| FieldError {
            field: format!("content.{}", error.field),
            ..error
        });
        Problem::invalid_fields(errors.collect())
    })
}

/// Whether the text is one emoji: a single grapheme cluster (UAX #29) with a pictograph, a flag
/// or a keycap in it.
#[must_use]
pub fn is_emoji(text: &str) -> bool {
    text.len() <= limits::EMOJI_BYTES
        && text.graphemes(true).count() == 1
        && text.chars().any(is_pictograph)
        && !text.chars().any(char::is_control)
}

/// The blocks in which Unicode's emoji lie (emoji-data.txt), without the digits and signs that
/// become one only together with U+20E3.
fn is_pictograph(c: char) -> bool {
    matches!(
        u32::from(c),
        0xa9 | 0xae
            | 0x203c
            | 0x2049
            | 0x20e3
            | 0x2122
            | 0x2139
            | 0x2194..=0x21aa
            | 0x231a..=0x23ff
            | 0x24c2
            | 0x25aa..=0x27bf
            | 0x2934..=0x2935
            | 0x2b05..=0x2b55
            | 0x3030
            | 0x303d
            | 0x3297
            | 0x3299
            | 0x1_f000..=0x1_faff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_is_one_grapheme_with_a_picture_in_it() {
        for good in ["👍", "👍🏽", "❤", "❤️", "🇩🇪", "1️⃣", "👩‍❤️‍💋‍👨", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
        {
            assert!(is_emoji(good), "{good}");
        }
        let zalgo = format!("👍{}", "\u{301}".repeat(40));
        for bad in [
            "", " ", "a", "1", "é", "👍👍", "👍 ", "ok", "\u{0}", "\u{200d}", &zalgo,
        ] {
            assert!(!is_emoji(bad), "{bad:?}");
        }
    }

    fn field(problem: Problem) -> String {
        problem.errors[0].field.clone()
    }

    #[test]
    fn a_poll_names_what_does_not_fit() {
        assert!(Poll::read(r#"{"question":"Tea?","options":["yes","no"]}"#).is_ok());
        for (bad, at) in [
            ("Tea?", "content"),
            ("[]", "content"),
            (r#"{"options":["a","b"]}"#, "content.question"),
            (
                r#"{"question":" ","options":["a","b"]}"#,
                "content.question",
            ),
            (r#"{"question":"?","options":["a"]}"#, "content.options"),
            (
                r#"{"question":"?","options":["a","a"]}"#,
                "content.options[1]",
            ),
            (
                r#"{"question":"?","options":["a",""]}"#,
                "content.options[1]",
            ),
            (
                r#"{"question":"?","options":["a",7]}"#,
                "content.options[1]",
            ),
            (
                r#"{"question":"?","options":["a","b"],"multiple":"no"}"#,
                "content.multiple",
            ),
        ] {
            assert_eq!(field(Poll::read(bad).unwrap_err()), at, "{bad}");
        }
        let many: Vec<_> = (0..=limits::POLL_OPTIONS).map(|n| n.to_string()).collect();
        let poll = |options: &[String]| {
            let poll = Poll {
                question: "?".to_owned(),
                options: options.to_vec(),
                multiple: false,
            };
            Poll::read(&serde_json::to_string(&poll).unwrap())
        };
        assert!(poll(&many[1..]).is_ok());
        assert!(poll(&many).is_err());
    }

    #[test]
    fn a_vote_is_for_options_that_there_are() {
        let mut poll = Poll::read(r#"{"question":"?","options":["a","b","c"]}"#).unwrap();
        assert!(poll.check_vote(&[]).is_ok());
        assert!(poll.check_vote(&[2]).is_ok());
        assert!(poll.check_vote(&[3]).is_err());
        assert!(poll.check_vote(&[0, 1]).is_err());
        poll.multiple = true;
        assert!(poll.check_vote(&[1, 0]).is_ok());
        assert!(poll.check_vote(&[1, 1]).is_err());
    }

    #[test]
    fn a_place_lies_on_the_globe() {
        assert!(Location::read(r#"{"lat":-90,"lon":180.0,"name":"Pole"}"#).is_ok());
        for (bad, at) in [
            (r#"{"lat":90.1,"lon":0}"#, "content.lat"),
            (r#"{"lat":0,"lon":-181}"#, "content.lon"),
            (r#"{"lat":"0","lon":0}"#, "content.lat"),
            (r#"{"lat":0}"#, "content.lon"),
            (r#"{"lat":0,"lon":0,"name":" "}"#, "content.name"),
            ("0,0", "content"),
            (r#"{"lat":1e999,"lon":0}"#, "content"),
        ] {
            assert_eq!(field(Location::read(bad).unwrap_err()), at, "{bad}");
        }
    }
}
