//! The window of ids: what a look and an entry cost over its fill, against maps with a list of times.
//!
//! Invariant: all windows see the same ids at the same times, and give the same answers.

use crate::common::{Effort, Outcome, Row, contender, rows};
use crate::curve;
use crate::tables::{Book, DEDUP, sample, sample_of_any};
use sluice::event::Nanos;
use sluice::process::{DedupWindow, EventId};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::hint::black_box;
use std::path::Path;

/// Entries that the windows have room for, as many as the ancestor's figure is for.
const CAPACITY: usize = 3_200_000;
/// Entries of a window that the caches hold.
const SMALL: usize = 4_096;
/// An hour.
const WINDOW_NS: Nanos = 3_600_000_000_000;
/// Operations of a sample.
const OPERATIONS: usize = 64;
const PRODUCERS: u64 = 7;
/// Looks that go before a measurement.
const LOOKS_BEFORE: u64 = 4_096;

/// A window as a processor uses it.
trait Window {
    /// Whether the id is known.
    fn knows(&self, number: u64, now: Nanos) -> bool;
    /// Enters one that is not.
    fn enter(&mut self, number: u64, now: Nanos);
    /// Forgets all, as if their time were over.
    fn forget(&mut self, now: Nanos);
}

fn id(number: u64) -> EventId {
    EventId::numbered(1 + number % PRODUCERS, number)
}

impl Window for DedupWindow {
    #[inline]
    fn knows(&self, number: u64, now: Nanos) -> bool {
        self.contains(&id(number), now)
    }

    #[inline]
    fn enter(&mut self, number: u64, now: Nanos) {
        self.insert(&id(number), now);
    }

    fn forget(&mut self, now: Nanos) {
        while !self.is_empty() {
            self.turn(now);
        }
    }
}

/// What one would write: a map from id to time, and the ids in the order of their times. All memory is taken before, too.
struct Map<M> {
    map: M,
    order: VecDeque<(u128, Nanos)>,
    entries_max: usize,
}

fn key(number: u64) -> u128 {
    u128::from(1 + number % PRODUCERS) << 64 | u128::from(number)
}

macro_rules! window_of_map {
    ($map:ident) => {
        impl<S: BuildHasher> Window for Map<$map<u128, Nanos, S>> {
            #[inline]
            fn knows(&self, number: u64, now: Nanos) -> bool {
                self.map.get(&key(number)).is_some_and(|inserted_ns| now - inserted_ns < WINDOW_NS)
            }

            #[inline]
            fn enter(&mut self, number: u64, now: Nanos) {
                while let Some((oldest, inserted_ns)) = self.order.front().copied()
                    && (now - inserted_ns >= WINDOW_NS || self.order.len() >= self.entries_max)
                {
                    self.order.pop_front();
                    self.map.remove(&oldest);
                }
                self.map.insert(key(number), now);
                self.order.push_back((key(number), now));
            }

            fn forget(&mut self, _now: Nanos) {
                self.map.clear();
                self.order.clear();
            }
        }
    };
}

use hashbrown::HashMap as Hashbrown;
window_of_map!(HashMap);
window_of_map!(Hashbrown);

/// A window that is filled further and further, in turn with the others. Its memory was touched by the round before.
struct Filled<W> {
    window: W,
    // The first id of the round, which is its time, too, and the next one.
    first: u64,
    next: u64,
    is_own: bool,
}

impl<W: Window> Filled<W> {
    fn new(window: W, is_own: bool) -> Filled<W> {
        Filled { window, first: 0, next: 0, is_own }
    }

    /// Begins another round, empty.
    fn begin(&mut self) {
        (self.first, self.next) = (self.first + 2 * WINDOW_NS, self.first + 2 * WINDOW_NS);
        self.window.forget(self.first);
    }

    /// Goes on to a fill, and measures there: new ids, or copies of ids that are known.
    fn at(&mut self, point: &Point, outcome: &mut Outcome, is_warm: bool) {
        let Filled { window, first, next, is_own } = self;
        while *next - *first < point.fill {
            window.enter(*next, *next);
            *next += 1;
        }
        // What the others have pushed out of the caches comes back first.
        (0..LOOKS_BEFORE).for_each(|number| assert!(!window.knows(u64::MAX - number, *next)));
        let mut samples = Vec::with_capacity(point.samples);
        for turn in 0..point.samples as u64 {
            let run = || match point.of_copies {
                true => copies(window, *first, *next, turn),
                false => new_ids(window, next),
            };
            match is_own {
                true => sample(&mut samples, OPERATIONS, run),
                false => sample_of_any(&mut samples, OPERATIONS, run),
            }
        }
        if is_warm {
            outcome.add(samples);
        }
    }
}

#[inline]
fn new_ids(window: &mut impl Window, next: &mut u64) {
    for number in *next..*next + OPERATIONS as u64 {
        assert!(!window.knows(number, number));
        window.enter(number, number);
    }
    *next += OPERATIONS as u64;
}

/// Ids of any age that the window has.
#[inline]
fn copies(window: &impl Window, first: u64, next: u64, turn: u64) {
    let count = (next - first).min(CAPACITY as u64);
    for step in 0..OPERATIONS as u64 {
        // Scrambled, so that no prefetcher guesses them; and others in each turn.
        let scrambled = (turn * OPERATIONS as u64 + step).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        assert!(black_box(window.knows(next - 1 - scrambled % count, next)));
    }
}

