//! TCP flows of captures: what they carry is framed and counted the same way by decode and by replay.

use crate::program::{capture, decoded, json_file, number, sluice, text, total, word};
use crate::replay::replayed;
use serde_json::{Value, json};
use sluice::event::{Destination, LinkType};
use sluice::source::capture::CaptureReader;
use sluice::wire::link;
use std::collections::BTreeMap;
use std::path::Path;

/// Payloads of each direction, one behind the other: for captures without retransmissions and losses.
fn streams(path: &Path) -> BTreeMap<(Destination, Destination), Vec<u8>> {
    let mut streams = BTreeMap::<_, Vec<u8>>::new();
    let mut reader = CaptureReader::open(path).expect("opens");
    while let Some(record) = reader.next_record().expect("reads") {
        let segment = link::segment(record.bytes, LinkType::Ethernet).expect("TCP");
        streams.entry((segment.source, segment.destination)).or_default().extend(segment.payload);
    }
    streams
}

/// Well-formed FIX messages by type: `8=FIX.…|9=n|35=…|…10=sum|`, searched at every byte.
fn fix_messages(stream: &[u8]) -> BTreeMap<String, u64> {
    let mut by_type = BTreeMap::new();
    for at in 0..stream.len() {
        if let Some(kind) = fix_message(&stream[at..]) {
            *by_type.entry(kind).or_default() += 1;
        }
    }
    by_type
}

fn fix_message(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(b"8=FIX.")?;
    let length_at = rest.iter().position(|b| *b == 1)? + 1;
    let digits = rest[length_at..].strip_prefix(b"9=")?;
    let length_end = digits.iter().position(|b| *b == 1)?;
    let length: usize = std::str::from_utf8(&digits[..length_end]).ok()?.parse().ok()?;
    let body = digits.get(length_end + 1..length_end + 1 + length)?;
    let head_bytes = bytes.len() - digits.len() + length_end + 1;
    let trailer = bytes.get(head_bytes + length..head_bytes + length + 7)?;
    let sum = bytes[..head_bytes + length].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if trailer != format!("10={sum:03}\x01").as_bytes() {
        return None;
    }
    let kind = body.strip_prefix(b"35=")?.split(|b| *b == 1).next()?;
    Some(String::from_utf8_lossy(kind).into_owned())
}

fn by_type(streams: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for stream in streams.as_array().expect("streams") {
        for (kind, count) in stream["by_type"].as_object().expect("types") {
            *sums.entry(kind.clone()).or_default() += count.as_u64().expect("a count");
        }
    }
    sums
}

#[test]
fn fix_out_of_a_capture() {
    let Some(path) = capture("fix-tcp.pcap") else { return };
    let mut oracle = BTreeMap::<String, BTreeMap<String, u64>>::new();
    let mut sums = BTreeMap::<String, u64>::new();
    let mut bytes = 0;
    for ((_, destination), stream) in streams(&path) {
        bytes += stream.len() as u64;
        let of_destination = oracle.entry(destination.to_string()).or_default();
        for (kind, count) in fix_messages(&stream) {
            *of_destination.entry(kind.clone()).or_default() += count;
            *sums.entry(kind).or_default() += count;
        }
    }
    assert_eq!(sums, [("0", 5), ("1", 28), ("U", 1)].map(|(kind, count)| (kind.to_owned(), count)).into());
    let found = decoded(&[word(&path)]);
    let report = replayed(&[word(&path)]);
    assert_eq!(found["streams"], report["streams"]);
    assert_eq!(by_type(&found["streams"]), sums);
    let streams = found["streams"].as_array().expect("streams");
    let named = streams.iter().map(|stream| {
        assert_eq!(stream["protocol"], "fix");
        (stream["name"].as_str().expect("a name").to_owned(), by_type(&json!([stream])))
    });
    assert_eq!(named.collect::<BTreeMap<_, _>>(), oracle);
    assert_eq!(found["capture"]["tcp"], json!({ "packets": 1_261, "flows": 12 }));
    for books in [&found, &report["ledger"]] {
        assert_eq!((number(books, "/frames/received"), number(books, "/frames/decoded")), (1_261, 1_261));
        assert_eq!(number(books, "/messages/accepted"), 34);
        assert_eq!(number(books, "/messages/rejected/foreign_frame"), 796 + 33);
        assert_eq!(total(books, "/messages/rejected"), 796 + 33);
        assert_eq!((number(books, "/connections/opened"), total(books, "/connections/closed")), (24, 24));
        assert_eq!(number(books, "/connections/closed/capture_ended"), 24);
        assert_eq!(number(books, "/connections/bytes_received"), bytes);
        assert_eq!(number(books, "/connections/bytes_taken"), bytes, "each flow ends with a whole frame");
    }
    assert_eq!(found["flows"], report["flows"]);
    let flows = &found["flows"];
    assert_eq!((number(flows, "/total"), number(flows, "/decoded")), (24, 24));
    assert_eq!((number(flows, "/book/missing_bytes"), number(flows, "/book/connection_bytes")), (0, bytes));
    assert_eq!(flows["told"].as_array().map(Vec::len), Some(24));
}

