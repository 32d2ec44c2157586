//! Frames on their way to a socket: one as it is, several as few batches.

use parlance_shared::protocol::frame::ServerFrame;

/// Frames in a batch.
const BATCH_FRAMES: usize = 100;
/// Bytes of a batch, roughly: a batch is ended once it has as many.
const BATCH_BYTES: usize = 64 * 1024;

/// The texts that carry these frames, in order.
#[must_use]
pub fn texts(frames: Vec<ServerFrame>) -> Vec<String> {
    let mut texts: Vec<_> = frames.iter().map(ServerFrame::to_text).collect();
    if texts.len() <= 1 {
        return texts;
    }
    let mut messages = Vec::new();
    let mut batch: Vec<String> = Vec::new();
    let mut bytes = 0;
    for text in texts.drain(..) {
        if batch.len() >= BATCH_FRAMES || bytes >= BATCH_BYTES {
            messages.push(joined(&std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += text.len();
        batch.push(text);
    }
    messages.push(joined(&batch));
    messages
}

/// The frames are JSON already: they are put together rather than written again.
fn joined(frames: &[String]) -> String {
    match frames {
        [one] => one.clone(),
        all => format!(r#"{{"type":"batch","frames":[{}]}}"#, all.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_frames_are_a_batch_and_one_is_itself() {
        assert_eq!(texts(Vec::new()), Vec::<String>::new());
        assert_eq!(texts(vec![ServerFrame::Pong]), [r#"{"type":"pong"}"#]);
        let both = texts(vec![ServerFrame::Pong, ServerFrame::Pong]);
        let read: ServerFrame = serde_json::from_str(&both[0]).unwrap();
        let frames = vec![ServerFrame::Pong, ServerFrame::Pong];
        assert_eq!(read, ServerFrame::Batch { frames });
        let many = texts(vec![ServerFrame::Pong; 250]);
        assert_eq!(many.len(), 3);
    }
}
