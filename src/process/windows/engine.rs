//! Hot path: which windows an event belongs to, and what becomes of it.
//!
//! Invariant: one fate for each event. It is dead only when no definition could take it: too late for all of its windows
//! everywhere, or without room for its key; what some definitions could not take is in their books.

use super::book::WindowBook;
use super::closed::ClosedWindow;
use super::definition::Windows;
use super::fixed::Fixed;
use super::key::KeyView;
use super::pane::Sample;
use super::timeline::{EventTime, Timeline};
use crate::config::{EntryWish, FeedPlace, KeysFullWish, WindowDefinition, WindowGroup, WindowSettings};
use crate::event::{DeadReason, Nanos, Protocol};
use crate::process::{Fate, PatternError, Subject, TopicPattern};
use crate::wire::native_v2::Topic;
use crate::wire::{Action, Entry, engine20};

/// The topics that engine20 messages are taken to have, by their type.
const ENGINE_TOPICS: [&[u8]; 7] =
    [b"engine20.0", b"engine20.1", b"engine20.2", b"engine20.3", b"engine20.4", b"engine20.5", b"engine20.6"];

/// What a definition takes.
enum Wanted {
    Topics { patterns: Box<[TopicPattern]>, value_key: Option<Box<[u8]>> },
    Entries { protocols: u32, trades: bool, executions: bool },
}

struct Definition {
    wanted: Wanted,
    feeds: Box<[FeedPlace]>,
    full_is_dead: bool,
    windows: Windows,
}

/// What an event that has a topic is about, and says.
enum Said<'a> {
    Nothing,
    Text(KeyView<'a>, &'a [u8]),
    Number(KeyView<'a>, Option<Fixed>),
}

/// What definitions made of an event.
#[derive(Default)]
struct Outcome {
    is_taken: bool,
    is_late: bool,
    is_full: bool,
}

/// The windows of all definitions.
pub struct WindowEngine {
    timeline: Timeline,
    feeds: u32,
    definitions: Box<[Definition]>,
    unmatched: u64,
}

impl WindowEngine {
    /// Takes all memory that there will be.
    ///
    /// # Errors
    /// A topic pattern is none, which checked settings don't have.
    pub fn allocate(settings: &WindowSettings) -> Result<WindowEngine, PatternError> {
        let definition = |(index, definition): (usize, &WindowDefinition)| {
            Ok(Definition {
                wanted: Wanted::of(&definition.group)?,
                feeds: definition.feeds.as_slice().into(),
                full_is_dead: definition.keys_full == KeysFullWish::DeadLetter,
                windows: Windows::allocate(index as u16, definition),
            })
        };
        let future_max_ns = Nanos::try_from(settings.future_max.as_nanos()).unwrap_or(Nanos::MAX);
        Ok(WindowEngine {
            timeline: Timeline { utc_ahead_ns: 0, future_max_ns },
            feeds: settings.feeds,
            definitions: settings.definitions.iter().enumerate().map(definition).collect::<Result<_, _>>()?,
            unmatched: 0,
        })
    }

    /// Says how far UTC is ahead of CLOCK_MONOTONIC, ns: what puts events without a time of their own beside others when
    /// they come in live. To be told before the first event; later ones matter little, as clocks are slewed.
    pub fn set_utc_ahead(&mut self, utc_ahead_ns: Nanos) {
        self.timeline.utc_ahead_ns = utc_ahead_ns;
    }

    /// Takes an event that came in by `now` (CLOCK_MONOTONIC ns), and tells `closed` the windows that its time closes or that
    /// it corrects.
    #[inline]
    pub fn process(
        &mut self,
        subject: &Subject<'_>,
        now: Nanos,
        closed: &mut impl FnMut(&ClosedWindow),
    ) -> Fate {
        let time = self.timeline.of(subject.header);
        let said = Said::of(subject);
        let (mut outcome, mut by_entry) = (Outcome::default(), 0u32);
        for (index, definition) in self.definitions.iter_mut().enumerate() {
            if !definition.is_of(subject) {
                continue;
            }
            let of_topic = definition.sample(&said, &time, subject.payload.len());
            if of_topic.is_none() && !definition.looks_at_entries(subject.protocol()) {
                continue;
            }
            match of_topic {
                Some((key, sample)) => {
                    definition.windows.advance(&time, now, closed);
                    if definition.admit(&time, &mut outcome) {
                        definition.take(key, &sample, &mut outcome, closed);
                    }
                }
                None => by_entry |= 1 << index,
            }
        }
        if by_entry != 0 {
            self.take_entries(subject, &time, now, by_entry, &mut outcome, closed);
        }
        self.fate(&outcome)
    }

