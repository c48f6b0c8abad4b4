//! Lines that fall silent while another goes on, die, and return.

use crate::program::{decoded, word};
use crate::rig::{Arrival, Feeds, Policy};
use crate::venues::mold;
use serde_json::{Value, json};
use sluice::event::Protocol;
use sluice::replay::synthetic::{Packet, pcap_bytes};
use std::net::{Ipv4Addr, SocketAddrV4};

const BEGIN_NS: u64 = 1_700_000_000_000_000_000;
const MS: u64 = 1_000_000;

/// A message on a line, by the millisecond.
fn packet(at_ms: u64, line: u8, number: u64) -> Packet {
    let destination = SocketAddrV4::new(Ipv4Addr::new(233, 54, 12, 111 + line), 26_477);
    Packet { time_ns: BEGIN_NS + at_ms * MS, destination, payload: mold(1, number, 1) }
}

/// The control topics of a capture, and what the second line's book says of silences and deaths.
fn found(packets: &[Packet]) -> (Value, [u64; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lines.pcap");
    std::fs::write(&path, pcap_bytes(packets)).expect("writes");
    let found = decoded(&[word(&path)]);
    let line = &found["streams"][0]["lines"][1];
    assert_eq!(line["name"], "B");
    let count = |key: &str| line[key].as_u64().expect("a count");
    (found["control"]["topics"].clone(), [count("silences"), count("deaths")])
}

#[test]
fn a_line_that_others_leave_behind_is_silent_and_returns() {
    let packets = (0..200).flat_map(|n| {
        let is_silent = (50..100).contains(&n);
        let b = (!is_silent).then(|| packet(100 * n + 1, 1, n + 1));
        std::iter::once(packet(100 * n, 0, n + 1)).chain(b)
    });
    let (topics, book) = found(&packets.collect::<Vec<_>>());
    assert_eq!(topics, json!({ "feed.line.returned": 1, "feed.line.silent": 1 }));
    assert_eq!(book, [1, 0]);
}

#[test]
fn lines_of_a_quiet_stream_are_not_silent() {
    // Half a minute of nothing, then a message on both lines, 30 ms apart, and in between one that A alone has.
    let packets = (0..40).flat_map(|n| {
        let at_ms = 30_000 * n;
        let more = packet(at_ms + 20, 0, 2 * n + 2);
        [
            packet(at_ms, 0, 2 * n + 1),
            more,
            packet(at_ms + 30, 1, 2 * n + 1),
            packet(at_ms + 31, 1, 2 * n + 2),
        ]
    });
    let (topics, book) = found(&packets.collect::<Vec<_>>());
    assert_eq!((topics, book), (json!({}), [0, 0]));
}

#[test]
fn a_line_on_which_nothing_comes_any_more_is_dead() {
    let a = (0..100).map(|n| packet(1_000 * n, 0, n + 1));
    let mut packets: Vec<Packet> = a.collect();
    packets.insert(1, packet(1, 1, 1));
    let (topics, book) = found(&packets);
    assert_eq!(topics, json!({ "feed.line.dead": 1, "feed.line.silent": 1 }));
    assert_eq!(book, [1, 1]);
}

#[test]
fn what_the_clock_says_before_a_capture_begins_means_nothing_to_it() {
    // Minutes of a capture that begins at 0, as captures without dates do, on a machine that was started an hour ago.
    let deaths = |clock_ns: u64| {
        let mut feeds = Feeds::new(Policy::AsArrived, Protocol::Moldudp64Itch50, 1, 2);
        feeds.tick(clock_ns);
        let a = (1..100).map(|n| Arrival { time_ns: 1_000 * n * MS, line: 0, payload: mold(1, n, 1) });
        let mut arrivals: Vec<Arrival> = a.collect();
        arrivals.push(Arrival { time_ns: 1_001 * MS, line: 1, payload: mold(1, 1, 1) });
        feeds.take(&mut arrivals);
        feeds.finish()[0].book.lines[1].deaths
    };
    assert_eq!([deaths(1), deaths(3_600_000 * MS)], [1, 1]);
}
