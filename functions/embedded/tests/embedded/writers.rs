//! Several instances write to one database at the same time.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::support::{Service, run};

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
