//! Polls, and contents that are JSON.

use super::acts::code;
use super::*;
use crate::protocol::problem::Code;

pub(super) const TEA: &str = r#"{"question":"Tea?","options":["yes","no","later"]}"#;

pub(super) fn poll(world: &mut World, content: &str) -> MessageId {
    let mut message = world.text(content);
    message.content_type = ContentType::Poll;
    world.send_message(0, message).unwrap().message_id
}

#[test]
fn votes_are_counted_changed_and_taken_back_until_the_author_closes_the_poll() {
    let mut world = World::group();
    let tea = poll(&mut world, TEA);
    assert_eq!(code(world.act(1, tea, vote(&[]))), Code::NotFound);
    let first = world.act(1, tea, vote(&[0])).unwrap();
    let again = world.act(1, tea, vote(&[0])).unwrap();
    assert_eq!((again.event, again.duplicate), (first.event, true));
    world.act(2, tea, vote(&[0])).unwrap();
    world.act(0, tea, vote(&[1])).unwrap();
    world.act(1, tea, vote(&[2])).unwrap();
    world.act(2, tea, vote(&[])).unwrap();
    for bad in [&[3_u8][..], &[0, 1], &[0, 0], &[200]] {
        let problem = world.act(1, tea, vote(bad)).unwrap_err();
        assert_eq!(problem.errors[0].field, "options");
    }
    assert_eq!(code(world.act(1, tea, Act::ClosePoll)), Code::Forbidden);
    let closed = world.act(0, tea, Act::ClosePoll).unwrap();
    let again = world.act(0, tea, Act::ClosePoll).unwrap();
    assert_eq!((again.event, again.duplicate), (closed.event, true));
    assert_eq!(code(world.act(2, tea, vote(&[1]))), Code::Conflict);
    world.crash();
    let result = world.messages(1).remove(0).poll.unwrap();
    assert_eq!((result.votes, result.voters), (vec![0, 1, 1], 2));
    assert_eq!((result.voted, result.is_closed), (vec![2], true));
    assert_eq!(
        world.messages(2)[0].poll.as_ref().unwrap().voted,
        [] as [u8; 0]
    );
    let text = world.send(0, "no poll");
    assert_eq!(
        code(world.act(0, text.message_id, vote(&[0]))),
        Code::InvalidRequest
    );
}

#[test]
fn a_vote_may_be_for_several_where_the_poll_says_so() {
    let mut world = World::direct();
    let content = r#"{"question":"?","options":["a","b","c"],"multiple":true}"#;
    let question = poll(&mut world, content);
    world.act(1, question, vote(&[2, 0])).unwrap();
    let result = world.messages(1).remove(0).poll.unwrap();
    assert_eq!(
        (result.votes, result.voters, result.voted),
        (vec![1, 0, 1], 1, vec![0, 2])
    );
    let again = world.act(1, question, vote(&[0, 2])).unwrap();
    assert!(again.duplicate, "the order means nothing");
}

#[test]
fn polls_and_places_are_checked_when_they_are_sent() {
    let mut world = World::direct();
    for (content_type, content) in [
        (ContentType::Poll, "Tea?"),
        (ContentType::Poll, r#"{"question":"?","options":["a"]}"#),
        (ContentType::Location, r#"{"lat":91,"lon":0}"#),
        (ContentType::Location, "here"),
    ] {
        let mut message = world.text(content);
        message.content_type = content_type;
        let problem = world.send_message(0, message).unwrap_err();
        assert!(
            problem.errors[0].field.starts_with("content"),
            "{problem:?}"
        );
    }
    assert_eq!(world.head(), 0);
    let mut place = world.text(r#"{"lat":52.5,"lon":13.4,"name":"Berlin"}"#);
    place.content_type = ContentType::Location;
    world.send_message(0, place).unwrap();
    assert_eq!(world.messages(1)[0].preview(), "Berlin");
}
