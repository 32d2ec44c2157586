//! `batch` frames: several frames in one message, put together from frames that are written
//! already, so that each is written once for all who get it.

/// Frames in one batch.
pub const BATCH_FRAMES: usize = 100;
/// Bytes of frames after which a batch is full.
pub const BATCH_BYTES: usize = 64 * 1024;

const OPEN: &str = r#"{"type":"batch","frames":["#;
const CLOSE: &str = "]}";

/// Puts frames that go to one socket into as few messages as it takes, in order. One that would
/// be alone in its batch goes as it is.
#[must_use]
pub fn pack<T: AsRef<str>>(frames: &[T]) -> Vec<String> {
    let mut messages = Vec::new();
    let mut batch: Vec<&str> = Vec::new();
    let mut bytes = 0;
    for frame in frames.iter().map(AsRef::as_ref) {
        let is_full = batch.len() >= BATCH_FRAMES || bytes + frame.len() > BATCH_BYTES;
        if is_full {
            messages.extend(close(&mut batch));
            bytes = 0;
        }
        bytes += frame.len();
        batch.push(frame);
    }
    messages.extend(close(&mut batch));
    messages
}

fn close(batch: &mut Vec<&str>) -> Option<String> {
    let frames = std::mem::take(batch);
    match frames.as_slice() {
        [] => None,
        [alone] => Some((*alone).to_owned()),
        several => Some(format!("{OPEN}{}{CLOSE}", several.join(","))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::ServerFrame;

    fn read(message: &str) -> Vec<ServerFrame> {
        match serde_json::from_str(message).unwrap() {
            ServerFrame::Batch { frames } => frames,
            alone => vec![alone],
        }
    }

    #[test]
    fn one_frame_goes_as_it_is_and_several_as_a_batch() {
        let pong = ServerFrame::Pong.to_text();
        assert_eq!(pack::<&str>(&[]), Vec::<String>::new());
        assert_eq!(pack(&[&pong]), std::slice::from_ref(&pong));
        let packed = pack(&[&pong, &pong]);
        let whole = ServerFrame::Batch {
            frames: vec![ServerFrame::Pong, ServerFrame::Pong],
        };
        assert_eq!(packed, [whole.to_text()]);
    }

    #[test]
    fn a_batch_is_bounded_and_the_order_is_kept() {
        let counted = |count: u64| ServerFrame::SyncComplete {
            total_unread: count,
        };
        let texts: Vec<_> = (0..250).map(|count| counted(count).to_text()).collect();
        let packed = pack(&texts);
        assert_eq!(packed.len(), 3);
        let frames: Vec<_> = packed.iter().flat_map(|message| read(message)).collect();
        assert_eq!(frames, (0..250).map(counted).collect::<Vec<_>>());
        let large = "1".repeat(BATCH_BYTES);
        let sizes: Vec<_> = pack(&["1", "1", &large, "1", "1"])
            .iter()
            .map(String::len)
            .collect();
        assert_eq!(sizes, [OPEN.len() + 5, BATCH_BYTES, OPEN.len() + 5]);
    }
}
