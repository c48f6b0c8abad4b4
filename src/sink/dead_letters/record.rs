//! A dead letter as an owned value, and as a line of JSON that describes itself.
//!
//! Invariant: what is read of a line that was written is the letter that was written. A line has the key `v`; what
//! changes the meaning of a key raises it, further keys don't.

use super::reason::Reason;
use crate::event::{Class, ClockKind, Marks, Nanos, Protocol, ShardId};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::wire;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The version of the lines.
pub const LINE_VERSION: u64 = 1;

/// The longest line that is read, its end included: the largest payload in base64, and four times the room that the
/// longest other keys take.
pub const LINE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX.div_ceil(3) * 4 + 4_096;

/// An event that was not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Why.
    pub reason: Reason,
    /// When it was given up, on its agent's clock: CLOCK_MONOTONIC ns, in captures taken flat out the capture's.
    pub at_ns: Nanos,
    /// When it was taken from its agent, ns since the Unix epoch.
    pub taken_unix_ns: u64,
    /// How often it was tried.
    pub attempts: u8,
    /// The shard that accepted it.
    pub shard: ShardId,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its stream's index in the shard's table.
    pub stream: u32,
    /// The line that brought it first.
    pub line: u8,
    /// Which of its shard's lanes received it; the shard's port counts as one more.
    pub lane: u8,
    /// The acknowledged session that it came in: its producer's place + 1; 0 for none.
    pub session: u32,
    /// Its sequence number.
    pub sequence: u64,
    /// The run of its stream between restarts.
    pub epoch: u32,
    /// Its message type.
    pub kind: u16,
    /// The class that it was of.
    pub class: Class,
    /// What its place in the sequence means.
    pub marks: Marks,
    /// When its frame was on the wire, ns on `clock`.
    pub wire_ns: Nanos,
    /// When the shard took it up, CLOCK_MONOTONIC ns.
    pub receive_ns: Nanos,
    /// When it was queued, CLOCK_MONOTONIC ns; 0 if it never was.
    pub publish_ns: Nanos,
    /// The sender's own time, in the protocol's time base, or 0.
    pub source_ns: u64,
    /// The clock of `wire_ns`.
    pub clock: ClockKind,
    /// The payload, or the beginning of it.
    pub payload: Vec<u8>,
    /// Bytes that the whole payload had.
    pub payload_bytes: u32,
}

/// Why a line is no letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is not JSON, or lacks a key, or has one with a value of another kind.
    #[error("is no dead letter: {0}")]
    Json(String),
    /// Another version.
    #[error(
        "is of version {0}, and this program reads version {LINE_VERSION}; use the program that wrote it"
    )]
    Version(u64),
    /// A name that is not known.
    #[error("has {key} \"{value}\", which is not known")]
    Name {
        /// The key.
        key: &'static str,
        /// What it has.
        value: String,
    },
    /// The payload is not base64.
    #[error("has a payload that is no base64: {0}")]
    Payload(String),
    /// The payload is longer than it may be, or its length is not the one that the line names.
    #[error("has {found} bytes of payload, which don't fit its payload_bytes {named} and truncated_from")]
    PayloadLength {
        /// Bytes that there are.
        found: usize,
        /// Bytes that the line names.
        named: u32,
    },
    /// Longer than any letter.
    #[error("is longer than {LINE_BYTES_MAX} bytes, which no dead letter is")]
    TooLong,
    /// The file ends before the line does.
    #[error("is cut off: the file ends in it")]
    CutOff,
}

/// A line of JSON. The order of the fields is that of the keys.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    v: u64,
    reason: Cow<'a, str>,
    fate: Cow<'a, str>,
    taken_unix_ns: u64,
    at_ns: u64,
    attempts: u8,
    shard: u8,
    protocol: Cow<'a, str>,
    stream: u32,
    line: u8,
    lane: u8,
    session: u32,
    sequence: u64,
    epoch: u32,
    #[serde(rename = "type")]
    type_name: Cow<'a, str>,
    kind: u16,
    class: Cow<'a, str>,
    marks: Vec<Cow<'a, str>>,
    wire_ns: u64,
    receive_ns: u64,
    publish_ns: u64,
    source_ns: u64,
    clock: Cow<'a, str>,
    payload_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    truncated_from: Option<u32>,
    payload: Cow<'a, str>,
}

/// The version alone, which is asked for before the rest is believed.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

impl Letter {
    /// Bytes of the whole payload, if only its beginning was kept.
    pub fn truncated_from(&self) -> Option<u32> {
        (self.payload.len() < self.payload_bytes as usize).then_some(self.payload_bytes)
    }

    /// Its fields by name, where its type's are decoded and its payload is whole.
    pub fn describe(&self) -> Option<serde_json::Value> {
        match self.truncated_from() {
            None => wire::describe(self.protocol, self.kind, &self.payload),
            Some(_) => None,
        }
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Letter>() + self.payload.capacity()
    }

