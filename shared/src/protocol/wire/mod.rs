//! Every wire type is read as it was written, whatever it holds.
//!
//! What always holds: each public type of this directory that is written or read as JSON is in one
//! of the lists of [`bodies`], [`frames`] and [`media`], and each variant of an enum among them is generated.
//! A new field or variant does not compile before it is listed there; a new type fails
//! [`every_wire_type_is_listed`].

mod any;
mod bodies;
mod frames;
mod media;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::test_runner::{Config, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::any::Any;
use super::input;

/// Values that are tried of each type.
const CASES: u32 = 64;

/// What is read of a text is what was written, also in the way in which requests are read, and
/// with fields that a later version will have.
fn round_trip<T>(name: &str)
where
    T: Any + Serialize + DeserializeOwned + PartialEq + Debug,
{
    // What fails is printed, and pinned by a test of its own.
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&T::any(), |value| {
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
        let mut json: Value = serde_json::from_str(&text).unwrap();
        if let Some(object) = json.as_object_mut() {
            assert_eq!(input::json::<T>(text.as_bytes()).unwrap(), value, "{text}");
            // Named by its only field; as such it travels between objects alone.
            if name == "Act" {
                return Ok(());
            }
            object.insert("later_version".to_owned(), json!({"content": [1, null]}));
            let later = json.to_string();
            assert_eq!(
                input::json::<T>(later.as_bytes()).unwrap(),
                value,
                "{later}"
            );
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

#[test]
fn every_body_is_read_as_it_was_written() {
    bodies::round_trip_all();
}

#[test]
fn every_frame_and_event_is_read_as_it_was_written() {
    frames::round_trip_all();
}

#[test]
fn every_body_about_media_is_read_as_it_was_written() {
    media::round_trip_all();
    media::round_trip_texts();
}

/// The sources of the wire types, but for these tests.
fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("wire") {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The public types of a source that derive, or implement, reading or writing.
fn wire_types(source: &str) -> Vec<String> {
    let mut types = Vec::new();
    let (mut is_wire, mut is_derive) = (false, false);
    for line in source.lines() {
        is_derive |= line.starts_with("#[derive(");
        if is_derive {
            is_wire |= line.contains("Serialize") || line.contains("Deserialize");
            is_derive = !line.ends_with(")]");
        }
        let declared = ["pub struct ", "pub enum "]
            .iter()
            .find_map(|start| line.strip_prefix(start));
        if let Some(rest) = declared {
            if is_wire {
                types.push(rest.chars().take_while(|c| c.is_alphanumeric()).collect());
            }
            is_wire = false;
        }
    }
    types
}

#[test]
fn every_wire_type_is_listed() {
    let mut paths = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol");
    sources(&root, &mut paths);
    assert!(paths.len() > 15, "these are the sources: {paths:?}");
    let there: BTreeSet<String> = paths
        .iter()
        .flat_map(|path| wire_types(&fs::read_to_string(path).unwrap()))
        .collect();
    let listed: BTreeSet<String> = bodies::NAMES
        .iter()
        .chain(frames::NAMES)
        .chain(media::NAMES)
        .map(|name| (*name).to_owned())
        .collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "not in protocol/wire/bodies.rs or frames.rs: {missing:?}"
    );
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(gone.is_empty(), "listed, and no wire type: {gone:?}");
}

#[test]
fn the_search_for_wire_types_finds_them() {
    let source = "#[derive(Debug, Serialize)]\n#[serde(tag = \"type\")]\npub enum One {\n}\n\
        #[derive(Debug)]\npub struct NotMe;\n#[derive(\n    Deserialize\n)]\npub struct Two(u8);\n\
        #[derive(Deserialize)]\nstruct Hidden;\n";
    assert_eq!(wire_types(source), ["One", "Two"]);
}
