//! Hot path: the MoldUDP64 packets among the frames that are sent: copied to the re-request server, and followed line by
//! line, so that each line can go on with heartbeats when the capture has ended.
//!
//! Invariant: a packet is with the server before it is handed to the kernel, so whoever received it may ask for it. Where
//! frames are lost or damaged on purpose, the server gets those of the capture itself, up to the ones that are sent.

use super::answers::Header;
use crate::event::{Destination, Protocol};
use crate::replay::rewrite::renew_checksums;
use crate::sink::Layers;
use crate::source::capture::CaptureSource;
use crate::source::{Budget, Frame, FrameSource, LinkType};
use crate::wire::detect::detect;
use rtrb::Producer;

/// Lines that are followed: sessions by destination.
const LINES_MAX: usize = 64;

/// Frames of the undamaged capture that are passed over for one that is sent: what a dead line misses in a minute, and
/// little enough that a damaged number does not hold up the sending.
const FOLLOWED_MAX: usize = 1 << 16;

/// Session, number, count.
const HEADER_BYTES: usize = 20;

/// A session on its way to one destination.
struct SentLine {
    session: [u8; 10],
    destination: Destination,
    link: LinkType,
    /// Everything in front of the payload, as the first packet had it.
    lower: Vec<u8>,
    layers: Layers,
    /// Number of the next message.
    next: u64,
    /// Whether its session is over.
    over: bool,
}

/// The lines that were sent so far, and the way to the server.
pub struct SentLines {
    ring: Producer<u8>,
    lines: Vec<SentLine>,
    /// Where the last packet's line stands: most often it is that of the next one.
    last: usize,
    /// The capture as it is, if the frames that are sent are not.
    original: Option<CaptureSource>,
}

/// A frame that carries a MoldUDP64 packet.
struct Carrier<'a> {
    frame: &'a [u8],
    link: LinkType,
    layers: Layers,
    destination: Destination,
    payload: &'a [u8],
    header: Header,
}

impl<'a> Carrier<'a> {
    fn of(frame: &'a [u8], link: LinkType) -> Option<Carrier<'a>> {
        let layers = Layers::of(frame, link);
        let payload = layers.payload(frame)?;
        let destination = destination(frame, &layers)?;
        let is_one = detect(payload, destination) == Some(Protocol::Moldudp64Itch50);
        let (header, _) = Header::parse(payload).filter(|_| is_one)?;
        Some(Carrier { frame, link, layers, destination, payload, header })
    }

    fn is_on(&self, line: &SentLine) -> bool {
        line.session == self.header.session && line.destination == self.destination
    }
}

impl SentLines {
    /// None yet. Packets go into `ring`, each behind its length in two bytes.
    pub(super) fn new(ring: Producer<u8>) -> SentLines {
        SentLines { ring, lines: Vec::with_capacity(LINES_MAX), last: 0, original: None }
    }

    /// Takes packets from the capture as it is instead of those that are sent, which may be fewer, damaged, late or twice:
    /// always up to the newest one that is sent on the same line. `original` is at maximum speed and plays once.
    pub fn following(self, original: CaptureSource) -> SentLines {
        SentLines { original: Some(original), ..self }
    }

    /// Notes a frame that is sent; one without a whole MoldUDP64 packet is passed over. If the server is far behind, this
    /// waits for it.
    pub(crate) fn note(&mut self, frame: &[u8], link: LinkType) {
        let Some(carrier) = Carrier::of(frame, link) else { return };
        match self.original.take() {
            None => self.enter(&carrier),
            Some(mut original) => {
                self.follow(&carrier, &mut original);
                self.original = Some(original);
            }
        }
    }

    /// All frames were sent: whatever the capture has behind them was lost on the way.
    pub(crate) fn finish(&mut self) {
        let Some(mut original) = self.original.take() else { return };
        while self.step(&mut original) {}
        self.original = Some(original);
    }

    /// Enters frames of the capture until they are as far as the one that is sent.
    fn follow(&mut self, sent: &Carrier<'_>, original: &mut CaptureSource) {
        let is_there =
            |lines: &[SentLine]| lines.iter().any(|line| sent.is_on(line) && line.next >= sent.header.next());
        let mut left = FOLLOWED_MAX;
        while left > 0 && !is_there(&self.lines) && self.step(original) {
            left -= 1;
        }
    }

    /// Enters the next frame of the capture; false when there is none.
    fn step(&mut self, original: &mut CaptureSource) -> bool {
        while !original.exhausted() {
            let budget = Budget { frames: 1, bytes: usize::MAX };
            let frames = original.poll(0, budget, &mut |frame: Frame<'_>| {
                if let Some(carrier) = Carrier::of(frame.bytes, frame.link) {
                    self.enter(&carrier);
                }
            });
            if frames > 0 {
                return true;
            }
            // The loader thread is behind.
            std::thread::yield_now();
        }
        false
    }

