//! A session socket to a user object, held by the edge.
//!
//! What always holds: what came before the end is given before the end is told. When a session is
//! dropped, its listeners are gone and its socket is closed.
//!
//! What has come and was not taken yet waits here; it is bounded by what the user object sends
//! without an acknowledgement.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use parlance_functions::backend::{Incoming, Session};
use parlance_shared::time::Timestamp;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use worker::{Delay, Error, Response, Result, WebSocket};

use crate::{backend, conversion};

/// 1006: the connection broke off (RFC 6455, section 7.4.1).
const BROKEN_OFF: u16 = 1006;
/// 1000: done.
const NORMAL: u16 = 1000;

/// What has come and was not taken yet.
#[derive(Default)]
struct Arrivals {
    frames: VecDeque<String>,
    closed: Option<u16>,
    waker: Option<Waker>,
}

impl Arrivals {
    fn take(&mut self) -> Option<Incoming> {
        let frame = self.frames.pop_front().map(Incoming::Frame);
        frame.or_else(|| self.closed.map(Incoming::Closed))
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Incoming> {
        match self.take() {
            Some(incoming) => Poll::Ready(incoming),
            None => {
                self.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Changes what has come, and wakes whoever waits for it.
fn arrive(arrivals: &RefCell<Arrivals>, change: impl FnOnce(&mut Arrivals)) {
    let waker = {
        let mut arrivals = arrivals.borrow_mut();
        change(&mut arrivals);
        arrivals.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

type Listener<E> = Closure<dyn FnMut(E)>;

/// A session socket.
pub struct SocketSession {
    socket: WebSocket,
    arrivals: Rc<RefCell<Arrivals>>,
    on_message: Listener<web_sys::MessageEvent>,
    on_close: Listener<web_sys::CloseEvent>,
    on_error: Listener<web_sys::Event>,
}

impl SocketSession {
    /// Takes the socket of an object's 101.
    pub fn accept(opened: Response) -> Result<Self> {
        let socket = opened
            .websocket()
            .ok_or_else(|| conversion::failed("the response has no socket"))?;
        let arrivals = Rc::new(RefCell::new(Arrivals::default()));
        let on_message = {
            let arrivals = Rc::clone(&arrivals);
            Closure::new(move |event: web_sys::MessageEvent| {
                // A user object sends text alone.
                if let Some(text) = event.data().as_string() {
                    arrive(&arrivals, |arrivals| arrivals.frames.push_back(text));
                }
            })
        };
        let on_close = {
            let arrivals = Rc::clone(&arrivals);
            Closure::new(move |event: web_sys::CloseEvent| {
                let code = event.code();
                arrive(&arrivals, |arrivals| arrivals.closed = Some(code));
            })
        };
        let on_error = {
            let arrivals = Rc::clone(&arrivals);
            Closure::new(move |_: web_sys::Event| {
                arrive(&arrivals, |arrivals| {
                    arrivals.closed.get_or_insert(BROKEN_OFF);
                });
            })
        };
        let session = Self {
            socket,
            arrivals,
            on_message,
            on_close,
            on_error,
        };
        for (kind, listener) in session.listeners() {
            session
                .target()
                .add_event_listener_with_callback(kind, listener)
                .map_err(Error::from)?;
        }
        // Not before someone listens: what comes earlier would be lost.
        session.socket.accept()?;
        Ok(session)
    }

    fn target(&self) -> &web_sys::EventTarget {
        self.socket.as_ref()
    }

    fn listeners(&self) -> [(&'static str, &js_sys::Function); 3] {
        [
            ("message", self.on_message.as_ref().unchecked_ref()),
            ("close", self.on_close.as_ref().unchecked_ref()),
            ("error", self.on_error.as_ref().unchecked_ref()),
        ]
    }
}

impl Session for SocketSession {
    async fn next(&mut self, wait: Duration) -> Incoming {
        let arrived = self.arrivals.borrow_mut().take();
        if let Some(incoming) = arrived {
            return incoming;
        }
        if wait.is_zero() {
            return Incoming::Nothing;
        }
        let arrival = poll_fn(|context| self.arrivals.borrow_mut().poll(context));
        match select(pin!(arrival), pin!(Delay::from(wait))).await {
            Either::Left((incoming, _)) => incoming,
            Either::Right(((), _)) => Incoming::Nothing,
        }
    }

    fn send(&mut self, text: &str) {
        if self.socket.send_with_str(text).is_err() {
            // It is closing. That is an arrival of its own; this makes sure of it.
            arrive(&self.arrivals, |arrivals| {
                arrivals.closed.get_or_insert(BROKEN_OFF);
            });
        }
    }

    fn now(&self) -> Timestamp {
        backend::now()
    }
}

impl Drop for SocketSession {
    fn drop(&mut self) {
        for (kind, listener) in self.listeners() {
            // Neither can fail but where there is nothing left to undo.
            drop(
                self.target()
                    .remove_event_listener_with_callback(kind, listener),
            );
        }
        drop(self.socket.close(Some(NORMAL), Some("done")));
    }
}
