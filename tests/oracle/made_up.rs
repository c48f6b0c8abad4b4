//! Made-up sessions, whose own counts are the oracle, in every wrapping that a capture may have.

use crate::program::{decoded, number, word};
use crate::replay::replayed;
use serde_json::{Value, json};
use sluice::replay::synthetic::{Counts, Packet, Session, iex_session, itch_session, pcap_bytes};
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("writes");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("packs");
    packer.finish().expect("packs")
}

fn check(session: &Session, protocol: &str, found: &Value) {
    let Counts { messages, by_type, lines } = &session.counts;
    let streams = found["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 1);
    let stream = &streams[0];
    assert_eq!(stream["protocol"], protocol);
    let types = by_type.iter().map(|(letter, count)| (char::from(*letter).to_string(), json!(2 * count)));
    assert_eq!(stream["by_type"], Value::Object(types.collect()));
    let sum = |count: fn(&sluice::replay::synthetic::LineCounts) -> u64| lines.iter().map(count).sum::<u64>();
    for (key, expected) in [
        ("packets", sum(|l| l.packets)),
        ("heartbeats", sum(|l| l.heartbeats + l.ends)),
        ("messages", 2 * messages),
        ("duplicates", *messages),
        ("accepted", *messages),
        ("expected", *messages),
        ("missing", 0),
        ("stale", 0),
        ("rejected", 0),
        ("epochs", 1),
    ] {
        assert_eq!(stream[key], expected, "{key}");
    }
    // Lines are named in the order in which they appear.
    let first = session.packets[0].destination;
    let mut in_order: Vec<_> = lines.iter().collect();
    in_order.sort_by_key(|line| line.destination != first);
    for (at, line) in in_order.into_iter().enumerate() {
        let found = &stream["lines"][at];
        assert_eq!(found["name"], ["A", "B"][at]);
        assert_eq!(found["packets"], line.packets);
        assert_eq!(found["wins"], line.wins);
        assert_eq!(found["only"], 0);
        assert_eq!(found["duplicates"], messages - line.wins);
    }
}

#[test]
fn made_up_sessions_are_found_in_every_wrapping() {
    let folder = tempfile::tempdir().expect("a folder");
    for (session, protocol) in
        [(itch_session(3, 8_000), "moldudp64-itch50"), (iex_session(4, 8_000), "iex-tp")]
    {
        let plain = pcap_bytes(&session.packets);
        let zstd = zstd::encode_all(&plain[..], 1).expect("packs");
        for (name, bytes) in [("plain.pcap", &plain), ("misnamed.pcapng", &gzip(&plain)), ("x.zst", &zstd)] {
            let path = write(folder.path(), name, bytes);
            let found = decoded(&[word(&path)]);
            check(&session, protocol, &found);
            let report = replayed(&[word(&path), "--protocol", protocol]);
            check(&session, protocol, &report);
            assert_eq!(report["streams"], found["streams"], "{protocol} {name}");
        }
    }
}

#[test]
fn looped_sessions_begin_an_epoch_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    for session in [itch_session(5, 3_000), iex_session(6, 3_000)] {
        let path = write(folder.path(), "loop.pcap", &pcap_bytes(&session.packets));
        let report = replayed(&[word(&path), "--loop", "3"]);
        let stream = &report["streams"][0];
        assert_eq!((number(stream, "/epochs"), number(stream, "/accepted")), (3, 9_000), "{stream:#}");
        assert_eq!((number(stream, "/duplicates"), number(stream, "/missing")), (9_000, 0), "{stream:#}");
    }
}

const A: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(233, 54, 12, 111), 26_477);
const B: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(233, 54, 12, 112), 26_477);

/// A MoldUDP64 packet of system event messages numbered from `sequence`.
fn mold(time_ns: u64, destination: SocketAddrV4, sequence: u64, count: u16) -> Packet {
    let mut payload = b"000000042X".to_vec();
    payload.extend(sequence.to_be_bytes());
    payload.extend(count.to_be_bytes());
    for number in sequence..sequence + u64::from(count) {
        payload.extend(12u16.to_be_bytes());
        payload.extend([b'S', 0, 0, 0, 0]);
        payload.extend(&number.to_be_bytes()[2..]);
        payload.push(b'O');
    }
    Packet { time_ns, destination, payload }
}

fn decode_packets(packets: &[Packet]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "packets.pcap", &pcap_bytes(packets));
    let found = decoded(&[word(&path)]);
    assert_eq!(found["streams"], replayed(&[word(&path)])["streams"]);
    found
}

