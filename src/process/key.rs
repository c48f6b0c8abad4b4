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
