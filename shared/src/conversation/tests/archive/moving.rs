//! What leaves the object, and when.

use std::time::Duration;

use super::Archived;
use crate::conversation::archive::{HotWindow, Segment, StorageClass};
use crate::conversation::tests::World;
use crate::protocol::seq::Seq;
use crate::sql::Sql as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_hundred_thousand_messages_keep_a_thousand_here_and_are_all_read_once() {
    let mut archived = Archived::new(World::direct(), 1000);
    for number in 1..=100_000_u32 {
        let ack = archived.world.send(
            (number % 2) as usize,
            &format!("message number {number}, as people write"),
        );
        assert_eq!(ack.seq, Seq::new(number.into()));
        // The alarm goes off now and then.
        if number % 5_000 == 0 {
            archived.archive();
        }
    }
    assert_eq!(archived.hot(), 1000);
    archived.assert_nothing_is_left_over();
    let objects = archived.store.objects();
    let sizes: Vec<_> = objects.values().map(|object| object.bytes.len()).collect();
    for bytes in sizes.iter().rev().skip(1) {
        assert!((500_000..1_200_000).contains(bytes), "{sizes:?}");
    }
    let (puts, _) = archived.store.counts();
    assert!(puts <= 4 * sizes.len(), "{puts} puts for {}", sizes.len());
    archived.crash();
    let (_, before) = archived.store.counts();
    let mut expected = 100_000_u64;
    for message in archived.paged(1, 200) {
        assert_eq!(message["seq"], expected);
        let content = format!("message number {expected}, as people write");
        assert_eq!(message["content"], content);
        expected -= 1;
    }
    assert_eq!(expected, 0);
    let (_, after) = archived.store.counts();
    assert_eq!(after - before, sizes.len(), "each segment was read once");
}

#[test]
fn events_go_when_there_are_a_quarter_more_than_the_window_holds() {
    let mut archived = Archived::new(World::direct(), 100);
    for _ in 0..124 {
        archived.world.send(0, "hello");
    }
    archived.archive();
    assert_eq!(archived.hot(), 124);
    archived.world.send(0, "hello");
    archived.archive();
    assert_eq!(archived.hot(), 100);
}

#[test]
fn old_events_go_however_few_they_are_and_small_segments_grow() {
    let mut archived = Archived::new(World::direct(), 20_000);
    for _ in 0..8 {
        for _ in 0..3 {
            archived.world.send(0, "hello");
        }
        archived.wait(10 * DAY);
        archived.archive();
    }
    // Those of the last two times ten days, and what is not yet worth it.
    assert!((6..=12).contains(&archived.hot()), "{}", archived.hot());
    assert_eq!(archived.segments().len(), 1);
    archived.wait(38 * DAY);
    archived.archive();
    assert_eq!(archived.hot(), 0);
    archived.assert_nothing_is_left_over();
    assert_eq!(archived.events(0, 10).len(), 24);
}

#[test]
fn segments_are_about_a_mebibyte_however_large_their_events_are() {
    let mut world = World::direct();
    for number in 0..200 {
        let content = format!("{number} ").repeat(4000);
        world.send(0, &content);
    }
    let mut archived = Archived::new(world, 0);
    archived.archive();
    for object in archived.store.objects().values() {
        let segment = Segment::read(&object.bytes).unwrap();
        assert!(segment.size() < 4 * 1024 * 1024 + 70_000);
        assert!(object.bytes.len() < 1024 * 1024 + 70_000);
    }
}

#[test]
fn a_segment_over_a_year_old_moves_to_the_class_for_infrequent_access() {
    let mut world = World::direct();
    for _ in 0..10 {
        world.send(0, "hello");
    }
    let mut archived = Archived::new(world, 0);
    archived.archive();
    let classes = |archived: &Archived| -> Vec<_> {
        let objects = archived.store.objects();
        objects.values().map(|object| object.class).collect()
    };
    assert_eq!(classes(&archived), [StorageClass::Standard]);
    archived.wait(364 * DAY);
    archived.archive();
    assert_eq!(classes(&archived), [StorageClass::Standard]);
    archived.wait(DAY);
    archived.archive();
    assert_eq!(classes(&archived), [StorageClass::InfrequentAccess]);
    archived.assert_nothing_is_left_over();
    assert_eq!(archived.events(0, 10).len(), 10);
    let puts = archived.store.counts().0;
    archived.wait(365 * DAY);
    archived.archive();
    assert_eq!(archived.store.counts().0, puts, "once");
}

#[test]
fn the_alarm_waits_for_the_archive_without_seeming_to_wait_for_deliveries() {
    let mut archived = Archived::new(World::direct(), 20_000);
    archived.window.age = 30 * DAY;
    archived.crash();
    archived.world.send(0, "hello");
    archived.deliver();
    archived.wait(Duration::from_secs(6));
    archived.world.ring();
    let alarm = archived.world.alarm.expect("the archive's time will come");
    assert!(alarm > archived.world.now + 37 * DAY && alarm < archived.world.now + 38 * DAY);
    let written = archived
        .world
        .sql
        .exec("SELECT delivered_seq FROM conversation", &[]);
    let written: Option<Option<u64>> = written.unwrap().scalar().unwrap();
    archived.crash();
    assert!(
        archived.deliver().is_empty(),
        "all was delivered ({written:?})"
    );
    // An event brings it forward, in whatever life of the object.
    archived.world.send(0, "more");
    let soon = archived.world.now + Duration::from_secs(6);
    assert!(archived.world.alarm.unwrap() < soon);
    archived.crash();
    assert_eq!(
        archived.deliver().len(),
        2,
        "it is not known to be delivered"
    );
    archived.wait(Duration::from_secs(6));
    archived.world.ring();
    // Then nothing happens until it goes off, and after it nothing is left to wait for but a year.
    archived.world.now = archived.world.alarm.unwrap();
    archived.world.ring();
    archived.archive();
    assert_eq!(archived.hot(), 0);
    archived.wait(Duration::from_secs(6));
    archived.deliver();
    archived.world.ring();
    let alarm = archived.world.alarm.unwrap();
    assert!(alarm > archived.world.now + 300 * DAY, "{alarm}");
}

#[test]
fn without_an_archive_there_is_no_step_and_no_alarm() {
    let mut world = World::direct();
    for _ in 0..10 {
        world.send(0, "hello");
    }
    assert_eq!(world.service.next_archive_step(world.now), Ok(None));
    let mut archived = Archived::new(world, 0);
    archived.window = HotWindow::default();
    archived.world.crash();
    archived.deliver();
    archived.wait(Duration::from_secs(6));
    archived.world.ring();
    assert_eq!(archived.world.alarm, None);
}

#[test]
fn an_archived_event_leaves_one_row_written_here() {
    let mut world = World::direct();
    for number in 0..1000 {
        world.send(0, &format!("message number {number}, as people write"));
    }
    let bytes = |archived: &Archived| -> i64 {
        let rows = archived
            .world
            .sql
            .exec("SELECT sum(length(body)) FROM event", &[]);
        rows.unwrap().scalar().unwrap().unwrap()
    };
    let mut archived = Archived::new(world, 0);
    let before = bytes(&archived);
    archived.archive();
    assert!(before > 50_000);
    assert_eq!(bytes(&archived), 0);
}
