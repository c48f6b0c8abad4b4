//! FIX against a real capture: a broker's sessions, in which FIX 4.1 messages stand among frames of its own that carry
//! no checksum (compressed and binary ones).

mod wire_captures;

use sluice::event::{CloseReason, Destination, LinkType, MessageReject, Protocol};
use sluice::wire::{
    Control, Flow, Message, Run, Stop, StreamVisitor, Visitor, decode_stream, describe, link,
};
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq)]
struct Tally {
    by_type: BTreeMap<String, usize>,
    refusals: BTreeMap<&'static str, usize>,
    times: Vec<u64>,
    described: Vec<serde_json::Value>,
}

impl Visitor for Tally {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, _: &Message<'_>) {}

    fn refuse(&mut self, reason: MessageReject) {
        *self.refusals.entry(reason.name()).or_default() += 1;
    }
}

impl StreamVisitor for Tally {
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        *self.by_type.entry(Protocol::Fix.type_name(message.kind)).or_default() += 1;
        let fields = describe(Protocol::Fix, message.kind, message.body).expect("fields");
        assert_eq!(fields.get("34").is_some(), message.sequence > 0);
        self.times.extend((message.source_ns > 0).then_some(message.source_ns));
        self.described.push(fields);
        Flow::Taken
    }

    fn control(&mut self, _: Control<'_>) -> Result<(), CloseReason> {
        Ok(())
    }
}

/// The payloads of each direction of each flow, one behind the other: this capture has no segment twice, none missing and
/// none out of order.
fn streams() -> Option<Vec<Vec<u8>>> {
    let mut streams = BTreeMap::<String, Vec<u8>>::new();
    for frame in wire_captures::frames("fix-tcp.pcap")? {
        let flow: (Destination, Destination) = link::tcp_flow(&frame, LinkType::Ethernet).expect("TCP");
        let (ip, ip_bytes) = (&frame[14..], usize::from(frame[14] & 15) * 4);
        let segment = &ip[ip_bytes..usize::from(u16::from_be_bytes([ip[2], ip[3]]))];
        let payload = &segment[usize::from(segment[12] >> 4) * 4..];
        streams.entry(format!("{flow:?}")).or_default().extend(payload);
    }
    Some(streams.into_values().collect())
}

/// Shows a stream in pieces of this many new bytes.
fn read(stream: &[u8], piece: usize, tally: &mut Tally) {
    let (mut start, mut end) = (0, 0);
    while end < stream.len() {
        end = (end + piece).min(stream.len());
        let progress = decode_stream(Protocol::Fix, &stream[start..end], 65_536, tally);
        start += progress.consumed;
        assert!(matches!(progress.stop, Stop::Incomplete { unit_bytes } if unit_bytes > end - start));
    }
}

/// How many frames begin with `8=O` or `8=FIXCOMP` and a length behind which a frame begins or the stream ends.
fn foreign_frames(stream: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < stream.len() {
        let field = |from: usize| from + stream[from..].iter().position(|b| *b == 1).expect("a field");
        let (version_end, length_end) = (field(at), field(field(at) + 1));
        let length = std::str::from_utf8(&stream[version_end + 3..length_end]).expect("digits");
        let body_end = length_end + 1 + length.parse::<usize>().expect("a length");
        let is_message = stream[at..].starts_with(b"8=FIX.");
        assert!(is_message || [&b"8=O"[..], b"8=FIXCOMP"].contains(&&stream[at..version_end]));
        count += usize::from(!is_message);
        at = body_end + if is_message { 7 } else { 0 };
    }
    count
}

#[test]
fn a_broker_s_sessions() {
    let Some(streams) = streams() else { return };
    assert_eq!(streams.len(), 24);
    assert_eq!(wire_captures::payloads("fix-tcp.pcap"), Some(Vec::new()), "there is nothing else in it");
    let mut tally = Tally::default();
    streams.iter().for_each(|stream| read(stream, stream.len(), &mut tally));
    let expected = [("0", 5), ("1", 28), ("U", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(tally.by_type, BTreeMap::from(expected));
    let foreign = streams.iter().map(|stream| foreign_frames(stream)).sum();
    assert_eq!(tally.refusals, BTreeMap::from([("foreign_frame", foreign)]));
    assert_eq!(foreign, 796 + 33, "8=O and 8=FIXCOMP");
    let told = tally.described.iter().find(|fields| fields["35"] == "U").expect("one");
    assert_eq!((&told["34"], &told["52"]), (&"006128".into(), &"20170502-19:58:38".into()));
    // 2017-05-02 19:58:29 UTC is the first of them.
    assert_eq!(tally.times.iter().min(), Some(&1_493_755_109_000_000_000));
    for piece in [1, 7, 1_448] {
        let mut cut = Tally::default();
        streams.iter().for_each(|stream| read(stream, piece, &mut cut));
        assert_eq!(cut, tally, "pieces of {piece}");
    }
}
