//! What a conversation tells its members' user objects: deliveries, which are repeated until they
//! are taken; signals and marks, which are not.

use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::deliver::{Delivery, News, Round};
use parlance_shared::conversation::outbox::{Mark, MarkKind};
use parlance_shared::conversation::service::{HideWish, MemberSignal};
use parlance_shared::conversation::socket;
use parlance_shared::ids::UserId;
use parlance_shared::need::Need;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::ServerFrame;
use parlance_shared::protocol::problem::Code;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::sql::SqlError;
use parlance_shared::time::{Clock, Timestamp};
use parlance_shared::user::call::{Delivered, HideMessage, Signal};
use worker::Delay;
use worker::wasm_bindgen_futures::spawn_local;

use super::attached::Attached;
use super::{Core, OBJECT};
use crate::call;
use crate::host::{self, HostError, SystemClock};
use crate::stub::CallFailure;

/// Deliveries in flight at once.
const WAVE: usize = 64;
/// After each volley of deliveries the next one waits this long. Where user objects run on the same
/// thread as this one, as they do in development, they would otherwise keep it from hearing its
/// sockets until all members have been told: an answer begins the next delivery, and the runtime
/// looks at its sockets and timers only when there is nothing else to do.
const PAUSE: Duration = Duration::from_millis(1);
/// A volley has a delivery for each so many members, so that a large group does not take for ever.
const MEMBERS_PER_DELIVERY: usize = 256;
/// A volley that has not come after this long never will: whatever was to begin it is gone.
const LOST: Duration = Duration::from_secs(1);
/// Waits up to this long are slept through; longer ones are left to the alarm.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);

/// Deliveries under way, and what they have in common.
#[derive(Default)]
pub(super) struct Deliveries {
    in_flight: usize,
    /// Since when another volley is due, where one is.
    due_since: Option<Timestamp>,
    is_sleeping: bool,
    /// What is being brought because deliveries cannot be read without it.
    fetching: Vec<Need>,
    /// Kept while deliveries are due.
    round: Round,
    /// What was written last, for the next member who is given the same.
    written: Option<(Rc<News>, Rc<call::Delivery>)>,
}

impl Deliveries {
    /// The delivery as it travels.
    fn write(&mut self, news: &Rc<News>) -> Result<Rc<call::Delivery>, serde_json::Error> {
        if let Some((last, written)) = &self.written
            && Rc::ptr_eq(last, news)
        {
            return Ok(Rc::clone(written));
        }
        let conversation = serde_json::to_string(&news.conversation)?;
        let events = serde_json::to_string(&news.events)?;
        let written = Rc::new(call::Delivery::new(&conversation, &events));
        self.written = Some((Rc::clone(news), Rc::clone(&written)));
        Ok(written)
    }

    /// Nothing is due: lets the events go.
    fn rest(&mut self) {
        self.round = Round::default();
        self.written = None;
    }
}

impl Core {
    /// Starts the deliveries that are due, volley by volley.
    pub(super) fn deliver(self: &Rc<Self>) {
        let is_due = |deliveries: &Deliveries| {
            let now = SystemClock.now();
            deliveries
                .due_since
                .is_some_and(|since| now.since(since) < LOST)
        };
        if self.deliveries.try_borrow().is_ok_and(|one| is_due(&one)) {
            return;
        }
        if self.fire_volley() {
            let core = Rc::clone(self);
            spawn_local(async move {
                loop {
                    Delay::from(PAUSE).await;
                    if !core.fire_volley() {
                        break;
                    }
                }
            });
        }
    }

    /// Starts some of the deliveries that are due. Says whether others are.
    fn fire_volley(self: &Rc<Self>) -> bool {
        let now = SystemClock.now();
        let has_more = self.start_deliveries(now).unwrap_or_else(|error| {
            host::log_failure(OBJECT, "not_delivered", &error.to_string());
            false
        });
        if let Ok(mut deliveries) = self.deliveries.try_borrow_mut() {
            deliveries.due_since = has_more.then_some(now);
        }
        if !has_more {
            self.sleep_until_due(now);
        }
        has_more
    }

