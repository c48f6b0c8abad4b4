//! Hot path: which events must stay in order among each other, and which stands for an older one.
//!
//! Invariant: keys are the same for all threads of a process and differ from process to process, so that nobody outside
//! can choose two topics that share one.

use crate::event::Protocol;
use crate::wire::native_v2::{self, Topic};
use crate::wire::{self, Entry, Instrument};
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::hash::Hasher;

/// Where the stock locate of an ITCH message is.
const ITCH_LOCATE: std::ops::Range<usize> = 1..3;
/// Where the symbol of an IEX message is, if it has one.
const IEX_SYMBOL: std::ops::Range<usize> = 10..18;

/// What a key was made of, hashed first: keys of different origin are never made of the same words.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Origin {
    TopicName,
    TopicId,
    Locate,
    Symbol,
    Stream,
    Conflation,
    ConflationOfInstrument,
}

#[inline]
fn hasher(origin: Origin) -> FoldHasher<'static> {
    let mut hasher = FoldHasher::with_seed(0, SharedSeed::global_random());
    hasher.write_u8(origin as u8);
    hasher
}

#[inline]
fn of_stream(origin: Origin, protocol: Protocol, stream: u32) -> FoldHasher<'static> {
    let mut hasher = hasher(origin);
    hasher.write_u8(protocol as u8);
    hasher.write_u32(stream);
    hasher
}

/// The key of what must be processed in the order in which it came.
///
/// | protocol | events of one key |
/// |---|---|
/// | native | of one topic, by name or by number, whoever sent them and in whichever version |
/// | ITCH, over MoldUDP64 and over SoupBinTCP | of one stock locate of a stream |
/// | IEX-TP | of one symbol of a stream; of one stream where a message has none |
/// | all others | of one stream |
///
/// A native body that can't be read, or an ITCH message too short, goes by its stream.
#[inline]
pub fn order_key(protocol: Protocol, stream: u32, body: &[u8]) -> u64 {
    match protocol {
        Protocol::Native => native_key(body),
        Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50 => {
            part_key(Origin::Locate, protocol, stream, body.get(ITCH_LOCATE))
        }
        Protocol::IexTp => part_key(Origin::Symbol, protocol, stream, body.get(IEX_SYMBOL)),
        _ => None,
    }
    .unwrap_or_else(|| of_stream(Origin::Stream, protocol, stream).finish())
}

#[inline]
fn native_key(body: &[u8]) -> Option<u64> {
    match wire::native::read(body).ok()?.topic {
        Topic::Name(name) => {
            let mut hasher = hasher(Origin::TopicName);
            hasher.write(name);
            Some(hasher.finish())
        }
        Topic::Id(id) => {
            let mut hasher = hasher(Origin::TopicId);
            hasher.write_u32(id);
            Some(hasher.finish())
        }
    }
}

#[inline]
fn part_key(origin: Origin, protocol: Protocol, stream: u32, part: Option<&[u8]>) -> Option<u64> {
    let mut hasher = of_stream(origin, protocol, stream);
    hasher.write(part?);
    Some(hasher.finish())
}

