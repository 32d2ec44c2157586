//! The load generator: sockets that send messages and note, by one clock, when each was
//! acknowledged and delivered.
//!
//! Everything runs on one thread, so that it takes no more of the machine than it has to; what it
//! takes is measured and told beside the results.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::failure::{Failure, Outcome, failed};
use crate::samples::Samples;
use crate::wire::{self, Name, Said};

/// How long what was sent may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a client says that it is there; the server closes one that is sent much and never
/// does.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Sockets that are opened at once.
const PARALLEL: usize = 32;

/// Where a socket is opened, and by whom.
#[derive(Debug, Clone)]
pub struct Door {
    /// The whole address.
    pub url: String,
    /// The access token, where one is needed.
    pub token: Option<String>,
}

/// An open socket.
pub type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket and takes its first frame.
pub async fn open(door: &Door) -> Outcome<Stream> {
    let mut request = door.url.as_str().into_client_request()?;
    if let Some(token) = &door.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let (mut stream, _) = connect_async(request).await?;
    if let MaybeTlsStream::Plain(tcp) = stream.get_ref() {
        tcp.set_nodelay(true)?;
    }
    match stream.next().await {
        Some(Ok(Message::Text(text))) if text.contains("auth_ack") => Ok(stream),
        other => failed(format!("a socket began with {other:?}")),
    }
}

/// The number of a run, which no other of this process has.
pub fn next_run() -> u16 {
    static RUNS: AtomicU16 = AtomicU16::new(0);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

/// When each message was sent, acknowledged and delivered, in seconds since the run began.
#[derive(Debug)]
struct Record {
    begun: Instant,
    run: u16,
    sent: Vec<f64>,
    acked: Vec<f64>,
    acks: usize,
    /// By message, how long each delivery took.
    deliveries: Vec<f64>,
    delivered: Vec<u32>,
    /// By socket, how much was delivered to it.
    by_socket: Vec<usize>,
    refused: usize,
    lost: Option<String>,
}

impl Record {
    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// A message is about to be sent: its name.
    fn send(&mut self) -> Name {
        self.sent.push(self.now());
        self.acked.push(f64::NAN);
        self.delivered.push(0);
        Name {
            run: self.run,
            index: self.sent.len() - 1,
        }
    }

    /// What a text said; gives how many acknowledgements were in it.
    fn take(&mut self, socket: usize, text: &str) -> usize {
        let now = self.now();
        let mut acks = 0;
        for said in wire::said(text) {
            match said {
                Said::Acked(name) | Said::Delivered(name) if name.run != self.run => {}
                Said::Acked(Name { index, .. }) => {
                    if let Some(at) = self.acked.get_mut(index) {
                        *at = now;
                        acks += 1;
                    }
                }
                Said::Delivered(Name { index, .. }) => {
                    if let (Some(sent), Some(times)) =
                        (self.sent.get(index), self.delivered.get_mut(index))
                    {
                        self.deliveries.push(now - sent);
                        *times += 1;
                        if let Some(count) = self.by_socket.get_mut(socket) {
                            *count += 1;
                        }
                    }
                }
                Said::Refused => self.refused += 1,
            }
        }
        self.acks += acks;
        acks
    }
}

/// What a socket is to do.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Send one message.
    Send,
    /// Keep so many messages unacknowledged until then.
    Saturate { window: usize, until: Instant },
}

/// Sockets attached to one conversation.
pub struct Crowd {
    conversation: String,
    record: Rc<RefCell<Record>>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a run of messages gave.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Milliseconds from send to ack.
    pub ack: Samples,
    /// Milliseconds from send to each delivery.
    pub delivery: Samples,
}

/// What a run at full speed gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// Messages acknowledged in a second.
    pub acked: f64,
    /// Deliveries in a second.
    pub delivered: f64,
    /// Processor seconds of the server in a second.
    pub cpu: f64,
    /// Processor seconds of the load generator in a second.
    pub own_cpu: f64,
}

impl Crowd {
    /// Opens a socket at each door.
    pub async fn connect(conversation: &str, doors: &[Door]) -> Outcome<Self> {
        let mut crowd = Self {
            conversation: conversation.to_owned(),
            record: Rc::new(RefCell::new(Record {
                begun: Instant::now(),
                run: next_run(),
                sent: Vec::new(),
                acked: Vec::new(),
                acks: 0,
                deliveries: Vec::new(),
                delivered: Vec::new(),
                by_socket: Vec::new(),
                refused: 0,
                lost: None,
            })),
            orders: Vec::new(),
            tasks: Vec::new(),
        };
        for some in doors.chunks(PARALLEL) {
            let opened = futures_util::future::join_all(some.iter().map(open)).await;
            for stream in opened {
                crowd.attend(stream?);
            }
        }
        Ok(crowd)
    }

