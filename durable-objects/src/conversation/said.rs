//! What is said to sockets in one turn, put together into as few messages as it takes.
//!
//! Most sockets are told the same: that is written and brought over to JavaScript once. A socket
//! that is told something of its own (an answer, an event as its sender sees it) gets all of it in
//! the order in which it was said.

use std::rc::Rc;

use js_sys::JsString;
use parlance_shared::protocol::batch;

/// What every socket is told.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<Rc<str>>);

/// What one socket is told besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// This, after so many of what every socket is told.
    After(usize, Rc<str>),
    /// This, in the place of one of those.
    InsteadOf(usize, Rc<str>),
}

impl Script {
    /// One more; gives its place.
    pub fn add(&mut self, text: String) -> usize {
        self.0.push(text.into());
        self.0.len() - 1
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn texts(&self) -> &[Rc<str>] {
        &self.0
    }

    /// What a socket is told in all, of which `own` is its own, in the order in which it was said.
    pub fn as_told(&self, own: &[Said]) -> Vec<Rc<str>> {
        let mut told = Vec::with_capacity(self.0.len() + own.len());
        let mut own = own.iter().peekable();
        for (place, text) in self.0.iter().enumerate() {
            let mut text = text;
            while let Some(said) = own.peek() {
                match said {
                    Said::After(after, said) if *after <= place => told.push(Rc::clone(said)),
                    Said::InsteadOf(of, said) if *of == place => text = said,
                    _ => break,
                }
                own.next();
            }
            told.push(Rc::clone(text));
        }
        for said in own {
            if let Said::After(_, said) = said {
                told.push(Rc::clone(said));
            }
        }
        told
    }
}

/// Messages that are in JavaScript already, so that many sockets can share them.
#[derive(Debug)]
pub(super) struct Packed {
    texts: Vec<JsString>,
    bytes: usize,
}

impl Packed {
    pub fn of(texts: &[Rc<str>]) -> Self {
        let packed = batch::pack(texts);
        Self {
            bytes: packed.iter().map(String::len).sum(),
            texts: packed.into_iter().map(JsString::from).collect(),
        }
    }

    pub fn texts(&self) -> &[JsString] {
        &self.texts
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &[&str], own: &[Said]) -> String {
        let mut said = Script::default();
        for text in script {
            said.add((*text).to_owned());
        }
        said.as_told(own).concat()
    }

    #[test]
    fn a_socket_is_told_its_own_where_it_was_said() {
        let after = |place, text: &str| Said::After(place, text.into());
        let instead = |place, text: &str| Said::InsteadOf(place, text.into());
        assert_eq!(told(&["a", "b"], &[]), "ab");
        assert_eq!(told(&[], &[after(0, "x"), after(0, "y")]), "xy");
        // An answer, the event of it as its sender sees it, and the same again.
        let own = [
            after(0, "1"),
            instead(0, "A"),
            after(1, "2"),
            instead(1, "B"),
        ];
        assert_eq!(told(&["a", "b", "c"], &own), "1A2Bc");
        assert_eq!(told(&["a", "b"], &[after(2, "z")]), "abz");
        assert_eq!(told(&["a", "b"], &[instead(1, "B"), after(2, "z")]), "aBz");
        assert_eq!(told(&["a"], &[instead(0, "A"), after(1, "z")]), "Az");
    }
}
