//! Links, MoldUDP64 and ITCH 5.0 against the real captures and the counts of independent decoders.

mod wire_captures;

use sluice::event::{FrameReject, LinkType, MessageReject, Protocol};
use sluice::wire::itch50::{FileFramer, Framed, Framing, length_of};
use sluice::wire::{Message, Run, Visitor, decode, describe, link};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wire_captures::{bytes, frames, payloads};

#[derive(Default)]
struct Tally {
    first: Vec<(u64, u32)>,
    sequences: Vec<u64>,
    by_type: BTreeMap<char, usize>,
    refusals: Vec<MessageReject>,
    described: Vec<serde_json::Value>,
}

impl Visitor for Tally {
    fn run(&mut self, run: &Run) {
        self.first.push((run.sequence, run.count));
    }

    fn message(&mut self, message: &Message<'_>) {
        self.sequences.push(message.sequence);
        *self.by_type.entry(char::from(message.kind as u8)).or_default() += 1;
        let fields = describe(Protocol::Moldudp64Itch50, message.kind, message.body).expect("a known type");
        assert_eq!(fields["timestamp"], message.source_ns);
        self.described.push(fields);
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.refusals.push(reason);
    }
}

#[test]
fn moldudp64_capture() {
    let Some(packets) = payloads("moldudp64-nasdaq-38msgs.pcap") else { return };
    let mut tally = Tally::default();
    for packet in &packets {
        decode(Protocol::Moldudp64Itch50, packet, &mut tally).expect("a good packet");
    }
    assert_eq!(tally.first, [(14_764_496, 1), (19_009_117, 38)]);
    assert_eq!(tally.by_type, BTreeMap::from([('A', 36), ('D', 1), ('F', 2)]));
    assert_eq!(tally.refusals, []);
    assert_eq!(tally.sequences[1..], (19_009_117..19_009_155).collect::<Vec<u64>>()[..]);
    assert!(tally.described[1..].iter().all(|fields| fields["stock"] == "META"));
    let firms: Vec<_> = tally.described.iter().filter_map(|fields| fields.get("attribution")).collect();
    assert_eq!(firms, ["UBSS", "UBSS"]);
}

/// Frames a file and counts its messages by type.
fn walk(name: &str) -> Option<(BTreeMap<char, usize>, Option<Framing>)> {
    let file = bytes(name)?;
    let mut framer = FileFramer::default();
    let (mut rest, mut by_type) = (&file[..], BTreeMap::new());
    loop {
        match framer.next(rest, true) {
            Framed::Message(range) => {
                let body = &rest[range.clone()];
                assert_eq!(length_of(body[0]), Some(body.len()));
                *by_type.entry(char::from(body[0])).or_default() += 1;
                rest = &rest[range.end..];
            }
            over => {
                assert_eq!((over, rest.len()), (Framed::End, 0));
                return Some((by_type, framer.framing()));
            }
        }
    }
}

#[test]
fn itch_message_files() {
    let Some((by_type, framing)) = walk("itch50-head1000.bin") else { return };
    assert_eq!(framing, Some(Framing::Lengths));
    assert_eq!(by_type, BTreeMap::from([('R', 993), ('H', 3), ('Y', 3), ('S', 1)]));
    let (by_type, framing) = walk("itch50-artificial.bin.gz").expect("the folder is there");
    assert_eq!(framing, Some(Framing::Types));
    let oracle = [
        ('P', 5_000),
        ('A', 4_997),
        ('D', 1_745),
        ('E', 198),
        ('X', 45),
        ('U', 12),
        ('S', 6),
        ('R', 3),
        ('H', 3),
        ('F', 3),
    ];
    assert_eq!(by_type, BTreeMap::from(oracle));
}

/// Datagrams by outcome, their VLANs, and the bytes that stand behind their payloads in the frames.
#[derive(Debug, Default, PartialEq)]
struct LinkTally {
    datagrams: usize,
    rejected: BTreeMap<&'static str, usize>,
    vlans: BTreeSet<Option<u16>>,
    padded: usize,
}

fn links(name: &str) -> Option<LinkTally> {
    let mut tally = LinkTally::default();
    for frame in frames(name)? {
        match link::parse(&frame, LinkType::Ethernet) {
            Ok(datagram) => {
                tally.datagrams += 1;
                tally.vlans.insert(datagram.vlan);
                let end = datagram.payload.as_ptr_range().end as usize;
                tally.padded += usize::from(end < frame.as_ptr_range().end as usize);
            }
            Err(reason) => *tally.rejected.entry(reason.name()).or_default() += 1,
        }
    }
    Some(tally)
}

#[test]
fn links_of_all_captures() {
    let Some(miax) = links("miax-tom-mach.pcap") else { return };
    // Four bytes of captured FCS stand behind every datagram.
    let vlans = BTreeSet::from([Some(905)]);
    let expected = LinkTally { datagrams: 20_560, padded: 20_560, vlans, ..LinkTally::default() };
    assert_eq!(miax, expected);
    let ice = links("ice-impact.pcap").expect("the folder is there");
    assert_eq!((ice.datagrams, ice.padded, ice.rejected.len()), (8_680, 2_334, 0));
    let cme = links("cme-mdp3-ab.pcapng").expect("the folder is there");
    assert_eq!((cme.datagrams, cme.rejected.len()), (10_000, 0));
    let iex = links("iex-tops16.pcap.gz").expect("the folder is there");
    assert_eq!((iex.datagrams, iex.rejected.len()), (13_022, 0));
    let nasdaq = links("moldudp64-nasdaq-38msgs.pcap").expect("the folder is there");
    assert_eq!((nasdaq.datagrams, nasdaq.vlans), (2, BTreeSet::from([Some(141)])));
}

#[test]
fn tcp_conversations() {
    let Some(frames) = frames("fix-tcp.pcap") else { return };
    let mut flows = HashMap::new();
    for frame in &frames {
        assert_eq!(link::parse(frame, LinkType::Ethernet), Err(FrameReject::NotUdp));
        let (source, destination) = link::tcp_flow(frame, LinkType::Ethernet).expect("a TCP segment");
        assert!(source.port == 4_000 || destination.port == 4_000);
        *flows.entry((source.min(destination), source.max(destination))).or_insert(0) += 1;
    }
    assert_eq!((flows.len(), frames.len()), (12, 1_261));
}
