//! The end of a run: the weather calms, all connect, and everything that was promised has come.

use std::time::Duration;

use parlance_shared::conversation::call::{ConversationRequest, GetMessageInfo, ListEvents};
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::protocol::conversation::{ConversationPage, Membership};
use parlance_shared::protocol::event::EventPage;
use parlance_shared::protocol::message::MessageInfo;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::user::call::{ListConversations, UserRequest};

use crate::client::Draft;
use crate::objects::ObjectId;
use crate::plan::{Way, Weather};
use crate::world::World;

/// How long everything may take to come right once nothing fails any more. The longest pause
/// between two tries is five minutes.
const CALM: u64 = 11 * 60_000;
/// How long what is written in calm weather may take.
const AFTERWARDS: u64 = 80_000;
/// Alarms that write behind are set at most this far ahead, clocks that are off included.
const WRITES_BEHIND: Duration = Duration::from_secs(12);

impl World {
    /// Runs the plan to its end, and checks what then must hold.
    pub fn run(&mut self) {
        self.run_until(self.plan.length() + 1);
        self.calm();
        self.run_until(self.now + CALM);
        self.check(Self::check_delivered);
        self.check(Self::check_scheduled);
        self.check(Self::check_logs);
        if self.violation.is_some() {
            return;
        }
        self.enter_and_break();
        self.run_until(self.now + 2000);
        for place in self.oracle.places.clone() {
            self.write_once_more(place);
        }
        self.run_until(self.now + AFTERWARDS);
        self.check(Self::check_delivered);
        self.check(Self::check_answers);
        for device in 0..self.devices.len() {
            for place in self.oracle.places.clone() {
                self.leave_room(device, place);
            }
            self.disconnect(device);
        }
        self.run_until(self.now + AFTERWARDS);
        self.check(Self::check_logs);
        self.check(Self::check_rested);
    }

    fn check(&mut self, check: impl Fn(&mut Self)) {
        if self.violation.is_none() {
            check(self);
        }
    }

    /// Nothing fails any more, and everyone connects.
    fn calm(&mut self) {
        if self.violation.is_some() {
            return;
        }
        self.note(|| "--- calm".to_owned());
        self.weather = Weather::CALM;
        self.cut.clear();
        for object in self.objects.values() {
            object.disk.mend();
        }
        for device in 0..self.devices.len() {
            self.devices[device].wants_session = true;
            if self.devices[device].session.is_none() {
                self.open_session(device);
            }
        }
    }

    /// Some devices have sockets of conversations, too, of which some are dead.
    fn enter_and_break(&mut self) {
        for device in 0..self.devices.len() {
            let places: Vec<_> = self.devices[device].views.keys().copied().collect();
            for place in places {
                match self.whim.below(10) {
                    0..2 => self.enter(device, place),
                    2..5 => drop(self.break_room(device, place)),
                    _ => {}
                }
            }
        }
    }

    fn write_once_more(&mut self, place: ConversationId) {
        let Some(log) = self.oracle.logs.get(&place) else {
            return;
        };
        for user in log.members() {
            let device = self.devices.iter().position(|one| one.user == user);
            if let Some(device) = device {
                let draft = Draft {
                    place,
                    content: format!("last of {user}"),
                    reply_to: None,
                    thread_root: None,
                    mentions: Vec::new(),
                    is_repeat: false,
                    send_at: None,
                    way: Way::Http,
                    tries: 0,
                };
                self.draft(device, draft);
            }
        }
    }

