//! One stream's state, and one line's endpoint.
//!
//! Invariant: plain data with names worked out only when somebody asks for a snapshot.

use super::doubt::Doubt;
use super::gaps::GapList;
use super::holdback::HoldRing;
use super::snapshots::SnapshotLoop;
use super::{Lateness, Sequencer};
use crate::event::{Destination, Marks, Nanos, Protocol};
use crate::ledger::{LineBook, Percentiles, StreamBook};
use crate::limits::LINE_PLACES;

/// A line of a configured feed: what comes to `destination` is line `line` of feed number `feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedLine {
    /// Index of the feed; lines of one feed share its streams.
    pub feed: u32,
    /// The feed's name.
    pub feed_name: String,
    /// The line's name, "A" or "B" by custom.
    pub line_name: String,
    /// Its number within the feed, from 0.
    pub line: u8,
    /// Where its packets are sent to.
    pub destination: Destination,
    /// The one address that they are sent from, as in [`Destination::address`]; `None` for any.
    pub source: Option<[u8; 16]>,
    /// How they are decoded.
    pub protocol: Protocol,
}

/// An endpoint: a destination address and port that packets came to, or that is configured.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Address and port.
    pub destination: Destination,
    /// How its packets are decoded, once known.
    pub protocol: Option<Protocol>,
    /// The feed it belongs to, once known.
    pub feed: Option<u32>,
    /// Its line number within the feed.
    pub line: u8,
    /// The one sender whose packets are taken; `None` for any.
    pub source: Option<[u8; 16]>,
    /// Unit and stream index that the last packet belonged to: nearly always the next one's, too.
    pub(super) last: Option<(u32, u32)>,
}

/// How a stream is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName {
    /// The feed's name, or the protocol and first destination where nobody named it.
    pub feed: String,
    /// The stream's unit within the feed.
    pub unit: u32,
}

impl std::fmt::Display for StreamName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unit {
            0 => f.write_str(&self.feed),
            unit => write!(f, "{}/{unit}", self.feed),
        }
    }
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// Nothing has come yet.
    Unknown,
    /// What its session had before the first message that came is being recovered.
    Backfill,
    /// Nothing is missing.
    Synchronized,
    /// Numbers are missing that may still come.
    GapFill,
    /// Numbers were lost since the last reset or snapshot.
    Stale,
    /// Its sender ended the session.
    Ended,
}

impl StreamStatus {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            StreamStatus::Unknown => "unknown",
            StreamStatus::Backfill => "backfill",
            StreamStatus::Synchronized => "synchronized",
            StreamStatus::GapFill => "gap_fill",
            StreamStatus::Stale => "stale",
            StreamStatus::Ended => "ended",
        }
    }
}

/// How an epoch begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct EpochBegin {
    /// Its first number.
    pub(super) sequence: u64,
    /// Its session, 0 where the protocol has none.
    pub(super) session: u128,
    /// When its first run was sent, 0 where the protocol does not say.
    pub(super) send_ns: Nanos,
    /// Whether an explicit reset began it.
    pub(super) by_reset: bool,
    /// The line that brought its first run.
    pub(super) line: u8,
}

/// When lines were last heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineWatch {
    /// When something last came on each line.
    pub(super) heard_ns: [Nanos; LINE_PLACES],
    /// When each was first seen to be behind another one; never for those that are not.
    pub(super) behind_ns: [Nanos; LINE_PLACES],
    /// Bit set of those that are silent while others go on.
    pub(super) silent: u8,
    /// Bit set of those that are taken for dead.
    pub(super) dead: u8,
}

impl LineWatch {
    /// Something came on a line. False, and nothing is noted, if that line was taken for silent or dead.
    #[inline]
    pub(super) fn hear(&mut self, line: u8, now: Nanos) -> bool {
        let is_heard = (self.silent | self.dead) & (1 << line) == 0;
        if is_heard {
            self.heard_ns[usize::from(line)] = now;
        }
        is_heard
    }
}