    fn line(&self) -> Line<'_> {
        Line {
            v: LINE_VERSION,
            reason: self.reason.name().into(),
            fate: self.reason.fate().into(),
            taken_unix_ns: self.taken_unix_ns,
            at_ns: self.at_ns,
            attempts: self.attempts,
            shard: self.shard.0,
            protocol: self.protocol.name().into(),
            stream: self.stream,
            line: self.line,
            lane: self.lane,
            session: self.session,
            sequence: self.sequence,
            epoch: self.epoch,
            type_name: self.protocol.type_name(self.kind).into(),
            kind: self.kind,
            class: self.class.name().into(),
            marks: self.marks.names().map(Cow::from).collect(),
            wire_ns: self.wire_ns,
            receive_ns: self.receive_ns,
            publish_ns: self.publish_ns,
            source_ns: self.source_ns,
            clock: self.clock.name().into(),
            payload_bytes: self.payload.len() as u32,
            truncated_from: self.truncated_from(),
            payload: BASE64.encode(&self.payload).into(),
        }
    }

    /// The keys and values of its line.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self.line()).expect("numbers, texts and lists of them are JSON")
    }

    /// Appends its line, the end of it included.
    pub fn write_line(&self, to: &mut Vec<u8>) {
        serde_json::to_writer(&mut *to, &self.line()).expect("numbers, texts and lists of them are JSON");
        to.push(b'\n');
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is none that [`Letter::write_line`] writes.
    pub fn read_line(line: &[u8]) -> Result<Letter, LineError> {
        let json = |error: serde_json::Error| LineError::Json(error.to_string());
        let version: Version = serde_json::from_slice(line).map_err(json)?;
        if version.v != LINE_VERSION {
            return Err(LineError::Version(version.v));
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(json)?;
        let payload =
            BASE64.decode(line.payload.as_bytes()).map_err(|error| LineError::Payload(error.to_string()))?;
        let fits = payload.len() <= PAYLOAD_BYTES_MAX
            && payload.len() == line.payload_bytes as usize
            && line.truncated_from.is_none_or(|whole| whole > line.payload_bytes);
        if !fits {
            return Err(LineError::PayloadLength { found: payload.len(), named: line.payload_bytes });
        }
        let mut marks = Marks::NONE;
        for name in &line.marks {
            marks = marks.and(mark(name).ok_or_else(|| unknown("marks", name))?);
        }
        Ok(Letter {
            reason: line.reason.parse().map_err(|_| unknown("reason", &line.reason))?,
            at_ns: line.at_ns,
            taken_unix_ns: line.taken_unix_ns,
            attempts: line.attempts,
            shard: ShardId(line.shard),
            protocol: line.protocol.parse().map_err(|_| unknown("protocol", &line.protocol))?,
            stream: line.stream,
            line: line.line,
            lane: line.lane,
            session: line.session,
            sequence: line.sequence,
            epoch: line.epoch,
            kind: line.kind,
            class: class(&line.class).ok_or_else(|| unknown("class", &line.class))?,
            marks,
            wire_ns: line.wire_ns,
            receive_ns: line.receive_ns,
            publish_ns: line.publish_ns,
            source_ns: line.source_ns,
            clock: clock(&line.clock).ok_or_else(|| unknown("clock", &line.clock))?,
            payload,
            payload_bytes: line.truncated_from.unwrap_or(line.payload_bytes),
        })
    }
}

/// Names are cut, so that a refusal of anything can be printed.
fn unknown(key: &'static str, value: &str) -> LineError {
    let value = value.chars().take(48).map(|c| if c.is_control() { ' ' } else { c }).collect();
    LineError::Name { key, value }
}

fn class(name: &str) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class.name() == name)
}

fn clock(name: &str) -> Option<ClockKind> {
    let all = [ClockKind::None, ClockKind::Monotonic, ClockKind::Hardware, ClockKind::Capture];
    all.into_iter().find(|clock| clock.name() == name)
}

