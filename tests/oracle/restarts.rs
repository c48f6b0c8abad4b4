//! Streams that begin again: restarts under the same session, sequence resets, and captures that end in the middle.

use crate::program::{decoded, number, word};
use crate::replay::replayed;
use serde_json::Value;
use sluice::replay::synthetic::{Packet, pcap_bytes};
use std::net::{Ipv4Addr, SocketAddrV4};

const SECOND: u64 = 1_000_000_000;
const BEGIN_NS: u64 = 1_700_000_000 * SECOND;

/// A DEEP 1.0 segment of price level updates numbered from `sequence`, sent a microsecond before it is captured.
fn deep(time_ns: u64, line: u8, sequence: u64, count: u16) -> Packet {
    let mut payload = vec![1, 0, 0x04, 0x80, 1, 0, 0, 0, 0, 0, 0x95, 0x44];
    payload.extend((32 * count).to_le_bytes());
    payload.extend(count.to_le_bytes());
    payload.extend(0u64.to_le_bytes());
    payload.extend(sequence.to_le_bytes());
    payload.extend((time_ns - 1_000).to_le_bytes());
    for number in sequence..sequence + u64::from(count) {
        payload.extend(30u16.to_le_bytes());
        payload.extend([if number % 2 == 0 { b'8' } else { b'5' }, 1]);
        payload.extend(time_ns.to_le_bytes());
        payload.extend(b"ASPEN   ");
        payload.extend(100u32.to_le_bytes());
        payload.extend(number.to_le_bytes());
    }
    let destination = SocketAddrV4::new(Ipv4Addr::new(233, 215, 21, line), 10_378);
    Packet { time_ns, destination, payload }
}

/// Twelve epochs of one session: each begins with a segment without messages that names number 1.
/// `lag_ns` is how much later than line 1 a line sends, `most` how many messages it packs into one segment.
fn epochs(line: u8, lag_ns: u64, most: u64) -> Vec<Packet> {
    let mut packets = Vec::new();
    for epoch in 0..12 {
        let begin = BEGIN_NS + epoch * SECOND + lag_ns;
        packets.push(deep(begin, line, 1, 0));
        let messages = messages_of(epoch);
        let mut next = 1;
        while next <= messages {
            let count = most.min(messages - next + 1);
            packets.push(deep(begin + 1_000 * (next + count), line, next, count as u16));
            next += count;
        }
        packets.push(deep(begin + SECOND / 2, line, messages + 1, 0));
    }
    packets
}

fn messages_of(epoch: u64) -> u64 {
    100 + 37 * epoch
}

fn messages_in_all() -> u64 {
    (0..12).map(messages_of).sum()
}

/// Decodes and replays this file's bytes; both find the same streams.
fn found_in(bytes: &[u8], words: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made-up.pcap");
    std::fs::write(&path, bytes).expect("writes");
    let words = [&[word(&path)], words].concat();
    let found = decoded(&words);
    let report = replayed(&words);
    assert_eq!(found["streams"], report["streams"]);
    assert_eq!(found["capture"]["files"][0]["stats"], report["capture"]["stats"]);
    found
}

#[test]
fn eleven_restarts_under_one_session_and_a_truncated_tail() {
    let mut bytes = pcap_bytes(&epochs(1, 0, 9));
    let whole = bytes.len();
    bytes.extend(&pcap_bytes(&[deep(BEGIN_NS + 20 * SECOND, 1, 1_000, 9)])[24..]);
    bytes.truncate(whole + 100);
    let found = found_in(&bytes, &[]);
    assert_eq!(number(&found, "/capture/files/0/stats/truncated_tail"), 1);
    let stream = &found["streams"][0];
    assert_eq!((number(stream, "/epochs"), number(stream, "/heartbeats")), (12, 24));
    assert_eq!(number(stream, "/accepted"), messages_in_all());
    assert_eq!(number(stream, "/expected"), messages_in_all());
    for key in ["duplicates", "stale", "rejected", "missing", "gaps"] {
        assert_eq!(stream[key], 0, "{key}");
    }
    assert_eq!(stream["session"], "1150615552");
}

