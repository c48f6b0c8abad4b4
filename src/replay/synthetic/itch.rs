//! A made-up NASDAQ session: ITCH 5.0 over MoldUDP64 on two lines, with order books that make sense.
//!
//! Invariant: every order message refers to an order that is in the book, no execution or cancel takes more than is
//! there, and no book is crossed.

use super::lines::{Framing, Session, Stamped, send};
use super::random::Random;

/// 2024-01-02 00:00 in New York, from which ITCH counts its time, ns since the Unix epoch.
const MIDNIGHT_NS: u64 = 1_704_171_600 * 1_000_000_000;

/// 09:30, ns since midnight.
const OPEN_NS: u64 = 34_200 * 1_000_000_000;

/// Silence between the directory and the opening, long enough for heartbeats.
const QUIET_NS: u64 = 3_500_000_000;

/// Made-up symbols and the prices that their books stand around, in 1/10,000.
const SYMBOLS: [(&[u8; 8], u32); 8] = [
    (b"ALDER   ", 187_2500),
    (b"BIRCH   ", 42_1700),
    (b"CEDAR   ", 311_0000),
    (b"ELM     ", 9_8800),
    (b"HAZEL   ", 74_5000),
    (b"LARCH   ", 128_4300),
    (b"MAPLE   ", 56_0100),
    (b"ROWAN   ", 501_9900),
];

/// Least messages of a session: the events of the day and two messages per symbol.
pub const ITCH_MESSAGES_MIN: usize = 6 + 2 * SYMBOLS.len();

/// The day's mix by weight, near that of a real day: adds and deletes are most of it.
const MIX: [(u8, u64); 9] = [
    (b'A', 400),
    (b'F', 30),
    (b'E', 80),
    (b'C', 10),
    (b'X', 50),
    (b'D', 300),
    (b'U', 100),
    (b'P', 30),
    // More adds than deletes would let the books grow without end: this is a delete while they are large.
    (b'd', 100),
];

/// Live orders over which a `d` of the mix is a delete, else an add.
const LIVE_ORDERS_WANTED: usize = 2_000;

/// An order in the book.
#[derive(Clone, Copy)]
struct Order {
    reference: u64,
    symbol: usize,
    side: u8,
    shares: u32,
    price: u32,
}

/// A session of `messages` messages (at least [`ITCH_MESSAGES_MIN`]): the directory, a silence with heartbeats,
/// the day, its close, and the end of session, on lines A (233.252.0.1:26477) and B (233.252.0.2:26477).
/// The mean rate of the day is some 27,000 messages per second.
pub fn itch_session(seed: u64, messages: usize) -> Session {
    let mut exchange = Exchange {
        random: Random::new(seed, 1),
        now_ns: OPEN_NS - QUIET_NS - 1_000_000_000,
        messages: Vec::with_capacity(messages.max(ITCH_MESSAGES_MIN)),
        orders: Vec::new(),
        last_reference: 0,
        last_match: 0,
    };
    exchange.begin();
    // Three closing events stand behind the day.
    while exchange.messages.len() + 3 < messages {
        exchange.step();
    }
    exchange.system_event(b'M');
    exchange.system_event(b'E');
    exchange.system_event(b'C');
    send(&Mold, seed, &exchange.messages)
}

struct Exchange {
    random: Random,
    now_ns: u64,
    messages: Vec<Stamped>,
    orders: Vec<Order>,
    last_reference: u64,
    last_match: u64,
}

impl Exchange {
    /// Adds a message: the header that all have, and `fields`.
    fn emit(&mut self, letter: u8, locate: usize, fields: &[&[u8]]) {
        self.now_ns += self.random.message_gap_ns();
        let mut body = Vec::with_capacity(50);
        body.push(letter);
        body.extend((locate as u16).to_be_bytes());
        body.extend([0, 0]);
        body.extend(&self.now_ns.to_be_bytes()[2..]);
        fields.iter().for_each(|field| body.extend(*field));
        self.messages.push(Stamped { time_ns: MIDNIGHT_NS + self.now_ns, body });
    }

