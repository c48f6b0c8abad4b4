//! The real CME capture less 115 stretches of numbers, the same on both lines.

use crate::program::{capture, decoded, number, sluice, text, word};
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

/// Ranges of numbers that are not among `numbers`: the first and the last of each.
fn gaps(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let steps = numbers.iter().zip(numbers.iter().skip(1));
    steps
        .filter(|(before, after)| **before + 1 < **after)
        .map(|(before, after)| (before + 1, after - 1))
        .collect()
}

fn check(stream: &Value, kept: &Kept) {
    let messages: u64 = kept.by_type.values().sum();
    let unique = kept.numbers.len() as u64;
    let gaps = gaps(&kept.numbers);
    let missing = gaps.iter().map(|(first, last)| last - first + 1).sum::<u64>();
    let cut = (gaps.len() as u64, missing + unique);
    assert_eq!(cut, (GAPS, LAST - FIRST + 1), "the capture was cut as wanted");
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

/// Exactly the gaps that were cut are listed, each as lost, skipped by a line and brought by none.
fn check_listing(listing: &Value, kept: &Kept) {
    let listing = listing.as_array().expect("gaps");
    let listed: Vec<(u64, u64)> =
        listing.iter().map(|gap| (number(gap, "/first"), number(gap, "/last"))).collect();
    assert_eq!(listed, gaps(&kept.numbers));
    for gap in listing {
        assert_eq!((&gap["end"], &gap["brought_by"]), (&"lost".into(), &serde_json::json!([])), "{gap}");
        assert!(["A", "B"].contains(&gap["skipped_on"].as_str().expect("a line")), "{gap}");
        assert!(number(gap, "/opened_ns") <= number(gap, "/ended_ns"), "{gap}");
    }
}

/// The packet numbers of what is delivered, in the order of its delivery.
fn delivered(words: &[&str]) -> Vec<u64> {
    let output = sluice(&[&["decode", "--messages"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    let line = |line: &str| number(&serde_json::from_str(line).expect("JSON"), "/sequence");
    text(&output.stdout).lines().map(line).collect()
}

const IN_ORDER: &str = "
[[feed]]
name = 'cme'
protocol = 'cme-mdp3'
lines = [
    { name = 'A', destination = '224.0.31.64:14340' },
    { name = 'B', destination = '224.0.32.64:15340' },
]
[feed.integrity]
delivery = 'in-order'
";

#[test]
fn a_capture_with_115_jumps_on_both_lines() {
    let Some(source) = capture("cme-mdp3-ab.pcapng") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (target, config) = (folder.path().join("jumps.pcap"), folder.path().join("in-order.toml"));
    std::fs::write(&config, IN_ORDER).expect("writes");
    let kept = write_kept(&source, &target);
    let as_arrived = [word(&target)];
    let in_order = [word(&target), "--config", word(&config)];
    for words in [&as_arrived[..], &in_order] {
        let found = decoded(&[words, &["--explain-gaps"]].concat());
        let streams = found["streams"].as_array().expect("streams");
        assert_eq!(streams.len(), 1, "{found:#}");
        check(&streams[0], &kept);
        check_listing(&found["gaps"], &kept);
        assert_eq!(streams[0]["status"], "stale");
        let delivered = delivered(words);
        assert_eq!(delivered.iter().copied().collect::<BTreeSet<_>>(), kept.numbers);
        assert!(delivered.is_sorted(), "lines that lose nothing of their own keep the order");
    }
}

#[test]
fn the_whole_capture_is_delivered_once_and_in_order() {
    let Some(source) = capture("cme-mdp3-ab.pcapng") else { return };
    let delivered = delivered(&[word(&source)]);
    assert_eq!((delivered.len(), delivered.is_sorted()), (10_273, true));
    assert_eq!(delivered.into_iter().collect::<BTreeSet<_>>(), (FIRST..=LAST).collect());
}
