//! The batch processor's windows against a reference that keeps every value of every window: on real captures, and on events
//! in any order.
//!
//! Invariant: closed windows, corrections and fates are those of the reference, all figures exactly, quantiles within the
//! error that stands beside them.

mod wire_captures;

use proptest::prelude::*;
use sluice::config::{Settings, WindowSettings};
use sluice::event::{ClockKind, DeadReason, EventHeader, FrameReject, MessageReject, Protocol, ShardId};
use sluice::os::{CountingAllocator, allocations_of_this_thread};
use sluice::process::windows::{ClosedWindow, Fixed, WindowEngine, WindowKey};
use sluice::process::{Fate, Subject};
use sluice::wire::{self, Action, Message, Run, Visitor};
use std::collections::BTreeMap;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MS: u64 = 1_000_000;

/// One thing that a window counts.
#[derive(Clone, Debug)]
struct Item {
    key: String,
    at_ns: u64,
    value: Option<i128>,
    size: u64,
    bytes: u64,
}

/// A message: its time, its body, and what the reference sees in it.
#[derive(Clone, Debug)]
struct Event {
    protocol: Protocol,
    kind: u16,
    source_ns: u64,
    payload: Vec<u8>,
    items: Vec<Item>,
}

impl Event {
    fn header(&self) -> EventHeader {
        EventHeader {
            protocol: self.protocol as u8,
            kind: self.kind,
            source_ns: self.source_ns,
            clock: ClockKind::Capture as u8,
            // Far ahead of all: no time lies in its future.
            wire_ns: i64::MAX as u64,
            ..EventHeader::default()
        }
    }
}

/// What is compared of a window.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    count: u64,
    values: u64,
    bytes: u64,
    volume: i128,
    sum: i128,
    min: Option<i128>,
    max: Option<i128>,
    last: Option<i128>,
    mean: Option<i128>,
    vwap: Option<i128>,
}

/// A definition, in ns.
#[derive(Clone, Copy, Debug)]
struct Shape {
    length: u64,
    slide: u64,
    lateness: u64,
    correction: u64,
}

#[derive(Default)]
struct Reference {
    newest: u64,
    watermark: u64,
    /// The millisecond up to which windows were looked through, as none ends in the middle of one.
    looked: u64,
    /// By key and start, everything.
    items: BTreeMap<(String, u64), Vec<Item>>,
    /// As they were when they closed.
    closed: BTreeMap<(String, u64), Vec<Item>>,
    corrections: Vec<(String, u64, Vec<Item>)>,
    late: u64,
}

fn told(items: &[Item]) -> Told {
    let valued: Vec<(i128, &Item)> =
        items.iter().filter_map(|item| item.value.map(|value| (value, item))).collect();
    let sum = valued.iter().map(|(value, _)| value).sum::<i128>();
    let sizes = valued.iter().map(|(_, item)| i128::from(item.size)).sum::<i128>();
    let notional = valued.iter().map(|(value, item)| value * i128::from(item.size)).sum::<i128>();
    let last = valued.iter().enumerate().max_by_key(|(order, (_, item))| (item.at_ns, *order));
    Told {
        count: items.len() as u64,
        values: valued.len() as u64,
        bytes: items.iter().map(|item| item.bytes).sum(),
        volume: items.iter().map(|item| i128::from(item.size)).sum(),
        sum,
        min: valued.iter().map(|(value, _)| *value).min(),
        max: valued.iter().map(|(value, _)| *value).max(),
        last: last.map(|(_, (value, _))| *value),
        mean: sum.checked_div(valued.len() as i128),
        vwap: notional.checked_div(sizes),
    }
}

impl Reference {
    fn take(&mut self, event: &Event, shape: Shape) -> Fate {
        if event.items.is_empty() {
            // Only what is added up makes time pass.
            return Fate::Delivered;
        }
        self.newest = self.newest.max(event.source_ns);
        self.watermark = self.watermark.max(self.newest.saturating_sub(shape.lateness));
        self.close(shape);
        let mut fate = Fate::Delivered;
        for (index, item) in event.items.iter().enumerate() {
            let last = item.at_ns / shape.slide * shape.slide;
            if last + shape.length + shape.correction <= self.watermark {
                self.late += u64::from(index == 0);
                fate = Fate::Dead(DeadReason::Late);
                continue;
            }
            let first = (last + shape.slide).saturating_sub(shape.length).div_ceil(shape.slide) * shape.slide;
            let starts = (first.saturating_sub(shape.slide)..=last).step_by(shape.slide as usize);
            for start in starts.filter(|start| (*start..start + shape.length).contains(&item.at_ns)) {
                let key = (item.key.clone(), start);
                let end = start + shape.length;
                if end + shape.correction <= self.watermark {
                    continue;
                }
                let items = self.items.entry(key.clone()).or_default();
                items.push(item.clone());
                if end <= self.watermark {
                    self.corrections.push((key.0, start, items.clone()));
                }
            }
        }
        fate
    }

