//! `batch` frames: several frames in one message, put together from frames that are written
//! already, so that each is written once for all who get it.

/// As many frames as this go as they are: a client that writes a message is answered with a plain
/// acknowledgement, and batches are seen where there is a load that they save something on.
pub const FEW_FRAMES: usize = 3;
/// Frames in one batch.
pub const BATCH_FRAMES: usize = 100;
/// Bytes of frames after which a batch is full.
pub const BATCH_BYTES: usize = 64 * 1024;

const OPEN: &str = r#"{"type":"batch","frames":["#;
const CLOSE: &str = "]}";

/// Puts frames that go to one socket into as few messages as it takes, in order. A few go as they
/// are, and so does one that would be alone in its batch.
#[must_use]
pub fn pack<T: AsRef<str>>(frames: &[T]) -> Vec<String> {
    if frames.len() <= FEW_FRAMES {
        return frames
            .iter()
            .map(|frame| frame.as_ref().to_owned())
            .collect();
    }
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
    fn a_few_frames_go_as_they_are_and_more_as_a_batch() {
        let pong = ServerFrame::Pong.to_text();
        assert_eq!(pack::<&str>(&[]), Vec::<String>::new());
        assert_eq!(pack(&[&pong]), std::slice::from_ref(&pong));
        let few = vec![pong; FEW_FRAMES];
        assert_eq!(pack(&few), few);
        let packed = pack(&[&few[0]; FEW_FRAMES + 1]);
        let whole = ServerFrame::Batch {
            frames: vec![ServerFrame::Pong; FEW_FRAMES + 1],
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
