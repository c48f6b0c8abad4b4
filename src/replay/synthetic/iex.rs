//! A made-up IEX session: TOPS 1.6 messages over IEX-TP on two lines, with heartbeats.
//!
//! Invariant: the stream offset, sequence and count of each segment are those of its place in the stream.

use super::lines::{Framing, Session, Stamped, send};
use super::random::Random;

/// 2024-01-02 14:29:50 UTC, ns since the Unix epoch.
const BEGIN_NS: u64 = 1_704_205_790 * 1_000_000_000;

/// Silence between the directory and the first quote, long enough for heartbeats.
const QUIET_NS: u64 = 3_500_000_000;

/// Made-up symbols and the prices that their quotes stand around, in 1/10,000.
const SYMBOLS: [(&[u8; 8], u64); 6] = [
    (b"ASPEN   ", 88_1200),
    (b"BEECH   ", 23_4500),
    (b"CYPRESS ", 402_7700),
    (b"LINDEN  ", 151_0300),
    (b"OAK     ", 64_6400),
    (b"YEW     ", 12_0900),
];

/// System events: start of messages, of system hours, of market hours; their ends in the same order reversed.
const OPENING: [u8; 3] = *b"OSR";
const CLOSING: [u8; 3] = *b"MEC";

/// Messages per symbol before the day (directory, trading status, operational halt, short sale test) and behind
/// it (official closing price).
const PER_SYMBOL: usize = 5;

/// Least messages of a session: the events of the day and those that every symbol has.
pub const IEX_MESSAGES_MIN: usize = OPENING.len() + CLOSING.len() + PER_SYMBOL * SYMBOLS.len();

/// A session of `messages` messages (at least [`IEX_MESSAGES_MIN`]): the directory, a silence with heartbeats, quotes
/// and trades, the close, on lines A (233.252.0.1:10378) and B (233.252.0.2:10378), channel 1, session 1.
/// The mean rate of the day is some 27,000 messages per second.
pub fn iex_session(seed: u64, messages: usize) -> Session {
    let mut exchange = Exchange {
        random: Random::new(seed, 2),
        now_ns: BEGIN_NS,
        messages: Vec::with_capacity(messages.max(IEX_MESSAGES_MIN)),
        last_trade: 0,
    };
    exchange.begin();
    let closing = CLOSING.len() + SYMBOLS.len();
    while exchange.messages.len() + closing < messages {
        exchange.step();
    }
    for (symbol, price) in SYMBOLS {
        exchange.emit(b'X', b'M', symbol, &[&price.to_le_bytes()]);
    }
    CLOSING.iter().for_each(|event| exchange.emit(b'S', *event, b"", &[]));
    send(&Segment, seed, &exchange.messages)
}

struct Exchange {
    random: Random,
    now_ns: u64,
    messages: Vec<Stamped>,
    last_trade: u64,
}

impl Exchange {
    /// Adds a message: type, flags (or the type's own byte in their place), time, symbol, and `fields`.
    fn emit(&mut self, letter: u8, flags: u8, symbol: &[u8], fields: &[&[u8]]) {
        self.now_ns += self.random.message_gap_ns();
        let mut body = Vec::with_capacity(42);
        body.extend([letter, flags]);
        body.extend(self.now_ns.to_le_bytes());
        body.extend(symbol);
        fields.iter().for_each(|field| body.extend(*field));
        self.messages.push(Stamped { time_ns: self.now_ns, body });
    }

    fn begin(&mut self) {
        self.emit(b'S', OPENING[0], b"", &[]);
        for (symbol, price) in SYMBOLS {
            // Round lot, adjusted closing price of the day before, LULD tier.
            self.emit(b'D', 0, symbol, &[&100u32.to_le_bytes(), &price.to_le_bytes(), &[1]]);
            self.emit(b'H', b'T', symbol, &[b"    "]);
            self.emit(b'O', b'N', symbol, &[]);
            self.emit(b'P', 0, symbol, &[b" "]);
        }
        self.emit(b'S', OPENING[1], b"", &[]);
        self.now_ns += QUIET_NS;
        self.emit(b'S', OPENING[2], b"", &[]);
    }