    /// Gives a packet to the server and follows its line.
    fn enter(&mut self, carrier: &Carrier<'_>) {
        self.push(carrier.payload);
        if let Some(line) = self.line(carrier) {
            line.next = line.next.max(carrier.header.next());
            line.over |= carrier.header.ends_session();
        }
    }

    fn push(&mut self, payload: &[u8]) {
        // A UDP payload is always shorter than 64 KiB.
        let length = (payload.len() as u16).to_be_bytes();
        while self.ring.slots() < length.len() + payload.len() {
            if self.ring.is_abandoned() {
                return;
            }
            std::thread::yield_now();
        }
        // There is room for both, so neither fails.
        let _ = self.ring.push_entire_slice(&length);
        let _ = self.ring.push_entire_slice(payload);
    }

    /// The line of a packet; a new one begins with it, if there is a place.
    fn line(&mut self, carrier: &Carrier<'_>) -> Option<&mut SentLine> {
        if !self.lines.get(self.last).is_some_and(|line| carrier.is_on(line)) {
            let found = self.lines.iter().position(|line| carrier.is_on(line));
            if found.is_none() && self.lines.len() < LINES_MAX {
                let mut lower = Vec::new();
                lower.extend_from_slice(&carrier.frame[..carrier.layers.udp? + 8]);
                self.lines.push(SentLine {
                    session: carrier.header.session,
                    destination: carrier.destination,
                    link: carrier.link,
                    lower,
                    layers: carrier.layers,
                    next: 0,
                    over: false,
                });
            }
            self.last = found.unwrap_or(self.lines.len() - 1);
        }
        self.lines.get_mut(self.last).filter(|line| carrier.is_on(line))
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// Writes the frame of a line's heartbeat, which names the next message, or says that the session is over; what the
    /// frame's first bytes are.
    pub(crate) fn heartbeat(&self, index: usize, frame: &mut Vec<u8>) -> Option<LinkType> {
        let line = self.lines.get(index)?;
        let (ip, udp) = (line.layers.ip?, line.layers.udp?);
        frame.clear();
        frame.extend_from_slice(&line.lower);
        let count = if line.over { u16::MAX } else { 0 };
        Header { session: line.session, sequence: line.next, count }.append_to(frame);
        let udp_bytes = (8 + HEADER_BYTES) as u16;
        frame[udp + 4..udp + 6].copy_from_slice(&udp_bytes.to_be_bytes());
        if line.layers.ipv6 {
            frame[ip + 4..ip + 6].copy_from_slice(&udp_bytes.to_be_bytes());
        } else {
            let ip_bytes = (udp - ip) as u16 + udp_bytes;
            frame[ip + 2..ip + 4].copy_from_slice(&ip_bytes.to_be_bytes());
        }
        let layers = Layers { udp_end: frame.len(), ..line.layers };
        renew_checksums(frame, &layers);
        Some(line.link)
    }
}

/// Where a frame's datagram is sent to.
fn destination(frame: &[u8], layers: &Layers) -> Option<Destination> {
    let (ip, udp) = (layers.ip?, layers.udp?);
    let port = u16::from_be_bytes(*frame.get(udp + 2..)?.first_chunk()?);
    if layers.ipv6 {
        return Some(Destination { address: *frame.get(ip + 24..)?.first_chunk()?, port });
    }
    Some(Destination::v4(*frame.get(ip + 16..)?.first_chunk()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::capture::CaptureOptions;
    use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};

    const MESSAGE: &[u8] = b"D\0\x07\0\0\x1f\x1a\xcf\x4c\x4e\xb7\0\0\0\0\0\0\0\x01";

    fn frame(group: u8, ipv6: bool, sequence: u64, count: u16) -> Vec<u8> {
        let mut payload = Vec::new();
        Header { session: *b"SESSION001", sequence, count }.append_to(&mut payload);
        for _ in 0..if count == u16::MAX { 0 } else { count } {
            payload.extend((MESSAGE.len() as u16).to_be_bytes());
            payload.extend(MESSAGE);
        }
        let ethernet = PacketBuilder::ethernet2([2; 6], [3; 6]);
        let ip = match ipv6 {
            false => ethernet.ipv4([10, 0, 0, 1], [239, 0, 0, group], 9),
            true => ethernet.ipv6([1; 16], [group; 16], 9),
        };
        let mut frame = Vec::new();
        ip.udp(1_000, 26_477).write(&mut frame, &payload).expect("memory can be written");
        frame
    }

    #[test]
    fn each_line_goes_on_with_heartbeats_of_its_own() {
        let (ring, mut server) = rtrb::RingBuffer::new(1 << 20);
        let mut lines = SentLines::new(ring);
        let sent = [
            frame(1, false, 10, 3),
            frame(2, true, 10, 3),
            frame(1, false, 13, 2),
            // An older copy takes nothing back.
            frame(1, false, 10, 3),
            frame(2, true, 13, u16::MAX),
        ];
        sent.iter().for_each(|frame| lines.note(frame, LinkType::Ethernet));
        lines.note(&[0; 80], LinkType::Ethernet);
        let copied: usize = sent.iter().map(|frame| 2 + frame.len()).sum::<usize>() - 3 * 42 - 2 * 62;
        assert_eq!((server.slots(), lines.count()), (copied, 2));
        let mut length = [0; 2];
        server.pop_entire_slice(&mut length).expect("it was copied");
        assert_eq!(usize::from(u16::from_be_bytes(length)), sent[0].len() - 42);

        let mut made = Vec::new();
        for (index, expected) in [frame(1, false, 15, 0), frame(2, true, 13, u16::MAX)].iter().enumerate() {
            assert_eq!(lines.heartbeat(index, &mut made), Some(LinkType::Ethernet));
            // Its checksums are those that an independent builder makes.
            assert_eq!(&made, expected);
            let parsed = PacketHeaders::from_ethernet_slice(&made).expect("valid headers");
            assert!(matches!(parsed.net, Some(NetHeaders::Ipv4(..) | NetHeaders::Ipv6(..))));
            assert!(matches!(parsed.transport, Some(TransportHeader::Udp(udp)) if udp.length == 28));
        }
        assert_eq!(lines.heartbeat(2, &mut made), None);
    }

    #[test]
    fn a_server_that_is_gone_holds_nobody_up() {
        let (ring, server) = rtrb::RingBuffer::new(100);
        let mut lines = SentLines::new(ring);
        drop(server);
        for n in 0..100 {
            lines.note(&frame(1, false, n, 2), LinkType::Ethernet);
        }
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn lines_are_bounded() {
        let (ring, _server) = rtrb::RingBuffer::new(1 << 20);
        let mut lines = SentLines::new(ring);
        for group in 0..200 {
            lines.note(&frame(group, false, 1, 1), LinkType::Ethernet);
        }
        lines.note(&frame(3, false, 2, 1), LinkType::Ethernet);
        assert_eq!(lines.count(), LINES_MAX);
        let mut made = Vec::new();
        lines.heartbeat(3, &mut made);
        assert_eq!(made, frame(3, false, 3, 0));
        lines.heartbeat(LINES_MAX - 1, &mut made);
        assert_eq!(made, frame(LINES_MAX as u8 - 1, false, 2, 0));
    }

    #[test]
    fn what_is_lost_on_the_way_is_taken_from_the_capture_up_to_what_is_sent() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("capture");
        let packets: Vec<_> = (0..10).map(|n| frame(1, false, 1 + 2 * n, 2)).collect();
        let mut file = Vec::new();
        for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 0, 1] {
            file.extend(field.to_le_bytes());
        }
        for packet in &packets {
            for field in [1, 0, packet.len() as u32, packet.len() as u32] {
                file.extend(field.to_le_bytes());
            }
            file.extend(packet);
        }
        std::fs::write(&path, file).expect("it can be written");
        let original = CaptureSource::open(&CaptureOptions::new(vec![path])).expect("it opens");
        let (ring, server) = rtrb::RingBuffer::new(1 << 20);
        let mut lines = SentLines::new(ring).following(original);
        let entered = |packets: usize| packets * (2 + frame(1, false, 1, 2).len() - 42);
        // The first two are lost, the third is sent twice, then an older one comes late.
        for index in [2, 2, 1] {
            lines.note(&packets[index], LinkType::Ethernet);
            assert_eq!(server.slots(), entered(3));
        }
        // A damaged message is not what is kept: as much comes from the capture as was sent.
        let mut damaged = packets[4].clone();
        *damaged.last_mut().expect("it has bytes") ^= 1;
        lines.note(&damaged, LinkType::Ethernet);
        assert_eq!(server.slots(), entered(5));
        lines.finish();
        assert_eq!(server.slots(), entered(10));
        let mut made = Vec::new();
        lines.heartbeat(0, &mut made);
        assert_eq!(made, frame(1, false, 21, 0));
    }
}
