//! Evaluating real events by 10, 100 and 1,000 rules: one program for all of them, against one rule after the other.
//!
//! Invariant: both give the same alerts, which is checked before anything is measured.

use crate::common::{Contender, Effort, contender};
use crate::events::Events;
use crate::tables::{Book, sample};
use sluice::config::RuleSet;
use sluice::process::rules::{Engine, Places, Program};
use std::fmt::Write as _;

/// Events of a sample.
const BLOCK: usize = 64;
/// The feeds, in their order.
pub(crate) const FEEDS: [&str; 2] = ["iex-tops", "cme-futures"];
const COUNTS: [usize; 3] = [10, 100, 1_000];
/// Samples of a round, times rules, so that a round takes about as long with any number.
const RULES_PER_ROUND: usize = 20_000;

/// What rules look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// As one would write them: six of ten for instruments by name, others for a message type, a topic, another protocol.
    Usual,
    /// Each of them has to be asked about each event.
    AllEvents,
}

pub(crate) fn compare(effort: Effort, book: &mut Book) {
    let (iex_name, iex) = Events::iex(0);
    let mut feeds = vec![(iex_name, "iex-tp", iex)];
    feeds.extend(Events::cme(1).map(|events| ("CME", "cme-mdp3", events)));
    for (name, protocol, mut events) in feeds {
        let instruments = events.instruments();
        for mix in [Mix::Usual, Mix::AllEvents] {
            for count in COUNTS {
                let text = rules(count, mix, protocol, &instruments);
                let alerts = check(&text, &events, if effort.short { 20_000 } else { 2_000_000 } / count);
                let words = match mix {
                    Mix::Usual => "6 of 10 for one instrument each",
                    Mix::AllEvents => "each asked about every event",
                };
                book.table(
                    &format!(
                        "rules, {count} of them, {words}; events of {name} ({alerts:.1} % alert), blocks of {BLOCK}"
                    ),
                    effort,
                    None,
                    &mut [one_program(&text, &events, count, effort), scan(&text, &events, count, effort)],
                );
            }
        }
    }
}

/// Compiles rules.
pub(crate) fn engine(text: &str) -> Engine {
    engine_of(&RuleSet::from_text(text, "the bench").expect("is right"))
}

fn engine_of(set: &RuleSet) -> Engine {
    let places = Places::new(FEEDS.map(str::to_owned).into(), FEEDS.len());
    Engine::new(Box::new(Program::compile(&set.rules, &places, 1, None).expect("compiles")))
}

/// An engine for each rule.
fn engines(text: &str) -> Vec<Engine> {
    let set = RuleSet::from_text(text, "the bench").expect("is right");
    let one = |index: usize| RuleSet { rules: vec![set.rules[index].clone()], ..set.clone() };
    (0..set.rules.len()).map(|index| engine_of(&one(index))).collect()
}

/// Whether program and scan give the same alerts, or else a panic. Returns how many of 100 events gave one or more.
fn check(text: &str, events: &Events, count: usize) -> f64 {
    let (mut engine, mut engines, mut events) = (engine(text), engines(text), events.clone());
    let count = count.min(events.len());
    let (mut own, mut scanned, mut alerting) = (Vec::new(), Vec::new(), 0u64);
    events.prepare(count);
    events.show(count, |subject| {
        own.clear();
        scanned.clear();
        engine.evaluate(subject, 9, &mut |alert| own.push((alert.rule as usize, alert.key, alert.value)));
        for (index, engine) in engines.iter_mut().enumerate() {
            engine.evaluate(subject, 9, &mut |alert| scanned.push((index, alert.key, alert.value)));
        }
        // The program goes by entries first, the scan by rules.
        own.sort_by_key(|alert| alert.0);
        assert_eq!(own, scanned);
        alerting += u64::from(!own.is_empty());
    });
    alerting as f64 * 100.0 / count as f64
}

fn one_program<'a>(text: &str, events: &Events, rules: usize, effort: Effort) -> Contender<'a> {
    let (mut engine, mut events) = (engine(text), events.clone());
    let count =
        (if effort.short { RULES_PER_ROUND / 40 } else { 2 * RULES_PER_ROUND } / rules).clamp(10, 2_000);
    let mut alerts = 0u64;
    contender("sluice, one program", move |samples| {
        samples.reserve(count);
        for _ in 0..count {
            events.prepare(BLOCK);
            sample(samples, BLOCK, || {
                events.show(BLOCK, |subject| engine.evaluate(subject, 9, &mut |_| alerts += 1));
            });
        }
        std::hint::black_box(alerts);
    })
}

