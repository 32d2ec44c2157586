//! `durable-objects/src/conversation.rs`, `conversation/outgoing.rs` and `conversation/attached.rs`.
//! What is about the archive is in [`super::archiving`].
//!
//! Left out: closing a socket whose client takes nothing (4008 after 16 MiB).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::archive::HotWindow;
use parlance_shared::conversation::call::{ConversationRequest, OpenSocket};
use parlance_shared::conversation::deliver::{Delivery, News, Round};
use parlance_shared::conversation::outbox::MarkKind;
use parlance_shared::conversation::service::{
    ConversationService, Effects, Eviction, HideWish, MemberSignal, Unseen,
};
use parlance_shared::conversation::socket::{self, SocketSession};
use parlance_shared::ids::{DeviceId, UserId};
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::problem::{Code, ServiceError};
use parlance_shared::protocol::seq::Seq;
use parlance_shared::sql::{OBJECT_SCOPE, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{AttachedDevice, Delivered, HideMessage, Signal, UserRequest};

use super::archiving::Archiving;
use super::{CallId, Failure, Needer, ObjectId, Outcome, Output, Then, Timer, Turn, WireId, told};
use crate::disk::Disk;

/// Waits up to this long are slept through; longer ones are left to the alarm.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A conversation object in memory.
#[derive(Debug)]
pub struct ConversationModel {
    pub(super) service: ConversationService<Rc<Disk>>,
    attached: Vec<(WireId, SocketSession)>,
    in_flight: usize,
    is_sleeping: bool,
    round: Round,
    wave: usize,
    pub(super) calls: usize,
    pub(super) archiving: Archiving,
}

fn session(kept: &str) -> Option<SocketSession> {
    serde_json::from_str(kept).ok()
}

impl ConversationModel {
    pub(super) fn new(
        disk: Rc<Disk>,
        (alarm, now): (Option<Timestamp>, Timestamp),
        sockets: &BTreeMap<WireId, String>,
        wave: usize,
        window: Option<HotWindow>,
    ) -> Self {
        let mut service = ConversationService::new(disk, OBJECT_SCOPE).with_rate_limits(1.0);
        if let Some(window) = window {
            service = service.with_archive(window);
        }
        service.alarm_is(alarm, now);
        let attached = sockets
            .iter()
            .filter_map(|(wire, kept)| Some((*wire, session(kept)?)))
            .collect();
        Self {
            service,
            attached,
            in_flight: 0,
            is_sleeping: false,
            round: Round::default(),
            wave,
            calls: 0,
            archiving: Archiving::default(),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.calls > 0 || self.is_sleeping || self.archiving.is_under_way()
    }

    pub(super) fn request(&mut self, turn: &mut Turn<'_>, call: CallId, body: &Rc<str>) {
        let request: ConversationRequest = serde_json::from_str(body).expect("a request");
        let outcome = match self.service.handle(request, turn.now, turn.dice) {
            Ok((reply, effects)) => {
                set_alarm(turn, &effects);
                self.carry_out(turn, effects);
                Ok(reply)
            }
            Err(ServiceError::Needs(need)) => {
                return self.bring(turn, need, Needer::Request(call, Rc::clone(body)));
            }
            Err(error) => Err(told(turn, error)),
        };
        turn.output.push(Output::Answer(call, outcome));
    }

    pub(super) fn alarm(&mut self, turn: &mut Turn<'_>) {
        let mut effects = self.service.ring(turn.now, turn.dice);
        set_alarm(turn, &effects);
        let need = effects.needs.take();
        self.carry_out(turn, effects);
        match need {
            Some(need) => self.bring(turn, need, Needer::Alarm),
            None => self.archive(turn),
        }
    }

    pub(super) fn frame(&mut self, turn: &mut Turn<'_>, wire: WireId, text: &str) {
        if self.archiving.queue(wire, text) {
            return;
        }
        self.answer_frame(turn, wire, text);
    }

    /// Answers a frame. Says whether it was answered, rather than that it needs something.
    pub(super) fn answer_frame(&mut self, turn: &mut Turn<'_>, wire: WireId, text: &str) -> bool {
        let Some(session) = turn.sockets.get(&wire).and_then(|kept| session(kept)) else {
            return true;
        };
        let mut outcome = socket::on_text(&mut self.service, &session, text, turn.now, turn.dice);
        if let Some(need) = outcome.effects.needs.take() {
            self.archiving.begin(wire);
            self.bring(turn, need, Needer::Frame(wire, text.to_owned()));
            return false;
        }
        self.finish(turn, wire, outcome);
        true
    }

    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, wire: WireId, outcome: socket::Outcome) {
        set_alarm(turn, &outcome.effects);
        turn.send(&[wire], &outcome.replies);
        self.carry_out(turn, outcome.effects);
        if let Some(code) = outcome.close {
            self.dismiss(turn, wire, code);
        }
    }

    pub(super) fn closed(&mut self, turn: &mut Turn<'_>, wire: WireId, was_clean: bool) {
        let left = self.attached.iter().find(|(other, _)| *other == wire);
        let left = left.map(|(_, session)| *session);
        self.attached.retain(|(other, _)| *other != wire);
        turn.sockets.remove(&wire);
        self.archiving.forget(wire);
        let Some(session) = left else {
            return;
        };
        let others = self.devices_of(turn, session.user_id, Seq::new(u64::MAX));
        if others.iter().any(|one| one.device_id == session.device_id) {
            return;
        }
        let since = session.certain_until(turn.pings.get(&wire).copied(), was_clean, turn.now);
        if self.service.socket_closed(&session, since).is_err() {
            turn.failures += 1;
        }
        self.mark(turn);
    }

    pub(super) fn open(&mut self, turn: &mut Turn<'_>, wire: WireId, open: &str) {
        let open: OpenSocket = serde_json::from_str(open).expect("an upgrade");
        let opened = match socket::open(&mut self.service, &open, turn.now) {
            Ok(opened) => opened,
            Err(ServiceError::Needs(need)) => {
                let open = serde_json::to_string(&open).expect("an upgrade");
                return self.bring(turn, need, Needer::Open(wire, open));
            }
            Err(error) => {
                let problem = told(turn, error);
                turn.output.push(Output::Refuse(wire, problem));
                return;
            }
        };
        let kept = serde_json::to_string(&opened.session).expect("a session");
        turn.sockets.insert(wire, kept);
        turn.output.push(Output::Accept(wire));
        self.attached.push((wire, opened.session));
        turn.send(&[wire], &[opened.hello]);
        turn.send(&[wire], &opened.replay);
        self.deliver(turn);
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, effects: Effects) {
        if effects.failure.is_some() {
            turn.failures += 1;
        }
        if !effects.broadcast.is_empty() {
            self.broadcast(turn, &effects.broadcast, &effects.unseen);
        }
        for eviction in &effects.evicted {
            self.evict(turn, eviction);
        }
        self.signal(turn, effects.signals);
        if effects.deliver {
            self.deliver(turn);
        }
        if effects.marks {
            self.mark(turn);
        }
        for wish in effects.hides {
            self.hide(turn, wish);
        }
    }
}

/// What is told to user objects.
impl ConversationModel {
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_>) {
        self.start_deliveries(turn);
        self.sleep_until_due(turn);
    }

    fn start_deliveries(&mut self, turn: &mut Turn<'_>) {
        while self.in_flight < self.wave {
            match self.service.next_delivery(&mut self.round, turn.now) {
                Ok(Some(delivery)) => {
                    self.in_flight += 1;
                    self.hand_over(turn, &delivery);
                }
                Ok(None) => {
                    self.round = Round::default();
                    break;
                }
                Err(SqlError::Needs(need)) => {
                    if self.archiving.is_new(&need) {
                        self.bring(turn, *need, Needer::Deliveries);
                    }
                }
                Err(_) => turn.failures += 1,
            }
        }
    }

    fn hand_over(&mut self, turn: &mut Turn<'_>, delivery: &Delivery) {
        let user_id = delivery.user_id;
        let after = first(&delivery.news);
        let attached = self.devices_of(turn, user_id, after);
        let request = UserRequest::Deliver(delivery.call(attached));
        self.ask(turn, user_id, &request, Then::HandOver(user_id));
    }

    fn handed_over(&mut self, turn: &mut Turn<'_>, user_id: UserId, outcome: Outcome) {
        let effects = match outcome {
            Ok(reply) => {
                let reply: Delivered = serde_json::from_str(&reply).expect("a reply");
                match self.service.delivered(user_id, &reply, turn.now) {
                    Ok(effects) => effects,
                    Err(_) => return turn.failures += 1,
                }
            }
            Err(Failure::Refused(problem)) if problem.code == Code::NotFound => {
                return self.service.undeliverable(user_id, turn.now);
            }
            Err(_) => return self.service.delivery_failed(user_id, turn.now),
        };
        set_alarm(turn, &effects);
        self.carry_out(turn, effects);
    }

    fn sleep_until_due(&mut self, turn: &mut Turn<'_>) {
        let wait = self.service.next_delivery_at().map(|at| at.since(turn.now));
        let Some(wait) = wait else {
            return;
        };
        if wait > LONGEST_SLEEP || std::mem::replace(&mut self.is_sleeping, true) {
            return;
        }
        turn.timers.push((millis(wait), Timer::Deliver));
    }

    pub(super) fn woken(&mut self, turn: &mut Turn<'_>) {
        self.is_sleeping = false;
        self.deliver(turn);
    }

    fn signal(&mut self, turn: &mut Turn<'_>, signals: Vec<MemberSignal>) {
        if signals.is_empty() {
            return;
        }
        let mut shown: Vec<(UserId, Vec<ServerFrame>)> = Vec::new();
        for MemberSignal { to, frame } in &signals {
            match shown.iter_mut().find(|(user_id, _)| user_id == to) {
                Some((_, frames)) => frames.push(frame.clone()),
                None => shown.push((*to, vec![frame.clone()])),
            }
        }
        for (to, frames) in &shown {
            self.show(turn, *to, None, frames);
        }
        for (to, frames) in self.service.signals_due(signals) {
            self.hand_signal(turn, to, frames);
        }
    }

    fn hand_signal(&mut self, turn: &mut Turn<'_>, user_id: UserId, frames: Vec<ServerFrame>) {
        let attached_devices = self.devices_of(turn, user_id, Seq::new(u64::MAX));
        let signal = Signal {
            user_id,
            frames,
            attached_devices,
        };
        let request = UserRequest::Signal(signal);
        self.ask(turn, user_id, &request, Then::Signal(user_id));
    }

    fn mark(&mut self, turn: &mut Turn<'_>) {
        while let Some(mark) = self.service.next_mark() {
            let request = match mark.kind {
                MarkKind::Delivered => UserRequest::MarkDelivered(mark.delivered()),
                MarkKind::Read => UserRequest::MarkRead(mark.read()),
                MarkKind::Left => UserRequest::MarkLeft(mark.left()),
            };
            self.ask(turn, mark.user_id, &request, Then::Mark(mark));
        }
    }

    fn hide(&mut self, turn: &mut Turn<'_>, wish: HideWish) {
        let Some(conversation_id) = self.service.conversation_id() else {
            return;
        };
        let request = UserRequest::HideMessage(HideMessage {
            device_id: wish.device_id,
            conversation_id,
            message_id: wish.message_id,
        });
        let then = Then::Hide(wish, conversation_id);
        self.ask(turn, wish.user_id, &request, then);
    }

    fn ask(&mut self, turn: &mut Turn<'_>, id: UserId, request: &UserRequest, then: Then) {
        self.calls += 1;
        turn.output.push(Output::Call {
            to: ObjectId::User(id),
            body: serde_json::to_string(request).expect("a request"),
            then,
        });
    }

    pub(super) fn resume(&mut self, turn: &mut Turn<'_>, then: Then, outcome: Outcome) {
        self.calls = self.calls.saturating_sub(1);
        match then {
            Then::HandOver(user_id) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.handed_over(turn, user_id, outcome);
                self.deliver(turn);
                self.mark(turn);
            }
            Then::Signal(user_id) => {
                if let Some(frames) = self.service.signalled(user_id) {
                    self.hand_signal(turn, user_id, frames);
                }
            }
            Then::Mark(mark) => {
                if let Err(failure) = outcome
                    && mark.kind == MarkKind::Read
                {
                    let frame = socket::refusal(failure.into_problem(), None);
                    self.show(turn, mark.user_id, Some(mark.device_id), &[frame]);
                }
                self.service.marked(&mark);
                self.mark(turn);
            }
            Then::Hide(wish, conversation_id) => {
                let frame = match outcome {
                    Ok(_) => ServerFrame::MessageHidden {
                        conversation_id,
                        message_id: wish.message_id,
                    },
                    Err(failure) => socket::refusal(failure.into_problem(), wish.client_msg_id),
                };
                self.show(turn, wish.user_id, Some(wish.device_id), &[frame]);
            }
            Then::Ticket(_) | Then::Archive | Then::Segment(..) => {}
        }
    }
}

