//! The MACH and iMpact decoders and the protocol sniff against real captures, by counts of independent decoders.
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use sluice::event::{Destination, MessageReject, Protocol};
use sluice::wire::{self, Message, Numbering, Run, RunKind, Visitor, detect::detect};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::PathBuf;

/// The folder of the captures, if this machine has them.
fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no captures (set SLUICE_CAPTURES)");
    None
}

/// Calls `take` with the destination and payload of every UDP packet, and returns how many frames there were.
/// The payload is what the IP and UDP lengths say, not what the frame has (captured FCS, padding).
fn each_packet(path: &std::path::Path, mut take: impl FnMut(Destination, &[u8])) -> usize {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let raw: Box<dyn Read + Send> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = create_reader(1 << 20, raw).unwrap();
    let mut frames = 0;
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                let frame = match &block {
                    PcapBlockOwned::Legacy(record) => Some(record.data),
                    PcapBlockOwned::NG(Block::EnhancedPacket(record)) => Some(record.packet_data()),
                    _ => None,
                };
                if let Some(frame) = frame {
                    frames += 1;
                    udp_payload(frame, &mut take);
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return frames,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn udp_payload(frame: &[u8], take: &mut impl FnMut(Destination, &[u8])) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    if let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&sliced.net, &sliced.transport) {
        let destination = Destination::v4(ip.header().destination(), udp.destination_port());
        take(destination, udp.payload());
    }
}

/// Counts what a decoder tells, and checks that the numbers of one stream follow each other.
#[derive(Default)]
struct Counter {
    runs: u64,
    heartbeats: u64,
    messages: u64,
    refused: Vec<MessageReject>,
    by_type: BTreeMap<char, u64>,
    first: Option<u64>,
    next: Option<u64>,
    breaks: u64,
    sessions: BTreeMap<(u32, u128), u64>,
}

impl Visitor for Counter {
    fn run(&mut self, run: &Run) {
        assert_eq!(run.numbering, Numbering::Messages);
        self.runs += 1;
        self.heartbeats += u64::from(run.kind == RunKind::Heartbeat);
        *self.sessions.entry((run.unit, run.session)).or_default() += 1;
        // A heartbeat names the next number too, so this checks what the decoder says of it.
        self.breaks += u64::from(self.next.is_some_and(|next| next != run.sequence));
        self.next = Some(run.sequence + u64::from(run.count));
    }

    fn message(&mut self, message: &Message<'_>) {
        self.messages += 1;
        self.first.get_or_insert(message.sequence);
        assert!(Some(message.sequence) < self.next);
        *self.by_type.entry(char::from(u8::try_from(message.kind).unwrap())).or_default() += 1;
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.refused.push(reason);
    }
}

fn count(name: &str, protocol: Protocol) -> Option<(usize, Counter)> {
    let mut counter = Counter::default();
    let frames = each_packet(&captures()?.join(name), |_, packet| {
        wire::decode(protocol, packet, &mut counter).unwrap();
    });
    Some((frames, counter))
}

#[test]
fn miax_top_of_market() {
    let Some((frames, found)) = count("miax-tom-mach.pcap", Protocol::MiaxMach) else { return };
    assert_eq!((frames, found.messages, found.heartbeats), (20_560, 50_892, 60));
    assert_eq!(found.runs, 50_892 + 60);
    assert_eq!((found.first, found.next), (Some(24_364_476), Some(24_415_368)));
    assert_eq!((found.breaks, found.refused.len()), (0, 0));
    assert_eq!(found.sessions.keys().collect::<Vec<_>>(), [&(0, 1)]);
    let by_type: Vec<_> = found.by_type.into_iter().collect();
    assert_eq!(by_type, [('1', 60), ('B', 25_905), ('O', 24_912), ('T', 15)]);
}

#[test]
fn ice_futures() {
    let Some((frames, found)) = count("ice-impact.pcap", Protocol::IceImpact) else { return };
    assert_eq!((frames, found.messages, found.heartbeats), (8_680, 31_893, 2_334));
    assert_eq!((found.breaks, found.refused.len()), (0, 0));
    assert_eq!(found.sessions.keys().collect::<Vec<_>>(), [&(0, 1_291)]);
    let by_type: Vec<_> = found.by_type.into_iter().collect();
    let expected =
        [('E', 11_738), ('F', 6_160), ('G', 290), ('J', 279), ('M', 2_510), ('N', 6), ('T', 10_910)];
    assert_eq!(by_type, expected);
}

#[test]
fn no_packet_is_taken_for_another_protocols() {
    let Some(folder) = captures() else { return };
    let all = [
        ("cme-mdp3-ab.pcapng", Protocol::CmeMdp3, 10_000),
        ("iex-tops16.pcap.gz", Protocol::IexTp, 13_022),
        ("miax-tom-mach.pcap", Protocol::MiaxMach, 20_560),
        ("ice-impact.pcap", Protocol::IceImpact, 8_680),
        ("moldudp64-nasdaq-38msgs.pcap", Protocol::Moldudp64Itch50, 2),
    ];
    for (name, protocol, packets) in all {
        let mut found: BTreeMap<Option<Protocol>, usize> = BTreeMap::new();
        each_packet(&folder.join(name), |destination, packet| {
            *found.entry(detect(packet, destination)).or_default() += 1;
        });
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(Some(protocol), packets)], "{name}");
    }
}

/// Each protocol's real packets through each other protocol's decoder: no panic, and no more callbacks than the
/// packet has bytes.
#[test]
fn every_decoder_survives_every_capture() {
    struct Callbacks(usize);
    impl Visitor for Callbacks {
        fn run(&mut self, _run: &Run) {
            self.0 += 1;
        }
        fn message(&mut self, _message: &Message<'_>) {
            self.0 += 1;
        }
        fn refuse(&mut self, _reason: MessageReject) {
            self.0 += 1;
        }
    }
    let Some(folder) = captures() else { return };
    for name in ["cme-mdp3-ab.pcapng", "iex-tops16.pcap.gz", "miax-tom-mach.pcap", "ice-impact.pcap"] {
        each_packet(&folder.join(name), |_, packet| {
            for protocol in
                [Protocol::CboePitch, Protocol::NysePillar, Protocol::MiaxMach, Protocol::IceImpact]
            {
                let mut callbacks = Callbacks(0);
                let outcome = wire::decode(protocol, packet, &mut callbacks);
                assert!(callbacks.0 <= packet.len());
                assert!(outcome.is_ok() || callbacks.0 == 0);
            }
        });
    }
}
