//! The transactional processor held to a slow and obvious one, over random events, failures and times.
//!
//! Invariant: the reference shares nothing with the processor but the bytes of events and the script of failures.

use super::{Accepting, Handler, HandlerError, TransactionBook, Transactions};
use crate::config::TransactionalSettings;
use crate::event::{DeadReason, EventHeader, Nanos, Priority, Protocol, ShardId};
use crate::os::allocations_of_this_thread;
use crate::process::{Fate, Subject};
use crate::wire::native_v2::{EventFrame, HEADER_BYTES, Topic, encode_event};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const MS: Nanos = 1_000_000;

/// An event of this test: its topic says which chain it belongs to, its first payload bytes say which event it is.
#[derive(Clone, Debug)]
struct Made {
    header: EventHeader,
    body: Vec<u8>,
    topic: u8,
    /// What identifies it, if anything does.
    identity: Option<(u64, u64)>,
}

impl Made {
    fn new(topic: u8, body: Vec<u8>, identity: Option<(u64, u64)>) -> Made {
        let header = EventHeader {
            protocol: Protocol::Native as u8,
            kind: Priority::Medium as u16,
            payload_bytes: body.len() as u32,
            ..EventHeader::default()
        };
        Made { header, body, topic, identity }
    }

    fn v2(producer: u64, sequence: u64, topic: u8, content: u32) -> Made {
        let payload = content.to_le_bytes();
        let event = EventFrame {
            producer,
            sequence,
            time_ns: 0,
            kind: 0,
            priority: Priority::Medium,
            topic: Topic::Name(&[topic]),
            payload: &payload,
        };
        let mut body = Vec::new();
        encode_event(&event, &mut body);
        body.truncate(HEADER_BYTES + 1 + payload.len());
        Made::new(topic, body, (producer != 0 && sequence != 0).then_some((producer, sequence)))
    }

    fn v1(topic: u8, content: u32, is_known_by_content: bool) -> Made {
        let body = [&[2, 0, 1, topic][..], &content.to_le_bytes()].concat();
        // No producer has this number, so that contents and numbers are never equal.
        let identity = (u64::MAX, u64::from(topic) << 32 | u64::from(content));
        Made::new(topic, body, is_known_by_content.then_some(identity))
    }

    fn subject(&self) -> Subject<'_> {
        Subject { shard: ShardId(0), feed: 0, header: &self.header, payload: &self.body }
    }

    fn content(&self) -> u32 {
        content_of(&self.subject())
    }
}

fn content_of(subject: &Subject<'_>) -> u32 {
    let payload = subject.native().expect("a native frame").payload;
    u32::from_le_bytes(payload.try_into().expect("four bytes"))
}

/// What the handler does, by what an event says and how often something that says so was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Take,
    Fail,
    Refuse,
    Panic,
}

fn script(seed: u64, content: u32, times_before: u32) -> Act {
    let mixed = (seed ^ u64::from(content) << 32 ^ u64::from(times_before))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(31)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    match mixed >> 60 {
        0..=6 => Act::Take,
        7..=13 => Act::Fail,
        14 => Act::Refuse,
        _ => Act::Panic,
    }
}

/// Follows the script, and writes down what it was shown.
#[derive(Debug)]
struct Scripted {
    seed: u64,
    times: HashMap<u32, u32>,
    shown: Vec<(u32, Act)>,
}

impl Handler for Scripted {
    fn handle(&mut self, subject: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        let content = content_of(subject);
        let times = self.times.entry(content).or_default();
        let act = script(self.seed, content, *times);
        *times += 1;
        self.shown.push((content, act));
        match act {
            Act::Take => Ok(()),
            Act::Fail => Err(HandlerError::Failed),
            Act::Refuse => Err(HandlerError::Refused),
            // Without the hook that writes panics to standard error.
            Act::Panic => std::panic::resume_unwind(Box::new("as the script says")),
        }
    }
}

/// An event that waits in the reference.
#[derive(Debug)]
struct Waiting {
    event: usize,
    attempts: u8,
    due_ns: Nanos,
}

/// The reference: a queue for each topic, and lists.
#[derive(Debug, Default)]
struct Reference {
    settings: TransactionalSettings,
    seed: u64,
    times: HashMap<u32, u32>,
    shown: Vec<(u32, Act)>,
    queues: HashMap<u8, VecDeque<Waiting>>,
    window: VecDeque<((u64, u64), Nanos)>,
    evicted: u64,
}

