//! Hot path: what rules can ask of an event and of an entry.
//!
//! Invariant: what is not there is `None`, and then no predicate holds; nothing is rounded.

use super::super::Subject;
use crate::event::{ClockKind, Decimal, Nanos, Protocol};
use crate::wire::native::NativeEvent;
use crate::wire::native_v2::Topic;
use crate::wire::{Entry, Instrument, engine20};
use std::ops::Range;

/// A piece of the program's texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Span {
    pub(super) const EMPTY: Span = Span { first: 0, count: 0 };

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// Where a number comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum NumberSource {
    Price,
    Size,
    Notional,
    Sequence,
    PayloadBytes,
    LatencyNs,
    EngineValue,
    /// Behind this word and an equals sign.
    Word(Span),
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum TextSource {
    Instrument,
    Topic,
    Payload,
    Word(Span),
}

/// A short text that is made and not found.
#[derive(Clone, Copy)]
pub(super) struct ShortText {
    bytes: [u8; 32],
    length: usize,
}

impl ShortText {
    const EMPTY: ShortText = ShortText { bytes: [0; 32], length: 0 };

    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Writes a number in digits.
    #[inline]
    pub(super) fn digits(number: u64) -> ShortText {
        let (mut text, mut rest) = (ShortText::EMPTY, number);
        loop {
            text.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        text.bytes[..text.length].reverse();
        text
    }

    /// Writes an instrument as reports print it, spaces inside of a symbol included.
    #[inline]
    fn instrument(instrument: &Instrument) -> ShortText {
        match instrument {
            Instrument::Number(number) => ShortText::digits(*number),
            Instrument::Implied(number) => {
                let mut text = ShortText::digits(*number);
                b":implied".iter().for_each(|byte| text.push(*byte));
                text
            }
            Instrument::Symbol(symbol) => {
                let mut text = ShortText::EMPTY;
                symbol.iter().for_each(|byte| text.push(*byte));
                while text.length > 0 && matches!(text.bytes[text.length - 1], b' ' | 0) {
                    text.length -= 1;
                }
                text
            }
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// An event with what is read of it once for all rules.
pub(super) struct Facts<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) protocol: Protocol,
    pub(super) native: Option<NativeEvent<'a>>,
    /// The topic's number in digits, where it has no name.
    topic_digits: ShortText,
}

impl<'a> Facts<'a> {
    #[inline]
    pub(super) fn of(subject: &'a Subject<'a>, protocol: Protocol) -> Facts<'a> {
        let native = subject.native();
        let topic_digits = match native {
            Some(NativeEvent { topic: Topic::Id(id), .. }) => ShortText::digits(id.into()),
            _ => ShortText::EMPTY,
        };
        Facts { subject, protocol, native, topic_digits }
    }

    /// The event's own time: of the capture where the wire time is a capture's, else when it was received.
    #[inline]
    pub(super) fn time_ns(&self) -> Nanos {
        let header = self.subject.header;
        match ClockKind::from_u8(header.clock) {
            ClockKind::Capture => header.wire_ns,
            ClockKind::None | ClockKind::Monotonic | ClockKind::Hardware => header.receive_ns,
        }
    }

    /// The topic: its name, or its number in digits.
    #[inline]
    pub(super) fn topic(&self) -> Option<&[u8]> {
        match &self.native.as_ref()?.topic {
            Topic::Name(name) => Some(name),
            Topic::Id(_) => Some(self.topic_digits.as_bytes()),
        }
    }

    /// What stands behind `key=` among the words of a native frame's payload; the first one of that key.
    #[inline]
    fn word(&self, key: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.native.as_ref()?.payload;
        loop {
            let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if let Some([b'=', value @ ..]) = word.strip_prefix(key) {
                return Some(value);
            }
            rest = behind.get(1..)?;
        }
    }

    /// A number of the event, or of one of its entries.
    #[inline]
    pub(super) fn number(
        &self,
        source: NumberSource,
        texts: &[u8],
        entry: Option<&Entry>,
    ) -> Option<Decimal> {
        let header = self.subject.header;
        match source {
            NumberSource::Price => entry?.price.map(Decimal::from),
            NumberSource::Size => Some(Decimal::from(entry?.size)),
            NumberSource::Notional => {
                let entry = entry?;
                let price = Decimal::from(entry.price?);
                let mantissa = price.mantissa.checked_mul(entry.size.into())?;
                Some(Decimal { mantissa, ..price })
            }
            NumberSource::Sequence => Some(Decimal::from(header.sequence)),
            NumberSource::PayloadBytes => Some(Decimal::from(self.subject.payload.len() as u64)),
            NumberSource::LatencyNs => {
                let comparable =
                    header.wire_ns > 0 && ClockKind::from_u8(header.clock) == ClockKind::Monotonic;
                comparable.then(|| Decimal::from(header.receive_ns.saturating_sub(header.wire_ns)))
            }
            NumberSource::EngineValue => {
                if self.protocol != Protocol::Engine20 {
                    return None;
                }
                Decimal::from_f32(engine20::parse_body(self.subject.payload).ok()?.value)
            }
            NumberSource::Word(key) => Decimal::parse(self.word(&texts[key.range()])?),
        }
    }

    /// Shows a text of the event, or of one of its entries, to `ask`; `false` where there is none.
    #[inline]
    pub(super) fn asks_text(
        &self,
        source: TextSource,
        texts: &[u8],
        entry: Option<&Entry>,
        ask: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        match source {
            TextSource::Instrument => {
                entry.is_some_and(|entry| ask(ShortText::instrument(&entry.instrument).as_bytes()))
            }
            TextSource::Topic => self.topic().is_some_and(ask),
            TextSource::Payload if self.protocol == Protocol::Native => {
                self.native.as_ref().is_some_and(|native| ask(native.payload))
            }
            TextSource::Payload => ask(self.subject.payload),
            TextSource::Word(key) => self.word(&texts[key.range()]).is_some_and(ask),
        }
    }
}
