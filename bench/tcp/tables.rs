//! The tables, and how the aims are met.

use crate::Row;
use crate::client::{Load, frame_bytes};
use crate::pipeline::{Contender, Run};
use sluice::ledger::Percentiles;

/// Aims: against the spinning and the waiting epoll, of the latter's system calls, calls per event, events a second.
const VERSUS_SPINNING: f64 = 1.0;
const VERSUS_WAITING: f64 = 1.3;
const OF_ITS_CALLS: f64 = 0.1;
const CALLS_PER_EVENT: f64 = 0.001;
const EVENTS_PER_S: f64 = 10e6;
/// The payload that the last one is for.
const AIMED_PAYLOAD_BYTES: usize = 64;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of a row's rates.
pub(crate) fn median_rate(row: &Row) -> f64 {
    median(row.runs.iter().map(Run::rate).collect())
}

fn find(rows: &[Row], contender: Contender) -> Option<usize> {
    rows.iter().position(|row| row.contender == contender)
}

/// The median of the ratios of two rows' rates, round by round.
fn ratio(row: &Row, to: Option<&Row>) -> f64 {
    let pairs = to.into_iter().flat_map(|to| row.runs.iter().zip(&to.runs));
    median(pairs.map(|(one, other)| one.rate() / other.rate()).collect())
}

/// System calls for each event, the kernel's count if there is one.
fn calls_per_event(counted: &Run) -> f64 {
    counted.calls.unwrap_or(counted.own_calls) as f64 / counted.events as f64
}

/// CPU time of the shard's thread for each event: where it spins, its waits are in it.
fn cpu_ns_per_event(run: &Run) -> f64 {
    run.cpu_ns.map_or(f64::NAN, |ns| ns as f64 / run.events as f64)
}

/// Prints a line for each reader: rates, ratios, system calls; and the aims below.
pub(crate) fn print_rates(rows: &[Row], counted: &[Run], load: Load, rounds: usize) {
    let frame = frame_bytes(load.payload_bytes);
    println!(
        "\n{} connection(s), {} B of payload ({frame} B frames), {} events a run, {rounds} interleaved rounds",
        load.connections, load.payload_bytes, load.events
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>12} {:>11} {:>12} {:>12}",
        "",
        "million/s",
        "worst",
        "MB/s",
        "CPU ns",
        "to spinning",
        "to waiting",
        "calls/event",
        "reader's own"
    );
    let spinning = find(rows, Contender::EpollSpin);
    let waiting = find(rows, Contender::EpollWait);
    for (row, counted) in rows.iter().zip(counted) {
        let rate = median_rate(row);
        let worst = row.runs.iter().map(Run::rate).fold(f64::INFINITY, f64::min);
        println!(
            "{:<22} {:>9.2} {:>9.2} {:>9.0} {:>9.1} {:>12.2} {:>11.2} {:>12.6} {:>12.6}",
            row.contender.name(),
            rate / 1e6,
            worst / 1e6,
            rate * frame as f64 / 1e6,
            median(row.runs.iter().map(cpu_ns_per_event).collect()),
            ratio(row, spinning.map(|at| &rows[at])),
            ratio(row, waiting.map(|at| &rows[at])),
            calls_per_event(counted),
            counted.own_calls as f64 / counted.events as f64,
        );
    }
    let method = match counted.iter().all(|run| run.calls.is_some()) {
        true => "by the kernel's tracepoint, idling included, in a run of its own",
        false => "by the reader itself, for want of the tracepoint",
    };
    println!("calls/event: {method}");
    let ours = [Contender::Sluice, Contender::SluiceBackoff, Contender::SluiceSqpoll];
    for at in ours.into_iter().filter_map(|contender| find(rows, contender)) {
        let of_waiting =
            waiting.map_or(f64::NAN, |of| calls_per_event(&counted[at]) / calls_per_event(&counted[of]));
        println!("{}:", rows[at].contender.name());
        print_aim("to spinning epoll", ratio(&rows[at], spinning.map(|to| &rows[to])), VERSUS_SPINNING, true);
        print_aim("to waiting epoll", ratio(&rows[at], waiting.map(|to| &rows[to])), VERSUS_WAITING, true);
        print_aim("calls of waiting epoll's", of_waiting, OF_ITS_CALLS, false);
        print_aim("calls per event", calls_per_event(&counted[at]), CALLS_PER_EVENT, false);
        if load.payload_bytes == AIMED_PAYLOAD_BYTES {
            print_aim("million events/s", median_rate(&rows[at]) / 1e6, EVENTS_PER_S / 1e6, true);
        }
    }
}

fn print_aim(what: &str, is: f64, aim: f64, at_least: bool) {
    let (sign, met) = if at_least { ('≥', is >= aim) } else { ('≤', is <= aim) };
    let word = match (is.is_nan(), met) {
        (true, _) => "not measured",
        (_, true) => "met",
        (_, false) => "missed",
    };
    println!("  {what:<26} {is:>10.5}  aim {sign} {aim:<6} {word}");
}

/// Prints a line for each reader: how old events were when they were processed, and how late the client was.
pub(crate) fn print_ages(rows: &[Row], load: Load, rounds: usize) {
    println!(
        "\n{} connection(s), {} B of payload, {:.2} million events/s, open loop: age at the processor, µs (medians \
         over {rounds} rounds, the worst max)",
        load.connections,
        load.payload_bytes,
        load.rate.unwrap_or_default() / 1e6
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>20} {:>9}",
        "", "p50", "p99", "p99.9", "max", "client's own p50", "p99"
    );
    for row in rows {
        let of = |pick: fn(&Run) -> u64| median(row.runs.iter().map(|run| pick(run) as f64 / 1e3).collect());
        let worst = row.runs.iter().map(|run| run.age.max as f64 / 1e3).fold(0.0, f64::max);
        println!(
            "{:<22} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>20.1} {:>9.1}",
            row.contender.name(),
            of(|run| run.age.p50),
            of(|run| run.age.p99),
            of(|run| run.age.p999),
            worst,
            of(|run| run.lateness.p50),
            of(|run| run.lateness.p99),
        );
    }
    debug_assert!(rows.iter().all(|row| row.runs.iter().all(|run| run.age != Percentiles::default())));
}
