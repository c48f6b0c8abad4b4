//! The real CME capture less 115 stretches of numbers, the same on both lines.

use crate::program::{capture, decoded, number, word};
use serde_json::Value;
use sluice::event::LinkType;
use sluice::source::capture::CaptureReader;
use sluice::wire::link;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const GAPS: u64 = 115;

/// The capture's first and last packet number on both lines.
const FIRST: u64 = 5_615;
const LAST: u64 = 10_614;

/// Numbers from the begin of one stretch to that of the next.
const STRIDE: u64 = 43;

/// Whether the stretches hold this number: 115 of 1 to 12 numbers, each behind some that are there.
fn is_left_out(sequence: u64) -> bool {
    let offset = sequence - FIRST;
    let (stretch, place) = (offset / STRIDE, offset % STRIDE);
    stretch < GAPS && (20..21 + stretch * 7 % 12).contains(&place)
}

/// Packet number and message templates of a payload, by the message sizes alone.
fn packet(payload: &[u8]) -> (u64, Vec<u16>) {
    let field = |at: usize| u16::from_le_bytes([payload[at], payload[at + 1]]);
    let mut templates = Vec::new();
    let mut at = 12;
    while at < payload.len() {
        templates.push(field(at + 4));
        at += usize::from(field(at));
    }
    (u64::from(u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]])), templates)
}

/// What the capture holds without the stretches, of both lines together.
#[derive(Default)]
struct Kept {
    packets: u64,
    numbers: BTreeSet<u64>,
    by_type: BTreeMap<String, u64>,
}

/// Writes the records of `source` that are not left out to `target` (pcap, nanoseconds), in their order.
fn write_kept(source: &Path, target: &Path) -> Kept {
    let mut kept = Kept::default();
    let header = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1];
    let mut file: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let mut reader = CaptureReader::open(source).expect("opens");
    while let Some(record) = reader.next_record().expect("reads") {
        let payload = link::parse(record.bytes, LinkType::Ethernet).expect("UDP").payload;
        let (sequence, templates) = packet(payload);
        if is_left_out(sequence) {
            continue;
        }
        kept.packets += 1;
        kept.numbers.insert(sequence);
        templates.iter().for_each(|template| *kept.by_type.entry(template.to_string()).or_default() += 1);
        let length = record.bytes.len() as u32;
        let (seconds, nanos) = (record.time_ns / 1_000_000_000, record.time_ns % 1_000_000_000);
        file.extend([seconds as u32, nanos as u32, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(record.bytes);
    }
    std::fs::write(target, file).expect("writes");
    kept
}

/// Ranges of numbers that are not among `numbers`, and how many they are.
fn gaps(numbers: &BTreeSet<u64>) -> (u64, u64) {
    let steps = numbers.iter().zip(numbers.iter().skip(1)).map(|(before, after)| after - before - 1);
    steps.filter(|missing| *missing > 0).fold((0, 0), |(gaps, sum), missing| (gaps + 1, sum + missing))
}

fn check(stream: &Value, kept: &Kept) {
    let messages: u64 = kept.by_type.values().sum();
    let unique = kept.numbers.len() as u64;
    let (gaps, missing) = gaps(&kept.numbers);
    assert_eq!((gaps, missing + unique), (GAPS, LAST - FIRST + 1), "the capture was cut as wanted");
    for (key, expected) in [
        ("gaps", GAPS),
        ("missing", missing),
        ("expected", LAST - FIRST + 1),
        ("packets", kept.packets),
        ("messages", messages),
        ("accepted", messages / 2),
        ("duplicates", messages / 2),
        ("stale", 0),
        ("rejected", 0),
        ("epochs", 1),
    ] {
        assert_eq!(number(stream, &format!("/{key}")), expected, "{key}: {stream:#}");
    }
    assert_eq!(stream["by_type"], serde_json::json!(kept.by_type));
    let wins = number(stream, "/lines/0/wins") + number(stream, "/lines/1/wins");
    assert_eq!((wins, kept.packets), (unique, 2 * unique));
}

#[test]
fn a_capture_with_115_jumps_on_both_lines() {
    let Some(source) = capture("cme-mdp3-ab.pcapng") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("jumps.pcap");
    let kept = write_kept(&source, &target);
    let found = decoded(&[word(&target)]);
    let streams = found["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 1, "{found:#}");
    check(&streams[0], &kept);
}