fn mark(name: &str) -> Option<Marks> {
    (0..u8::BITS).map(|bit| Marks(1 << bit)).find(|mark| mark.names().next() == Some(name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::DeadReason;
    use proptest::prelude::*;

    /// Some letter.
    pub(crate) fn some_letter(reason: Reason, sequence: u64, payload: &[u8]) -> Letter {
        Letter {
            reason,
            at_ns: 5,
            taken_unix_ns: 1_700_000_000_000_000_000,
            attempts: 3,
            shard: ShardId(1),
            protocol: Protocol::IexTp,
            stream: 2,
            line: 1,
            lane: 4,
            session: 0,
            sequence,
            epoch: 1,
            kind: u16::from(b'Q'),
            class: Class::Realtime,
            marks: Marks::AFTER_GAP.and(Marks::STALE),
            wire_ns: 1,
            receive_ns: 2,
            publish_ns: 3,
            source_ns: 4,
            clock: ClockKind::Hardware,
            payload: payload.to_vec(),
            payload_bytes: payload.len() as u32,
        }
    }

    fn line_of(letter: &Letter) -> String {
        let mut line = Vec::new();
        letter.write_line(&mut line);
        String::from_utf8(line).expect("is text")
    }

    #[test]
    fn a_line_describes_itself() {
        let letter = some_letter(DeadReason::Evicted.into(), 7, b"\x00\xffhello");
        let expected = concat!(
            r#"{"v":1,"reason":"evicted","fate":"dead","taken_unix_ns":1700000000000000000,"at_ns":5,"attempts":3,"#,
            r#""shard":1,"protocol":"iex-tp","stream":2,"line":1,"lane":4,"session":0,"sequence":7,"epoch":1,"#,
            r#""type":"Q","kind":81,"class":"realtime","marks":["after_gap","stale"],"wire_ns":1,"receive_ns":2,"#,
            r#""publish_ns":3,"source_ns":4,"clock":"hardware","payload_bytes":7,"payload":"AP9oZWxsbw=="}"#,
            "\n"
        );
        assert_eq!(line_of(&letter), expected);
    }

    #[test]
    fn wrong_lines_are_refused_by_name() {
        let right = line_of(&some_letter(DeadReason::Late.into(), 7, b"abc"));
        assert!(Letter::read_line(right.replace("\"v\":1", "\"more\":[1],\"v\":1").as_bytes()).is_ok());
        for (from, to, words) in [
            ("\"v\":1", "\"v\":2", "version 2"),
            ("\"v\":1,", "", "missing field `v`"),
            ("late", "later", "reason \"later\""),
            ("iex-tp", "iex", "protocol \"iex\""),
            ("hardware", "sundial\\u001b", "clock \"sundial \""),
            ("stale", "fresh", "marks \"fresh\""),
            ("realtime", "slow", "class \"slow\""),
            ("YWJj", "YWJ", "no base64"),
            ("YWJj", "YWI=", "has 2 bytes"),
            ("\"payload_bytes\":3", "\"payload_bytes\":3,\"truncated_from\":3", "truncated_from"),
            ("\"stream\":2", "\"stream\":-2", "-2"),
            ("\"kind\":81,", "", "kind"),
        ] {
            let line = right.replace(from, to);
            assert_ne!(line, right);
            let error = Letter::read_line(line.as_bytes()).expect_err(to).to_string();
            assert!(error.contains(words), "{to}: {error}");
        }
    }

    prop_compose! {
        fn letters()(
            (reason, protocol, class, clock, marks) in (0..Reason::COUNT as u8, 0..11_u8, 0..3_u8, 0..4_u8, 0..64_u8),
            bytes in any::<[u8; 4]>(), words in any::<[u32; 3]>(), numbers in any::<[u64; 7]>(),
            kind in any::<u16>(), payload in prop::collection::vec(any::<u8>(), 0..300), cut in 0..3_u32,
        ) -> Letter {
            Letter {
                reason: Reason::from_code(reason).expect("is one"),
                protocol: Protocol::from_u8(protocol).expect("is one"),
                class: Class::from_u8(class).expect("is one"),
                clock: ClockKind::from_u8(clock),
                marks: Marks(marks),
                attempts: bytes[0], shard: ShardId(bytes[1]), line: bytes[2], lane: bytes[3],
                stream: words[0], session: words[1], epoch: words[2],
                at_ns: numbers[0], taken_unix_ns: numbers[1], sequence: numbers[2], wire_ns: numbers[3],
                receive_ns: numbers[4], publish_ns: numbers[5], source_ns: numbers[6],
                kind, payload_bytes: payload.len() as u32 + cut, payload,
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_read_as_they_were_written(letter in letters()) {
            let line = line_of(&letter);
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(Letter::read_line(line.as_bytes()), Ok(letter));
        }

        #[test]
        fn damaged_lines_are_refused_or_read(letter in letters(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut line = line_of(&letter).into_bytes();
            let at = at.index(line.len());
            line[at] = byte;
            if let Ok(read) = Letter::read_line(&line) {
                // Whatever was believed can be written and read again, and shown.
                prop_assert_eq!(Letter::read_line(line_of(&read).as_bytes()), Ok(read.clone()));
                drop(read.describe());
            }
        }

        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Letter::read_line(&bytes).is_err());
        }
    }

    #[test]
    fn the_longest_line_is_short_enough() {
        let letter = Letter {
            payload_bytes: u32::MAX,
            marks: Marks(63),
            at_ns: u64::MAX,
            taken_unix_ns: u64::MAX,
            ..some_letter(DeadReason::DroppedOldest.into(), u64::MAX, &vec![255; PAYLOAD_BYTES_MAX])
        };
        assert!(line_of(&letter).len() < LINE_BYTES_MAX - 3_000);
    }
}