    /// Says whether more may be due than was started.
    fn start_deliveries(self: &Rc<Self>, now: Timestamp) -> worker::Result<bool> {
        let mut deliveries = self.deliveries.try_borrow_mut().map_err(host::busy)?;
        let mut service = self.service()?;
        let volley = service.lane_count().div_ceil(MEMBERS_PER_DELIVERY).max(1);
        let most = WAVE.min(deliveries.in_flight + volley);
        while deliveries.in_flight < most {
            match service.next_delivery(&mut deliveries.round, now) {
                Ok(Some(Delivery {
                    user_id,
                    visible_from,
                    news,
                })) => match deliveries.write(&news) {
                    Ok(written) => {
                        deliveries.in_flight += 1;
                        let after = first(&news.events);
                        let handing = Rc::clone(self);
                        spawn_local(handing.hand_over(user_id, visible_from, after, written));
                    }
                    Err(error) => {
                        service.delivery_failed(user_id, now);
                        host::log_failure(OBJECT, "delivery_not_written", &error.to_string());
                    }
                },
                Ok(None) => {
                    deliveries.rest();
                    return Ok(false);
                }
                // Its lane rests; the others go on.
                Err(SqlError::Needs(need)) => {
                    if !deliveries.fetching.contains(&need) {
                        deliveries.fetching.push((*need).clone());
                        spawn_local(Rc::clone(self).fetch_for_deliveries(*need));
                    }
                }
                // Its lane waits; the others go on.
                Err(error) => {
                    host::log_failure(OBJECT, "delivery_not_read", &error.to_string());
                }
            }
        }
        Ok(true)
    }

    /// Brings what deliveries need, and goes on with them.
    async fn fetch_for_deliveries(self: Rc<Self>, need: Need) {
        let met = self.bring(&need).await.is_ok();
        if let Ok(mut deliveries) = self.deliveries.try_borrow_mut() {
            deliveries.fetching.retain(|under_way| *under_way != need);
        }
        match self.service() {
            Ok(mut service) if met => service.need_met(SystemClock.now()),
            Ok(mut service) => service.need_unmet(SystemClock.now()),
            Err(error) => host::log_failure(OBJECT, "delivery_forgotten", &error.to_string()),
        }
        self.deliver();
    }

    async fn hand_over(
        self: Rc<Self>,
        user_id: UserId,
        visible_from: Seq,
        after: Seq,
        delivery: Rc<call::Delivery>,
    ) {
        let attached = self
            .attached
            .devices_of(&self.state, user_id, after, SystemClock.now());
        let outcome = delivery
            .to(&self.env, user_id, visible_from, &attached)
            .await;
        if let Ok(mut deliveries) = self.deliveries.try_borrow_mut() {
            deliveries.in_flight = deliveries.in_flight.saturating_sub(1);
        }
        if let Err(error) = self.handed_over(user_id, outcome).await {
            host::log_failure(OBJECT, "delivery_forgotten", &error.to_string());
        }
        self.deliver();
        self.mark();
    }

    async fn handed_over(
        self: &Rc<Self>,
        user_id: UserId,
        outcome: Result<Delivered, CallFailure>,
    ) -> worker::Result<()> {
        let now = SystemClock.now();
        let effects = match outcome {
            Ok(reply) => self
                .service()?
                .delivered(user_id, &reply, now)
                .map_err(|error| HostError(error.to_string()))?,
            Err(CallFailure::Refused(problem)) if problem.code == Code::NotFound => {
                self.service()?.undeliverable(user_id, now);
                return Ok(());
            }
            Err(failure) => {
                self.service()?.delivery_failed(user_id, now);
                host::log_failure(OBJECT, "delivery_failed", &failure.to_string());
                return Ok(());
            }
        };
        self.set_alarm(effects.alarm).await?;
        self.carry_out(effects);
        Ok(())
    }

    /// Comes back when the next delivery is due, where that is soon.
    fn sleep_until_due(self: &Rc<Self>, now: Timestamp) {
        let (Ok(service), Ok(mut deliveries)) =
            (self.service.try_borrow(), self.deliveries.try_borrow_mut())
        else {
            return;
        };
        let Some(wait) = service.next_delivery_at().map(|at| at.since(now)) else {
            return;
        };
        if wait > LONGEST_SLEEP || std::mem::replace(&mut deliveries.is_sleeping, true) {
            return;
        }
        let core = Rc::clone(self);
        spawn_local(async move {
            Delay::from(wait.max(Duration::from_millis(1))).await;
            if let Ok(mut deliveries) = core.deliveries.try_borrow_mut() {
                deliveries.is_sleeping = false;
            }
            core.deliver();
        });
    }

    /// Shows members what passes: on their sockets here, and by their user objects.
    pub(super) fn signal(self: &Rc<Self>, signals: Vec<MemberSignal>) {
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
        let now = SystemClock.now();
        for (to, frames) in &shown {
            self.attached.show(&self.state, *to, None, frames, now);
        }
        match self.service() {
            Ok(mut service) => {
                for (to, frames) in service.signals_due(signals) {
                    spawn_local(Rc::clone(self).hand_signal(to, frames));
                }
            }
            Err(error) => host::log_failure(OBJECT, "not_signalled", &error.to_string()),
        }
    }