    fn close(&mut self, shape: Shape) {
        if self.looked == self.watermark / MS {
            return;
        }
        self.looked = self.watermark / MS;
        for (key, items) in &self.items {
            if key.1 + shape.length <= self.watermark && !self.closed.contains_key(key) {
                // One that came into being as a correction never closes.
                let corrected =
                    self.corrections.iter().any(|(name, start, _)| (name, *start) == (&key.0, key.1));
                if !corrected {
                    self.closed.insert(key.clone(), items.clone());
                }
            }
        }
    }

    fn finish(&mut self, shape: Shape) {
        self.watermark = u64::MAX;
        self.close(shape);
    }
}

fn name_of(window: &ClosedWindow) -> String {
    match window.key {
        WindowKey::Topic(head) => String::from_utf8_lossy(head.name()).into_owned(),
        WindowKey::TopicId(id) => format!("#{id}"),
        WindowKey::Symbol { instrument, .. } => instrument.to_string(),
    }
}

fn told_of(window: &ClosedWindow) -> Told {
    let found = &window.aggregates;
    assert!(found.is_exact);
    let units = |fixed: Option<Fixed>| fixed.map(|fixed| fixed.0);
    Told {
        count: found.count,
        values: found.values,
        bytes: found.bytes,
        volume: found.volume,
        sum: found.sum.0,
        min: units(found.min),
        max: units(found.max),
        last: units(found.last),
        mean: units(found.mean),
        vwap: units(found.vwap),
    }
}

fn check_quantiles(window: &ClosedWindow, items: &[Item], error_max: f64) {
    let found = &window.aggregates;
    let mut values: Vec<i128> = items.iter().filter_map(|item| item.value).collect();
    values.sort_unstable();
    assert_eq!(found.quantiles.iter().count(), if values.is_empty() { 0 } else { 3 });
    assert!(found.quantile_error <= error_max, "{}", found.quantile_error);
    for (share, value) in found.quantiles.iter() {
        let exact = values[(values.len() - 1) * share as usize / 1_000_000];
        let off = (value.0 - exact).unsigned_abs() as f64;
        let allowed = exact.unsigned_abs() as f64 * (found.quantile_error + 1e-9) + 1.0;
        assert!(off <= allowed, "{share}: {exact} found as {value} with {}", found.quantile_error);
    }
}

fn settings(keys: &str) -> WindowSettings {
    let text = format!("[[batch.window]]\nname = 'w'\n{keys}\n");
    Settings::from_text(&text, "test").unwrap_or_else(|error| panic!("{error}")).windows
}

fn subject<'a>(header: &'a EventHeader, payload: &'a [u8]) -> Subject<'a> {
    Subject { shard: ShardId(0), feed: 0, header, payload }
}

/// Runs both, compares, and says how many windows closed and how many were corrected.
fn compare(events: &[Event], keys: &str, shape: Shape, error_max: f64) -> (usize, usize) {
    let mut engine = WindowEngine::allocate(&settings(keys)).expect("patterns");
    let mut reference = Reference::default();
    let mut windows = Vec::new();
    let mut closed = |window: &ClosedWindow| windows.push(*window);
    for event in events {
        let header = event.header();
        let fate = engine.process(&subject(&header, &event.payload), 0, &mut closed);
        assert_eq!(fate, reference.take(event, shape), "{event:?}");
    }
    engine.finish(&mut closed);
    reference.finish(shape);
    let (mut regular, mut corrections) = (BTreeMap::new(), Vec::new());
    for window in &windows {
        assert_eq!(window.end_ns - window.start_ns, shape.length);
        let key = (name_of(window), window.start_ns);
        if window.is_correction {
            corrections.push((key, window));
        } else {
            assert!(regular.insert(key, window).is_none(), "a window closed twice: {window:?}");
        }
    }
    assert_eq!(regular.keys().collect::<Vec<_>>(), reference.closed.keys().collect::<Vec<_>>());
    for (key, items) in &reference.closed {
        assert_eq!(told_of(regular[key]), told(items), "{key:?}");
        check_quantiles(regular[key], items, error_max);
    }
    assert_eq!(corrections.len(), reference.corrections.len());
    for ((key, window), (name, start, items)) in corrections.iter().zip(&reference.corrections) {
        assert_eq!((&key.0, key.1), (name, *start));
        assert_eq!(told_of(window), told(items), "{key:?}");
        check_quantiles(window, items, error_max);
    }
    let book = engine.book();
    let own = book.definitions[0];
    let with_items = events.iter().filter(|event| !event.items.is_empty()).count();
    assert_eq!((own.events, book.unmatched), (with_items as u64, (events.len() - with_items) as u64));
    assert_eq!((own.opened, own.closed, own.open()), (regular.len() as u64, regular.len() as u64, 0));
    assert_eq!((own.corrections, own.late), (corrections.len() as u64, reference.late));
    assert_eq!((own.keys_full, own.future), (0, 0));
    (regular.len(), corrections.len())
}

