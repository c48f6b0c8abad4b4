//! From messages to two lines of packets: the same messages, segmented and delayed differently on each.
//!
//! Invariant: both lines carry every message, in order, and each line's packets are in order of time.

use super::random::Random;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Groups of line A and B: MCAST-TEST-NET of RFC 6676, which no exchange uses.
const GROUPS: [Ipv4Addr; 2] = [Ipv4Addr::new(233, 252, 0, 1), Ipv4Addr::new(233, 252, 0, 2)];

/// Latency of each line: least and spread, ns. B is slower as a rule, but wins often enough to matter.
const LATENCY_NS: [(u64, u64); 2] = [(5_000, 3_000), (6_000, 4_000)];

/// Most messages per packet and longest wait for another message of each line; chosen so that the lines'
/// packets rarely have the same bounds.
const SEGMENT: [(u64, u64); 2] = [(12, 15_000), (20, 25_000)];

/// Payload of a packet, as is the custom on exchanges' groups (1,500 B MTU).
const PAYLOAD_BYTES_MAX: usize = 1_400;

/// Senders' heartbeat interval in silence.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// Heartbeats behind the last message.
const CLOSING_HEARTBEATS: u64 = 2;

/// One UDP packet of a made-up session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it is on the wire, ns since the Unix epoch.
    pub time_ns: u64,
    /// The group it is sent to.
    pub destination: SocketAddrV4,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// What one line of a session consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineCounts {
    /// Its group.
    pub destination: SocketAddrV4,
    /// All its packets, with heartbeats and ends of session.
    pub packets: u64,
    /// Its packets without messages that only tell the next sequence.
    pub heartbeats: u64,
    /// Its packets that end the session.
    pub ends: u64,
    /// Messages that it brings first; at the same nanosecond line A does.
    pub wins: u64,
}

/// What a session consists of: the oracle for whatever decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Messages, each counted once although both lines carry it. Their sequences are 1 to this.
    pub messages: u64,
    /// Messages by type letter.
    pub by_type: BTreeMap<u8, u64>,
    /// Line A and line B.
    pub lines: [LineCounts; 2],
}

/// A made-up session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Packets of both lines in order of time.
    pub packets: Vec<Packet>,
    /// What they carry.
    pub counts: Counts,
}

/// A message and when the exchange made it, ns since the Unix epoch.
pub(super) struct Stamped {
    pub(super) time_ns: u64,
    pub(super) body: Vec<u8>,
}

/// A transport protocol's packets.
pub(super) trait Framing {
    /// Bytes of its packet header.
    const HEADER_BYTES: usize;
    /// UDP port of both groups.
    const PORT: u16;
    /// A packet with `messages`, of which the first has number `sequence`; without messages, a heartbeat.
    /// `offset` counts the bytes of messages (with their length prefixes) in all packets of the line before.
    fn packet(&self, sequence: u64, offset: u64, time_ns: u64, messages: &[Stamped]) -> Vec<u8>;
    /// The packet that ends the session, where the protocol has one; `sequence` is the next number.
    fn end(&self, sequence: u64) -> Option<Vec<u8>>;
}

/// One line in the making.
struct Line<'a, F> {
    framing: &'a F,
    random: Random,
    latency: (u64, u64),
    counts: LineCounts,
    packets: Vec<Packet>,
    /// When each message arrives.
    arrivals_ns: Vec<u64>,
    offset: u64,
    last_ns: u64,
}