#[test]
fn a_looped_capture_s_flows_begin_again() {
    let Some(path) = capture("fix-tcp.pcap") else { return };
    let report = replayed(&[word(&path), "--loop", "3", "--protocol", "fix"]);
    assert_eq!(number(&report, "/ledger/messages/accepted"), 3 * 34);
    assert_eq!(number(&report, "/ledger/connections/opened"), 3 * 24);
    assert_eq!(number(&report, "/flows/total"), 3 * 24);
    for stream in report["streams"].as_array().expect("streams") {
        assert_eq!(number(stream, "/epochs"), 3, "{stream}");
    }
}

/// A capture file of segments of 10.0.0.1:port to 10.0.0.2:4000, a millisecond apart.
fn write_segments(path: &Path, segments: &[(u16, u32, u8, Vec<u8>)]) {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (index, (port, sequence, flags, payload)) in segments.iter().enumerate() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((40 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(port.to_be_bytes());
        frame.extend(4_000u16.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0x50, *flags, 0, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        let length = frame.len() as u32;
        for word in [1_700_000_000, index as u32 * 1_000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    std::fs::write(path, file).expect("writes");
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A message with this number as its text, 40 bytes or so.
fn order(number: usize) -> Vec<u8> {
    let body = format!("35=D\x0134={number}\x0158={}\x01", "x".repeat(number % 23));
    let mut whole = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
    let sum = whole.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    whole.extend(format!("10={sum:03}\x01").bytes());
    whole
}

fn frame(topic: &str, payload: &str) -> Vec<u8> {
    let mut frame = ((3 + topic.len() + payload.len()) as u32).to_be_bytes().to_vec();
    frame.push(4);
    frame.extend((topic.len() as u16).to_be_bytes());
    frame.extend(topic.bytes());
    frame.extend(payload.bytes());
    frame
}

/// Segments of 32 bytes from `first` on, with their sequence numbers.
fn cut(port: u16, first: u32, stream: &[u8]) -> Vec<(u16, u32, u8, Vec<u8>)> {
    let parts = stream.chunks(32).enumerate();
    parts.map(|(n, part)| (port, first.wrapping_add(n as u32 * 32), ACK, part.to_vec())).collect()
}

#[test]
fn retransmissions_reordering_and_losses() {
    let orders: Vec<u8> = (1..=200).flat_map(order).collect();
    let events: Vec<u8> = (0..100).flat_map(|n| frame("t", &format!("event {n}"))).collect();
    let mut segments = vec![(1, u32::MAX - 1_000, SYN, Vec::new())];
    // FIX over the wrap of sequence numbers, each eighth segment twice, each sixth and seventh swapped.
    let mut fix = cut(1, (u32::MAX - 1_000).wrapping_add(1), &orders);
    (0..fix.len() - 7).step_by(6).for_each(|n| fix.swap(n + 5, n + 6));
    segments.extend(fix.iter().enumerate().flat_map(|(n, s)| vec![s.clone(); 1 + usize::from(n % 8 == 0)]));
    segments.push((1, (u32::MAX - 999).wrapping_add(orders.len() as u32), FIN | ACK, Vec::new()));
    // The same with a hole, a reset in the end.
    let mut holed = cut(2, 5_000, &orders);
    let lost: Vec<_> = holed.drain(13..16).collect();
    assert_eq!(lost.len(), 3);
    segments.extend(holed);
    segments.push((2, 5_000 + orders.len() as u32, RST, Vec::new()));
    // Native frames, whole and with a hole; and what nobody knows.
    segments.push((3, 0, ACK, events.clone()));
    let (head, tail) = (events[..40].to_vec(), events[60..].to_vec());
    segments.extend([(4, 0, ACK, head), (4, 60, ACK, tail), (4, events.len() as u32, ACK, b"more".to_vec())]);
    segments.push((5, 0, ACK, b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flows.pcap");
    write_segments(&path, &segments);
    let found = decoded(&[word(&path)]);
    let file = folder.path().join("report.json");
    let output = sluice(&["replay", word(&path), "--to", "inline", "--report", word(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json_file(&file);
    assert_eq!((&found["streams"], &found["flows"]), (&report["streams"], &report["flows"]));
    assert_eq!(report["ledger"]["balanced"], true, "{}", report["ledger"]["imbalances"]);
    check_losses(&found, &orders, &events);
    check_losses(&report["ledger"], &orders, &events);
    check_flows(&found, segments.len() as u64);
}

/// What the holes cost: the messages that they cut, and not one more.
fn check_losses(books: &Value, orders: &[u8], events: &[u8]) {
    let hole = 416..512;
    let mut end = 0;
    let cut = (1..=200).filter(|n| {
        let start = end;
        end += order(*n).len();
        start < hole.end && end > hole.start
    });
    let whole = 200 + (200 - cut.count() as u64);
    let first_events = (0..100).scan(0, |end, n| {
        *end += frame("t", &format!("event {n}")).len();
        Some(*end)
    });
    let before_hole = first_events.filter(|end| *end <= 40).count() as u64;
    assert_eq!(number(books, "/messages/accepted"), whole + 100 + before_hole);
    assert_eq!(number(books, "/messages/rejected/bad_field"), 1, "the rest of the message behind the hole");
    assert_eq!(total(books, "/messages/rejected"), 1);
    let closed = &books["connections"]["closed"];
    assert_eq!((&closed["peer_closed"], &closed["peer_reset"]), (&json!(1), &json!(1)));
    assert_eq!((&closed["gap"], &closed["capture_ended"]), (&json!(1), &json!(1)));
    assert_eq!(total(books, "/connections/closed"), 4);
    let received = 2 * orders.len() as u64 - 96 + events.len() as u64 + 40;
    assert_eq!(number(books, "/connections/bytes_received"), received);
    assert!(number(books, "/connections/bytes_lost/gap") > 0);
    assert_eq!(number(books, "/connections/bytes_held"), 0);
    assert_eq!(number(books, "/frames/rejected/unknown_destination"), 1);
}

fn check_flows(found: &Value, segments: u64) {
    let flows = &found["flows"];
    for (key, count) in
        [("total", 5), ("decoded", 3), ("unknown_protocol", 1), ("given_up", 1), ("no_place", 0)]
    {
        assert_eq!(flows[key], count, "{key}");
    }
    let book = &flows["book"];
    assert_eq!(number(book, "/segments"), segments);
    assert_eq!(number(book, "/missing_bytes"), 96 + 20);
    assert_eq!(number(book, "/unknown_bytes"), 18);
    assert!(number(book, "/retransmitted") >= 20 && number(book, "/out_of_order") >= 20);
    let names: Vec<&str> =
        found["streams"].as_array().expect("streams").iter().filter_map(|s| s["protocol"].as_str()).collect();
    assert_eq!(names, ["fix", "native"], "one stream for a destination and a protocol");
}