    /// Everything has come to everyone.
    fn check_delivered(&mut self) {
        let mut broken = Vec::new();
        let mut looked = Vec::new();
        for (number, device) in self.devices.iter().enumerate() {
            if let Some((id, draft)) = device.drafts.first_key_value() {
                let text = format!("dev {number} waits for {id}: {draft:?}");
                broken.push(("every message is answered", text));
            }
            if !device.is_complete {
                let text = format!("dev {number}");
                broken.push(("every session catches up", text));
            }
        }
        for (place, log) in &self.oracle.logs {
            let head = log.head();
            for (user, spans) in &log.spans {
                let Some((from, to)) = spans.last().copied() else {
                    continue;
                };
                if head == 0 {
                    continue;
                }
                let last = to.unwrap_or(head);
                let row = self.oracle.rows.get(&(*user, *place));
                let is_right = match (row, to) {
                    (None, Some(_)) => true,
                    (None, None) => false,
                    (Some(row), None) => row.head == head && row.membership == 0,
                    (Some(row), Some(to)) => row.head == to && row.membership != 0,
                };
                looked.push("every event reaches every member's inbox");
                if !is_right {
                    let text =
                        format!("{user} has {row:?} of {place}, whose last for it is {last}");
                    broken.push(("every event reaches every member's inbox", text));
                }
                if row.is_none() {
                    continue;
                }
                for (number, device) in self.devices.iter().enumerate() {
                    if device.user != *user {
                        continue;
                    }
                    let all = device.views.get(place).map(|view| &view.all);
                    let lacks = |seq: &u64| !all.is_some_and(|all| all.contains(seq));
                    looked.push("every event reaches every device");
                    let first = if to.is_some() { last } else { from };
                    if let Some(missing) = (first..=last).find(lacks) {
                        let text = format!(
                            "dev {number} lacks {missing} of {place} ({from} to {to:?}, head {head})"
                        );
                        broken.push(("every event reaches every device", text));
                    }
                }
            }
        }
        for rule in looked {
            self.counts.add("promise looked at", rule);
        }
        for (rule, text) in broken {
            self.broken(rule, text);
        }
    }

    /// What was to be sent at a time has been.
    fn check_scheduled(&mut self) {
        for place in self.oracle.places.clone() {
            let Some(disk) = self.disk_with_log(place) else {
                continue;
            };
            let late = disk.look(
                "SELECT send_at FROM scheduled_message WHERE scope = 1 AND problem IS NULL",
                &[],
            );
            let now = self.time().as_millis() - 10_000;
            if late
                .iter()
                .any(|row| row.get::<i64>(0).is_ok_and(|at| at < now))
            {
                self.broken("what is scheduled is sent", format!("{place}"));
            }
        }
    }

    /// What was seen of the logs is what they hold, and what was acknowledged is there.
    fn check_logs(&mut self) {
        for (place, log) in self.oracle.logs.clone() {
            if log.ended {
                continue;
            }
            let Some(disk) = self.disk(ObjectId::Conversation(place)) else {
                continue;
            };
            if log.head() == 0 {
                continue;
            }
            let rows = disk.look(
                "SELECT seq, message_id FROM event WHERE scope = 1 ORDER BY seq",
                &[],
            );
            if rows.len() != log.entries.len() {
                let text = format!("{place} has {} of {} events", rows.len(), log.entries.len());
                return self.broken("no event is lost", text);
            }
            for (entry, row) in log.entries.iter().zip(&rows) {
                let (seq, message_id) = (row.get(0), row.get(1));
                let is_message = entry.client_msg_id.is_some();
                if seq != Ok(entry.seq) || is_message && message_id != Ok(entry.print.message_id) {
                    let text = format!("{place}: {row:?} is not {entry:?}");
                    return self.broken("events do not change", text);
                }
            }
        }
        let mut lost = Vec::new();
        for ((user, id), attempt) in &self.oracle.attempts {
            let Some((seq, message_id)) = attempt.acked else {
                continue;
            };
            let entry = self
                .oracle
                .logs
                .get(&attempt.place)
                .and_then(|log| log.entry(seq));
            let is_there = entry.is_some_and(|entry| {
                entry.client_msg_id == Some(*id) && entry.print.message_id == Some(message_id)
            });
            if !is_there {
                lost.push(format!("{id} of {user}: {attempt:?}, {entry:?}"));
            }
        }
        for text in lost {
            self.broken("no acknowledged message is lost", text);
        }
    }

