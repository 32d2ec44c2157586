//! Reading segments of the archive.

use std::fs;
use std::io::{self, Read as _, Write};

use parlance_shared::conversation::archive::Segment;

/// What is to be done with segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Print the events.
    Cat,
    /// Say what is in them, and whether they are whole.
    Check,
}

/// Reads the files, and prints what they hold. Says whether all could be read.
///
/// # Errors
/// When nothing can be printed.
pub fn run(
    command: Command,
    files: &[String],
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<bool> {
    let mut all = true;
    for file in files {
        match read(file) {
            Ok(segment) => print(command, file, &segment, output)?,
            Err(reason) => {
                all = false;
                writeln!(errors, "{file}: {reason}")?;
            }
        }
    }
    output.flush()?;
    Ok(all)
}

fn read(file: &str) -> Result<Segment, String> {
    let bytes = if file == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        read.map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.map_err(|error| error.to_string())?;
    Segment::read(&bytes).map_err(|error| error.to_string())
}

fn print(
    command: Command,
    file: &str,
    segment: &Segment,
    output: &mut impl Write,
) -> io::Result<()> {
    match command {
        Command::Cat => segment
            .lines()
            .try_for_each(|(_, line)| writeln!(output, "{line}")),
        Command::Check => {
            let header = serde_json::to_string(segment.header())?;
            writeln!(output, "{file}: whole: {header}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_shared::conversation::archive::segment::{SegmentWriter, StoredEvent};
    use parlance_shared::entropy::SeededEntropy;
    use parlance_shared::ids::{ConversationId, UserId};
    use parlance_shared::protocol::seq::Seq;
    use parlance_shared::time::Timestamp;

    fn segment() -> Vec<u8> {
        let entropy = SeededEntropy::new(1);
        let mut writer = SegmentWriter::new(ConversationId::random(&entropy));
        for number in 1..=3 {
            let event = StoredEvent {
                seq: Seq::new(number),
                kind: 0,
                sender_id: UserId::random(&entropy),
                message_id: None,
                client_msg_id: None,
                created_at: Timestamp::from_millis(1_790_000_000_000),
                target_seq: None,
                body: serde_json::value::to_raw_value(&serde_json::json!({ "content": number }))
                    .unwrap(),
            };
            writer.push(&event).unwrap();
        }
        writer.finish().unwrap().1
    }

    #[test]
    fn a_segment_is_printed_an_event_a_line_and_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let mut bytes = segment();
        fs::write(path("whole"), &bytes).unwrap();
        bytes[30] ^= 1;
        fs::write(path("damaged"), &bytes).unwrap();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let files = [path("damaged"), path("whole"), path("missing")];
        let all = run(Command::Cat, &files, &mut output, &mut errors).unwrap();
        assert!(!all);
        let output = String::from_utf8(output).unwrap();
        let contents: Vec<_> = output
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|event| event["body"]["content"].clone())
            .collect();
        assert_eq!(contents, [1, 2, 3]);
        let errors = String::from_utf8(errors).unwrap();
        assert_eq!(errors.lines().count(), 2);
        assert!(errors.contains("checksum"), "{errors}");
    }

    #[test]
    fn a_check_says_what_is_in_a_segment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("whole").to_str().unwrap().to_owned();
        fs::write(&path, segment()).unwrap();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        assert!(run(Command::Check, &[path], &mut output, &mut errors).unwrap());
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains(r#""first_seq":1,"last_seq":3"#), "{output}");
    }
}
