//! Lanes: what is due to whom, and when.

use super::*;
use crate::entropy::SeededEntropy;

fn users(count: usize) -> Vec<UserId> {
    let entropy = SeededEntropy::new(5);
    (0..count).map(|_| UserId::random(&entropy)).collect()
}

fn drain(lanes: &mut Lanes, now: Timestamp) -> Vec<Due> {
    std::iter::from_fn(|| lanes.next_due(now)).collect()
}

const T0: Timestamp = Timestamp::from_millis(1_000_000);

#[test]
fn a_new_conversation_owes_everyone_a_delivery_even_without_events() {
    let members = users(2);
    let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, None)));
    assert!(!lanes.is_dry());
    let due = drain(&mut lanes, T0);
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|due| due.after.is_none()));
    for id in members {
        lanes.taken(id, Seq::ZERO, T0);
    }
    assert!(lanes.is_dry());
}

#[test]
fn one_delivery_is_in_flight_and_what_comes_meanwhile_travels_together() {
    let id = users(1)[0];
    let mut lanes = Lanes::new(Seq::new(1), [(id, Some(Seq::ZERO))]);
    lanes.heard(id, T0);
    assert_eq!(drain(&mut lanes, T0).len(), 1);
    for seq in 2..=100 {
        lanes.advance(Seq::new(seq), T0);
        assert_eq!(drain(&mut lanes, T0), []);
    }
    lanes.taken(id, Seq::new(1), T0);
    assert_eq!(drain(&mut lanes, T0), [], "paced");
    assert_eq!(lanes.next_wait(), Some(T0 + PACE));
    let due = drain(&mut lanes, T0 + PACE);
    assert_eq!(
        due,
        [Due {
            user_id: id,
            after: Some(Seq::new(1))
        }]
    );
    lanes.taken(id, Seq::new(100), T0 + PACE);
    assert!(lanes.is_dry());
    lanes.advance(Seq::new(101), T0 + PACE);
    assert_eq!(
        drain(&mut lanes, T0 + PACE),
        [],
        "a lane rests after it was served"
    );
    assert_eq!(drain(&mut lanes, T0 + PACE * 2).len(), 1);
    lanes.taken(id, Seq::new(101), T0 + PACE * 2);
    lanes.advance(Seq::new(102), T0 + PACE * 9);
    assert_eq!(
        drain(&mut lanes, T0 + PACE * 9).len(),
        1,
        "idle lanes are served at once"
    );
}

#[test]
fn a_stream_of_events_reaches_one_who_is_away_ever_more_seldom_until_it_pauses() {
    let id = users(1)[0];
    let mut lanes = Lanes::new(Seq::ZERO, [(id, Some(Seq::ZERO))]);
    let (mut now, mut deliveries) = (T0, Vec::new());
    for seq in 1..=400 {
        now = T0 + Duration::from_millis(seq * 10);
        lanes.advance(Seq::new(seq), now);
        if !drain(&mut lanes, now).is_empty() {
            deliveries.push(seq * 10);
            lanes.taken(id, Seq::new(seq), now);
        }
    }
    assert!((8..=11).contains(&deliveries.len()), "{deliveries:?}");
    assert_eq!(deliveries[..2], [10, 40]);
    let rests = deliveries.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(rests.is_sorted(), "{deliveries:?}");
    drain(&mut lanes, now + LONGEST_PACE);
    lanes.taken(id, Seq::new(400), now + LONGEST_PACE);
    let later = now + LONGEST_PACE * 3;
    lanes.advance(Seq::new(401), later);
    assert_eq!(drain(&mut lanes, later).len(), 1, "at once after a pause");
    lanes.taken(id, Seq::new(401), later);
    lanes.advance(Seq::new(402), later);
    assert_eq!(lanes.next_wait(), Some(later + PACE));
}

#[test]
fn a_lane_that_is_waited_for_does_not_rest_and_goes_before_the_others() {
    let members = users(10);
    let wanted = members[9];
    let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, Some(Seq::ZERO))));
    lanes.advance(Seq::new(1), T0);
    for due in drain(&mut lanes, T0) {
        lanes.taken(due.user_id, Seq::new(1), T0);
    }
    // It rests.
    lanes.advance(Seq::new(300), T0);
    assert_eq!(drain(&mut lanes, T0), []);
    assert!(lanes.hurry(wanted, Some(Seq::new(1)), Seq::new(250), T0));
    let due = |after| Due {
        user_id: wanted,
        after: Some(Seq::new(after)),
    };
    assert_eq!(drain(&mut lanes, T0), [due(1)]);
    // While a delivery is under way, nothing goes beside it.
    assert!(lanes.hurry(wanted, Some(Seq::new(1)), Seq::new(250), T0));
    assert_eq!(drain(&mut lanes, T0), []);
    lanes.taken(wanted, Seq::new(201), T0);
    assert_eq!(
        drain(&mut lanes, T0),
        [due(201)],
        "what is wanted is not there"
    );
    lanes.taken(wanted, Seq::new(290), T0);
    assert_eq!(drain(&mut lanes, T0), [], "it is");
    let mut due: Vec<_> = drain(&mut lanes, T0 + PACE);
    assert_eq!(due.len(), 10, "the others have lost nothing");
    for due in due.drain(..) {
        lanes.taken(due.user_id, Seq::new(300), T0);
    }
    assert!(lanes.is_dry());
    assert!(!lanes.hurry(wanted, Some(Seq::new(300)), Seq::new(300), T0));
}

