//! The frames that the load generator writes and reads.
//!
//! Reading is a search and no parsing, so that a hundred sockets cost little processor time. It
//! holds because `type` is a frame's first field on both sides, and because no quotation mark
//! stands unescaped in a content.

/// A client's sign of life, which the runtime answers by itself.
pub const PING: &str = r#"{"type":"ping"}"#;

/// Characters of a message's content.
const CONTENT_CHARS: usize = 100;

/// A message of the load: which one of which run, so that no two of a process are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Which run.
    pub run: u16,
    /// Which of its messages.
    pub index: usize,
}

/// The frame that sends a message to a conversation.
pub fn send_message(conversation: &str, name: Name) -> String {
    let id = client_msg_id(name);
    let content = content(name);
    format!(
        r#"{{"type":"send_message","conversation_id":"{conversation}","client_msg_id":"{id}","content":"{content}","content_type":"text"}}"#
    )
}

/// The sender's name for a message: a UUID that ends in its index.
pub fn client_msg_id(Name { run, index }: Name) -> String {
    // The first digits spread the names as random ones would be, so that the index of names does
    // not grow at its end alone.
    let spread = (index as u32).wrapping_mul(0x9E37_79B1);
    format!("{spread:08x}-{run:04x}-4000-8000-{index:012x}")
}

/// How the content of a message begins.
pub fn beginning(Name { run, index }: Name) -> String {
    format!("m{run}.{index} ")
}

fn content(name: Name) -> String {
    let mut content = beginning(name);
    let filler = "the quick brown fox jumps over the lazy dog "
        .chars()
        .cycle();
    let missing = CONTENT_CHARS.saturating_sub(content.len());
    content.extend(filler.take(missing));
    content
}

/// What a frame says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A message is acknowledged.
    Acked(Name),
    /// A message is delivered.
    Delivered(Name),
    /// Something was refused.
    Refused,
}

/// What a text from the server says; the frames of a batch one by one.
pub fn said(text: &str) -> impl Iterator<Item = Said> {
    text.split(r#""type":""#).skip(1).filter_map(|frame| {
        if let Some(rest) = frame.strip_prefix("new_message\"") {
            let (_, content) = rest.split_once(r#""content":"m"#)?;
            let (name, _) = content.split_once(' ')?;
            let (run, index) = name.split_once('.')?;
            Some(Said::Delivered(Name {
                run: run.parse().ok()?,
                index: index.parse().ok()?,
            }))
        } else if let Some(rest) = frame.strip_prefix("msg_ack\"") {
            let (_, id) = rest.split_once(r#""client_msg_id":""#)?;
            Some(Said::Acked(Name {
                run: u16::from_str_radix(id.get(9..13)?, 16).ok()?,
                index: usize::from_str_radix(id.get(24..36)?, 16).ok()?,
            }))
        } else if frame.starts_with("error\"") {
            Some(Said::Refused)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_again_in_its_ack_and_its_delivery() {
        let name = Name {
            run: 300,
            index: 70_000,
        };
        let ack = format!(
            r#"{{"type":"msg_ack","client_msg_id":"{}","seq":3}}"#,
            client_msg_id(name)
        );
        let message = format!(
            r#"{{"type":"new_message","seq":3,"content":"{}","content_type":"text"}}"#,
            content(name)
        );
        let batch = format!(r#"{{"type":"batch","frames":[{ack},{message},{message}]}}"#);
        let found: Vec<_> = said(&batch).collect();
        let delivered = Said::Delivered(name);
        assert_eq!(found, [Said::Acked(name), delivered, delivered]);
        let refused: Vec<_> = said(r#"{"type":"error","code":"internal"}"#).collect();
        assert_eq!(refused, [Said::Refused]);
        assert_eq!(said(r#"{"type":"auth_ack","user_id":"x"}"#).count(), 0);
    }

    #[test]
    fn contents_are_of_one_length() {
        let name = |run, index| Name { run, index };
        assert_eq!(content(name(1, 1)).len(), CONTENT_CHARS);
        assert_eq!(content(name(1, 1_000_000)).len(), CONTENT_CHARS);
        assert_ne!(client_msg_id(name(1, 1)), client_msg_id(name(1, 2)));
        assert_ne!(client_msg_id(name(1, 1)), client_msg_id(name(2, 1)));
    }
}
