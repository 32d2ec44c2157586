//! Uploads in parts.

use super::*;

fn film() -> serde_json::Value {
    serde_json::json!({
        "content_type": "video/mp4",
        "size": limits::MEDIA_PART_BYTES + 1,
        "multipart": true,
    })
}

fn parts(etags: &[&str]) -> Vec<UploadedPart> {
    (1..)
        .zip(etags)
        .map(|(part_number, etag)| UploadedPart {
            part_number,
            etag: (*etag).to_owned(),
        })
        .collect()
}

fn complete(world: &mut World, parts: Vec<UploadedPart>) -> Result<MediaView, Problem> {
    let actor = world.owner;
    world.ask(Complete { actor, parts })
}

#[test]
fn parts_are_joined_once_all_are_named() {
    let mut world = World::announced(film());
    let actor = world.owner;
    let under_way: PartsRecord = world.ask(GetParts { actor }).unwrap();
    assert_eq!(under_way.upload_id, "upload");
    for wrong in [
        parts(&[]),
        parts(&["a"]),
        parts(&["a", "b", "c"]),
        parts(&["a", "<b/>"]),
        parts(&["a", ""]),
        parts(&["a", "wrong"]),
        parts(&["a", "b"]).into_iter().rev().collect(),
    ] {
        let refused = complete(&mut world, wrong).unwrap_err();
        assert_eq!(refused.errors[0].field, "parts");
    }
    assert!(complete(&mut world, parts(&["a", "b"])).unwrap().uploaded);
    assert!(complete(&mut world, parts(&["a", "b"])).unwrap().uploaded);
    let over = world.ask::<PartsRecord>(GetParts { actor }).unwrap_err();
    assert_eq!(over.code, Code::Conflict);
}

#[test]
fn strangers_learn_nothing_of_parts() {
    let mut world = World::announced(film());
    let actor = UserId::random(&world.entropy);
    let refused = world.ask::<PartsRecord>(GetParts { actor }).unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let parts = parts(&["a", "b"]);
    let refused = world
        .ask::<MediaView>(Complete { actor, parts })
        .unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
}

#[test]
fn one_that_is_not_whole_is_not_sent_and_goes_with_its_parts() {
    let mut world = World::announced(film());
    let attach = Attach {
        message: world.message(),
        content_type: ContentType::Video,
        forwarded: false,
    };
    assert!(world.ask::<MediaDetails>(attach).is_err());
    world.pass(limits::UNUSED_MEDIA);
    assert!(world.is_gone());
}

#[test]
fn one_that_was_joined_before_it_was_known_is_found() {
    let mut world = World::announced(film());
    world.run(Errand::JoinParts {
        key: super::super::errand::ObjectKey::original(world.media_id),
        upload_id: "upload".to_owned(),
        parts: parts(&["a", "b"]),
    });
    // Storage no longer knows the upload.
    let refused = complete(&mut world, parts(&["wrong", "b"]));
    assert!(refused.unwrap().uploaded);
}