impl Reference {
    fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    fn knows(&mut self, made: &Made, now: Nanos) -> bool {
        let window_ns = self.settings.dedup_window.as_nanos() as Nanos;
        self.window.retain(|(_, inserted_ns)| now - inserted_ns < window_ns);
        made.identity.is_some_and(|identity| self.window.iter().any(|(known, _)| *known == identity))
    }

    fn remember(&mut self, made: &Made, now: Nanos) {
        let Some(identity) = made.identity else { return };
        if self.window.len() == self.settings.dedup_entries_max {
            self.window.pop_front();
            self.evicted += 1;
        }
        self.window.push_back((identity, now));
    }

    /// The fate of showing an event to the handler; `Err` says when it is due again.
    fn attempt(&mut self, made: &Made, attempts: u8, now: Nanos) -> Result<Fate, Nanos> {
        let content = made.content();
        let times = self.times.entry(content).or_default();
        let act = script(self.seed, content, *times);
        *times += 1;
        self.shown.push((content, act));
        match act {
            Act::Take => {
                self.remember(made, now);
                Ok(Fate::Delivered)
            }
            Act::Refuse => Ok(Fate::Dead(DeadReason::HandlerFailed)),
            Act::Panic => Ok(Fate::Dead(DeadReason::HandlerPanicked)),
            Act::Fail if attempts >= self.settings.attempts => Ok(Fate::Dead(DeadReason::HandlerFailed)),
            Act::Fail => {
                let delay = self.settings.retry_first * 2_u32.pow(u32::from(attempts) - 1);
                Err(now + delay.min(self.settings.retry_max).as_nanos() as Nanos)
            }
        }
    }

    /// `None` stands for parked.
    fn process(&mut self, event: usize, made: &Made, now: Nanos) -> Option<Fate> {
        if self.knows(made, now) {
            return Some(Fate::Deduplicated);
        }
        let is_behind = self.queues.get(&made.topic).is_some_and(|queue| !queue.is_empty());
        let (attempts, due_ns) = match is_behind {
            true => (0, 0),
            false => match self.attempt(made, 1, now) {
                Ok(fate) => return Some(fate),
                Err(due_ns) => (1, due_ns),
            },
        };
        if self.waiting() == self.settings.parked_max {
            return Some(Fate::Dead(DeadReason::RetryFull));
        }
        self.queues.entry(made.topic).or_default().push_back(Waiting { event, attempts, due_ns });
        None
    }

    /// The first of a topic is shown again.
    fn process_again(&mut self, made: &Made, now: Nanos) -> Option<Fate> {
        let attempts = self.queues[&made.topic][0].attempts + 1;
        let fate = match self.knows(made, now) {
            true => Ok(Fate::Deduplicated),
            false => self.attempt(made, attempts, now),
        };
        let queue = self.queues.get_mut(&made.topic).expect("it waits");
        match fate {
            Ok(fate) => {
                queue.pop_front();
                Some(fate)
            }
            Err(due_ns) => {
                (queue[0].attempts, queue[0].due_ns) = (attempts, due_ns);
                None
            }
        }
    }

    fn first_due_ns(&self) -> Option<Nanos> {
        self.queues.values().filter_map(|queue| queue.front()).map(|waiting| waiting.due_ns).min()
    }
}

/// The processor and the reference side by side.
struct Pair {
    events: Vec<Made>,
    fates: Vec<Option<Fate>>,
    places: HashMap<u32, usize>,
    processor: Transactions<Scripted>,
    reference: Reference,
}

impl Pair {
    fn new(settings: TransactionalSettings, seed: u64) -> Pair {
        let handler = Scripted { seed, times: HashMap::new(), shown: Vec::new() };
        Pair {
            events: Vec::new(),
            fates: Vec::new(),
            places: HashMap::new(),
            processor: Transactions::allocate(&settings, handler),
            reference: Reference { settings, seed, ..Reference::default() },
        }
    }

    fn process(&mut self, made: Made, now: Nanos) {
        let event = self.events.len();
        let fate = self.processor.process(&made.subject(), now);
        let expected = self.reference.process(event, &made, now);
        self.events.push(made);
        self.fates.push(None);
        match (fate, expected) {
            (Fate::Parked(place), None) => {
                assert_eq!(self.places.insert(place, event), None, "a place has one event");
                assert!((place as usize) < self.reference.settings.parked_max);
            }
            (fate, expected) => self.end(event, fate, expected),
        }
    }

    fn end(&mut self, event: usize, fate: Fate, expected: Option<Fate>) {
        assert_eq!(Some(fate), expected, "event {event}");
        assert_eq!(self.fates[event].replace(fate), None, "one fate");
    }