#[test]
fn a_second_line_that_lags_follows_every_restart() {
    // Line 2 announces each restart when line 1 is in the middle of its first messages.
    let mut packets = [epochs(1, 0, 9), epochs(2, 50_000, 4)].concat();
    packets.sort_by_key(|packet| packet.time_ns);
    let found = found_in(&pcap_bytes(&packets), &[]);
    let stream = &found["streams"][0];
    assert_eq!(number(stream, "/epochs"), 12, "{stream:#}");
    assert_eq!(number(stream, "/accepted"), messages_in_all());
    assert_eq!((number(stream, "/duplicates"), number(stream, "/stale")), (messages_in_all(), 0));
    assert_eq!((number(stream, "/missing"), number(stream, "/expected")), (0, messages_in_all()));
}

/// A NYSE packet of one message per type in `kinds`, each with `body_bytes` behind its header.
fn nyse(time_ns: u64, group: u8, flag: u8, sequence: u32, kinds: &[u16]) -> Packet {
    let body: Vec<u8> = kinds
        .iter()
        .flat_map(|kind| [&14u16.to_le_bytes()[..], &kind.to_le_bytes(), &[0; 10]].concat())
        .collect();
    let mut payload = (16 + body.len() as u16).to_le_bytes().to_vec();
    payload.extend([flag, kinds.len() as u8]);
    payload.extend(sequence.to_le_bytes());
    payload.extend(((time_ns / SECOND) as u32).to_le_bytes());
    payload.extend(((time_ns % SECOND) as u32).to_le_bytes());
    payload.extend(body);
    Packet { time_ns, destination: SocketAddrV4::new(Ipv4Addr::new(224, 0, 59, group), 11_000), payload }
}

/// Begins with a sequence reset, and has another one after 300 messages. `lag_ns` is the line's lateness.
fn nyse_line(group: u8, lag_ns: u64) -> Vec<Packet> {
    let at = |n: u64| BEGIN_NS + 10_000 * n + lag_ns;
    let run = |from: u64| {
        (0..100).map(move |n| nyse(at(from + 1 + n), group, 11, 2 + 3 * n as u32, &[100, 103, 102]))
    };
    let heartbeat = nyse(at(150), group, 1, 302, &[]);
    std::iter::once(nyse(at(0), group, 12, 1, &[1]))
        .chain(run(0))
        .chain([heartbeat, nyse(at(200), group, 12, 1, &[1])])
        .chain(run(200))
        .collect()
}

#[test]
fn a_nyse_capture_that_begins_with_a_reset() {
    let found = found_in(&pcap_bytes(&nyse_line(1, 0)), &["--protocol", "nyse-pillar"]);
    let stream = &found["streams"][0];
    assert_eq!((number(stream, "/epochs"), number(stream, "/accepted")), (2, 602), "{stream:#}");
    assert_eq!((number(stream, "/expected"), number(stream, "/missing")), (602, 0));
    assert_eq!(stream["by_type"], serde_json::json!({ "1": 2, "100": 200, "102": 200, "103": 200 }));
    for key in ["duplicates", "stale", "rejected", "gaps"] {
        assert_eq!(stream[key], 0, "{key}");
    }
}

#[test]
fn resets_on_two_configured_lines_are_one_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("nyse.toml");
    let feed = "[[feed]]\nname = \"nyse\"\nprotocol = \"nyse-pillar\"\nlines = [\n\
        { name = \"north\", destination = \"224.0.59.1:11000\" },\n\
        { name = \"south\", destination = \"224.0.59.2:11000\" },\n]\n";
    std::fs::write(&config, feed).expect("writes");
    let mut packets = [nyse_line(1, 0), nyse_line(2, 25_000)].concat();
    packets.sort_by_key(|packet| packet.time_ns);
    let found = found_in(&pcap_bytes(&packets), &["--config", word(&config)]);
    let stream = &found["streams"][0];
    assert_eq!(stream["name"], "nyse");
    assert_eq!((number(stream, "/epochs"), number(stream, "/accepted")), (2, 602), "{stream:#}");
    assert_eq!((number(stream, "/duplicates"), number(stream, "/stale")), (602, 0), "{stream:#}");
    assert_eq!((&stream["lines"][0]["name"], &stream["lines"][0]["wins"]), (&"north".into(), &602.into()));
    assert_eq!((&stream["lines"][1]["name"], &stream["lines"][1]["wins"]), (&"south".into(), &0.into()));
}