    fn take_entries(
        &mut self,
        subject: &Subject<'_>,
        time: &EventTime,
        now: Nanos,
        by_entry: u32,
        outcome: &mut Outcome,
        closed: &mut impl FnMut(&ClosedWindow),
    ) {
        let (protocol, feed) = (subject.protocol(), subject.feed);
        let shard = (feed >= self.feeds).then_some(subject.shard);
        // Definitions that have seen an entry of theirs, and those of them that it was too late for.
        let (mut seen, mut late) = (0u32, 0u32);
        let definitions = &mut self.definitions;
        subject.entries(&mut |entry| {
            for (index, definition) in definitions.iter_mut().enumerate() {
                let bit = 1 << index;
                if by_entry & bit == 0 || !definition.wants(&entry) {
                    continue;
                }
                let is_first = seen & bit == 0;
                seen |= bit;
                if is_first {
                    // Only what is added up makes time pass: other messages of the protocol come by other queues, and may
                    // be ahead.
                    definition.windows.advance(time, now, closed);
                    if !definition.admit(time, outcome) {
                        late |= bit;
                    }
                }
                if late & bit != 0 {
                    continue;
                }
                let sample = Sample {
                    at_ns: time.at_ns,
                    value: entry.price.map(Fixed::of_price),
                    size: entry.size,
                    bytes: if is_first { subject.payload.len() as u64 } else { 0 },
                };
                let key = KeyView::Symbol { shard, feed, protocol, instrument: entry.instrument };
                definition.take(key, &sample, outcome, closed);
            }
        });
    }

    fn fate(&mut self, outcome: &Outcome) -> Fate {
        match outcome {
            Outcome { is_taken: true, .. } => Fate::Delivered,
            Outcome { is_full: true, .. } => Fate::Dead(DeadReason::WindowsFull),
            Outcome { is_late: true, .. } => Fate::Dead(DeadReason::Late),
            _ => {
                self.unmatched += 1;
                Fate::Delivered
            }
        }
    }

    /// Closes what the time that went by without events has ended. For live events; those of a capture that is taken flat
    /// out wait for others.
    pub fn turn(&mut self, now: Nanos, closed: &mut impl FnMut(&ClosedWindow)) {
        self.definitions.iter_mut().for_each(|definition| definition.windows.turn(now, closed));
    }

    /// Nothing more will come: all open windows close.
    pub fn finish(&mut self, closed: &mut impl FnMut(&ClosedWindow)) {
        self.definitions.iter_mut().for_each(|definition| definition.windows.finish(closed));
    }

    /// What was counted. Cold: it allocates.
    pub fn book(&self) -> WindowBook {
        let definitions = self.definitions.iter().map(|definition| definition.windows.book).collect();
        WindowBook { unmatched: self.unmatched, definitions }
    }
}

impl Wanted {
    fn of(group: &WindowGroup) -> Result<Wanted, PatternError> {
        Ok(match group {
            WindowGroup::Topic { topics, value_key } => Wanted::Topics {
                patterns: topics.iter().map(|text| TopicPattern::parse(text)).collect::<Result<_, _>>()?,
                value_key: value_key.as_ref().map(|key| key.as_bytes().into()),
            },
            WindowGroup::Symbol { protocols, entries } => Wanted::Entries {
                protocols: match protocols.as_slice() {
                    [] => u32::MAX,
                    some => some.iter().fold(0, |mask, protocol| mask | 1 << *protocol as u32),
                },
                trades: entries.contains(&EntryWish::Trade),
                executions: entries.contains(&EntryWish::Execute),
            },
        })
    }
}