    fn show_due(&mut self, now: Nanos) {
        while let Some(place) = self.processor.due(now) {
            let event = self.places[&place];
            let made = self.events[event].clone();
            let first = &self.reference.queues[&made.topic][0];
            assert_eq!(first.event, event, "the first of its topic");
            assert!(first.due_ns <= now, "not early");
            let attempts = first.attempts;
            assert_eq!(self.processor.attempts(place), attempts);
            let fate = self.processor.process_again(place, &made.subject(), now);
            let expected = self.reference.process_again(&made, now);
            if fate == Fate::Parked(place) {
                assert_eq!(expected, None);
                assert_eq!(self.processor.attempts(place), attempts + 1);
                continue;
            }
            self.places.remove(&place);
            let shown = u8::from(fate != Fate::Deduplicated);
            assert_eq!(self.processor.last_attempts(), attempts + shown);
            self.end(event, fate, expected);
        }
        let left = self.reference.first_due_ns();
        assert!(left.is_none_or(|due_ns| due_ns + MS > now), "late: {left:?} at {now}");
    }

    fn stop(&mut self) {
        let mut order: HashMap<u8, VecDeque<usize>> = HashMap::new();
        for (topic, queue) in &self.reference.queues {
            order.insert(*topic, queue.iter().map(|waiting| waiting.event).collect());
        }
        while let Some(place) = self.processor.abandon() {
            let event = self.places.remove(&place).expect("an event is there");
            let queue = order.get_mut(&self.events[event].topic).expect("it waited");
            assert_eq!(queue.pop_front(), Some(event), "in order");
            self.fates[event] = Some(Fate::Dead(DeadReason::Stopped));
        }
        assert!(order.values().all(VecDeque::is_empty) && self.places.is_empty());
        assert_eq!((self.processor.parked(), self.processor.due(u64::MAX)), (0, None));
    }

    fn check(&self) {
        let book = self.processor.book();
        let count = |wanted: Fate| self.fates.iter().filter(|fate| **fate == Some(wanted)).count() as u64;
        assert!(self.fates.iter().all(Option::is_some), "every event has its fate");
        assert!(book.is_balanced(), "{book:?}");
        assert_eq!(self.processor.handler().shown, self.reference.shown, "shown in the same order");
        assert_eq!(book.delivered, count(Fate::Delivered));
        assert_eq!(book.deduplicated, count(Fate::Deduplicated));
        assert_eq!(book.failed + book.refused, count(Fate::Dead(DeadReason::HandlerFailed)));
        assert_eq!(book.panicked, count(Fate::Dead(DeadReason::HandlerPanicked)));
        assert_eq!(book.retry_full, count(Fate::Dead(DeadReason::RetryFull)));
        assert_eq!(book.stopped, count(Fate::Dead(DeadReason::Stopped)));
        assert_eq!(book.ids_evicted_early, self.reference.evicted);
        assert_eq!(book.attempts, self.reference.shown.len() as u64);
    }
}

#[derive(Clone, Debug)]
struct Step {
    later_ns: Nanos,
    version: u8,
    producer: u64,
    sequence: u64,
    topic: u8,
    content: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![Just(0), 0..3 * MS, 0..60 * MS];
    let step = (later, 0u8..4, 0u64..3, 0u64..12, 0u8..4, 0u32..40).prop_map(
        |(later_ns, version, producer, sequence, topic, content)| Step {
            later_ns,
            version,
            producer,
            sequence,
            topic,
            content,
        },
    );
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Same fates, same order, same counts; ids of failed events are not in the window, for the reference never puts them
    /// there. Topics of equal ids differ now and then, and contents of equal ids, too.
    #[test]
    fn it_does_what_the_reference_does(
        steps in steps(), seed in any::<u64>(), dedup_v1 in any::<bool>(),
        (entries, window_ms) in (1usize..12, 1u64..200), (attempts, parked_max) in (1u8..5, 1usize..9),
    ) {
        let settings = TransactionalSettings {
            dedup_window: Duration::from_millis(window_ms),
            dedup_entries_max: entries,
            dedup_v1,
            attempts,
            retry_first: Duration::from_millis(5),
            retry_max: Duration::from_millis(12),
            parked_max,
        };
        let mut pair = Pair::new(settings, seed);
        let mut now = 7 * MS;
        for step in steps {
            now += step.later_ns;
            // Whole ticks, so that the reference needs no idea of the wheel's resolution.
            now -= now % MS;
            pair.processor.turn(now);
            pair.show_due(now);
            let Step { producer, sequence, topic, content, .. } = step;
            pair.process(match step.version {
                0 => Made::v1(topic, content, dedup_v1),
                _ => Made::v2(producer, sequence, topic, content),
            }, now);
        }
        pair.stop();
        pair.check();
    }
}