#[test]
fn single_message_packets() {
    let packets: Vec<_> = (0..5_000).map(|n| mold(1_000 + n, A, 77 + n, 1)).collect();
    let found = decode_packets(&packets);
    let stream = &found["streams"][0];
    assert_eq!((number(stream, "/packets"), number(stream, "/accepted")), (5_000, 5_000));
    assert_eq!((number(stream, "/expected"), number(stream, "/gaps")), (5_000, 0));
    assert_eq!(stream["session"], "000000042X");
}

#[test]
fn two_lines_segmented_differently_repair_each_other() {
    // A: one message a packet, every tenth lost. B: seven a packet, later, every fifth packet lost.
    let a = (0..7_000u64).filter(|n| n % 10 != 0).map(|n| mold(10_000 + 10 * n, A, 1 + n, 1));
    let b = (0..1_000u64).filter(|n| n % 5 != 4).map(|n| mold(10_000 + 70 * n + 65, B, 1 + 7 * n, 7));
    let mut packets: Vec<_> = a.chain(b).collect();
    packets.sort_by_key(|packet| packet.time_ns);
    let found = decode_packets(&packets);
    let stream = &found["streams"][0];
    let lost_on_a = |n: u64| n.is_multiple_of(10);
    let lost_on_b = |n: u64| (n / 7) % 5 == 4;
    let missing: Vec<u64> = (0..7_000).filter(|n| lost_on_a(*n) && lost_on_b(*n)).collect();
    assert_eq!(missing.len(), 100);
    let both = (0..7_000).filter(|n| !lost_on_a(*n) && !lost_on_b(*n)).count() as u64;
    assert_eq!(number(stream, "/missing"), missing.len() as u64);
    assert_eq!(number(stream, "/gaps"), missing.len() as u64, "each stands alone");
    assert_eq!(number(stream, "/accepted"), 7_000 - missing.len() as u64);
    assert_eq!((number(stream, "/duplicates"), number(stream, "/stale")), (both, 0));
    let only = |line: usize| number(stream, &format!("/lines/{line}/only"));
    let count = |of: &dyn Fn(u64) -> bool| (0..7_000).filter(|n| of(*n)).count() as u64;
    // The first packet is B's: number 1 is lost on A.
    let first_is_b = packets[0].destination == B;
    let (a, b) = if first_is_b { (1, 0) } else { (0, 1) };
    assert_eq!(only(a), count(&|n| !lost_on_a(n) && lost_on_b(n)));
    assert_eq!(only(b), count(&|n| lost_on_a(n) && !lost_on_b(n)));
}

#[test]
fn a_long_gap_is_one_gap() {
    let found = decode_packets(&[mold(1_000, A, 1, 2), mold(2_000, A, 1_000_000, 2)]);
    let stream = &found["streams"][0];
    assert_eq!((number(stream, "/gaps"), number(stream, "/missing")), (1, 999_997));
}

#[test]
fn equal_mach_sessions_on_two_channels_are_two_streams() {
    let mach = |time_ns: u64, group: u8, sequence: u64| {
        let mut payload = sequence.to_le_bytes().to_vec();
        payload.extend(17u16.to_le_bytes());
        payload.extend([3, 1, b'1', 0, 0, 0, 0]);
        let destination =
            SocketAddrV4::new(std::net::Ipv4Addr::new(224, 0, 105, group), 51_000 + u16::from(group));
        Packet { time_ns, destination, payload }
    };
    let packets: Vec<_> =
        (1..=100).flat_map(|n| [mach(1_000 * n, 1, n), mach(1_000 * n + 1, 2, n)]).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "mach.pcap", &pcap_bytes(&packets));
    let report = replayed(&[word(&path), "--protocol", "miax-mach"]);
    let streams = report["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 2);
    for stream in streams {
        assert_eq!((number(stream, "/accepted"), number(stream, "/duplicates")), (100, 0), "{stream:#}");
    }
}

#[test]
fn packets_of_another_sender_than_the_lines_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = itch_session(21, 2_000);
    let file = write(folder.path(), "itch.pcap", &pcap_bytes(&session.packets));
    // Made-up packets come from 192.0.2.1.
    let config = "[[feed]]\nname = 'itch'\nprotocol = 'moldudp64-itch50'\nlines = [\
                  { name = 'A', destination = '233.252.0.1:26477', source = '192.0.2.1' }, \
                  { name = 'B', destination = '233.252.0.2:26477', source = '192.0.2.2' }]\n";
    let config = write(folder.path(), "run.toml", config.as_bytes());
    let found = decoded(&["--config", word(&config), word(&file)]);
    let [a, b] = &session.counts.lines[..] else { panic!("two lines") };
    assert_eq!(number(&found, "/frames/decoded"), a.packets);
    assert_eq!(number(&found, "/frames/rejected/source_not_allowed"), b.packets);
    assert_eq!(number(&found["streams"][0], "/accepted"), session.counts.messages);
    assert_eq!(number(&found["streams"][0], "/duplicates"), 0);
}
