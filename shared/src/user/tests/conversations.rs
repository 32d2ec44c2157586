//! The conversation list: its order and its pages.

use super::*;
use crate::page;
use crate::protocol::conversation::ConversationPage;
use crate::protocol::problem::Code;

impl Fixture {
    fn page(&mut self, device: &SignedIn, cursor: Option<String>, limit: u32) -> ConversationPage {
        let device_id = device.device_id;
        let call = ListConversations {
            device_id,
            cursor,
            limit,
            archived: false,
        };
        self.service.list_conversations(&call, START).unwrap()
    }

    /// The group `number` with one message of another, sent at second `at`.
    fn group_active_at(&mut self, number: u32, at: u64) {
        let summary = group_summary(number, "Group");
        self.deliver(&summary, &messages(summary.conversation_id, at..=at));
    }

    /// The groups in the order of all pages of `limit`.
    fn walk(&mut self, device: &SignedIn, limit: u32) -> Vec<ConversationId> {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.page(device, cursor, limit);
            assert_eq!(page.has_more, page.next_cursor.is_some());
            assert!(page.conversations.len() <= limit as usize);
            seen.extend(page.conversations.iter().map(|item| item.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return seen;
            }
        }
    }
}

fn groups(numbers: &[u32]) -> Vec<ConversationId> {
    numbers.iter().copied().map(group).collect()
}

#[test]
fn a_new_user_has_no_conversations() {
    let (mut fixture, device) = Fixture::signed_in();
    assert_eq!(
        fixture.page(&device, None, 20),
        ConversationPage {
            conversations: vec![],
            next_cursor: None,
            has_more: false,
            total_unread: 0
        }
    );
}

#[test]
fn pinned_ones_come_first_then_the_newest_activity_then_the_id() {
    let (mut fixture, device) = Fixture::signed_in();
    for (number, at) in [(1, 10), (2, 30), (3, 20), (4, 20), (5, 5), (6, 6)] {
        fixture.group_active_at(number, at);
    }
    // Without a message it is the time of its making that counts: before all the others.
    fixture.deliver(&group_summary(7, "Quiet"), &[]);
    fixture.sql.dump(
        "UPDATE inbox SET pinned = 1
         WHERE conversation_id IN (x'00000000000040009000000000000005',
            x'00000000000040009000000000000006') RETURNING 1",
    );
    let expected = groups(&[6, 5, 2, 3, 4, 1, 7]);
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(fixture.walk(&device, limit), expected, "pages of {limit}");
    }
    let pinned: Vec<_> = fixture
        .list(device.device_id)
        .iter()
        .map(|item| item.pinned)
        .collect();
    assert_eq!(pinned, [true, true, false, false, false, false, false]);
}

#[test]
fn a_page_goes_on_where_the_last_one_ended_while_the_list_changes() {
    let (mut fixture, device) = Fixture::signed_in();
    for number in 1..=6 {
        fixture.group_active_at(number, u64::from(number) * 10);
    }
    let first = fixture.page(&device, None, 3);
    assert_eq!(
        first
            .conversations
            .iter()
            .map(|item| item.id)
            .collect::<Vec<_>>(),
        groups(&[6, 5, 4])
    );
    // The cursor's own item and one that was not seen yet move to the top; a new one comes in.
    for (number, seq) in [(4, 41), (2, 21)] {
        let summary = group_summary(number, "Group");
        let mut event = message(summary.conversation_id, seq, user(2));
        if let Event::NewMessage(message) = &mut event {
            message.created_at = time_of(1000 + seq);
        }
        fixture.deliver(&summary, &[event]);
    }
    fixture.group_active_at(7, 2000);
    let second = fixture.page(&device, first.next_cursor, 3);
    assert_eq!(
        second
            .conversations
            .iter()
            .map(|item| item.id)
            .collect::<Vec<_>>(),
        groups(&[3, 1])
    );
    assert!(!second.has_more);
    assert_eq!(fixture.walk(&device, 2), groups(&[7, 4, 2, 6, 5, 3, 1]));
}

#[test]
fn archived_ones_are_listed_apart_and_their_unread_is_not_summed() {
    let (mut fixture, device) = Fixture::signed_in();
    for number in 1..=4 {
        fixture.group_active_at(number, u64::from(number));
    }
    fixture.sql.dump(
        "UPDATE inbox SET archived = 1
         WHERE conversation_id = x'00000000000040009000000000000003' RETURNING 1",
    );
    assert_eq!(fixture.walk(&device, 2), groups(&[4, 2, 1]));
    let device_id = device.device_id;
    let call = ListConversations {
        device_id,
        cursor: None,
        limit: 20,
        archived: true,
    };
    let archived = fixture.service.list_conversations(&call, START).unwrap();
    assert_eq!(archived.conversations.len(), 1);
    assert_eq!(
        (
            archived.conversations[0].id,
            archived.conversations[0].archived
        ),
        (group(3), true)
    );
    assert_eq!(archived.total_unread, 3);
}

#[test]
fn total_unread_is_of_the_whole_list_on_every_page() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = direct_summary(user(2));
    fixture.deliver(&summary, &messages(summary.conversation_id, 1..=40));
    fixture.group_active_at(1, 100);
    let first = fixture.page(&device, None, 1);
    assert_eq!((first.conversations[0].unread, first.total_unread), (1, 41));
    assert_eq!(fixture.page(&device, first.next_cursor, 1).total_unread, 41);
}

#[test]
fn what_is_no_cursor_of_this_list_is_refused() {
    let (mut fixture, device) = Fixture::signed_in();
    for bad in [
        String::new(),
        "x".to_owned(),
        page::cursor(&(1, 2)),
        page::cursor(&"x"),
    ] {
        let device_id = device.device_id;
        let call = ListConversations {
            device_id,
            cursor: Some(bad),
            limit: 20,
            archived: false,
        };
        let problem = problem(fixture.service.list_conversations(&call, START));
        assert_eq!(
            (problem.code, problem.errors[0].field.as_str()),
            (Code::InvalidRequest, "cursor")
        );
    }
}

#[test]
fn a_page_keeps_within_its_limit_whatever_is_asked() {
    let (mut fixture, device) = Fixture::signed_in();
    for number in 1..=150 {
        fixture.group_active_at(number, 1);
    }
    assert_eq!(fixture.page(&device, None, 0).conversations.len(), 1);
    assert_eq!(
        fixture.page(&device, None, u32::MAX).conversations.len(),
        100
    );
    assert_eq!(
        fixture.walk(&device, 7),
        groups(&(1..=150).collect::<Vec<_>>())
    );
}