    fn system_event(&mut self, event: u8) {
        self.emit(b'S', 0, &[&[event]]);
    }

    fn begin(&mut self) {
        self.system_event(b'O');
        for (index, (symbol, _)) in SYMBOLS.iter().enumerate() {
            // Global Select, normal, round lots of 100, common stock, live, no short sale threshold, no IPO,
            // LULD tier 1, no ETP.
            let lot = 100u32.to_be_bytes();
            self.emit(b'R', index + 1, &[*symbol, b"QN", &lot, b"NCZ PNN1N", &[0; 4], b"N"]);
        }
        for (index, (symbol, _)) in SYMBOLS.iter().enumerate() {
            self.emit(b'H', index + 1, &[*symbol, b"T     "]);
        }
        self.system_event(b'S');
        self.now_ns += QUIET_NS;
        self.system_event(b'Q');
    }

    /// One message of the day.
    fn step(&mut self) {
        let large = self.orders.len() > LIVE_ORDERS_WANTED;
        let letter = match self.random.weighted(&MIX) {
            b'd' if large => b'D',
            b'd' => b'A',
            letter => letter,
        };
        match letter {
            b'A' | b'F' => self.add(letter),
            b'P' => self.hidden_trade(),
            _ if self.orders.is_empty() => self.add(b'A'),
            b'E' | b'C' => self.execute(letter),
            b'X' => self.cancel(),
            b'U' => self.replace(),
            _ => self.delete(),
        }
    }

    /// A price on `side` of the symbol's fixed middle, so that books never cross.
    fn price(&mut self, symbol: usize, side: u8) -> u32 {
        let ticks = self.random.within(1..40) as u32;
        let middle = SYMBOLS[symbol].1;
        if side == b'B' { middle - ticks * 100 } else { middle + ticks * 100 }
    }

    fn shares(&mut self) -> u32 {
        self.random.within(1..10) as u32 * 100
    }

    fn add(&mut self, letter: u8) {
        let symbol = self.random.index(SYMBOLS.len());
        let side = self.random.weighted(&[(b'B', 1), (b'S', 1)]);
        self.last_reference += self.random.within(1..5);
        let reference = self.last_reference;
        let order = Order { reference, symbol, side, shares: self.shares(), price: self.price(symbol, side) };
        self.orders.push(order);
        let attribution: &[u8] = if letter == b'F' { b"SLUI" } else { b"" };
        self.emit(
            letter,
            symbol + 1,
            &[
                &order.reference.to_be_bytes(),
                &[side],
                &order.shares.to_be_bytes(),
                SYMBOLS[symbol].0,
                &order.price.to_be_bytes(),
                attribution,
            ],
        );
    }

    /// Takes `shares` off the order at `index`, and the order out of the book when nothing is left.
    fn take(&mut self, index: usize, shares: u32) {
        self.orders[index].shares -= shares;
        if self.orders[index].shares == 0 {
            self.orders.swap_remove(index);
        }
    }

    fn execute(&mut self, letter: u8) {
        let index = self.random.index(self.orders.len());
        let order = self.orders[index];
        let shares = self.random.within(1..u64::from(order.shares) + 1) as u32;
        self.last_match += 1;
        let (reference, matched) = (order.reference.to_be_bytes(), self.last_match.to_be_bytes());
        self.take(index, shares);
        let shares = shares.to_be_bytes();
        if letter == b'E' {
            self.emit(b'E', order.symbol + 1, &[&reference, &shares, &matched]);
        } else {
            let price = order.price.to_be_bytes();
            self.emit(b'C', order.symbol + 1, &[&reference, &shares, &matched, b"Y", &price]);
        }
    }

    /// Cancels part of an order; an order of one share is deleted instead.
    fn cancel(&mut self) {
        let index = self.random.index(self.orders.len());
        let order = self.orders[index];
        if order.shares < 2 {
            return self.delete();
        }
        let shares = self.random.within(1..u64::from(order.shares)) as u32;
        self.take(index, shares);
        self.emit(b'X', order.symbol + 1, &[&order.reference.to_be_bytes(), &shares.to_be_bytes()]);
    }