/// Keeps the messages of a capture's packets.
struct Keeper {
    protocol: Protocol,
    events: Vec<Event>,
}

impl Visitor for Keeper {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, message: &Message<'_>) {
        let mut items: Vec<Item> = Vec::new();
        wire::entries(self.protocol, message.kind, message.body, &mut |entry| {
            if entry.action == Action::Trade {
                let value = |price: sluice::event::Price| {
                    i128::from(price.mantissa) * 10i128.pow(9 - u32::from(price.decimals))
                };
                items.push(Item {
                    key: entry.instrument.to_string(),
                    at_ns: message.source_ns,
                    value: entry.price.map(value),
                    size: entry.size,
                    bytes: if items.is_empty() { message.body.len() as u64 } else { 0 },
                });
            }
        });
        self.events.push(Event {
            protocol: self.protocol,
            kind: message.kind,
            source_ns: message.source_ns,
            payload: message.body.to_vec(),
            items,
        });
    }

    fn refuse(&mut self, _: MessageReject) {}
}

fn capture(name: &str, protocol: Protocol) -> Option<Vec<Event>> {
    let mut keeper = Keeper { protocol, events: Vec::new() };
    for payload in wire_captures::payloads(name)? {
        let _: Result<(), FrameReject> = wire::decode(protocol, &payload, &mut keeper);
    }
    Some(keeper.events.into_iter().filter(|event| event.source_ns > 0).collect())
}

/// Tables that a capture is run through, with their shapes.
fn shapes() -> Vec<(&'static str, Shape)> {
    let shape = |length, slide, lateness, correction| Shape {
        length: length * MS,
        slide: slide * MS,
        lateness: lateness * MS,
        correction: correction * MS,
    };
    vec![
        ("group_by = 'symbol'\n", shape(5_000, 5_000, 1_000, 0)),
        (
            "group_by = 'symbol'\nkind = 'sliding'\nlength_ms = 1000\nslide_ms = 400\nlateness_ms = 0\nkeys_max = 4096\n",
            shape(1_000, 400, 0, 0),
        ),
        (
            "group_by = 'symbol'\nlength_ms = 100\nlateness_ms = 0\nlate = 'correct'\ncorrection_ms = 250\nkeys_max = 2048\n",
            shape(100, 100, 0, 250),
        ),
    ]
}

#[test]
fn trades_of_iex_are_those_of_the_reference() {
    let Some(events) = capture("iex-tops16.pcap.gz", Protocol::IexTp) else { return };
    for (keys, shape) in shapes() {
        let (closed, _) = compare(&events, keys, shape, 0.0001);
        assert!(closed > 10, "{closed} windows");
    }
}

#[test]
fn trades_of_cme_are_those_of_the_reference() {
    let Some(events) = capture("cme-mdp3-ab.pcapng", Protocol::CmeMdp3) else { return };
    for (keys, shape) in shapes() {
        let (closed, _) = compare(&events, keys, shape, 0.0001);
        assert!(closed > 10, "{closed} windows");
    }
}