/// The same predicates, but each rule looks for itself whether an event is of its kind, and decodes it for itself.
fn scan<'a>(text: &str, events: &Events, rules: usize, effort: Effort) -> Contender<'a> {
    let (mut engines, mut events) = (engines(text), events.clone());
    let count = (if effort.short { RULES_PER_ROUND / 40 } else { RULES_PER_ROUND } / rules).clamp(10, 2_000);
    let mut alerts = 0u64;
    contender("a scan, one rule after the other", move |samples| {
        for _ in 0..count {
            events.prepare(BLOCK);
            sample(samples, BLOCK, || {
                events.show(BLOCK, |subject| {
                    engines.iter_mut().for_each(|engine| engine.evaluate(subject, 9, &mut |_| alerts += 1));
                });
            });
        }
        std::hint::black_box(alerts);
    })
}

/// A file of rules.
pub(crate) fn rules(count: usize, mix: Mix, protocol: &str, instruments: &[String]) -> String {
    let mut text = String::new();
    for index in 0..count {
        let rule = match mix {
            Mix::Usual => usual(index, protocol, instruments),
            Mix::AllEvents => of_all_events(index, protocol),
        };
        writeln!(text, "[[rule]]\nid = 'r{index}'\n{rule}").expect("memory takes text");
    }
    text
}

fn usual(index: usize, protocol: &str, instruments: &[String]) -> String {
    let step = index / 10;
    // Half of the instruments that are named are busy ones.
    let place = if index.is_multiple_of(2) { index / 2 } else { index * 37 };
    let instrument = &instruments[place % instruments.len()];
    let of_one = format!("keys_max = 16\nmatch = {{ protocol = '{protocol}', symbols = [{instrument}] }}");
    let of_all = format!("keys_max = 4096\nmatch = {{ protocol = '{protocol}' }}");
    match index % 10 {
        0 => format!(
            "{of_one}\ncooldown_seconds = 1\npredicates = [{{ field = 'price', measure = 'change_bps_abs', op = '>=', value = {} }}]",
            5 + step
        ),
        1 => {
            format!("{of_one}\npredicates = [{{ field = 'size', op = '>=', value = {} }}]", 500 + 100 * step)
        }
        2 => {
            format!("{of_one}\npredicates = [{{ field = 'notional', op = '>', value = {} }}]", 100_000 + step)
        }
        3 => {
            format!("{of_one}\nwindow = {{ count = {}, seconds = 1 }}\ncooldown_seconds = 1", 20 + step % 40)
        }
        4 => format!(
            "{of_one}\npredicates = [{{ field = 'side', op = '==', value = 'bid' }}, {{ field = 'price', measure = 'change', op = '<', value = -{} }}]",
            1 + step % 5
        ),
        5 => format!(
            "{of_one}\npredicates = [{{ field = 'action', op = '==', value = 'trade' }}, {{ field = 'price', op = '>', value = {} }}]",
            10 * (1 + step)
        ),
        6 => format!(
            "{of_all}\npredicates = [{{ field = 'action', op = '==', value = 'trade' }}, {{ field = 'size', op = '>=', value = {} }}]",
            10_000 + step
        ),
        7 => format!(
            "match = {{ topic = 'host.{step}' }}\npredicates = [{{ field = 'value.busy_pct', op = '>', value = 95 }}]"
        ),
        8 => "match = { protocol = 'moldudp64-itch50', types = ['H'] }".to_owned(),
        _ => format!(
            "{of_all}\npredicates = [{{ field = 'payload_bytes', op = '>', value = {} }}]",
            1_000 + step
        ),
    }
}

fn of_all_events(index: usize, protocol: &str) -> String {
    let step = index / 5;
    let of_all = format!("keys_max = 1024\nmatch = {{ protocol = '{protocol}' }}");
    match index % 5 {
        0 => format!(
            "{of_all}\npredicates = [{{ field = 'size', op = '>=', value = {} }}]",
            5_000 + 100 * step
        ),
        1 => format!(
            "{of_all}\npredicates = [{{ field = 'notional', op = '>', value = {} }}]",
            9_000_000 + step
        ),
        2 => format!(
            "{of_all}\ncooldown_seconds = 10\npredicates = [{{ field = 'side', op = '==', value = 'bid' }}, {{ field = 'price', measure = 'change_bps_abs', op = '>=', value = {} }}]",
            500 + step
        ),
        3 => format!(
            "{of_all}\npredicates = [{{ field = 'payload_bytes', op = '>', value = {} }}]",
            500 + step
        ),
        _ => format!(
            "{of_all}\npredicates = [{{ field = 'instrument', op = 'starts_with', value = 'Q{}' }}, {{ field = 'size', op = '<', value = 100 }}]",
            step % 100
        ),
    }
}