/// The key of events of which the newest may stand for all: of one instrument, where the message names one, else of one
/// [`order_key`]; and in either case of one type, so that a status never takes the place of a quote. The type of a native
/// frame is its priority and, in version 2, its producer's own kind.
///
/// A message that names several instruments goes by the first. What changes a book (orders, CME's increments) does not say
/// all there is: to conflate it loses the changes between, as with any policy that drops.
#[inline]
pub fn conflation_key(protocol: Protocol, kind: u16, stream: u32, body: &[u8]) -> u64 {
    let mut first: Option<Instrument> = None;
    wire::entries(protocol, kind, body, &mut |entry: Entry| {
        first.get_or_insert(entry.instrument);
    });
    let mut hasher = match first {
        Some(instrument) => {
            let mut hasher = of_stream(Origin::ConflationOfInstrument, protocol, stream);
            let (form, number) = match instrument {
                Instrument::Symbol(symbol) => (0, u64::from_le_bytes(symbol)),
                Instrument::Number(number) => (1, number),
                Instrument::Implied(number) => (2, number),
            };
            hasher.write_u8(form);
            hasher.write_u64(number);
            hasher
        }
        None => {
            let mut hasher = hasher(Origin::Conflation);
            hasher.write_u64(order_key(protocol, stream, body));
            hasher
        }
    };
    hasher.write_u16(kind);
    if protocol == Protocol::Native {
        hasher.write_u16(native_v2::read_event(body).map_or(0, |event| event.kind));
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Priority;
    use crate::wire::native_v2::{EventFrame, encode_event};
    use proptest::prelude::*;

    /// Of a real TOPS 1.6 capture: a trade and a quote of GOOG, an auction of ZEXIT, a system event.
    const IEX_TRADE: &str = "54e0dcf31f7eaffecf14474f4f442020202029000000a4db0200000000001313020000000000";
    const IEX_QUOTE: &str = "51\
        40dcf31f7eaffecf14474f4f4420202020f7000000a4db020000000000000000000000000000000000";
    const IEX_HALT: &str = "484847f1378fb0fecf144d494c4c202020204e412020";
    const IEX_SYSTEM: &str = "5353191c4844aafecf14";
    /// Of a real MoldUDP64 capture: the deletion of an order of stock 2,737.
    const ITCH_DELETE: &str = "440ab100001f1acf4c4eb700000001665d6a7e";

    fn unhex(digits: &str) -> Vec<u8> {
        let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len()).step_by(2).map(pair).collect()
    }

    fn v1(priority: u8, topic: &[u8], payload: &[u8]) -> Vec<u8> {
        [&[priority, 0, topic.len() as u8], topic, payload].concat()
    }

    fn v2(topic: Topic<'_>, kind: u16, payload: &[u8]) -> Vec<u8> {
        let event = EventFrame {
            producer: 7,
            sequence: 1,
            time_ns: 0,
            kind,
            priority: Priority::Medium,
            topic,
            payload,
        };
        let mut frame = Vec::new();
        encode_event(&event, &mut frame);
        let name_bytes = if let Topic::Name(name) = topic { name.len() } else { 0 };
        frame.truncate(native_v2::HEADER_BYTES + name_bytes + payload.len());
        frame
    }

    #[test]
    fn native_frames_go_by_their_topic_whatever_carried_them() {
        let key = |stream, body: &[u8]| order_key(Protocol::Native, stream, body);
        let one = key(1, &v1(2, b"orders", b"a"));
        assert_eq!(one, key(2, &v1(4, b"orders", b"b")));
        assert_eq!(one, key(3, &v2(Topic::Name(b"orders"), 9, b"")));
        assert_ne!(one, key(1, &v1(2, b"orders2", b"a")));
        assert_ne!(one, key(1, &v1(2, b"order", b"sa")));
        let number = key(1, &v2(Topic::Id(5), 0, b""));
        assert_eq!(number, key(2, &v2(Topic::Id(5), 1, b"x")));
        assert_ne!(number, key(1, &v2(Topic::Id(6), 0, b"")));
        assert_ne!(number, key(1, &v2(Topic::Name(&5_u32.to_le_bytes()), 0, b"")));
        assert_ne!(key(1, b"\xff"), key(2, b"\xff"), "nothing to be read: by stream");
    }

    #[test]
    fn market_data_goes_by_instrument_where_each_message_names_it() {
        let (trade, quote, halt) = (unhex(IEX_TRADE), unhex(IEX_QUOTE), unhex(IEX_HALT));
        let iex = |stream, body: &[u8]| order_key(Protocol::IexTp, stream, body);
        assert_eq!(iex(1, &trade), iex(1, &quote));
        assert_ne!(iex(1, &trade), iex(2, &trade), "another stream's order is its own");
        assert_ne!(iex(1, &trade), iex(1, &halt));
        assert_eq!(iex(1, &unhex(IEX_SYSTEM)), iex(1, b""), "no symbol: by stream");
        let delete = unhex(ITCH_DELETE);
        let mut other = delete.clone();
        other[2] ^= 1;
        for protocol in [Protocol::Moldudp64Itch50, Protocol::SoupbintcpItch50] {
            assert_eq!(order_key(protocol, 1, &delete), order_key(protocol, 1, &delete[..3]));
            assert_ne!(order_key(protocol, 1, &delete), order_key(protocol, 1, &other));
            assert_ne!(order_key(protocol, 1, &delete), order_key(protocol, 2, &delete));
        }
        for protocol in [Protocol::CmeMdp3, Protocol::CboePitch, Protocol::Fix, Protocol::Engine20] {
            assert_eq!(order_key(protocol, 1, &trade), order_key(protocol, 1, &quote));
            assert_ne!(order_key(protocol, 1, &trade), order_key(protocol, 2, &trade));
        }
    }

    #[test]
    fn a_newer_event_stands_for_older_ones_of_its_instrument_and_type_only() {
        let iex = |body: &str| {
            let body = unhex(body);
            conflation_key(Protocol::IexTp, u16::from(body[0]), 1, &body)
        };
        let other_quote = IEX_QUOTE.replace("474f4f44", "474f4f47");
        assert_eq!(iex(IEX_QUOTE), iex(&IEX_QUOTE.replace("a4db02", "a4db03")), "another price");
        assert_ne!(iex(IEX_QUOTE), iex(&other_quote));
        assert_ne!(iex(IEX_QUOTE), iex(IEX_TRADE));
        assert_ne!(
            iex(IEX_HALT),
            iex(&IEX_HALT.replace("4d494c4c", "4d494c4d")),
            "by symbol without entries"
        );
        let native = |kind, body: &[u8]| conflation_key(Protocol::Native, kind, 1, body);
        assert_eq!(native(2, &v1(2, b"t", b"a")), native(2, &v1(2, b"t", b"b")));
        assert_ne!(native(2, &v1(2, b"t", b"a")), native(1, &v1(1, b"t", b"a")), "another priority");
        let kind = |kind| native(2, &v2(Topic::Name(b"t"), kind, b""));
        assert_ne!(kind(1), kind(2));
        assert_eq!(kind(0), native(2, &v1(2, b"t", b"a")));
    }

    proptest! {
        #[test]
        fn any_bytes_have_keys(
            body in prop::collection::vec(any::<u8>(), 0..100), kind in any::<u16>(), protocol in 0u8..11,
        ) {
            let protocol = Protocol::from_u8(protocol).expect("eleven protocols");
            prop_assert_eq!(order_key(protocol, 3, &body), order_key(protocol, 3, &body));
            prop_assert_eq!(conflation_key(protocol, kind, 3, &body), conflation_key(protocol, kind, 3, &body));
        }
    }
}
