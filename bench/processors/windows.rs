//! What an event costs in the batch processor's windows, closing included, against a map of sums.
//!
//! Invariant: time goes on from pass to pass, so that windows close and none of the events is late.

use crate::common::{Contender, Effort, contender};
use crate::events::Events;
use crate::tables::{Book, sample, sample_of_any};
use hashbrown::HashMap;
use sketches_ddsketch::{Config, DDSketch};
use sluice::config::Settings;
use sluice::event::{Nanos, Protocol};
use sluice::process::Fate;
use sluice::process::windows::WindowEngine;
use sluice::wire::{Action, Instrument};

/// Events of a sample.
const BLOCK: usize = 64;

const TUMBLING: &str = "group_by = 'symbol'";
const WITHOUT_QUANTILES: &str = "group_by = 'symbol'\nquantiles = []";
const SLIDING: &str = "group_by = 'symbol'\nkind = 'sliding'\nlength_ms = 5000\nslide_ms = 1000";
const TOPICS: &str = "group_by = 'topic'";

pub(crate) fn compare(effort: Effort, book: &mut Book) {
    let (name, iex) = Events::iex(0);
    let trades = iex.of_kind(b'T');
    let count = if effort.short { 20 } else { 500 };
    book.table(
        &format!(
            "windows, the {} trades of {name}, over and over; 5 s each, blocks of {BLOCK}",
            trades.len()
        ),
        effort,
        None,
        &mut [
            own("sluice, tumbling, 3 quantiles", TUMBLING, &trades, count),
            own("sluice, tumbling, no quantiles", WITHOUT_QUANTILES, &trades, count),
            own("sluice, sliding by 1 s, 3 quantiles", SLIDING, &trades, count),
            map("HashMap of sums and DDSketches", true, &trades, count),
            map("HashMap of sums alone", false, &trades, count),
        ],
    );
    book.table(
        &format!("windows, all {} events of {name}, of which trades count; blocks of {BLOCK}", iex.len()),
        effort,
        None,
        &mut [
            own("sluice, tumbling, 3 quantiles", TUMBLING, &iex, count),
            own("sluice, sliding by 1 s, 3 quantiles", SLIDING, &iex, count),
        ],
    );
    let events = if effort.short { 10_000 } else { 200_000 };
    let (few, many) = (Events::of_topics(100, events), Events::of_topics(2_000, events));
    book.table(
        &format!("windows, native events by topic; 5 s tumbling, blocks of {BLOCK}"),
        effort,
        None,
        &mut [
            own("sluice, 100 topics, 3 quantiles", TOPICS, &few, count),
            own("sluice, 2,000 topics, 3 quantiles", TOPICS, &many, count),
        ],
    );
}

fn own<'a>(name: &'static str, keys: &str, events: &Events, count: usize) -> Contender<'a> {
    let text = format!("[[batch.window]]\nname = 'w'\n{keys}\n");
    let settings = Settings::from_text(&text, "the bench").expect("is right");
    let mut engine = WindowEngine::allocate(&settings.windows).expect("the patterns are right");
    let mut events = events.clone();
    let mut closed = 0u64;
    contender(name, move |samples| {
        samples.reserve(count);
        for _ in 0..count {
            events.prepare(BLOCK);
            sample(samples, BLOCK, || {
                events.show(BLOCK, |subject| {
                    let fate = engine.process(subject, 0, &mut |_| closed += 1);
                    assert_eq!(fate, Fate::Delivered);
                });
            });
        }
        std::hint::black_box(closed);
    })
}

/// What one would write down of a window.
#[derive(Default)]
struct Sums {
    count: u64,
    sum: f64,
    notional: f64,
    volume: u64,
    min: f64,
    max: f64,
    last: f64,
    sketch: Option<DDSketch>,
}

/// A map that is drained whenever the next window begins: nothing may come late.
fn map<'a>(name: &'static str, with_sketch: bool, events: &Events, count: usize) -> Contender<'a> {
    const LENGTH_NS: Nanos = 5_000_000_000;
    let mut events = events.clone();
    let mut windows: HashMap<(Protocol, Instrument), Sums> = HashMap::with_capacity(4_096);
    let (mut window, mut told) = (0, 0.0);
    contender(name, move |samples| {
        for _ in 0..count {
            events.prepare(BLOCK);
            sample_of_any(samples, BLOCK, || {
                events.show(BLOCK, |subject| {
                    let at = subject.header.source_ns / LENGTH_NS;
                    if at > window {
                        window = at;
                        told += windows.drain().map(|(_, sums)| tell(&sums)).sum::<f64>();
                    }
                    subject.entries(&mut |entry| {
                        let (Action::Trade, Some(price)) = (entry.action, entry.price) else { return };
                        let price = price.mantissa as f64 / 10f64.powi(price.decimals.into());
                        let sums = windows.entry((subject.protocol(), entry.instrument)).or_default();
                        add(sums, price, entry.size, with_sketch);
                    });
                });
            });
        }
        std::hint::black_box(told);
    })
}

#[inline]
fn add(sums: &mut Sums, price: f64, size: u64, with_sketch: bool) {
    (sums.min, sums.max) = match sums.count {
        0 => (price, price),
        _ => (sums.min.min(price), sums.max.max(price)),
    };
    sums.count += 1;
    sums.sum += price;
    sums.notional += price * size as f64;
    sums.volume += size;
    sums.last = price;
    if with_sketch {
        sums.sketch.get_or_insert_with(|| DDSketch::new(Config::new(0.01, 256, 1.0e-9))).add(price);
    }
}

/// What a closed window says.
fn tell(sums: &Sums) -> f64 {
    let quantile = |share| {
        let sketch = sums.sketch.as_ref()?;
        sketch.quantile(share).ok().flatten()
    };
    let quantiles: f64 = [0.5, 0.9, 0.99].into_iter().filter_map(quantile).sum();
    let mean = sums.sum / sums.count.max(1) as f64;
    let vwap = sums.notional / sums.volume.max(1) as f64;
    quantiles + mean + vwap + sums.min + sums.max + sums.last
}