    fn delete(&mut self) {
        let index = self.random.index(self.orders.len());
        let order = self.orders.swap_remove(index);
        self.emit(b'D', order.symbol + 1, &[&order.reference.to_be_bytes()]);
    }

    fn replace(&mut self) {
        let index = self.random.index(self.orders.len());
        let old = self.orders[index];
        self.last_reference += self.random.within(1..5);
        let price = self.price(old.symbol, old.side);
        let new = Order { reference: self.last_reference, shares: self.shares(), price, ..old };
        self.orders[index] = new;
        self.emit(
            b'U',
            old.symbol + 1,
            &[
                &old.reference.to_be_bytes(),
                &new.reference.to_be_bytes(),
                &new.shares.to_be_bytes(),
                &new.price.to_be_bytes(),
            ],
        );
    }

    /// A trade against an order that was never shown, at the middle.
    fn hidden_trade(&mut self) {
        let symbol = self.random.index(SYMBOLS.len());
        let shares = self.shares().to_be_bytes();
        self.last_match += 1;
        let (name, price) = SYMBOLS[symbol];
        let matched = self.last_match.to_be_bytes();
        self.emit(b'P', symbol + 1, &[&[0; 8], b"B", &shares, name, &price.to_be_bytes(), &matched]);
    }
}

/// MoldUDP64 with one session.
struct Mold;

/// Count that ends a session.
const END_OF_SESSION: u16 = 0xFFFF;

fn mold_header(sequence: u64, count: u16) -> Vec<u8> {
    let mut packet = b"SLUICE0001".to_vec();
    packet.extend(sequence.to_be_bytes());
    packet.extend(count.to_be_bytes());
    packet
}

impl Framing for Mold {
    const HEADER_BYTES: usize = 20;
    const PORT: u16 = 26_477;

    fn packet(&self, sequence: u64, _offset: u64, _time_ns: u64, messages: &[Stamped]) -> Vec<u8> {
        let mut packet = mold_header(sequence, messages.len() as u16);
        for message in messages {
            packet.extend((message.body.len() as u16).to_be_bytes());
            packet.extend(&message.body);
        }
        packet
    }

    fn end(&self, sequence: u64) -> Option<Vec<u8>> {
        Some(mold_header(sequence, END_OF_SESSION))
    }
}