#[test]
fn a_lane_that_is_due_is_put_first_when_it_is_waited_for() {
    let members = users(10);
    let mut lanes = Lanes::new(Seq::new(1), members.iter().map(|id| (*id, None)));
    let last = *lanes.queue.back().unwrap();
    assert!(lanes.hurry(last, None, Seq::ZERO, T0));
    let order: Vec<_> = drain(&mut lanes, T0);
    assert_eq!(order[0].user_id, last);
    assert_eq!(order.len(), 10, "and is served once");
}

#[test]
fn a_user_object_that_lacks_what_it_was_thought_to_have_is_given_it_when_it_asks() {
    let id = users(1)[0];
    let mut lanes = Lanes::new(Seq::new(9), [(id, Some(Seq::new(9)))]);
    assert!(lanes.is_dry());
    assert!(lanes.hurry(id, Some(Seq::new(3)), Seq::new(9), T0));
    let due = Due {
        user_id: id,
        after: Some(Seq::new(3)),
    };
    assert_eq!(drain(&mut lanes, T0), [due]);
}

#[test]
fn lanes_that_were_served_together_come_apart() {
    let members = users(100);
    let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, Some(Seq::ZERO))));
    let mut most = 0;
    for seq in 1..=500 {
        let now = T0 + Duration::from_millis(seq * 20);
        lanes.advance(Seq::new(seq), now);
        let due = drain(&mut lanes, now);
        if seq > 250 {
            most = most.max(due.len());
        }
        for due in due {
            lanes.taken(due.user_id, Seq::new(seq), now);
        }
    }
    assert!(most <= 20, "{most} at once");
}

#[test]
fn lanes_of_a_large_group_rest_longer() {
    let members = users(200);
    let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, Some(Seq::ZERO))));
    lanes.heard(members[0], T0);
    lanes.advance(Seq::new(1), T0);
    assert_eq!(drain(&mut lanes, T0).len(), 200);
    lanes.taken(members[0], Seq::new(1), T0);
    lanes.advance(Seq::new(2), T0);
    assert_eq!(lanes.next_wait(), Some(T0 + Duration::from_millis(200)));
}

#[test]
fn a_lane_that_fails_waits_longer_each_time_and_others_go_on() {
    let members = users(2);
    let (down, up) = (members[0], members[1]);
    let mut lanes = Lanes::new(
        Seq::new(1),
        [(down, Some(Seq::ZERO)), (up, Some(Seq::ZERO))],
    );
    let mut now = T0;
    drain(&mut lanes, now);
    lanes.taken(up, Seq::new(1), now);
    let mut waits = Vec::new();
    for _ in 0..12 {
        lanes.failed(down, now);
        let next = lanes.next_wait().unwrap();
        waits.push(next.since(now).as_secs());
        now = next;
        assert_eq!(drain(&mut lanes, now).len(), 1);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    lanes.advance(Seq::new(2), now);
    assert_eq!(
        drain(&mut lanes, now),
        [Due {
            user_id: up,
            after: Some(Seq::new(1))
        }]
    );
    lanes.taken(down, Seq::new(2), now);
    lanes.taken(up, Seq::new(2), now);
    assert!(lanes.is_dry());
}

#[test]
fn a_user_object_that_has_less_than_was_thought_is_given_it_again() {
    let id = users(1)[0];
    let mut lanes = Lanes::new(Seq::new(9), [(id, Some(Seq::new(8)))]);
    drain(&mut lanes, T0);
    lanes.taken(id, Seq::new(3), T0);
    let due = drain(&mut lanes, T0 + PACE);
    assert_eq!(
        due,
        [Due {
            user_id: id,
            after: Some(Seq::new(3))
        }]
    );
}

#[test]
fn those_who_listen_go_first_and_the_others_keep_their_share() {
    let members = users(10);
    let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, Some(Seq::ZERO))));
    let listening = &members[7..];
    for id in listening {
        lanes.heard(*id, T0);
    }
    lanes.advance(Seq::new(1), T0);
    let order: Vec<_> = drain(&mut lanes, T0)
        .iter()
        .map(|due| due.user_id)
        .collect();
    assert_eq!(order.len(), 10);
    let last = order.iter().rposition(|id| listening.contains(id)).unwrap();
    assert!(last <= 3, "{last}");
    for id in &members {
        lanes.taken(*id, Seq::new(1), T0);
    }
    let later = T0 + LISTENS;
    lanes.advance(Seq::new(2), later);
    let mut order: Vec<_> = drain(&mut lanes, later)
        .iter()
        .map(|due| due.user_id)
        .collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(order, sorted, "no one has been heard of for long");
    order.dedup();
    assert_eq!(order.len(), 10);
}

#[test]
fn progress_names_the_few_that_lag_or_the_one_number_for_all() {
    let members = users(5);
    let mut lanes = Lanes::new(
        Seq::new(7),
        members.iter().map(|id| (*id, Some(Seq::new(2)))),
    );
    assert_eq!(
        lanes.progress(),
        Progress {
            delivered: Some(Seq::new(2)),
            lagging: Vec::new()
        }
    );
    drain(&mut lanes, T0);
    for id in &members[..4] {
        lanes.taken(*id, Seq::new(7), T0);
    }
    assert_eq!(
        lanes.progress(),
        Progress {
            delivered: Some(Seq::new(7)),
            lagging: vec![(members[4], Some(Seq::new(2)))]
        }
    );
    lanes.taken(members[4], Seq::new(7), T0);
    assert_eq!(
        lanes.progress(),
        Progress {
            delivered: Some(Seq::new(7)),
            lagging: Vec::new()
        }
    );
}