    /// One message of the day: mostly quotes.
    fn step(&mut self) {
        let (symbol, middle) = SYMBOLS[self.random.index(SYMBOLS.len())];
        let ticks = self.random.within(1..20) * 100;
        let size = (self.random.within(1..20) as u32 * 100).to_le_bytes();
        let letter = self.random.weighted(&[(b'Q', 850), (b'T', 149), (b'B', 1)]);
        if letter == b'Q' {
            let ask_size = (self.random.within(1..20) as u32 * 100).to_le_bytes();
            let (bid, ask) = ((middle - ticks).to_le_bytes(), (middle + ticks).to_le_bytes());
            self.emit(b'Q', 0, symbol, &[&size, &bid, &ask, &ask_size]);
        } else {
            // A break takes back the newest trade; before the first trade there is nothing to take back.
            let letter = if self.last_trade == 0 { b'T' } else { letter };
            self.last_trade += u64::from(letter == b'T');
            let trade = self.last_trade.to_le_bytes();
            self.emit(letter, 0, symbol, &[&size, &middle.to_le_bytes(), &trade]);
        }
    }
}

/// IEX-TP with one channel and one session.
struct Segment;

impl Framing for Segment {
    const HEADER_BYTES: usize = 40;
    const PORT: u16 = 10_378;

    fn packet(&self, sequence: u64, offset: u64, time_ns: u64, messages: &[Stamped]) -> Vec<u8> {
        let payload_bytes: usize = messages.iter().map(|message| message.body.len() + 2).sum();
        let mut packet = Vec::with_capacity(Self::HEADER_BYTES + payload_bytes);
        // Version 1, reserved, TOPS 1.6, channel 1, session 1.
        packet.extend([1, 0, 0x03, 0x80, 1, 0, 0, 0, 1, 0, 0, 0]);
        packet.extend((payload_bytes as u16).to_le_bytes());
        packet.extend((messages.len() as u16).to_le_bytes());
        packet.extend(offset.to_le_bytes());
        packet.extend(sequence.to_le_bytes());
        packet.extend(time_ns.to_le_bytes());
        for message in messages {
            packet.extend((message.body.len() as u16).to_le_bytes());
            packet.extend(&message.body);
        }
        packet
    }

    fn end(&self, _sequence: u64) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::pcap_bytes;
    use super::*;
    use std::collections::{BTreeMap, HashMap};

    fn le(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// The messages of one line, by a walk of its own; checks all that the header says.
    fn walk(session: &Session, line: usize) -> Vec<Vec<u8>> {
        let counts = &session.counts.lines[line];
        let (mut found, mut offset, mut packets, mut heartbeats) = (Vec::new(), 0, 0, 0);
        for packet in session.packets.iter().filter(|p| p.destination == counts.destination) {
            let bytes = &packet.payload;
            assert_eq!(bytes[..12], [1, 0, 3, 0x80, 1, 0, 0, 0, 1, 0, 0, 0]);
            assert_eq!(le(&bytes[12..14]) + 40, bytes.len() as u64);
            assert_eq!((le(&bytes[16..24]), le(&bytes[24..32])), (offset, found.len() as u64 + 1));
            assert_eq!(le(&bytes[32..40]), packet.time_ns);
            packets += 1;
            heartbeats += u64::from(bytes.len() == 40);
            let mut rest = &bytes[40..];
            for _ in 0..le(&bytes[14..16]) {
                let length = usize::try_from(le(&rest[..2])).unwrap();
                found.push(rest[2..2 + length].to_vec());
                rest = &rest[2 + length..];
            }
            assert!(rest.is_empty());
            offset += bytes.len() as u64 - 40;
        }
        assert_eq!((packets, heartbeats), (counts.packets, counts.heartbeats));
        found
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| pcap_bytes(&iex_session(seed, 3_000).packets);
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn both_lines_carry_what_the_counts_say() {
        let lengths: HashMap<u8, usize> =
            [(b'S', 10), (b'D', 31), (b'H', 22), (b'O', 18), (b'P', 19), (b'Q', 42), (b'T', 38), (b'B', 38)]
                .into_iter()
                .chain([(b'X', 26)])
                .collect();
        for (seed, messages) in [(1, 0), (2, IEX_MESSAGES_MIN), (3, 20_000)] {
            let session = iex_session(seed, messages);
            let (a, b) = (walk(&session, 0), walk(&session, 1));
            assert_eq!(a, b);
            assert_eq!(a.len(), messages.max(IEX_MESSAGES_MIN));
            assert_eq!(session.counts.messages, a.len() as u64);
            let mut by_type = BTreeMap::new();
            for body in &a {
                assert_eq!(body.len(), lengths[&body[0]]);
                *by_type.entry(body[0]).or_insert(0) += 1;
            }
            assert_eq!(session.counts.by_type, by_type);
            let quotes = a.iter().filter(|body| body[0] == b'Q');
            assert!(quotes.into_iter().all(|body| le(&body[22..30]) < le(&body[30..38])));
            assert!(session.counts.lines.iter().all(|line| line.heartbeats >= 5 && line.ends == 0));
        }
    }
}
