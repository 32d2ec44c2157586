//! Messages that carry media: what is asked of the medium's object, and when it is told to let go.

use super::*;
use crate::conversation::media::MediumRelease;
use crate::ids::MediaId;
use crate::media::call::Attach;
use crate::need::{MediumNeed, Need};
use crate::protocol::media::MediaDetails;
use crate::protocol::message::ContentType;
use crate::protocol::problem::ServiceError;

fn details() -> MediaDetails {
    serde_json::from_value(
        serde_json::json!({"kind": "image", "content_type": "image/png", "size": 9}),
    )
    .unwrap()
}

impl World {
    fn picture(&self) -> NewMessage {
        NewMessage {
            content_type: ContentType::Image,
            media_id: Some(MediaId::random(&self.entropy)),
            ..self.text("look")
        }
    }

    fn try_send(
        &mut self,
        sender: usize,
        message: &NewMessage,
    ) -> Result<MessageAck, ServiceError> {
        let sender = self.users[sender];
        let (ack, effects) = self
            .service
            .send(sender, message.clone(), self.now, &self.entropy)?;
        self.carry_out(&effects);
        Ok(ack)
    }

    /// What sending needs.
    fn needed(&mut self, sender: usize, message: &NewMessage) -> Attach {
        match self.try_send(sender, message) {
            Err(ServiceError::Needs(Need::Medium(MediumNeed { media_id, attach }))) => {
                assert_eq!(Some(media_id), message.media_id);
                attach
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends, with whatever the medium's object answers.
    fn send_picture(
        &mut self,
        message: &NewMessage,
        answer: Result<MediaDetails, Problem>,
    ) -> Result<MessageAck, ServiceError> {
        let attach = self.needed(0, message);
        self.service.bring_medium(attach.message, answer);
        self.try_send(0, message)
    }

    fn releases(&mut self) -> Vec<MediaId> {
        let mut released = Vec::new();
        while let Some(next) = self.service.next_release().unwrap() {
            assert!(self.service.has_releases());
            let MediumRelease { media_id, .. } = next;
            released.push(media_id);
            self.service.released(&next).unwrap();
        }
        assert!(!self.service.has_releases());
        released
    }
}

#[test]
fn a_message_is_stored_only_once_its_medium_has_noted_it() {
    let mut world = World::direct();
    let message = world.picture();
    let attach = world.needed(0, &message);
    assert_eq!(attach.message.sender_id, world.users[0]);
    assert_eq!(attach.message.client_msg_id, message.client_msg_id);
    assert_eq!(attach.content_type, ContentType::Image);
    assert!(!attach.forwarded);
    assert_eq!(world.head(), 0);
    let refusal = Problem::invalid_field("media_id", "was not uploaded yet");
    let refused = world
        .send_picture(&message, Err(refusal.clone()))
        .unwrap_err();
    assert_eq!(refused, ServiceError::Refused(refusal));
    assert_eq!(world.head(), 0);
    let ack = world.send_picture(&message, Ok(details())).unwrap();
    let shown = world.log(1);
    let shown = shown[0].as_message().unwrap();
    assert_eq!(shown.media_id, message.media_id);
    assert_eq!(shown.media.as_deref(), Some(&details()));
    let media_id = message.media_id.unwrap();
    assert_eq!(
        shown.media_url,
        Some(format!(
            "/api/v1/media/{media_id}?conversation_id={}",
            ack.conversation_id
        ))
    );
    // Its medium may be gone by now: it is not asked.
    let again = world.try_send(0, &message).unwrap();
    assert_eq!((again.seq, again.duplicate), (ack.seq, true));
}

#[test]
fn what_would_be_refused_anyway_asks_no_medium() {
    let mut world = World::direct();
    let mut wrong = world.picture();
    wrong.reply_to = Some(MessageId::new(world.now, Seq::new(5), &world.entropy));
    assert!(matches!(
        world.try_send(0, &wrong),
        Err(ServiceError::Refused(_))
    ));
    let message = world.picture();
    assert!(matches!(
        world.try_send(3, &message),
        Err(ServiceError::Refused(_))
    ));
}

#[test]
fn several_messages_are_sent_once_all_their_media_are_known() {
    let mut world = World::direct();
    let messages = vec![
        world.text("before"),
        world.picture(),
        world.picture(),
        world.text("after"),
    ];
    let send = |world: &mut World| {
        let call = crate::conversation::call::SendMany {
            actor: world.users[0],
            messages: messages.clone(),
        };
        world.service.send_many(call, world.now, &world.entropy)
    };
    for picture in &messages[1..3] {
        let Err(ServiceError::Needs(Need::Medium(need))) = send(&mut world) else {
            panic!("nothing is needed");
        };
        assert_eq!(Some(need.media_id), picture.media_id);
        assert_eq!(world.head(), 0);
        world
            .service
            .bring_medium(need.attach.message, Ok(details()));
    }
    let (answers, _) = send(&mut world).unwrap();
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.into_result().is_ok())
    );
    assert_eq!(world.head(), 4);
}

#[test]
fn a_group_that_has_ended_lets_go_of_its_media_and_is_erased() {
    use crate::conversation::call::{Delete, MemberPosition};
    use crate::user::call::Delivered;
    let mut world = World::group();
    let picture = world.picture();
    world.send_picture(&picture, Ok(details())).unwrap();
    let actor = world.users[0];
    world.request(Delete { actor }).unwrap();
    let mut released = Vec::new();
    for _ in 0..20 {
        let mut round = crate::conversation::deliver::Round::default();
        while let Some(due) = world.service.next_delivery(&mut round, world.now).unwrap() {
            let reply = Delivered {
                head_seq: Seq::new(3),
                position: MemberPosition::default(),
            };
            let taken = world.service.delivered(due.user_id, &reply, world.now);
            world.carry_out(&taken.unwrap());
        }
        world.now = world.now + std::time::Duration::from_secs(6);
        world.ring();
        // As the runtime does: after the alarm, where there is something to tell.
        if world.service.has_releases() {
            released.extend(world.releases());
        }
    }
    assert_eq!(released, [picture.media_id.unwrap()]);
    assert_eq!(world.rows("SELECT 1 FROM event"), 0);
    assert_eq!(world.rows("SELECT 1 FROM member"), 0);
    let far = world.now + std::time::Duration::from_secs(3600);
    assert!(
        world.alarm.is_some_and(|at| at > far),
        "nothing is left to do"
    );
}

#[test]
fn a_message_that_is_deleted_or_expires_lets_go_of_its_medium() {
    let mut world = World::direct();
    let (deleted, kept) = (world.picture(), world.picture());
    let ack = world.send_picture(&deleted, Ok(details())).unwrap();
    world.send_picture(&kept, Ok(details())).unwrap();
    assert_eq!(world.releases(), []);
    let act = crate::conversation::call::ActOn {
        actor: world.users[0],
        message_id: ack.message_id,
        act: crate::protocol::act::Act::Delete,
    };
    world.service.act(act, world.now).unwrap();
    assert!(world.service.has_releases());
    // The object dies before it has told anyone.
    world.crash();
    assert_eq!(world.releases(), [deleted.media_id.unwrap()]);
    assert_eq!(world.releases(), []);
    let shown = world.log(1);
    let shown = shown[0].as_message().unwrap();
    assert_eq!(
        (shown.media_id, &shown.media_url, &shown.media),
        (None, &None, &None)
    );
}

#[test]
fn a_scheduled_message_notes_its_medium_at_once_and_lets_go_when_it_is_taken_back() {
    let mut world = World::direct();
    let mut message = world.picture();
    message.send_at = Some(world.now + std::time::Duration::from_secs(60));
    let actor = world.users[0];
    let schedule = |world: &mut World, message: &NewMessage| {
        world
            .service
            .schedule(actor, message.clone(), world.now, &world.entropy)
    };
    let Err(ServiceError::Needs(Need::Medium(need))) = schedule(&mut world, &message) else {
        panic!("nothing is needed");
    };
    world
        .service
        .bring_medium(need.attach.message, Ok(details()));
    let (sent, _) = schedule(&mut world, &message).unwrap();
    let crate::conversation::call::Sent::Later(scheduled) = sent else {
        panic!("it was sent");
    };
    let cancel = crate::conversation::call::CancelScheduled {
        actor,
        scheduled_id: scheduled.scheduled_id,
    };
    world.service.cancel_scheduled(cancel).unwrap();
    assert_eq!(world.releases(), [message.media_id.unwrap()]);
}

#[test]
fn a_scheduled_message_is_sent_with_its_medium_when_its_time_has_come() {
    let mut world = World::direct();
    let mut message = world.picture();
    message.send_at = Some(world.now + std::time::Duration::from_secs(60));
    let actor = world.users[0];
    for _ in 0..2 {
        match world
            .service
            .schedule(actor, message.clone(), world.now, &world.entropy)
        {
            Err(ServiceError::Needs(Need::Medium(need))) => {
                world
                    .service
                    .bring_medium(need.attach.message, Ok(details()));
            }
            other => assert!(other.is_ok()),
        }
    }
    world.now = world.now + std::time::Duration::from_secs(61);
    world.crash();
    let effects = world.service.ring(world.now, &world.entropy);
    let Some(Need::Medium(need)) = effects.needs else {
        panic!("nothing is needed");
    };
    world
        .service
        .bring_medium(need.attach.message, Ok(details()));
    let effects = world.service.ring(world.now, &world.entropy);
    assert_eq!(effects.needs, None);
    let shown = world.log(1);
    assert_eq!(
        shown[0].as_message().unwrap().media.as_deref(),
        Some(&details())
    );
    assert_eq!(world.releases(), []);
}