impl Definition {
    #[inline]
    fn is_of(&self, subject: &Subject<'_>) -> bool {
        let fits = |place: &FeedPlace| place.index == subject.feed;
        self.feeds.is_empty() || self.feeds.iter().any(fits)
    }

    #[inline]
    fn looks_at_entries(&self, of: Protocol) -> bool {
        let has_entries = matches!(
            of,
            Protocol::Moldudp64Itch50 | Protocol::IexTp | Protocol::CmeMdp3 | Protocol::SoupbintcpItch50
        );
        has_entries
            && matches!(&self.wanted, Wanted::Entries { protocols, .. } if protocols & 1 << of as u32 != 0)
    }

    #[inline]
    fn wants(&self, entry: &Entry) -> bool {
        match (&self.wanted, entry.action) {
            (Wanted::Entries { trades, .. }, Action::Trade) => *trades,
            (Wanted::Entries { executions, .. }, Action::Execute) => *executions,
            _ => false,
        }
    }

    /// Key and sample of an event whose topic is meant. A topic's number is meant by "*" only.
    #[inline]
    fn sample<'a>(&self, said: &Said<'a>, time: &EventTime, bytes: usize) -> Option<(KeyView<'a>, Sample)> {
        let Wanted::Topics { patterns, value_key } = &self.wanted else { return None };
        let (key, value) = match said {
            Said::Nothing => return None,
            Said::Number(key, value) => (*key, *value),
            Said::Text(key, payload) => (*key, value_of(payload, value_key.as_deref())),
        };
        let is_meant = |pattern: &TopicPattern| match key {
            KeyView::Topic(name) => pattern.matches(name),
            _ => pattern.is_prefix() && pattern.text().is_empty(),
        };
        let sample = Sample { at_ns: time.at_ns, value, size: 0, bytes: bytes as u64 };
        patterns.iter().any(is_meant).then_some((key, sample))
    }

    /// Whether an event that belongs here comes in time for a window.
    #[inline]
    fn admit(&mut self, time: &EventTime, outcome: &mut Outcome) -> bool {
        let book = &mut self.windows.book;
        book.events += 1;
        if self.windows.is_late(time.at_ns) {
            self.windows.book.late += 1;
            outcome.is_late = true;
            return false;
        }
        self.windows.book.partly_late += u64::from(self.windows.is_partly_late(time.at_ns));
        true
    }

    #[inline]
    fn take(
        &mut self,
        key: KeyView<'_>,
        sample: &Sample,
        outcome: &mut Outcome,
        closed: &mut impl FnMut(&ClosedWindow),
    ) {
        match self.windows.take(key, sample, closed) {
            Err(_) if self.full_is_dead => outcome.is_full = true,
            _ => outcome.is_taken = true,
        }
    }
}

impl<'a> Said<'a> {
    #[inline]
    fn of(subject: &Subject<'a>) -> Said<'a> {
        if subject.protocol() == Protocol::Engine20 {
            let Ok(message) = engine20::parse_body(subject.payload) else { return Said::Nothing };
            return match ENGINE_TOPICS.get(usize::from(message.kind)) {
                Some(topic) => Said::Number(KeyView::Topic(topic), Fixed::of_f32(message.value)),
                None => Said::Nothing,
            };
        }
        match subject.native() {
            None => Said::Nothing,
            Some(event) => match event.topic {
                Topic::Name(name) => Said::Text(KeyView::Topic(name), event.payload),
                Topic::Id(id) => Said::Text(KeyView::TopicId(id), event.payload),
            },
        }
    }
}

/// The number that a payload is, or that its word `key=` has; `None` if it is none.
#[inline]
fn value_of(payload: &[u8], key: Option<&[u8]>) -> Option<Fixed> {
    let Some(key) = key else { return Fixed::parse(payload) };
    let value = |word: &'_ [u8]| {
        let behind = word.strip_prefix(key)?.strip_prefix(b"=")?;
        Fixed::parse(behind)
    };
    payload.split(|byte| *byte == b' ').find_map(value)
}