/// A fill at which is measured.
struct Point {
    label: &'static str,
    fill: u64,
    // Few where the fill is small, so that it stays what it is.
    samples: usize,
    of_copies: bool,
}

const fn new_at(label: &'static str, fill: u64, samples: usize) -> Point {
    Point { label, fill, samples, of_copies: false }
}

const POINTS: [Point; 9] = [
    new_at("none", 0, 4),
    new_at("1,000", 1_000, 8),
    new_at("10,000", 10_000, 32),
    new_at("100,000", 100_000, 64),
    new_at("1,000,000", 1_000_000, 64),
    new_at("2,000,000", 2_000_000, 64),
    new_at("3,195,000", 3_195_000, 64),
    new_at("all, each new id evicts the oldest,", CAPACITY as u64 + 100_000, 64),
    Point { label: "all", fill: CAPACITY as u64 + 110_000, samples: 64, of_copies: true },
];

/// The points up to which a quick run goes.
const POINTS_SHORT: usize = 4;

const NAMES: [&str; 3] = ["sluice", "std HashMap and VecDeque", "hashbrown HashMap and VecDeque"];

/// All points, each of which goes on where the one before ended. The outer loop is the rounds, so that the points of a
/// curve are measured in turn, too.
pub(crate) fn compare(effort: Effort, book: &mut Book, curve: Option<&Path>) -> Result<(), String> {
    compare_small(effort, book);
    let points = &POINTS[..if effort.short { POINTS_SHORT } else { POINTS.len() }];
    let mut outcomes: Vec<[Outcome; 3]> = points.iter().map(|_| Default::default()).collect();
    let mut own = Filled::new(DedupWindow::allocate(CAPACITY, WINDOW_NS), true);
    let mut std_map = Filled::new(std_map(CAPACITY), false);
    let mut hashbrown_map = Filled::new(hashbrown_map(CAPACITY), false);
    for round in 0..=effort.rounds {
        own.begin();
        std_map.begin();
        hashbrown_map.begin();
        for (point, [first, second, third]) in points.iter().zip(&mut outcomes) {
            own.at(point, first, round > 0);
            std_map.at(point, second, round > 0);
            hashbrown_map.at(point, third, round > 0);
        }
    }
    let mut curves = NAMES.map(|name| (name, Vec::new()));
    for (point, outcomes) in points.iter().zip(&mut outcomes) {
        let rows = rows(&NAMES, outcomes);
        let unit = if point.of_copies { "a look that finds an id of any age" } else { "a look and an entry" };
        let title =
            format!("dedup, {} of {CAPACITY} entries there: {unit}, blocks of {OPERATIONS}", point.label);
        book.add(&title, effort, Some(DEDUP).filter(|_| !point.of_copies), &rows);
        if !point.of_copies {
            // A logarithm has no place for none.
            let at = |row: &Row| (point.fill.max(100) as f64, row.percentiles[0]);
            curves.iter_mut().zip(&rows).for_each(|((_, points), row)| points.push(at(row)));
        }
    }
    let quoted = ("the ancestor, quoted", vec![(100.0, 130.0), (CAPACITY as f64, 11_500.0)]);
    curve.map_or(Ok(()), |path| curve::draw(path, &[curves.as_slice(), &[quoted]].concat()))
}

fn std_map(entries_max: usize) -> Map<HashMap<u128, Nanos>> {
    let order = VecDeque::with_capacity(entries_max + 1);
    Map { map: HashMap::with_capacity(entries_max), order, entries_max }
}

fn hashbrown_map(entries_max: usize) -> Map<Hashbrown<u128, Nanos>> {
    let order = VecDeque::with_capacity(entries_max + 1);
    Map { map: Hashbrown::with_capacity(entries_max), order, entries_max }
}

/// A window that the caches hold: what is spent on instructions, where the others wait for memory.
fn compare_small(effort: Effort, book: &mut Book) {
    let count = if effort.short { 50 } else { 1_000 };
    let mut own = DedupWindow::allocate(SMALL, WINDOW_NS);
    let (mut std_map, mut hashbrown_map) = (std_map(SMALL), hashbrown_map(SMALL));
    let mut next = [0; 3];
    let [own_next, std_next, hashbrown_next] = &mut next;
    book.table(
        &format!("dedup, all of {SMALL} entries there, each new id evicts the oldest: a look and an entry, blocks of {OPERATIONS}"),
        effort,
        Some(DEDUP),
        &mut [
            contender(NAMES[0], |samples| {
                samples.reserve(count);
                (0..count).for_each(|_| sample(samples, OPERATIONS, || new_ids(&mut own, own_next)));
            }),
            contender(NAMES[1], |samples| {
                (0..count).for_each(|_| sample_of_any(samples, OPERATIONS, || new_ids(&mut std_map, std_next)));
            }),
            contender(NAMES[2], |samples| {
                (0..count)
                    .for_each(|_| sample_of_any(samples, OPERATIONS, || new_ids(&mut hashbrown_map, hashbrown_next)));
            }),
        ],
    );
}