fn settings() -> TransactionalSettings {
    TransactionalSettings { dedup_entries_max: 1_024, parked_max: 16, ..TransactionalSettings::default() }
}

/// Does what it is told next.
#[derive(Debug, Default)]
struct Told {
    acts: VecDeque<Act>,
    taken: Vec<u32>,
}

impl Handler for Told {
    fn handle(&mut self, subject: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        match self.acts.pop_front().unwrap_or(Act::Take) {
            Act::Take => {
                self.taken.push(content_of(subject));
                Ok(())
            }
            Act::Fail => Err(HandlerError::Failed),
            Act::Refuse => Err(HandlerError::Refused),
            Act::Panic => std::panic::resume_unwind(Box::new("as told")),
        }
    }
}

fn told(acts: impl IntoIterator<Item = Act>) -> Transactions<Told> {
    let handler = Told { acts: acts.into_iter().collect(), taken: Vec::new() };
    Transactions::allocate(&settings(), handler)
}

#[test]
fn an_event_is_tried_three_times_with_growing_waits_and_dies() {
    let mut processor = told([Act::Fail; 3]);
    let event = Made::v2(1, 1, b'a', 0);
    let Fate::Parked(place) = processor.process(&event.subject(), 0) else { panic!("it waits") };
    assert_eq!((processor.due(9 * MS), processor.due(10 * MS)), (None, Some(place)));
    assert_eq!(processor.process_again(place, &event.subject(), 10 * MS), Fate::Parked(place));
    assert_eq!((processor.due(29 * MS), processor.due(30 * MS)), (None, Some(place)));
    let fate = processor.process_again(place, &event.subject(), 30 * MS);
    assert_eq!(fate, Fate::Dead(DeadReason::HandlerFailed));
    assert_eq!((processor.last_attempts(), processor.parked()), (3, 0));
    // Its id is not in the window: it may come again.
    assert_eq!(processor.process(&event.subject(), 40 * MS), Fate::Delivered);
    assert_eq!(processor.process(&event.subject(), 41 * MS), Fate::Deduplicated);
    let book = processor.book();
    assert_eq!((book.attempts, book.retried, book.succeeded_after_retry), (4, 2, 0));
}

#[test]
fn what_comes_behind_a_parked_event_of_its_key_waits_and_copies_are_judged_in_turn() {
    let mut processor = told([Act::Fail]);
    let (first, copy, next) = (Made::v2(1, 1, b'a', 10), Made::v2(1, 1, b'a', 11), Made::v2(1, 2, b'a', 12));
    let other = Made::v2(1, 3, b'b', 13);
    let mut parked = Vec::new();
    for event in [&first, &copy, &next] {
        let Fate::Parked(place) = processor.process(&event.subject(), 0) else { panic!("it waits") };
        parked.push(place);
    }
    assert_eq!(processor.process(&other.subject(), 0), Fate::Delivered, "another key goes past");
    let again = |processor: &mut Transactions<Told>, place: u32, event: &Made| {
        assert_eq!(processor.due(10 * MS), Some(place));
        processor.process_again(place, &event.subject(), 10 * MS)
    };
    assert_eq!(again(&mut processor, parked[0], &first), Fate::Delivered);
    assert_eq!(again(&mut processor, parked[1], &copy), Fate::Deduplicated);
    assert_eq!(processor.process(&Made::v2(1, 4, b'a', 14).subject(), 10 * MS), Fate::Parked(parked[1]));
    assert_eq!(again(&mut processor, parked[2], &next), Fate::Delivered);
    assert_eq!(again(&mut processor, parked[1], &Made::v2(1, 4, b'a', 14)), Fate::Delivered);
    assert_eq!(processor.handler().taken, [13, 10, 12, 14]);
    assert_eq!((processor.parked(), processor.book().parked_high_water), (0, 3));
}

#[test]
fn an_id_under_two_topics_is_one_event() {
    let mut processor = told([Act::Fail]);
    let (first, elsewhere) = (Made::v2(1, 1, b'a', 10), Made::v2(1, 1, b'b', 11));
    let Fate::Parked(place) = processor.process(&first.subject(), 0) else { panic!("it waits") };
    assert_eq!(processor.process(&elsewhere.subject(), 0), Fate::Delivered);
    assert_eq!(processor.due(10 * MS), Some(place));
    assert_eq!(processor.process_again(place, &first.subject(), 10 * MS), Fate::Deduplicated);
    assert_eq!((processor.last_attempts(), processor.handler().taken.as_slice()), (1, &[11][..]));
}