    fn attend(&mut self, stream: Stream) {
        let (orders, taken) = mpsc::unbounded_channel();
        let record = Rc::clone(&self.record);
        let conversation = self.conversation.clone();
        let socket = self.orders.len();
        self.orders.push(orders);
        self.record.borrow_mut().by_socket.push(0);
        self.tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = attend(socket, stream, taken, &record, &conversation).await {
                record.borrow_mut().lost = Some(error.to_string());
            }
        }));
    }

    fn order(&self, socket: usize, order: Order) -> Outcome<()> {
        let orders = self.orders.get(socket % self.orders.len().max(1));
        let sent = orders.and_then(|orders| orders.send(order).ok());
        sent.ok_or_else(|| "a socket is gone".into())
    }

    fn forget(&self) {
        let mut record = self.record.borrow_mut();
        record.run = next_run();
        record.sent.clear();
        record.acked.clear();
        record.deliveries.clear();
        record.delivered.clear();
        record.by_socket.fill(0);
        record.acks = 0;
    }

    /// Sends `count` messages, one every `pace`, from the first `senders` sockets in turn, and
    /// waits until every socket has each.
    pub async fn paced(&self, senders: usize, count: usize, pace: Duration) -> Outcome<Measured> {
        self.forget();
        let begun = Instant::now();
        for n in 0..count {
            let due = begun + pace.saturating_mul(u32::try_from(n)?);
            tokio::time::sleep_until(due.into()).await;
            self.order(n % senders, Order::Send)?;
        }
        self.until_arrived(count).await?;
        Ok(self.measured())
    }

    /// Sends `count` messages at once from the first socket, and waits as [`Self::paced`].
    pub async fn burst(&self, count: usize) -> Outcome<Measured> {
        self.paced(1, count, Duration::ZERO).await
    }

    /// Sends as much as is acknowledged: each of the first `senders` sockets has `window` messages
    /// under way. Counts after `warm_up` for `length`. `cpu` reads the server's processor time.
    pub async fn saturated(
        &self,
        senders: usize,
        window: usize,
        warm_up: Duration,
        length: Duration,
        cpu: impl Fn() -> Outcome<f64>,
    ) -> Outcome<Rate> {
        self.forget();
        let until = Instant::now() + warm_up + length + Duration::from_millis(200);
        for socket in 0..senders {
            self.order(socket, Order::Saturate { window, until })?;
        }
        tokio::time::sleep(warm_up).await;
        let before = (self.counts(), cpu()?, crate::machine::own_cpu_seconds()?);
        let from = Instant::now();
        tokio::time::sleep(length).await;
        let after = (self.counts(), cpu()?, crate::machine::own_cpu_seconds()?);
        let seconds = from.elapsed().as_secs_f64();
        tokio::time::sleep_until(until.into()).await;
        let sent = self.record.borrow().sent.len();
        self.until_arrived(sent).await?;
        let ((acks, deliveries), (acks_before, deliveries_before)) = (after.0, before.0);
        Ok(Rate {
            acked: (acks - acks_before) as f64 / seconds,
            delivered: (deliveries - deliveries_before) as f64 / seconds,
            cpu: (after.1 - before.1) / seconds,
            own_cpu: (after.2 - before.2) / seconds,
        })
    }

    fn counts(&self) -> (usize, usize) {
        let record = self.record.borrow();
        (record.acks, record.deliveries.len())
    }

    async fn until_arrived(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        let sockets = self.orders.len();
        loop {
            let (acks, deliveries) = self.counts();
            if acks >= count && deliveries >= count * sockets {
                break;
            }
            if let Some(lost) = &self.record.borrow().lost {
                return failed(format!("a socket was lost: {lost}"));
            }
            if Instant::now() > deadline {
                let by_socket = &self.record.borrow().by_socket;
                let lacking: Vec<_> = by_socket.iter().filter(|got| **got < count).collect();
                return failed(format!(
                    "of {count} messages to {sockets} sockets {acks} were acknowledged, and \
                     {deliveries} deliveries arrived; {} sockets lack some, and got {lacking:?}",
                    lacking.len(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let record = self.record.borrow();
        let expected = u32::try_from(sockets)?;
        if record.refused > 0 || record.delivered.iter().any(|times| *times != expected) {
            return failed("messages were refused, or not delivered once to each");
        }
        Ok(())
    }

    fn measured(&self) -> Measured {
        let record = self.record.borrow();
        let acks = record.acked.iter().zip(&record.sent);
        Measured {
            ack: acks.map(|(acked, sent)| (acked - sent) * 1000.0).collect(),
            delivery: record.deliveries.iter().map(|took| took * 1000.0).collect(),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn attend(
    socket: usize,
    mut stream: Stream,
    mut orders: mpsc::UnboundedReceiver<Order>,
    record: &RefCell<Record>,
    conversation: &str,
) -> Outcome<()> {
    let mut saturated_until = None;
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut to_send = 0;
        tokio::select! {
            order = orders.recv() => {
                let mut next = order;
                while let Some(order) = next {
                    match order {
                        Order::Send => to_send += 1,
                        Order::Saturate { window, until } => {
                            saturated_until = Some(until);
                            to_send += window;
                        }
                    }
                    next = orders.try_recv().ok();
                }
                if to_send == 0 {
                    return Ok(());
                }
            }
            _ = heartbeat.tick() => stream.send(Message::text(wire::PING)).await?,
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let acks = record.borrow_mut().take(socket, &text);
                    if saturated_until.is_some_and(|until| Instant::now() < until) {
                        to_send += acks;
                    }
                }
                Some(Ok(Message::Close(frame))) => return failed(format!("{frame:?}")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return failed("it ended"),
            },
        }
        for _ in 0..to_send {
            let name = record.borrow_mut().send();
            let text = wire::send_message(conversation, name);
            stream.feed(Message::text(text)).await?;
        }
        if to_send > 0 {
            stream.flush().await?;
        }
    }
}

/// Waits for a text that holds `wanted`; gives when it came.
pub async fn until(stream: &mut Stream, wanted: &str) -> Outcome<Instant> {
    let waiting = async {
        while let Some(message) = stream.next().await {
            if let Message::Text(text) = message?
                && text.contains(wanted)
            {
                return Ok(Instant::now());
            }
        }
        failed(format!("a socket ended before {wanted}"))
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .map_err(|_| Failure::from(format!("{wanted} never came")))?
}