    /// What a request is answered is what the logs say.
    fn check_answers(&mut self) {
        for (place, log) in self.oracle.logs.clone() {
            // One that nobody was told of, and nothing was written in, may never have been made.
            if log.head() == 0 && !self.oracle.created.contains(&place) {
                continue;
            }
            for user in log.members() {
                self.check_page(place, user, log.member_from(user).unwrap_or(1), log.head());
                self.check_info(place, user);
            }
        }
        for user in self.oracle.users.clone() {
            self.check_list(user);
        }
    }

    fn ask_place_directly(
        &mut self,
        place: ConversationId,
        request: ConversationRequest,
    ) -> Option<String> {
        let body = serde_json::to_string(&request).ok()?;
        let answer = self.ask_directly(ObjectId::Conversation(place), &body)?;
        self.promise("members are answered", answer.is_ok(), || {
            format!("{place}: {answer:?}")
        });
        answer.ok()
    }

    fn check_page(&mut self, place: ConversationId, user: UserId, from: u64, head: u64) {
        let list = ListEvents {
            actor: user,
            after_seq: Seq::new(from - 1),
            limit: 1000,
        };
        let Some(text) = self.ask_place_directly(place, list.into()) else {
            return;
        };
        let page: EventPage = serde_json::from_str(&text).expect("a page");
        let seqs: Vec<_> = page.events.iter().map(|event| event.seq().get()).collect();
        let is_all = seqs == (from..=head).collect::<Vec<_>>();
        self.promise("a member can read all of its events", is_all, || {
            format!("{user} lists {seqs:?} of {place}, {from} to {head}")
        });
        for event in &page.events {
            self.witness(user, place, event);
        }
    }

    fn check_info(&mut self, place: ConversationId, user: UserId) {
        for (message_id, info) in self.infos(place, user) {
            let Some(info) = info else {
                continue;
            };
            let text = format!("{user} is told {info:?} of {message_id} in {place}");
            let is_delivered =
                |reader: &UserId| info.delivered_to.iter().any(|seen| seen.user_id == *reader);
            let is_right = info.read_by.iter().all(|seen| is_delivered(&seen.user_id));
            self.promise("what is read was delivered", is_right, || text);
        }
    }

    /// What is told of the newest message that `user` wrote.
    fn infos(
        &mut self,
        place: ConversationId,
        user: UserId,
    ) -> Vec<(parlance_shared::ids::MessageId, Option<MessageInfo>)> {
        let Some(log) = self.oracle.logs.get(&place) else {
            return Vec::new();
        };
        let from = log.member_from(user);
        let newest = log
            .entries
            .iter()
            .rev()
            .find(|entry| entry.client_msg_id.is_some() && entry.sender == user)
            .filter(|entry| from.is_some_and(|from| from <= entry.seq));
        let Some(message_id) = newest.and_then(|entry| entry.print.message_id) else {
            return Vec::new();
        };
        let get = GetMessageInfo {
            actor: user,
            message_id,
        };
        let text = self.ask_place_directly(place, get.into());
        let info = text.and_then(|text| serde_json::from_str(&text).ok());
        vec![(message_id, info)]
    }

    fn check_list(&mut self, user: UserId) {
        let Some(device_id) = self
            .devices
            .iter()
            .find(|one| one.user == user)
            .map(|one| one.id)
        else {
            return;
        };
        let mut total = 0;
        for archived in [true, false] {
            let list = UserRequest::from(ListConversations {
                device_id,
                cursor: None,
                limit: 100,
                archived,
            });
            let body = serde_json::to_string(&list).expect("a request");
            let Some(Ok(text)) = self.ask_directly(ObjectId::User(user), &body) else {
                return self.broken("the list is answered", format!("{user}"));
            };
            let page: ConversationPage = serde_json::from_str(&text).expect("a list");
            for item in &page.conversations {
                let row = self.oracle.rows.get(&(user, item.id)).copied();
                let counted = row.and_then(|row| self.recount(user, item.id, row));
                let is_right = counted == Some(item.unread);
                self.promise("unread is what the log says", is_right, || {
                    format!("{user}: {item:?}, counted {counted:?}")
                });
                if item.membership != Membership::Member
                    && let Some(last) = &item.last_msg
                {
                    self.promise(
                        "one who is no member is shown nothing of what was said",
                        last.preview.is_empty(),
                        || format!("{user}: {item:?}"),
                    );
                }
                if !archived {
                    total += item.unread;
                }
            }
            if !archived {
                let told = page.total_unread;
                self.promise("the total is the sum", told == total, || {
                    format!("{user}: {told} is not {total}")
                });
            }
        }
    }

