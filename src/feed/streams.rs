//! One stream's state, and one line's endpoint.
//!
//! Invariant: plain data with names worked out only when somebody asks for a snapshot.

use super::{Lateness, Sequencer};
use crate::event::{Destination, Protocol};
use crate::ledger::{LineBook, Percentiles, StreamBook};

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
}

/// A stream's counters with names, for reports.
#[derive(Clone, Debug)]
pub struct StreamSnapshot {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its name.
    pub name: StreamName,
    /// Its session as the protocol writes it, empty where there is none.
    pub session: String,
    /// Its counters, all epochs settled.
    pub book: StreamBook,
    /// Its lines: name, counters, lateness where it was measured.
    pub lines: Vec<(String, LineBook, Option<Percentiles>)>,
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