#[test]
fn a_panic_and_a_refusal_cost_one_event_each() {
    let mut processor = told([Act::Panic, Act::Refuse]);
    let event = |sequence| Made::v2(1, sequence, b'a', sequence as u32);
    assert_eq!(processor.process(&event(1).subject(), 0), Fate::Dead(DeadReason::HandlerPanicked));
    assert_eq!(processor.process(&event(2).subject(), 0), Fate::Dead(DeadReason::HandlerFailed));
    assert_eq!(processor.process(&event(3).subject(), 0), Fate::Delivered);
    let book = processor.book();
    assert_eq!((book.panicked, book.refused, book.failed, book.attempts), (1, 1, 0, 3));
}

#[test]
fn without_a_place_the_newcomer_dies_and_none_goes_past_another() {
    let mut processor = told([Act::Fail; 2]);
    for sequence in 1..=16 {
        let event = Made::v2(1, sequence, b'a', 0);
        assert!(matches!(processor.process(&event.subject(), 0), Fate::Parked(_)));
    }
    let same_key = Made::v2(1, 17, b'a', 0);
    assert_eq!(processor.process(&same_key.subject(), 0), Fate::Dead(DeadReason::RetryFull));
    assert_eq!(processor.last_attempts(), 0, "it was not shown to the handler");
    let other_key = Made::v2(1, 18, b'b', 0);
    assert_eq!(processor.process(&other_key.subject(), 0), Fate::Dead(DeadReason::RetryFull));
    assert_eq!((processor.last_attempts(), processor.parked()), (1, 16));
}

#[test]
fn equal_frames_of_version_1_are_copies_only_where_it_is_wished() {
    for (dedup_v1, second) in [(false, Fate::Delivered), (true, Fate::Deduplicated)] {
        let mut processor =
            Transactions::allocate(&TransactionalSettings { dedup_v1, ..settings() }, Accepting);
        let event = Made::v1(b'a', 7, dedup_v1);
        assert_eq!(processor.process(&event.subject(), 0), Fate::Delivered);
        assert_eq!(processor.process(&event.subject(), 1), second);
        assert_eq!(processor.process(&Made::v1(b'a', 8, dedup_v1).subject(), 1), Fate::Delivered);
        assert_eq!(processor.process(&Made::v1(b'b', 7, dedup_v1).subject(), 1), Fate::Delivered);
        let mut urgent = event.clone();
        urgent.body[0] = 1;
        assert_eq!(processor.process(&urgent.subject(), 1), Fate::Delivered, "another priority");
    }
}

#[test]
fn what_has_no_identity_passes() {
    let mut processor = Transactions::allocate(&settings(), Accepting);
    for event in [Made::v2(0, 5, b'a', 0), Made::v2(5, 0, b'a', 0), Made::new(b'a', vec![0xff; 3], None)] {
        for _ in 0..3 {
            assert_eq!(processor.process(&event.subject(), 0), Fate::Delivered);
        }
    }
    let mut market_data = Made::v2(1, 1, b'a', 0);
    market_data.header.protocol = Protocol::IexTp as u8;
    for _ in 0..3 {
        assert_eq!(processor.process(&market_data.subject(), 0), Fate::Delivered);
    }
    assert_eq!(processor.book().window_entries, 0);
}

/// Fails on every third event once, and takes it then.
#[derive(Debug, Default)]
struct Limping(u64);

impl Handler for Limping {
    fn handle(&mut self, _: &Subject<'_>, _: Nanos) -> Result<(), HandlerError> {
        self.0 += 1;
        if self.0.is_multiple_of(3) { Err(HandlerError::Failed) } else { Ok(()) }
    }
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut processor = Transactions::allocate(&settings(), Limping::default());
    let events: Vec<Made> =
        (0..64).map(|number| Made::v2(1, number, b'a' + (number % 5) as u8, number as u32)).collect();
    let mut slots: Vec<Option<usize>> = vec![None; 16];
    let mut book = TransactionBook::default();
    let before = allocations_of_this_thread();
    for round in 0..20_000_usize {
        let now = round as Nanos * MS;
        while let Some(place) = processor.due(now) {
            let event = &events[slots[place as usize].expect("it waits there")];
            if processor.process_again(place, &event.subject(), now) != Fate::Parked(place) {
                slots[place as usize] = None;
            }
        }
        let number = round % events.len();
        if let Fate::Parked(place) = processor.process(&events[number].subject(), now) {
            slots[place as usize] = Some(number);
        }
        processor.turn(now);
        book = processor.book();
    }
    while processor.abandon().is_some() {}
    assert_eq!(allocations_of_this_thread(), before);
    assert!(book.is_balanced() && book.succeeded_after_retry > 0, "{book:?}");
}