    async fn hand_signal(self: Rc<Self>, user_id: UserId, frames: Vec<ServerFrame>) {
        let mut next = Some(frames);
        while let Some(frames) = next.take() {
            let now = SystemClock.now();
            // What passes is shown to whoever is attached, whatever it has of the log.
            let attached_devices =
                self.attached
                    .devices_of(&self.state, user_id, Seq::new(u64::MAX), now);
            let signal = Signal {
                user_id,
                frames,
                attached_devices,
            };
            if let Err(failure) = call::user(&self.env, user_id, signal).await {
                host::log_failure(OBJECT, "signal_failed", &failure.to_string());
            }
            match self.service() {
                Ok(mut service) => next = service.signalled(user_id),
                Err(error) => host::log_failure(OBJECT, "signal_forgotten", &error.to_string()),
            }
        }
    }

    /// Tells user objects what their devices did on sockets here, as far as it is due.
    pub(super) fn mark(self: &Rc<Self>) {
        match self.service() {
            Ok(mut service) => {
                while let Some(mark) = service.next_mark() {
                    spawn_local(Rc::clone(self).hand_mark(mark));
                }
            }
            Err(error) => host::log_failure(OBJECT, "not_marked", &error.to_string()),
        }
    }

    async fn hand_mark(self: Rc<Self>, mark: Mark) {
        let outcome = match mark.kind {
            MarkKind::Delivered => call::user(&self.env, mark.user_id, mark.delivered()).await,
            MarkKind::Read => call::user(&self.env, mark.user_id, mark.read())
                .await
                .map(|_| ()),
            MarkKind::Left => call::user(&self.env, mark.user_id, mark.left()).await,
        };
        if let Err(failure) = outcome {
            if !matches!(failure, CallFailure::Refused(_)) {
                host::log_failure(OBJECT, "mark_failed", &failure.to_string());
            }
            // An ack that was not taken costs a redelivery; a reading is lost, and said to be.
            if mark.kind == MarkKind::Read {
                let frame = socket::refusal(failure.into_problem(), None);
                self.attached.show(
                    &self.state,
                    mark.user_id,
                    Some(mark.device_id),
                    &[frame],
                    SystemClock.now(),
                );
            }
        }
        match self.service() {
            Ok(mut service) => service.marked(&mark),
            Err(error) => host::log_failure(OBJECT, "mark_forgotten", &error.to_string()),
        }
        self.mark();
    }
}

impl Core {
    /// A client has closed its socket, or it broke.
    pub(super) fn detach(self: &Rc<Self>, attached: &Attached, was_clean: bool) {
        self.attached.remove(attached);
        attached.forget_waiting();
        let now = SystemClock.now();
        let session = &attached.session;
        let others =
            self.attached
                .devices_of(&self.state, session.user_id, Seq::new(u64::MAX), now);
        if others.iter().any(|one| one.device_id == session.device_id) {
            return;
        }
        let since = session.certain_until(attached.last_sign(&self.state), was_clean, now);
        let noted = self.service().and_then(|mut service| {
            service
                .socket_closed(session, since)
                .map_err(|error| HostError(error.to_string()).into())
        });
        if let Err(error) = noted {
            host::log_failure(OBJECT, "leaving_forgotten", &error.to_string());
        }
        self.mark();
    }

    /// Has a user object delete a message for its user, on whose device's socket here that was
    /// asked for.
    pub(super) fn hide(self: &Rc<Self>, wish: HideWish) {
        spawn_local(Rc::clone(self).hand_hide(wish));
    }

    async fn hand_hide(self: Rc<Self>, wish: HideWish) {
        let conversation_id = match self.service().map(|service| service.conversation_id()) {
            Ok(Some(id)) => id,
            Ok(None) => return,
            Err(error) => {
                return host::log_failure(OBJECT, "not_hidden", &error.to_string());
            }
        };
        let hide = HideMessage {
            device_id: wish.device_id,
            conversation_id,
            message_id: wish.message_id,
        };
        let frame = match call::user(&self.env, wish.user_id, hide).await {
            Ok(()) => ServerFrame::MessageHidden {
                conversation_id,
                message_id: wish.message_id,
            },
            Err(failure) => {
                if !matches!(failure, CallFailure::Refused(_)) {
                    host::log_failure(OBJECT, "hide_failed", &failure.to_string());
                }
                socket::refusal(failure.into_problem(), wish.client_msg_id)
            }
        };
        let now = SystemClock.now();
        self.attached.show(
            &self.state,
            wish.user_id,
            Some(wish.device_id),
            &[frame],
            now,
        );
    }
}

/// The position before the first of these events.
fn first(events: &[Event]) -> Seq {
    let first = events.first().map_or(Seq::ZERO, Event::seq);
    Seq::new(first.get().saturating_sub(1))
}
