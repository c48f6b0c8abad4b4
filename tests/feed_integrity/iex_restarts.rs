//! The real IEX capture as a day with 11 restarts: twelve epochs under one session, on two lines.

use crate::program::{capture, decoded, number, word};
use crate::random::Random;
use crate::rig::{Arrival, Delivered, Feeds, policies};
use serde_json::Value;
use sluice::event::{LinkType, Protocol};
use sluice::replay::synthetic::{Packet, pcap_bytes};
use sluice::source::capture::CaptureReader;
use sluice::wire::link;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

const EPOCHS: usize = 12;

/// How long the sender is silent for a restart, ns.
const RESTART_NS: u64 = 1_000_000_000;

/// How much later than line A a line B gets its packets, ns.
const LAG_NS: u64 = 40_000;

/// A segment of the capture, its messages apart; one without messages is a heartbeat.
#[derive(Clone)]
struct Segment {
    sent_ns: u64,
    /// The header up to the session.
    head: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

impl Segment {
    fn parse(payload: &[u8]) -> Segment {
        let field = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().expect("eight bytes"));
        let mut messages = Vec::new();
        let mut rest = &payload[40..];
        for _ in 0..u16::from_le_bytes([payload[14], payload[15]]) {
            let (length, behind) = rest.split_at(2);
            let (body, behind) = behind.split_at(usize::from(u16::from_le_bytes([length[0], length[1]])));
            messages.push(body.to_vec());
            rest = behind;
        }
        Segment { sent_ns: field(32), head: payload[..12].to_vec(), messages }
    }

    /// The payload with its messages numbered from `sequence` on.
    fn write(&self, sequence: u64) -> Vec<u8> {
        let body: Vec<u8> = self
            .messages
            .iter()
            .flat_map(|message| [&(message.len() as u16).to_le_bytes()[..], message].concat())
            .collect();
        let mut payload = self.head.clone();
        payload.extend((body.len() as u16).to_le_bytes());
        payload.extend((self.messages.len() as u16).to_le_bytes());
        payload.extend(0u64.to_le_bytes());
        payload.extend(sequence.to_le_bytes());
        payload.extend(self.sent_ns.to_le_bytes());
        payload.extend(body);
        payload
    }
}

fn segments(path: &Path) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut reader = CaptureReader::open(path).expect("opens");
    while let Some(record) = reader.next_record().expect("reads") {
        segments.push(Segment::parse(link::parse(record.bytes, LinkType::Ethernet).expect("UDP").payload));
    }
    segments
}

/// The capture in twelve parts, with a silence before each but the first.
fn epochs(segments: &[Segment]) -> Vec<Vec<Segment>> {
    let mut epochs: Vec<Vec<Segment>> =
        segments.chunks(segments.len().div_ceil(EPOCHS)).map(<[Segment]>::to_vec).collect();
    for (index, epoch) in epochs.iter_mut().enumerate() {
        epoch.iter_mut().for_each(|segment| segment.sent_ns += index as u64 * RESTART_NS);
    }
    epochs
}

/// The same messages in other segments: some are split, each part sent when the whole was.
fn resegmented(epoch: &[Segment], random: &mut Random) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    for (index, segment) in epoch.iter().enumerate() {
        waiting.extend(segment.messages.iter().cloned());
        let is_last = index + 1 == epoch.len();
        while waiting.len() >= 9 || (is_last && !waiting.is_empty()) {
            let count = (random.within(1..9) as usize).min(waiting.len());
            segments.push(Segment { messages: waiting.drain(..count).collect(), ..segment.clone() });
        }
    }
    segments
}

/// A line's packets: each epoch is announced by a segment without messages that names number 1 and was sent half a
/// silence before its first one.
fn line(line: u8, epochs: &[Vec<Segment>]) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for epoch in epochs {
        let mut next = 1;
        let first = &epoch[0];
        let sent_ns = first.sent_ns - RESTART_NS / 2;
        let announcement = Segment { sent_ns, messages: Vec::new(), ..first.clone() };
        for segment in std::iter::once(&announcement).chain(epoch) {
            let time_ns = segment.sent_ns + 10_000 + u64::from(line) * LAG_NS;
            arrivals.push(Arrival { time_ns, line, payload: segment.write(next) });
            next += segment.messages.len() as u64;
        }
    }
    arrivals
}

/// Both lines, and what must be delivered of them.
fn day(path: &Path) -> (Vec<Arrival>, Vec<Delivered>) {
    let mut random = Random::new(11);
    let a = epochs(&segments(path));
    let b: Vec<Vec<Segment>> = a.iter().map(|epoch| resegmented(epoch, &mut random)).collect();
    let numbered = |(epoch, segments): (usize, &Vec<Segment>)| {
        let bodies = segments.iter().flat_map(|segment| segment.messages.clone());
        let deliver = |(index, body)| Delivered { epoch: epoch as u32, sequence: index as u64 + 1, body };
        bodies.enumerate().map(deliver).collect::<Vec<_>>()
    };
    let expected = a.iter().enumerate().flat_map(numbered).collect();
    let mut arrivals = [line(0, &a), line(1, &b)].concat();
    arrivals.sort_by_key(|arrival| arrival.time_ns);
    (arrivals, expected)
}

#[test]
fn every_message_of_twelve_epochs_is_delivered_once() {
    let Some(path) = capture("iex-tops16.pcap.gz") else { return };
    let (mut arrivals, expected) = day(&path);
    assert_eq!(expected.len(), 57_674);
    for policy in policies() {
        let mut feeds = Feeds::new(policy, Protocol::IexTp, 1, 2);
        feeds.take(&mut arrivals);
        let outcome = feeds.finish().remove(0);
        assert!(outcome.delivered == expected, "other messages, epochs, numbers or order ({policy:?})");
        let book = outcome.book;
        assert_eq!((book.epochs, book.expected, book.seen), (EPOCHS as u64, 57_674, 57_674));
        assert_eq!((book.gaps, book.missing, book.stale, book.duplicates), (0, 0, 0, 57_674));
    }
}

fn by_type_sum(stream: &Value) -> u64 {
    stream["by_type"].as_object().expect("types").values().filter_map(Value::as_u64).sum()
}

#[test]
fn decode_tells_of_twelve_epochs() {
    let Some(path) = capture("iex-tops16.pcap.gz") else { return };
    let (arrivals, _) = day(&path);
    let packet = |arrival: &Arrival| Packet {
        time_ns: arrival.time_ns,
        destination: SocketAddrV4::new(Ipv4Addr::new(233, 215, 21, 4 + arrival.line), 10_378),
        payload: arrival.payload.clone(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("restarts.pcap");
    std::fs::write(&file, pcap_bytes(&arrivals.iter().map(packet).collect::<Vec<_>>())).expect("writes");
    let found = decoded(&[word(&file)]);
    let streams = found["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 1, "two lines of one session");
    let stream = &streams[0];
    assert_eq!((number(stream, "/epochs"), number(stream, "/accepted")), (EPOCHS as u64, 57_674));
    assert_eq!((number(stream, "/duplicates"), number(stream, "/expected")), (57_674, 57_674));
    for key in ["gaps", "missing", "stale", "rejected"] {
        assert_eq!(stream[key], 0, "{key}");
    }
    assert_eq!(by_type_sum(stream), 2 * 57_674);
    assert_eq!(number(stream, "/by_type/Q"), 2 * 27_217);
}