impl<F: Framing> Line<'_, F> {
    fn push(&mut self, time_ns: u64, payload: Vec<u8>) {
        self.last_ns = time_ns;
        self.counts.packets += 1;
        self.packets.push(Packet { time_ns, destination: self.counts.destination, payload });
    }

    /// Heartbeats of the silence from the last packet to `until_ns`.
    fn heartbeats(&mut self, until_ns: u64) {
        while self.last_ns != 0 && self.last_ns + HEARTBEAT_NS < until_ns {
            self.heartbeat();
        }
    }

    fn heartbeat(&mut self) {
        let time_ns = self.last_ns + HEARTBEAT_NS;
        let next = self.arrivals_ns.len() as u64 + 1;
        self.counts.heartbeats += 1;
        self.push(time_ns, self.framing.packet(next, self.offset, time_ns, &[]));
    }

    /// One packet of messages.
    fn messages(&mut self, messages: &[Stamped]) {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return };
        self.heartbeats(first.time_ns);
        let latency_ns = self.latency.0 + self.random.within(0..self.latency.1);
        // A line is a FIFO: no packet overtakes the one before it.
        let time_ns = (last.time_ns + latency_ns).max(self.last_ns + 100);
        let sequence = self.arrivals_ns.len() as u64 + 1;
        self.push(time_ns, self.framing.packet(sequence, self.offset, time_ns, messages));
        self.offset += messages.iter().map(|m| m.body.len() as u64 + 2).sum::<u64>();
        self.arrivals_ns.extend(messages.iter().map(|_| time_ns));
    }

    fn close(&mut self) {
        for _ in 0..CLOSING_HEARTBEATS {
            self.heartbeat();
        }
        if let Some(payload) = self.framing.end(self.arrivals_ns.len() as u64 + 1) {
            self.counts.ends += 1;
            self.push(self.last_ns + HEARTBEAT_NS, payload);
        }
    }
}

/// How many of the messages at the front of `rest` go into the line's next packet: at least one.
fn segment(rest: &[Stamped], header_bytes: usize, limits: (u64, u64), random: &mut Random) -> usize {
    let count_max = usize::try_from(random.within(1..limits.0 + 1)).unwrap_or(1);
    let wait_ns = random.within(0..limits.1);
    let mut bytes = header_bytes;
    let first_ns = rest.first().map_or(0, |message| message.time_ns);
    let fits = rest
        .iter()
        .take(count_max)
        .take_while(|message| {
            bytes += message.body.len() + 2;
            bytes <= PAYLOAD_BYTES_MAX && message.time_ns <= first_ns + wait_ns
        })
        .count();
    fits.max(1)
}

/// Sends `messages` over two lines.
pub(super) fn send<F: Framing>(framing: &F, seed: u64, messages: &[Stamped]) -> Session {
    let mut lines = [0, 1].map(|index| {
        let destination = SocketAddrV4::new(GROUPS[index], F::PORT);
        let mut line = Line {
            framing,
            random: Random::new(seed, 0xA + index as u64),
            latency: LATENCY_NS[index],
            counts: LineCounts { destination, packets: 0, heartbeats: 0, ends: 0, wins: 0 },
            packets: Vec::new(),
            arrivals_ns: Vec::with_capacity(messages.len()),
            offset: 0,
            last_ns: 0,
        };
        let mut rest = messages;
        while !rest.is_empty() {
            let (now, later) =
                rest.split_at(segment(rest, F::HEADER_BYTES, SEGMENT[index], &mut line.random));
            line.messages(now);
            rest = later;
        }
        line.close();
        line
    });
    let a_wins = std::iter::zip(&lines[0].arrivals_ns, &lines[1].arrivals_ns).filter(|(a, b)| a <= b).count();
    lines[0].counts.wins = a_wins as u64;
    lines[1].counts.wins = (messages.len() - a_wins) as u64;
    let mut by_type = BTreeMap::new();
    for message in messages {
        *by_type.entry(message.body[0]).or_default() += 1;
    }
    let [a, b] = lines;
    let mut packets = [a.packets, b.packets].concat();
    // Stable, so that line A stands first at the same nanosecond.
    packets.sort_by_key(|packet| packet.time_ns);
    Session {
        packets,
        counts: Counts { messages: messages.len() as u64, by_type, lines: [a.counts, b.counts] },
    }
}
