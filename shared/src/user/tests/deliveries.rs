//! Deliveries: repeated, overlapping, late, and what they cost.

use proptest::prelude::*;

use super::*;
use crate::protocol::problem::Code;
use crate::sql::Rows;
use crate::sql::probe::Cost;

const ROWS: &str = "SELECT * FROM inbox";

/// What one delivery may cost: a look and one written row.
const ONE_ROW: Cost = Cost {
    statements: 2,
    written: 1,
};
/// What a delivery costs that brings nothing new.
const A_LOOK: Cost = Cost {
    statements: 1,
    written: 0,
};

#[test]
fn a_delivery_shows_in_the_list() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = group_summary(1, "Hikers");
    let id = summary.conversation_id;
    let events = [
        joined(id, 1),
        message(id, 2, user(2)),
        message(id, 3, me()),
        message(id, 4, user(3)),
    ];
    assert_eq!(fixture.deliver(&summary, &events), Seq::new(4));
    let item = fixture.list(device.device_id).remove(0);
    assert_eq!((item.id, item.kind), (id, ConversationType::Group));
    assert_eq!(item.name.as_deref(), Some("Hikers"));
    assert_eq!(
        (item.head_seq, item.read_seq, item.unread),
        (Seq::new(4), Seq::ZERO, 2)
    );
    assert_eq!(item.last_message_at, Some(time_of(4)));
    let last = item.last_msg.unwrap();
    assert_eq!((last.seq, last.sender_id), (Seq::new(4), user(3)));
    assert_eq!(last.preview, "message 4");
    assert_eq!(item.peer_id, None);
    assert_eq!(
        (item.muted_until, item.archived, item.pinned),
        (None, false, false)
    );
}

#[test]
fn a_direct_conversation_shows_its_peer_and_no_name() {
    let (mut fixture, device) = Fixture::signed_in();
    let mut summary = direct_summary(user(2));
    summary.direct_members.reverse();
    assert_eq!(fixture.deliver(&summary, &[]), Seq::ZERO);
    let item = fixture.list(device.device_id).remove(0);
    assert_eq!(item.peer_id, Some(user(2)));
    assert_eq!(
        (
            item.name,
            item.avatar_url,
            item.last_msg,
            item.last_message_at
        ),
        (None, None, None, None)
    );
    assert_eq!((item.unread, item.head_seq), (0, Seq::ZERO));
}

#[test]
fn a_delivered_message_costs_one_look_and_one_row() {
    let (mut fixture, _) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    let summary = direct_summary(user(2));
    let id = summary.conversation_id;
    for events in [
        messages(id, 1..=1),
        messages(id, 2..=2),
        messages(id, 3..=102),
    ] {
        let (_, cost) = sql.cost(|| fixture.deliver(&summary, &events));
        assert_eq!(cost, ONE_ROW);
    }
}

#[test]
fn a_repeated_delivery_writes_nothing() {
    let (mut fixture, _) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    let summary = direct_summary(user(2));
    let id = summary.conversation_id;
    fixture.deliver(&summary, &[]);
    fixture.deliver(&summary, &messages(id, 1..=5));
    for events in [
        messages(id, 1..=5),
        messages(id, 2..=3),
        messages(id, 5..=5),
        Vec::new(),
    ] {
        let (head, cost) = sql.cost(|| fixture.deliver(&summary, &events));
        assert_eq!((head, cost), (Seq::new(5), A_LOOK));
    }
}

#[test]
fn an_overlapping_delivery_counts_only_what_is_new() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = direct_summary(user(2));
    let id = summary.conversation_id;
    fixture.deliver(&summary, &messages(id, 1..=5));
    assert_eq!(fixture.deliver(&summary, &messages(id, 3..=8)), Seq::new(8));
    assert_eq!(fixture.list(device.device_id)[0].unread, 8);
}

#[test]
fn nothing_past_a_gap_is_taken() {
    let (mut fixture, device) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    let summary = group_summary(1, "Hikers");
    let renamed = group_summary(1, "Walkers");
    let id = summary.conversation_id;
    fixture.deliver(&summary, &messages(id, 1..=5));
    let (head, cost) = sql.cost(|| fixture.deliver(&renamed, &messages(id, 7..=9)));
    assert_eq!((head, cost), (Seq::new(5), A_LOOK));
    let mut holed = messages(id, 6..=7);
    holed.extend(messages(id, 9..=9));
    assert_eq!(fixture.deliver(&renamed, &holed), Seq::new(7));
    let item = fixture.list(device.device_id).remove(0);
    assert_eq!((item.unread, item.last_msg.unwrap().seq), (7, Seq::new(7)));
}

#[test]
fn the_first_delivery_may_begin_anywhere_and_an_empty_one_begins_at_1() {
    let (mut fixture, device) = Fixture::signed_in();
    let late = group_summary(1, "Late");
    let id = late.conversation_id;
    let mut events = vec![joined(id, 41)];
    events.extend(messages(id, 42..=43));
    assert_eq!(fixture.deliver(&late, &events), Seq::new(43));
    assert_eq!(fixture.list(device.device_id)[0].unread, 2);
    let new = group_summary(2, "New");
    assert_eq!(fixture.deliver(&new, &[]), Seq::ZERO);
    assert_eq!(
        fixture.deliver(&new, &messages(new.conversation_id, 2..=3)),
        Seq::ZERO
    );
    assert_eq!(
        fixture.deliver(&new, &messages(new.conversation_id, 1..=3)),
        Seq::new(3)
    );
}

