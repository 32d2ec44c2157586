//! Unread counts: exact after any mixture of sending, reading and reconnecting.

use std::collections::BTreeMap;

use parlance_tests::socket::{ack, read, send_message};
use parlance_tests::{Socket, User, eventually, server, uuid};
use serde_json::Value;

/// Numbers that look random and are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len() as u64);
        &from[usize::try_from(place).expect("a place")]
    }
}

/// Counts again, from the log.
async fn recount(user: &User, conversation: &str, read_seq: u64) -> usize {
    let log = user.events(conversation, read_seq).await;
    log.iter()
        .filter(|event| event["type"] == "new_message" && event["sender_id"] != user.id)
        .count()
}

/// Checks the counts of a user against a recount. Gives their sum.
async fn check(user: &User, conversations: &[String], read_seqs: &ReadSeqs) -> usize {
    let mut total = 0;
    for id in conversations {
        let head = user.head_seq(id).await;
        let key = (user.id.clone(), id.clone());
        let read_seq = read_seqs.get(&key).copied().unwrap_or(0);
        let counted = recount(user, id, read_seq).await;
        if head == 0 {
            continue; // There is nothing to list yet.
        }
        // A frame that was sent takes a while.
        let item = eventually("the list to show what was sent and read", async || {
            user.item(id)
                .await
                .filter(|item| item["head_seq"] == head && item["read_seq"] == read_seq)
        })
        .await;
        assert_eq!(item["unread"], counted, "{item}");
        total += counted;
    }
    assert_eq!(user.list().await["total_unread"], total);
    total
}

type ReadSeqs = BTreeMap<(String, String), u64>;

#[tokio::test]
async fn unread_counts_are_exact_over_any_mixture() {
    let users = User::sign_up_all::<3>(server::shared()).await;
    let [ann, bob, eve] = &users;
    let conversations = [
        ann.direct(bob).await,
        eve.direct(bob).await,
        ann.group("Three", &[bob, eve]).await,
    ];
    let members = |place: usize| -> Vec<usize> {
        match place {
            0 => vec![0, 1],
            1 => vec![1, 2],
            _ => vec![0, 1, 2],
        }
    };
    let mine: Vec<Vec<String>> = (0..3)
        .map(|user| {
            (0..3)
                .filter(|place| members(*place).contains(&user))
                .map(|place| conversations[place].clone())
                .collect()
        })
        .collect();
    let mut sessions = Vec::new();
    for user in &users {
        sessions.push(Socket::session(user).await.0);
    }
    let mut read_seqs = ReadSeqs::new();
    let mut dice = Dice(3);

    for step in 1..=150 {
        let place = *dice.pick(&[0_usize, 1, 2]);
        let who = *dice.pick(&members(place));
        let (user, id) = (&users[who], &conversations[place]);
        match dice.below(10) {
            0..=2 => {
                user.say(id, &format!("{step}")).await;
            }
            3..=5 => {
                let name = uuid();
                let frame = send_message(id, &name, &format!("{step}"));
                sessions[who].send(&frame).await;
                sessions[who]
                    .until(|frame| frame["type"] == "msg_ack" && frame["client_msg_id"] == name)
                    .await;
            }
            way @ 6..=8 => {
                // One reads what one has, somewhere up to the head.
                let head = user.head_seq(id).await;
                if head == 0 {
                    continue;
                }
                user.reached(id, head).await;
                let up_to = 1 + dice.below(head);
                if way == 6 {
                    let reply = user.mark_read(id, up_to).await.ok(200);
                    let read_seq = reply["read_seq"].as_u64().expect("a read_seq");
                    assert_eq!(reply["unread"], recount(user, id, read_seq).await);
                } else {
                    sessions[who].send(&read(id, up_to)).await;
                }
                let read_seq = read_seqs.entry((user.id.clone(), id.clone())).or_default();
                *read_seq = up_to.max(*read_seq);
            }
            _ => {
                let total = check(user, &mine[who], &read_seqs).await as u64;
                let (mut session, opening) = Socket::session(user).await;
                assert_eq!(opening.total_unread, total, "on connecting");
                // Delivery is another matter than reading.
                if let Some(newest) = opening.pending.last() {
                    let id = newest["conversation_id"].as_str().expect("an id");
                    session
                        .send(&ack(id, newest["seq"].as_u64().expect("a seq")))
                        .await;
                }
                sessions[who] = session;
            }
        }
        if step % 10 == 0 {
            // Whoever says nothing for long counts as gone.
            for session in &mut sessions {
                session.send_text(r#"{"type":"ping"}"#).await;
            }
        }
        if step % 30 == 0 {
            for (who, user) in users.iter().enumerate() {
                check(user, &mine[who], &read_seqs).await;
            }
        }
    }
    for (who, user) in users.iter().enumerate() {
        for id in &mine[who] {
            let head = user.head_seq(id).await;
            user.reached(id, head).await;
            user.mark_read(id, head).await.ok(200);
        }
        assert_eq!(user.list().await["total_unread"], 0);
        let told: Vec<&Value> = sessions[who]
            .seen
            .iter()
            .filter(|frame| frame["type"] == "error")
            .collect();
        assert_eq!(told, [&Value::Null; 0]);
    }
}
