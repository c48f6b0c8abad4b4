//! One capture as one line, as two lines packet by packet, and as two lines that lose packets.
//!
//! Invariant: both lines carry the same packets, so that the second copy of each is nothing but a copy; and everything is
//! in memory before a clock starts.

use crate::captures::{self, Frames};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use sluice::event::{Destination, LinkType, Nanos, Protocol};
use sluice::replay::synthetic::{itch_session, write_pcap};
use sluice::wire;
use std::path::Path;

/// The share of packets that each line loses, in per cent.
const LOST_PERCENT: u64 = 20;

/// How much later line B brings a packet.
const LATER_NS: Nanos = 700;

/// A capture of one protocol, in the ways in which it arrives.
pub(crate) struct Feed {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    /// Line A alone.
    pub(crate) one: Frames,
    /// Line A's packet, then line B's copy of it.
    pub(crate) two: Frames,
    /// The same, but each line loses packets, independently.
    pub(crate) lossy: Frames,
}

impl Feed {
    /// Makes the ways of what came to the capture's first destination. Line B has the capture's second destination, or,
    /// where there is none, a neighbour of the first.
    fn new(name: &'static str, protocol: Protocol, path: &Path) -> Feed {
        let all = Frames::of_capture(path);
        let mut destinations = all.iter().map(|(frame, _, link)| destination(frame, link));
        let a = destinations.next().expect("a capture of packets");
        let b = destinations.find(|other| *other != a).unwrap_or_else(|| neighbour(a));
        let [mut one, mut two, mut lossy]: [Frames; 3] = Default::default();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        for (frame, time_ns, link) in all.iter().filter(|(frame, _, link)| destination(frame, *link) == a) {
            one.push(frame, time_ns, link);
            for (copy, time_ns) in [(frame, time_ns), (&sent_to(frame, link, b)[..], time_ns + LATER_NS)] {
                two.push(copy, time_ns, link);
                if random.next_u64() % 100 >= LOST_PERCENT {
                    lossy.push(copy, time_ns, link);
                }
            }
        }
        Feed { name, protocol, one, two, lossy }
    }
}

/// CME and IEX where captures are at hand, and a made-up ITCH session in any case.
pub(crate) fn feeds(messages: usize) -> Vec<Feed> {
    let real = [
        ("CME", Protocol::CmeMdp3, "cme-mdp3-ab.pcapng"),
        ("IEX TOPS", Protocol::IexTp, "iex-tops16.pcap.gz"),
    ];
    let real = real
        .into_iter()
        .filter_map(|(name, protocol, file)| Some(Feed::new(name, protocol, &captures::real(file)?)));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("itch.pcap");
    write_pcap(&path, &itch_session(1, messages).packets).expect("the folder is writable");
    real.chain([Feed::new("ITCH, made up", Protocol::Moldudp64Itch50, &path)]).collect()
}

fn destination(frame: &[u8], link: LinkType) -> Destination {
    wire::link::parse(frame, link).expect("captures of UDP alone").destination
}

fn neighbour(mut to: Destination) -> Destination {
    to.address[15] ^= 1;
    to
}

/// The frame with another IPv4 destination, which stands right in front of the UDP header of 8 bytes.
fn sent_to(frame: &[u8], link: LinkType, to: Destination) -> Vec<u8> {
    let datagram = wire::link::parse(frame, link).expect("captures of UDP alone");
    let payload_at = datagram.payload.as_ptr().addr() - frame.as_ptr().addr();
    let mut copy = frame.to_vec();
    copy[payload_at - 12..payload_at - 8].copy_from_slice(&to.address[12..]);
    copy[payload_at - 6..payload_at - 4].copy_from_slice(&to.port.to_be_bytes());
    assert_eq!(destination(&copy, link), to, "IPv4 without options");
    copy
}

/// The time from a capture's first frame to just behind its last one: what a further pass over it is later by.
pub(crate) fn span_ns(frames: &Frames) -> Nanos {
    let first = frames.iter().map(|(_, time_ns, _)| time_ns).min().unwrap_or(0);
    let last = frames.iter().map(|(_, time_ns, _)| time_ns).max().unwrap_or(0);
    last - first + 1_000_000
}