#[test]
fn events_that_are_no_messages_move_the_head_and_leave_the_preview() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = group_summary(1, "Hikers");
    let id = summary.conversation_id;
    fixture.deliver(&summary, &messages(id, 1..=1));
    fixture.deliver(&summary, &[joined(id, 2)]);
    let item = fixture.list(device.device_id).remove(0);
    assert_eq!((item.head_seq, item.unread), (Seq::new(2), 1));
    assert_eq!(item.last_msg.unwrap().seq, Seq::new(1));
    assert_eq!(item.last_message_at, Some(time_of(1)));
}

#[test]
fn a_changed_name_is_taken_and_an_old_delivery_does_not_bring_the_old_one_back() {
    let (mut fixture, device) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    let old = group_summary(1, "Hikers");
    let mut renamed = group_summary(1, "Walkers");
    renamed.avatar_url = Some("https://example.com/w.png".to_owned());
    let id = old.conversation_id;
    fixture.deliver(&old, &messages(id, 1..=3));
    assert_eq!(sql.cost(|| fixture.deliver(&renamed, &[])).1, ONE_ROW);
    assert_eq!(sql.cost(|| fixture.deliver(&renamed, &[])).1, A_LOOK);
    for events in [
        messages(id, 1..=3),
        messages(id, 1..=2),
        messages(id, 3..=3),
    ] {
        assert_eq!(sql.cost(|| fixture.deliver(&old, &events)).1, A_LOOK);
    }
    let item = fixture.list(device.device_id).remove(0);
    assert_eq!(item.name.as_deref(), Some("Walkers"));
    assert_eq!(item.avatar_url, renamed.avatar_url);
    assert_eq!((item.head_seq, item.unread), (Seq::new(3), 3));
    fixture.deliver(&group_summary(1, "Runners"), &messages(id, 4..=4));
    assert_eq!(
        fixture.list(device.device_id)[0].name.as_deref(),
        Some("Runners")
    );
}

#[test]
fn the_place_and_settings_of_a_row_survive_deliveries() {
    let (mut fixture, _) = Fixture::signed_in();
    let summary = direct_summary(user(2));
    fixture.deliver(&summary, &[]);
    fixture.sql.dump(
        "UPDATE inbox SET pinned = 1, archived = 1, muted_until = 7, read_seq = 3 RETURNING 1",
    );
    fixture.deliver(&summary, &messages(summary.conversation_id, 1..=4));
    let kept = fixture
        .sql
        .dump("SELECT pinned, archived, muted_until, read_seq FROM inbox");
    let kept: Vec<i64> = (0..4)
        .map(|column| kept.first().unwrap().get(column).unwrap())
        .collect();
    assert_eq!(kept, [1, 1, 7, 3]);
}

#[test]
fn a_delivery_to_no_one_is_refused_and_leaves_no_trace() {
    let mut fixture = Fixture::new();
    let summary = direct_summary(user(2));
    let call = |user_id| Deliver {
        visible_from: Seq::new(1),
        user_id,
        events: messages(summary.conversation_id, 1..=1),
        conversation: summary.clone(),
        attached_devices: vec![],
    };
    let refused = fixture.service.deliver(&call(me()), START, &mut Vec::new());
    assert_eq!(problem(refused).code, Code::NotFound);
    assert!(
        fixture
            .sql
            .dump("SELECT name FROM sqlite_master")
            .rows
            .is_empty()
    );
    // The tables are there, the user of this scope is not.
    fixture.sign_in(None).unwrap();
    let mut other = UserService::new(fixture.sql.clone(), OBJECT_SCOPE + 1);
    for service in [&mut other, &mut fixture.service] {
        let refused = service.deliver(&call(user(3)), START, &mut Vec::new());
        assert_eq!(problem(refused).code, Code::NotFound);
    }
    assert!(fixture.sql.dump(ROWS).rows.is_empty());
}

/// The row after one delivery of all events.
fn at_once(summary: &ConversationSummary, events: &[Event]) -> Rows {
    let (mut fixture, _) = Fixture::signed_in();
    fixture.deliver(summary, events);
    fixture.sql.dump(ROWS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A sender that goes on from where the answer says, between deliveries that are late,
    /// repeated, overlapping or too early, and an object that restarts.
    #[test]
    fn any_interleaving_of_deliveries_ends_in_the_same_row(
        senders in prop::collection::vec(0_u32..4, 1..60),
        stray in prop::collection::vec((0_usize..60, 0_usize..20, any::<bool>()), 0..60),
        sizes in prop::collection::vec(1_usize..9, 60),
    ) {
        let summary = group_summary(1, "Hikers");
        let id = summary.conversation_id;
        let events: Vec<Event> = (1..)
            .zip(&senders)
            .map(|(seq, sender)| match sender {
                0 => joined(id, seq),
                sender => message(id, seq, user(*sender)),
            })
            .collect();
        let (mut fixture, _) = Fixture::signed_in();
        fixture.deliver(&summary, &[]);
        let mut stray = stray.into_iter();
        let mut sizes = sizes.into_iter();
        let mut head = 0;
        while head < events.len() {
            if let Some((from, length, restart)) = stray.next() {
                if restart {
                    fixture.restart();
                }
                let from = from.min(events.len());
                let to = (from + length).min(events.len());
                let answered = fixture.deliver(&summary, &events[from..to]);
                let expected = if from <= head { head.max(to) } else { head };
                prop_assert_eq!(answered.get(), expected as u64);
                head = expected;
            }
            let to = (head + sizes.next().unwrap_or(1)).min(events.len());
            head = fixture.deliver(&summary, &events[head..to]).get() as usize;
            prop_assert_eq!(head, to);
        }
        prop_assert_eq!(fixture.sql.dump(ROWS), at_once(&summary, &events));
    }
}
