//! What streams and lines are called in reports. Invariant: names are worked out when somebody asks, never before.

use super::streams::{FeedEnd, LineSnapshot, StreamStatus, session_text};
use super::{Lateness, StreamName, StreamSnapshot, StreamState};
use crate::event::{Destination, Protocol};

/// How full the tables of a shard are, and with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TableFacts {
    /// Streams that there are.
    pub streams: u64,
    /// Places for them.
    pub streams_max: u64,
    /// Destinations, and what stands for sockets, that there are.
    pub destinations: u64,
    /// Places for them.
    pub destinations_max: u64,
    /// Of these destinations, those that nobody configured. Others that nobody configured are refused, and frames to them
    /// counted as `unknown_destination` or `table_full`.
    pub admitted: u64,
}

impl TableFacts {
    /// Adds another shard's.
    pub fn absorb(&mut self, other: &TableFacts) {
        self.streams += other.streams;
        self.streams_max += other.streams_max;
        self.destinations += other.destinations;
        self.destinations_max += other.destinations_max;
        self.admitted += other.admitted;
    }
}

/// A stream's counters with names; `feed_name` and `ends` are its feed's.
pub(super) fn snapshot(
    feed_name: Option<&str>,
    ends: &[Option<FeedEnd>],
    state: &StreamState,
    status: StreamStatus,
) -> Option<StreamSnapshot> {
    let protocol = Protocol::from_u8(state.protocol)?;
    let seen = ends.iter().enumerate().filter(|(i, _)| state.lines & (1 << i) != 0);
    let mut lines: Vec<(String, &Destination, usize)> = seen
        .filter_map(|(i, end)| end.as_ref().map(|(name, destination)| (i, name, destination)))
        .map(|(i, name, to)| (name.clone().unwrap_or_else(|| line_name(protocol, to, i)), to, i))
        .collect();
    lines.sort();
    let name = feed_name.map(ToOwned::to_owned).unwrap_or_else(|| match lines.first() {
        Some((_, destination, _)) => destination.to_string(),
        None => protocol.to_string(),
    });
    let lateness = |i| state.lateness.as_ref().and_then(|late: &Lateness| late.percentiles(i));
    let line = |(name, _, i): (String, &Destination, usize)| LineSnapshot {
        name,
        index: i as u8,
        book: state.book.lines[i],
        late: lateness(i),
    };
    Some(StreamSnapshot {
        protocol,
        name: StreamName { feed: name, unit: state.unit },
        session: session_text(protocol, state.sequencer.session()),
        status,
        book: state.book.clone(),
        lines: lines.into_iter().map(line).collect(),
    })
}

/// What a line is called that nobody named: as its CME group says, else "A" to "D" in the order of appearance
/// (`LINES_MAX` is 4).
fn line_name(protocol: Protocol, destination: &Destination, line: usize) -> String {
    cme_line(protocol, destination).unwrap_or(char::from(b'A' + line as u8)).to_string()
}

/// CME sends line A of a channel to 224.0.31.x port 14ccc and line B to 224.0.32.x port 15ccc, x and ccc equal.
pub(super) fn are_cme_lines(protocol: Protocol, one: &Destination, two: &Destination) -> bool {
    let (a, b) = if one.port < two.port { (one, two) } else { (two, one) };
    cme_line(protocol, a) == Some('A')
        && cme_line(protocol, b) == Some('B')
        && a.port.checked_add(1_000) == Some(b.port)
}

/// Which line a CME group is, by its address.
fn cme_line(protocol: Protocol, destination: &Destination) -> Option<char> {
    match destination.address[12..15] {
        [224, 0, 31] if protocol == Protocol::CmeMdp3 => Some('A'),
        [224, 0, 32] if protocol == Protocol::CmeMdp3 => Some('B'),
        _ => None,
    }
}
