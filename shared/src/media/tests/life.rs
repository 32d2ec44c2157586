//! From the announcement of an upload to its end.

use super::*;

#[test]
fn a_medium_is_sent_only_once_its_bytes_are_there() {
    let mut world = World::announced(photo());
    let message = world.message();
    let refused = world.attach(message).unwrap_err();
    assert_eq!(refused.errors[0].field, "media_id");
    assert_eq!(
        world.look_up(Some(Which::Original)).unwrap_err().code,
        Code::NotFound
    );
    world.put(Which::Original, 1000, "image/jpeg");
    let details = world.attach(message).unwrap();
    assert_eq!(
        (details.size, details.content_type.as_str()),
        (1000, "image/jpeg")
    );
    let record = world.look_up(Some(Which::Original)).unwrap();
    assert_eq!(record.conversation_ids, [message.conversation_id]);
    assert!(record.view.uploaded);
}

#[test]
fn what_is_not_as_it_was_announced_is_not_sent() {
    let mut world = World::announced(photo());
    let message = world.message();
    for (size, content_type) in [(999, "image/jpeg"), (1000, "text/html")] {
        world.put(Which::Original, size, content_type);
        assert_eq!(world.attach(message).unwrap_err().code, Code::Conflict);
    }
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let mut upload = photo();
    upload["sha256"] = digest.into();
    let mut world = World::announced(upload);
    let stored = |sha256| Stored {
        size: 1000,
        content_type: Some("image/jpeg".to_owned()),
        sha256,
    };
    let key = format!("media/{}/original", world.media_id);
    let other = crate::protocol::media::Sha256Digest::from_bytes([7; 32]);
    world.objects.insert(key.clone(), stored(None));
    assert_eq!(world.attach(message).unwrap_err().code, Code::Conflict);
    world.objects.insert(key.clone(), stored(Some(other)));
    assert_eq!(world.attach(message).unwrap_err().code, Code::Conflict);
    world.objects.insert(key, stored(digest.parse().ok()));
    assert!(world.attach(message).is_ok());
}

#[test]
fn only_its_uploader_sends_it_or_one_who_forwards_it() {
    let mut world = World::uploaded();
    let mut foreign = world.message();
    foreign.sender_id = UserId::random(&world.entropy);
    let there_is_none = World::new().attach(foreign).unwrap_err();
    assert_eq!(world.attach(foreign).unwrap_err(), there_is_none);
    let forward = Attach {
        message: foreign,
        content_type: ContentType::Image,
        forwarded: true,
    };
    assert!(world.ask::<MediaDetails>(forward).is_ok());
}

#[test]
fn the_message_must_fit_the_medium() {
    let mut world = World::uploaded();
    let message = world.message();
    for (content_type, fits) in [
        (ContentType::Image, true),
        (ContentType::File, true),
        (ContentType::Video, false),
        (ContentType::Voice, false),
        (ContentType::Text, false),
    ] {
        let attach = Attach {
            message,
            content_type,
            forwarded: false,
        };
        assert_eq!(
            world.ask::<MediaDetails>(attach).is_ok(),
            fits,
            "{content_type:?}"
        );
    }
}

#[test]
fn an_upload_that_is_sent_nowhere_goes_after_a_day() {
    for uploaded in [false, true] {
        let mut world = if uploaded {
            World::uploaded()
        } else {
            World::announced(photo())
        };
        world.pass(limits::UNUSED_MEDIA - Duration::from_secs(1));
        assert!(world.look_up(None).is_ok());
        world.pass(Duration::from_secs(1));
        assert!(world.is_gone());
        let message = world.message();
        assert!(world.attach(message).is_err());
    }
}

#[test]
fn one_that_was_sent_stays_until_its_last_message_is_gone_for_thirty_days() {
    let mut world = World::uploaded();
    let (one, other) = (world.message(), world.message());
    world.attach(one).unwrap();
    world.attach(one).unwrap();
    world.attach(other).unwrap();
    world.pass(limits::UNUSED_MEDIA * 100);
    world.restart();
    world.ask::<()>(Release { message: one }).unwrap();
    let record = world.look_up(Some(Which::Original)).unwrap();
    assert_eq!(record.conversation_ids, [other.conversation_id]);
    world.pass(limits::DELETED_CONTENT * 2);
    world.ask::<()>(Release { message: other }).unwrap();
    world.ask::<()>(Release { message: other }).unwrap();
    world.pass(limits::DELETED_CONTENT - Duration::from_secs(1));
    assert!(
        world.look_up(Some(Which::Original)).is_ok(),
        "its uploader still has it"
    );
    world.pass(Duration::from_secs(1));
    assert!(world.is_gone());
}

#[test]
fn one_that_is_sent_again_after_its_last_message_went_stays() {
    let mut world = World::uploaded();
    let (one, other) = (world.message(), world.message());
    world.attach(one).unwrap();
    world.ask::<()>(Release { message: one }).unwrap();
    world.attach(other).unwrap();
    world.pass(limits::DELETED_CONTENT * 2);
    assert!(world.look_up(Some(Which::Original)).is_ok());
}