    /// Everyone has gone, and nothing is left to do.
    fn check_rested(&mut self) {
        let mut broken = Vec::new();
        let mut looked = Vec::new();
        for ((user, place), row) in &self.oracle.rows {
            looked.push("an inbox empties when its devices have everything");
            if row.lags {
                let text = format!("{user} in {place}: {row:?}");
                broken.push(("an inbox empties when its devices have everything", text));
            }
            let log = self.oracle.logs.get(place);
            let Some((log, (_, delivered, read))) =
                log.zip(self.oracle.places_of.get(&(*place, *user)).copied())
            else {
                continue;
            };
            let Some(from) = log.member_from(*user) else {
                continue;
            };
            // One's own messages are no news to anyone.
            let last = log
                .entries
                .iter()
                .filter(|entry| entry.seq >= from && entry.seq <= row.delivered)
                .filter(|entry| entry.client_msg_id.is_some() && entry.sender != *user)
                .map(|entry| entry.seq)
                .max()
                .unwrap_or(0);
            looked.push("a conversation learns how far its members have come");
            if delivered < last || delivered > row.delivered || (read != row.read && read >= from) {
                let text = format!(
                    "{user} in {place}: delivered {delivered}, read {read}, by its own object {row:?}"
                );
                broken.push(("a conversation learns how far its members have come", text));
            }
        }
        for place in &self.oracle.places {
            let Some(disk) = self.disk_with_log(*place) else {
                continue;
            };
            if !disk
                .look("SELECT 1 FROM former_member WHERE scope = 1", &[])
                .is_empty()
            {
                broken.push((
                    "former members are forgotten once they know",
                    format!("{place}"),
                ));
            }
        }
        for rule in looked {
            self.counts.add("promise looked at", rule);
        }
        for (rule, text) in broken {
            self.broken(rule, text);
        }
        self.check_archive();
    }

    /// The archive's store holds what the conversations know of, and nothing else.
    fn check_archive(&mut self) {
        let mut left = self.store.objects();
        for place in self.oracle.places.clone() {
            let Some(disk) = self.disk_with_log(place) else {
                continue;
            };
            let named = |rows: Vec<parlance_shared::sql::Row>| {
                rows.iter()
                    .filter_map(|row| row.get::<String>(0).ok())
                    .collect::<Vec<_>>()
            };
            let segments = named(disk.look("SELECT name FROM archive_segment", &[]));
            let waste = named(disk.look("SELECT name FROM archive_waste", &[]));
            for name in segments {
                if left.remove(&name).is_none() {
                    self.broken(
                        "every segment is in the archive",
                        format!("{name} of {place}"),
                    );
                }
            }
            for name in waste {
                left.remove(&name);
            }
        }
        if let Some((name, _)) = left.first_key_value() {
            self.broken(
                "nothing is in the archive that nothing knows of",
                name.clone(),
            );
        }
    }

    /// An object that is evicted while no alarm is near has lost nothing.
    pub(crate) fn before_sleep(&mut self, id: ObjectId) {
        let ObjectId::Conversation(place) = id else {
            return;
        };
        if self.alarm_within(id, WRITES_BEHIND) || !self.fate.hits(300) {
            return;
        }
        let Some(log) = self.oracle.logs.get(&place) else {
            return;
        };
        let members = log.members();
        let before: Vec<_> = members
            .iter()
            .flat_map(|user| self.infos(place, *user))
            .collect();
        if let Some(object) = self.objects.get_mut(&id) {
            object.memory = None;
        }
        let after: Vec<_> = members
            .iter()
            .flat_map(|user| self.infos(place, *user))
            .collect();
        if before != after {
            let text = format!("{place}: {before:?}, then {after:?}");
            self.broken(
                "what is written behind is written before it is forgotten",
                text,
            );
        }
    }
}