fn native(topic: &str, at_ns: u64, text: &str) -> Event {
    let mut payload = vec![0];
    payload.extend((topic.len() as u16).to_be_bytes());
    payload.extend(topic.as_bytes());
    payload.extend(text.as_bytes());
    let value = Fixed::parse(text.as_bytes()).map(|value| value.0);
    let bytes = payload.len() as u64;
    let items = vec![Item { key: topic.to_owned(), at_ns, value, size: 0, bytes }];
    Event { protocol: Protocol::Native, kind: 0, source_ns: at_ns, payload, items }
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    // Steps forward and back, some of them far; times in ms from a start that is no multiple of anything.
    let step = prop_oneof![8 => -30i64..60, 1 => -400i64..400, 1 => 0i64..5_000];
    let event = (step, 0usize..4, prop_oneof![3 => -50_000i64..50_000, 1 => any::<i64>()], 0u32..10);
    proptest::collection::vec(event, 1..250).prop_map(|steps| {
        let mut at = 1_000_003i64;
        let topics = ["a", "b", "host.cpu", "x.y"];
        let of = |(step, topic, value, form): (i64, usize, i64, u32)| {
            at = (at + step).max(1);
            let text = match form {
                0 => "none".to_owned(),
                1 => format!("{}.{:03}", value / 1_000, value.unsigned_abs() % 1_000),
                _ => value.to_string(),
            };
            native(topics[topic], at as u64 * MS + value.unsigned_abs() % MS, &text)
        };
        steps.into_iter().map(of).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn events_in_any_order_are_those_of_the_reference(
        events in any_events(),
        length in 1u64..200,
        slide in 1u64..200,
        lateness in 0u64..100,
        correction in prop_oneof![Just(0u64), 1u64..150],
        is_sliding: bool,
    ) {
        let slide = if is_sliding { slide.min(length) } else { length };
        let mut keys = format!(
            "group_by = 'topic'\nlength_ms = {length}\nlateness_ms = {lateness}\nkeys_max = 16\n"
        );
        if is_sliding {
            keys += &format!("kind = 'sliding'\nslide_ms = {slide}\n");
        }
        if correction > 0 {
            keys += &format!("late = 'correct'\ncorrection_ms = {correction}\n");
        }
        let shape =
            Shape { length: length * MS, slide: slide * MS, lateness: lateness * MS, correction: correction * MS };
        compare(&events, &keys, shape, 0.7);
    }
}

/// An engine over topics, and the windows that it told.
struct Rig {
    engine: WindowEngine,
    windows: Vec<ClosedWindow>,
}

impl Rig {
    fn new(keys: &str) -> Rig {
        let windows = settings(&format!("group_by = 'topic'\n{keys}"));
        Rig { engine: WindowEngine::allocate(&windows).expect("patterns"), windows: Vec::with_capacity(64) }
    }

    fn take(&mut self, event: &Event, edit: impl Fn(&mut EventHeader), now: u64) -> Fate {
        let mut header = event.header();
        edit(&mut header);
        let windows = &mut self.windows;
        self.engine.process(&subject(&header, &event.payload), now, &mut |window| windows.push(*window))
    }
}

#[test]
fn a_time_from_the_future_closes_nothing() {
    let mut rig = Rig::new("");
    let came = |ms: u64| move |header: &mut EventHeader| header.wire_ns = ms * MS;
    assert_eq!(rig.take(&native("a", 20_000 * MS, "1"), came(20_000), 0), Fate::Delivered);
    assert_eq!(rig.take(&native("a", 900_000 * MS, "2"), came(20_001), 0), Fate::Delivered);
    assert_eq!(rig.take(&native("a", 20_002 * MS, "3"), came(20_002), 0), Fate::Delivered);
    assert_eq!((rig.windows.len(), rig.engine.book().definitions[0].future), (0, 1));
    let windows = &mut rig.windows;
    rig.engine.finish(&mut |window| windows.push(*window));
    assert_eq!((windows.len(), windows[0].aggregates.count), (1, 3));
}

#[test]
fn without_events_live_windows_close_by_the_clock_and_those_of_captures_dont() {
    for (clock, closes) in [(ClockKind::Monotonic, true), (ClockKind::Capture, false)] {
        let mut rig = Rig::new("");
        rig.engine.set_utc_ahead(1_000_000 * MS);
        let header = |header: &mut EventHeader| {
            header.clock = clock as u8;
            header.wire_ns = 7_000 * MS;
            header.source_ns = 0;
        };
        rig.take(&native("a", 0, "1"), header, 7_000 * MS);
        let windows = &mut rig.windows;
        // The window ends at 10 s, its events are waited for until 11 s.
        rig.engine.turn(10_999 * MS, &mut |window| windows.push(*window));
        assert_eq!(windows.len(), 0);
        rig.engine.turn(11_000 * MS, &mut |window| windows.push(*window));
        assert_eq!(windows.len(), usize::from(closes));
        rig.engine.finish(&mut |window| windows.push(*window));
        assert_eq!(windows.len(), 1);
    }
}

#[test]
fn keys_without_room_are_dead_or_counted_and_come_in_when_others_have_closed() {
    for (policy, fate) in [("dead-letter", Fate::Dead(DeadReason::WindowsFull)), ("count", Fate::Delivered)] {
        let mut rig = Rig::new(&format!("keys_max = 2\nkeys_full = '{policy}'\n"));
        let at = |ms: u64, topic: &str| native(topic, ms * MS, "1");
        assert_eq!(rig.take(&at(1, "a"), |_| (), 0), Fate::Delivered);
        assert_eq!(rig.take(&at(2, "b"), |_| (), 0), Fate::Delivered);
        assert_eq!(rig.take(&at(3, "c"), |_| (), 0), fate);
        assert_eq!(rig.take(&at(4, "a"), |_| (), 0), Fate::Delivered);
        assert_eq!(rig.take(&at(6_000, "a"), |_| (), 0), Fate::Delivered);
        assert_eq!(rig.take(&at(6_000, "c"), |_| (), 0), Fate::Delivered);
        assert_eq!((rig.windows.len(), rig.engine.book().definitions[0].keys_full), (2, 1));
    }
}

#[test]
fn an_event_is_late_only_if_it_is_for_all_of_its_definitions() {
    let text = "[[batch.window]]\nname = 'short'\ngroup_by = 'topic'\nlength_ms = 10\nlateness_ms = 0\n\
        [[batch.window]]\nname = 'long'\ngroup_by = 'topic'\ntopics = ['a*']\nlateness_ms = 0\n";
    let windows = Settings::from_text(text, "test").expect("is right").windows;
    let engine = WindowEngine::allocate(&windows).expect("patterns");
    let mut rig = Rig { engine, windows: Vec::new() };
    let at = |ms: u64, topic: &str| native(topic, ms * MS, "1");
    for (event, fate) in [
        (at(100, "a1"), Fate::Delivered),
        (at(100, "b"), Fate::Delivered),
        (at(5, "a1"), Fate::Delivered),
        (at(5, "b"), Fate::Dead(DeadReason::Late)),
    ] {
        assert_eq!(rig.take(&event, |_| (), 0), fate);
    }
    let book = rig.engine.book();
    assert_eq!((book.definitions[0].late, book.definitions[1].late), (2, 0));
    assert_eq!((book.definitions[0].events, book.definitions[1].events, book.unmatched), (4, 2, 0));
}

#[test]
fn words_of_a_payload_and_topics_of_the_engine_have_values() {
    let mut rig = Rig::new("value_key = 'busy_pct'\ntopics = ['host.*', 'engine20.0']\n");
    let cpu = native("host.cpu", MS, "busy_pct=31.2 user_pct=24.0 not_busy_pct=1");
    rig.take(&cpu, |_| (), 0);
    rig.take(&native("host.cpu", MS, "xbusy_pct=99 busy_pct=33"), |_| (), 0);
    rig.take(&native("other", MS, "busy_pct=99"), |_| (), 0);
    let message = [0i32.to_le_bytes(), 0.5f32.to_le_bytes(), [0; 4], [0; 4]].concat();
    let overload =
        Event { protocol: Protocol::Engine20, kind: 0, source_ns: 0, payload: message, items: Vec::new() };
    rig.take(&overload, |header| header.wire_ns = 2 * MS, 0);
    let windows = &mut rig.windows;
    rig.engine.finish(&mut |window| windows.push(*window));
    let means: Vec<_> =
        windows.iter().map(|w| (name_of(w), w.aggregates.mean.expect("values").to_string())).collect();
    let expected = [("host.cpu", "32.1"), ("engine20.0", "0.5")];
    assert_eq!(means, expected.map(|(name, mean)| (name.to_owned(), mean.to_owned())));
    assert_eq!(rig.engine.book().unmatched, 1);
}

#[test]
fn nothing_is_allocated_behind_the_start() {
    let sliding = "kind = 'sliding'\nlength_ms = 1000\nslide_ms = 100\nlate = 'correct'\nkeys_max = 64\n";
    for keys in ["keys_max = 64\n", sliding] {
        let mut rig = Rig::new(keys);
        let topics: Vec<String> = (0..100).map(|number| format!("topic.{number}")).collect();
        let events: Vec<Event> = (0..20_000u64)
            .map(|n| {
                let at = (1 + n * 7 + (n * n) % 900) * MS;
                native(&topics[(n / 50 % 100) as usize], at, &(n * n % 77_777).to_string())
            })
            .collect();
        let mut closed = 0u64;
        let before = allocations_of_this_thread();
        for event in &events {
            let header = event.header();
            rig.engine.process(&subject(&header, &event.payload), 0, &mut |_| closed += 1);
        }
        rig.engine.turn(1, &mut |_| closed += 1);
        rig.engine.finish(&mut |_| closed += 1);
        assert_eq!(allocations_of_this_thread() - before, 0);
        assert!(closed > 100, "{closed} windows");
    }
}
