//! Typing: passed on to the others, seldom, and never stored.

use std::time::Duration;

use super::{World, told};
use crate::conversation::call::SignalTyping;
use crate::conversation::service::Effects;
use crate::entropy::SeededEntropy;
use crate::ids::UserId;
use crate::limits;
use crate::protocol::frame::ServerFrame;
use crate::protocol::problem::Code;
use crate::sql::Sql;

fn typing(world: &mut World, user: usize, started: bool) -> Effects {
    let actor = world.users[user];
    let call = SignalTyping { actor, started };
    world.service.signal_typing(call, world.now).unwrap()
}

/// Whom it was passed on to.
fn told_to(effects: &Effects) -> Vec<UserId> {
    effects.signals.iter().map(|signal| signal.to).collect()
}

#[test]
fn a_start_and_its_stop_reach_everyone_else_and_nothing_is_stored() {
    let mut world = World::group();
    let changes = |world: &World| {
        let rows = world.sql.exec("SELECT total_changes()", &[]).unwrap();
        rows.scalar::<i64>().unwrap()
    };
    let before = changes(&world);
    let start = typing(&mut world, 0, true);
    let mut others = world.users[1..3].to_vec();
    others.sort();
    assert_eq!(told_to(&start), others);
    assert!(start.signals.iter().all(|signal| matches!(
        &signal.frame,
        ServerFrame::TypingStart(notice) if notice.user_id == world.users[0]
    )));
    let stop = typing(&mut world, 0, false);
    assert!(matches!(stop.signals[0].frame, ServerFrame::TypingStop(_)));
    assert_eq!((start.alarm, stop.alarm), (None, None));
    assert_eq!(changes(&world), before);
}

#[test]
fn one_start_passes_in_three_seconds_and_a_stop_only_after_it() {
    let mut world = World::direct();
    assert_eq!(
        told_to(&typing(&mut world, 0, false)),
        [],
        "nothing had begun"
    );
    assert_eq!(told_to(&typing(&mut world, 0, true)).len(), 1);
    assert_eq!(told_to(&typing(&mut world, 0, true)), []);
    assert_eq!(
        told_to(&typing(&mut world, 1, true)).len(),
        1,
        "each for itself"
    );
    assert_eq!(told_to(&typing(&mut world, 0, false)).len(), 1);
    assert_eq!(
        told_to(&typing(&mut world, 0, true)),
        [],
        "the interval holds across a stop"
    );
    assert_eq!(
        told_to(&typing(&mut world, 0, false)),
        [],
        "and its stop has no start"
    );
    world.now = world.now + limits::TYPING_INTERVAL - Duration::from_millis(1);
    assert_eq!(told_to(&typing(&mut world, 0, true)), []);
    world.now = world.now + Duration::from_millis(1);
    assert_eq!(told_to(&typing(&mut world, 0, true)).len(), 1);
}

#[test]
fn large_groups_show_no_typing() {
    for (others, told) in [
        (limits::SMALL_GROUP - 1, limits::SMALL_GROUP - 1),
        (limits::SMALL_GROUP, 0),
    ] {
        let mut world = World::new();
        let entropy = SeededEntropy::new(3);
        let members = (0..others).map(|_| UserId::random(&entropy)).collect();
        world.create_group(members).unwrap();
        assert_eq!(typing(&mut world, 0, true).signals.len(), told);
    }
}

#[test]
fn strangers_do_not_type() {
    let mut world = World::direct();
    let call = SignalTyping {
        actor: world.users[3],
        started: true,
    };
    let refusal = world.service.signal_typing(call, world.now).unwrap_err();
    assert_eq!(told(refusal).code, Code::NotFound);
}