/// The sockets that are attached.
impl ConversationModel {
    fn devices_of(&self, turn: &Turn<'_>, user_id: UserId, after: Seq) -> Vec<AttachedDevice> {
        let sockets = self.attached.iter().map(|(wire, session)| (session, wire));
        let heard = |wire: &WireId| turn.pings.get(wire).copied();
        socket::attached_devices(sockets, heard, user_id, after, turn.now)
    }

    fn broadcast(&mut self, turn: &mut Turn<'_>, events: &[Event], unseen: &Unseen) {
        for (wire, session) in self.attached.clone() {
            if session.expires_at <= turn.now {
                self.dismiss(turn, wire, CloseCode::TokenExpired);
                continue;
            }
            let viewer = unseen.viewer(events, session.user_id);
            let texts: Vec<_> = events
                .iter()
                .map(|event| ServerFrame::Event(unseen.seen(event.clone(), viewer)).to_text())
                .collect();
            turn.send_texts(&[wire], &texts);
        }
    }

    fn show(
        &mut self,
        turn: &mut Turn<'_>,
        user_id: UserId,
        device_id: Option<DeviceId>,
        frames: &[ServerFrame],
    ) {
        for (wire, session) in self.attached.clone() {
            if session.user_id == user_id && device_id.is_none_or(|id| id == session.device_id) {
                if session.expires_at <= turn.now {
                    self.dismiss(turn, wire, CloseCode::TokenExpired);
                } else {
                    turn.send(&[wire], frames);
                }
            }
        }
    }

    fn evict(&mut self, turn: &mut Turn<'_>, eviction: &Eviction) {
        for (wire, session) in self.attached.clone() {
            if session.user_id == eviction.user_id {
                self.dismiss(turn, wire, eviction.code);
            }
        }
    }

    fn dismiss(&mut self, turn: &mut Turn<'_>, wire: WireId, code: CloseCode) {
        turn.dismiss(wire, code);
        self.attached.retain(|(other, _)| *other != wire);
    }
}

fn set_alarm(turn: &mut Turn<'_>, effects: &Effects) {
    if let Some(at) = effects.alarm {
        turn.alarm = Some(at);
    }
}

fn first(news: &News) -> Seq {
    let first = news.events.first().map_or(Seq::ZERO, Event::seq);
    Seq::new(first.get().saturating_sub(1))
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}