#[cfg(test)]
mod tests {
    use super::super::pcap_bytes;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    fn be(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// The messages of one line by their numbers, by a walk of its own; checks all that the header says.
    fn walk(session: &Session, line: usize) -> BTreeMap<u64, Vec<u8>> {
        let counts = &session.counts.lines[line];
        let (mut found, mut next, mut packets, mut heartbeats, mut ends) = (BTreeMap::new(), 1, 0, 0, 0);
        for packet in session.packets.iter().filter(|p| p.destination == counts.destination) {
            let bytes = &packet.payload;
            assert!(bytes.len() <= 1_400 && &bytes[..10] == b"SLUICE0001");
            assert_eq!(be(&bytes[10..18]), next);
            packets += 1;
            let mut rest = &bytes[20..];
            match be(&bytes[18..20]) {
                0 => heartbeats += 1,
                0xFFFF => ends += 1,
                count => {
                    for _ in 0..count {
                        let length = usize::try_from(be(&rest[..2])).unwrap();
                        found.insert(next, rest[2..2 + length].to_vec());
                        rest = &rest[2 + length..];
                        next += 1;
                    }
                }
            }
            assert!(rest.is_empty());
        }
        assert_eq!((packets, heartbeats, ends), (counts.packets, counts.heartbeats, counts.ends));
        found
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| pcap_bytes(&itch_session(seed, 3_000).packets);
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn both_lines_carry_what_the_counts_say() {
        for (seed, messages) in [(1, 0), (2, ITCH_MESSAGES_MIN), (3, 20_000)] {
            let session = itch_session(seed, messages);
            let (a, b) = (walk(&session, 0), walk(&session, 1));
            assert_eq!(a, b);
            assert_eq!(a.len(), messages.max(ITCH_MESSAGES_MIN));
            assert_eq!(session.counts.messages, a.len() as u64);
            let mut by_type = BTreeMap::new();
            a.values().for_each(|body| *by_type.entry(body[0]).or_insert(0) += 1);
            assert_eq!(session.counts.by_type, by_type);
            assert!(session.packets.is_sorted_by_key(|p| p.time_ns));
            assert!(session.counts.lines.iter().all(|line| line.heartbeats >= 5 && line.ends == 1));
        }
    }

    #[test]
    fn lines_differ_in_segments_and_each_wins_sometimes() {
        let session = itch_session(5, 20_000);
        let [a, b] = &session.counts.lines;
        assert_ne!(a.packets, b.packets);
        assert_eq!(a.wins + b.wins, session.counts.messages);
        assert!(a.wins > 2_000 && b.wins > 2_000, "{} {}", a.wins, b.wins);
        // The counted wins are those of a reader who takes the packets in their order.
        let mut seen = BTreeSet::new();
        let mut wins = BTreeMap::new();
        for packet in &session.packets {
            let (first, count) = (be(&packet.payload[10..18]), be(&packet.payload[18..20]));
            for number in (first..first + count).filter(|_| count != 0xFFFF) {
                *wins.entry(packet.destination).or_insert(0) += u64::from(seen.insert(number));
            }
        }
        assert_eq!((wins[&a.destination], wins[&b.destination]), (a.wins, b.wins));
    }

    #[test]
    fn messages_have_their_lengths_and_books_make_sense() {
        let lengths: HashMap<u8, usize> =
            [(b'S', 12), (b'R', 39), (b'H', 25), (b'A', 36), (b'F', 40), (b'E', 31), (b'C', 36)]
                .into_iter()
                .chain([(b'X', 23), (b'D', 19), (b'U', 35), (b'P', 44)])
                .collect();
        let session = itch_session(9, 30_000);
        assert_eq!(session.counts.by_type.len(), lengths.len(), "all types occur");
        // Reference to (locate, side, shares, price).
        let mut orders: HashMap<u64, (u64, u8, u64, u64)> = HashMap::new();
        let mut last_ns = 0;
        for (number, body) in walk(&session, 0) {
            assert_eq!(body.len(), lengths[&body[0]], "message {number}");
            assert!(last_ns < be(&body[5..11]));
            last_ns = be(&body[5..11]);
            let locate = be(&body[1..3]);
            let reference = body.get(11..19).map_or(0, be);
            match body[0] {
                b'A' | b'F' => {
                    let order = (locate, body[19], be(&body[20..24]), be(&body[32..36]));
                    assert!(orders.insert(reference, order).is_none());
                }
                b'E' | b'C' | b'X' => {
                    let order = orders.get_mut(&reference).unwrap();
                    order.2 = order.2.checked_sub(be(&body[19..23])).unwrap();
                    assert!(order.2 > 0 || body[0] != b'X');
                    if order.2 == 0 {
                        orders.remove(&reference);
                    }
                }
                b'D' => assert!(orders.remove(&reference).is_some()),
                b'U' => {
                    let (locate, side, ..) = orders.remove(&reference).unwrap();
                    let order = (locate, side, be(&body[27..31]), be(&body[31..35]));
                    assert!(orders.insert(be(&body[19..27]), order).is_none());
                }
                _ => {}
            }
        }
        for locate in 1..=SYMBOLS.len() as u64 {
            let side = |side| orders.values().filter(move |o| o.0 == locate && o.1 == side).map(|o| o.3);
            assert!(side(b'B').max() < side(b'S').min(), "book {locate} is crossed");
        }
        assert!(orders.len() > 100);
    }
}
