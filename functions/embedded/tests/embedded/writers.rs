//! Several instances write to one database at the same time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use parlance_shared::sql::Sql as _;
use parlance_shared::sql::native::NativeSql;
use serde_json::json;

use crate::support::{START, Service, run};

const WRITERS: u32 = 8;
const MESSAGES: u32 = 25;

#[test]
fn eight_writers_make_one_log_without_gaps_and_each_message_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let service = Service::on(path.clone(), 0.0, 1);
    let (token, chat, id) = run(async {
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        (ada.token.clone(), chat, ada.id.clone())
    });
    let acks: Vec<Vec<(u64, u64)>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (path, token, chat, id) = (path.clone(), &token, &chat, &id);
                scope.spawn(move || {
                    let service = Service::on(path, 0.0, u64::from(writer) + 2);
                    let me = crate::support::Person {
                        service: &service,
                        id: id.clone(),
                        token: token.clone(),
                    };
                    run(async {
                        let mut acks = Vec::new();
                        for number in 0..MESSAGES {
                            // Two writers at a time send the very same messages.
                            let number = (writer / 2) * MESSAGES + number;
                            let answer = me.send(chat, number).await;
                            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
                            let seq = answer.body["seq"].as_u64().unwrap();
                            acks.push((u64::from(number), seq));
                        }
                        acks
                    })
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let acks: BTreeSet<_> = acks.into_iter().flatten().collect();
    let sent = u64::from(WRITERS / 2 * MESSAGES);
    let numbers: BTreeSet<_> = acks.iter().map(|(number, _)| *number).collect();
    let seqs: BTreeSet<_> = acks.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(acks.len() as u64, sent, "each message has one seq");
    assert_eq!(numbers, (0..sent).collect());
    assert_eq!(seqs, (1..=sent).collect());
    run(async {
        let me = crate::support::Person {
            service: &service,
            id,
            token,
        };
        let events = format!("/conversations/{chat}/events?after_seq=0&limit=500");
        let events = me.get(&events).await.expect(200);
        let found: Vec<_> = events["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["seq"].clone())
            .collect();
        let expected: Vec<_> = (1..=sent).map(|seq| json!(seq)).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn one_who_has_waited_long_for_the_lock_asks_as_often_as_one_who_has_just_come() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let other = NativeSql::open(&service.machine.path).unwrap();
        other.exec("BEGIN IMMEDIATE", &[]).unwrap();
        let until = START + Duration::from_secs(15);
        let tries = Rc::new(Cell::new(0));
        let counted = Rc::clone(&tries);
        // The lock is free for a moment now and then: the more often one asks, the sooner one has it.
        *service.machine.meanwhile.borrow_mut() = Some(Box::new(move |now| {
            counted.set(counted.get() + 1);
            if now >= until {
                let _ = other.exec("ROLLBACK", &[]);
            }
        }));
        ada.send(&chat, 1).await.expect(201);
        let waited = service.machine.clock.get().since(START);
        assert!(waited >= Duration::from_secs(15), "{waited:?}");
        assert!(tries.get() >= 1000, "{} tries", tries.get());
    });
}