/// State of one stream in its shard.
#[derive(Debug, Default)]
pub struct StreamState {
    /// Its sequence.
    pub sequencer: Sequencer,
    /// Its counters.
    pub book: StreamBook,
    /// How late its lines are, once it has two of them.
    pub lateness: Option<Lateness>,
    /// The feed it belongs to.
    pub feed: u32,
    /// Its unit within the feed.
    pub unit: u32,
    /// Bit set of the lines that it was seen on.
    pub lines: u8,
    /// Its protocol as u8.
    pub protocol: u8,
    /// When its lines were heard.
    pub(super) watch: LineWatch,
    /// Its open gaps.
    pub(super) gaps: GapList,
    /// What it holds back, if anything.
    pub(super) hold: Option<HoldRing>,
    /// Whether it is listed as one that has gaps.
    pub(super) is_gapped: bool,
    /// Where one packet says that it has moved to.
    pub(super) doubt: Option<Doubt>,
    /// Whether it comes in by connections, which damage nothing.
    pub(super) is_reliable: bool,
    /// The snapshots that it consists of, if it does.
    pub(super) snapshots: SnapshotLoop,
    /// Its packets when the epoch began.
    pub(super) epoch_packet: u64,
    /// When its recovery was last taken for silent.
    pub(super) unanswered_ns: Nanos,
    /// The number that the epoch was met with, where what was before it is recovered; else 0.
    pub(super) backfill_until: u64,
}

impl StreamState {
    /// How it stands.
    pub fn status(&self) -> StreamStatus {
        let sequencer = &self.sequencer;
        // Backfill is over when nothing below the number that it was for is to be delivered any more.
        let backfilled = self.hold.as_ref().map_or(sequencer.next(), |ring| ring.cursor);
        if !sequencer.started() {
            StreamStatus::Unknown
        } else if sequencer.ended {
            StreamStatus::Ended
        } else if sequencer.standing.has(Marks::STALE) {
            StreamStatus::Stale
        } else if self.gaps.is_empty() {
            StreamStatus::Synchronized
        } else if backfilled < self.backfill_until {
            StreamStatus::Backfill
        } else {
            StreamStatus::GapFill
        }
    }
}

/// A line's name, where it was given one, and its destination.
pub(super) type FeedEnd = (Option<String>, Destination);

/// A stream's counters with names, for reports.
#[derive(Clone, Debug)]
pub struct StreamSnapshot {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its name.
    pub name: StreamName,
    /// Its session as the protocol writes it, empty where there is none.
    pub session: String,
    /// How it stood in the end.
    pub status: StreamStatus,
    /// Its counters, all epochs settled.
    pub book: StreamBook,
    /// Its lines, by name.
    pub lines: Vec<LineSnapshot>,
}

/// A line's counters with its name, for reports.
#[derive(Clone, Debug)]
pub struct LineSnapshot {
    /// Its name.
    pub name: String,
    /// Its number within the feed.
    pub index: u8,
    /// Its counters.
    pub book: LineBook,
    /// How late its copies were, where it was measured.
    pub late: Option<Percentiles>,
}

/// A session as its protocol writes it: the ten ASCII bytes of MoldUDP64 and SoupBinTCP, else a number; empty for none.
pub(super) fn session_text(protocol: Protocol, session: u128) -> String {
    match (protocol, session) {
        (_, 0) => String::new(),
        (Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50, _) => session.to_be_bytes()[6..]
            .iter()
            .map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' })
            .collect::<String>()
            .trim()
            .to_owned(),
        (_, number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_print_as_their_protocol_writes_them() {
        let bytes = b"000012345A";
        let session = bytes.iter().fold(0u128, |value, b| (value << 8) | u128::from(*b));
        assert_eq!(session_text(Protocol::Moldudp64Itch50, session), "000012345A");
        assert_eq!(session_text(Protocol::SoupbintcpItch50, session), "000012345A");
        assert_eq!(session_text(Protocol::IexTp, 1_150_681_088), "1150681088");
        assert_eq!(session_text(Protocol::CmeMdp3, 0), "");
    }
}