#[test]
fn only_its_uploader_deletes_it() {
    let mut world = World::uploaded();
    let message = world.message();
    world.attach(message).unwrap();
    let stranger = UserId::random(&world.entropy);
    let refused = world
        .ask::<()>(DeleteMedia { actor: stranger })
        .unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let actor = world.owner;
    world.ask::<()>(DeleteMedia { actor }).unwrap();
    assert!(world.upkeep.forget);
    assert!(world.is_gone());
}

#[test]
fn a_deletion_that_dies_half_way_is_carried_on_by_the_alarm_and_nobody_sends_it_meanwhile() {
    let mut world = World::uploaded();
    let actor = world.owner;
    world.ask_and_die(DeleteMedia { actor });
    let message = world.message();
    assert!(world.attach(message).is_err());
    assert!(world.look_up(Some(Which::Original)).is_err());
    assert!(!world.objects.is_empty());
    world.pass(REMOVAL_RETRY);
    assert!(world.is_gone());
}

#[test]
fn what_is_being_deleted_is_not_brought_back_and_does_not_stay_longer() {
    let mut world = World::uploaded();
    let actor = world.owner;
    let message = world.message();
    world.attach(message).unwrap();
    world.ask_and_die(DeleteMedia { actor });
    let parts = Vec::new();
    let refused = world.ask::<MediaView>(Complete { actor, parts });
    assert_eq!(refused.unwrap_err().code, Code::NotFound);
    let at = world.alarm;
    world.ask::<()>(Release { message }).unwrap();
    assert_eq!(world.alarm, at);
    world.pass(REMOVAL_RETRY);
    assert!(world.is_gone());
}

#[test]
fn a_thumbnail_is_wanted_once_for_what_one_can_be_made_of() {
    let mut world = World::uploaded();
    let actor = world.owner;
    let complete = Complete {
        actor,
        parts: Vec::new(),
    };
    let view: MediaView = world.ask(complete.clone()).unwrap();
    assert_eq!(view.thumbnail, ThumbnailState::Pending);
    assert_eq!(world.upkeep.thumbnail, Some(world.media_id));
    world.ask::<MediaView>(complete).unwrap();
    assert_eq!(world.upkeep.thumbnail, None, "it is known to be there");
    let job: Option<ThumbnailJob> = world.ask(GetThumbnailJob {}).unwrap();
    assert_eq!(job.unwrap().size, 1000);
    assert!(world.look_up(Some(Which::Thumbnail)).is_err());
    let made = MadeThumbnail {
        content_type: "image/jpeg".parse().unwrap(),
        width: 30,
        height: 40,
        blurhash: "L00000fQfQfQ".to_owned(),
    };
    world.ask::<()>(NoteThumbnail { made: Some(made) }).unwrap();
    assert_eq!(
        world
            .ask::<Option<ThumbnailJob>>(GetThumbnailJob {})
            .unwrap(),
        None
    );
    let record = world.look_up(Some(Which::Thumbnail)).unwrap();
    assert_eq!(record.view.details.traits.width, Some(30));
    let message = world.message();
    let details = world.attach(message).unwrap();
    assert_eq!(details.traits.blurhash.as_deref(), Some("L00000fQfQfQ"));
    let mut world = World::announced(serde_json::json!({"content_type": "image/gif", "size": 9}));
    world.put(Which::Original, 9, "image/gif");
    let actor = world.owner;
    let view: MediaView = world
        .ask(Complete {
            actor,
            parts: Vec::new(),
        })
        .unwrap();
    assert_eq!(view.thumbnail, ThumbnailState::None);
    assert_eq!(world.upkeep.thumbnail, None);
}

#[test]
fn a_client_s_own_thumbnail_counts_once_it_is_there_as_announced() {
    let mut upload = photo();
    upload["content_type"] = "video/mp4".into();
    upload["duration_ms"] = 1500.into();
    upload["thumbnail"] = serde_json::json!({"content_type": "image/webp", "size": 50});
    let mut world = World::announced(upload);
    assert!(world.look_up(Some(Which::Thumbnail)).is_err());
    world.put(Which::Thumbnail, 51, "image/webp");
    assert!(world.look_up(Some(Which::Thumbnail)).is_err());
    world.put(Which::Thumbnail, 50, "image/webp");
    let record = world.look_up(Some(Which::Thumbnail)).unwrap();
    assert_eq!(record.thumbnail_type.as_str(), "image/webp");
    assert_eq!(record.view.thumbnail, ThumbnailState::Ready);
}

#[test]
fn one_that_is_not_there_leaves_no_trace() {
    let mut world = World::new();
    let message = world.message();
    assert!(world.attach(message).is_err());
    assert!(world.look_up(None).is_err());
    world.ask::<()>(Release { message }).unwrap();
    assert_eq!(
        crate::sql::migrations::installed(&*world.sql, super::super::schema::COMPONENT).unwrap(),
        None
    );
}

#[test]
fn an_id_is_taken_once() {
    let mut world = World::uploaded();
    let register = world.register(photo());
    assert_eq!(world.ask::<()>(register).unwrap_err().code, Code::Conflict);
}
