//! Hot path: the MoldUDP64 packets among the frames that are sent: copied to the re-request server, and followed line by
//! line, so that each line can go on with heartbeats when the capture has ended.
//!
//! Invariant: a packet is with the server before it is handed to the kernel, so whoever received it may ask for it.

use super::answers::Header;
use crate::event::{Destination, Protocol};
use crate::replay::rewrite::renew_checksums;
use crate::sink::Layers;
use crate::source::LinkType;
use crate::wire::detect::detect;
use rtrb::Producer;

/// Lines that are followed: sessions by destination.
const LINES_MAX: usize = 64;

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
}

impl SentLines {
    /// None yet. Packets go into `ring`, each behind its length in two bytes.
    pub(super) fn new(ring: Producer<u8>) -> SentLines {
        SentLines { ring, lines: Vec::with_capacity(LINES_MAX), last: 0 }
    }

    /// Notes a frame of the capture; one without a whole MoldUDP64 packet is passed over. If the server is far behind, this
    /// waits for it.
    pub(crate) fn note(&mut self, frame: &[u8], link: LinkType) {
        let layers = Layers::of(frame, link);
        let (Some(payload), Some(destination)) = (layers.payload(frame), destination(frame, &layers)) else {
            return;
        };
        if detect(payload, destination) != Some(Protocol::Moldudp64Itch50) {
            return;
        }
        let Some((header, _)) = Header::parse(payload) else { return };
        self.push(payload);
        if let Some(line) = self.line(&header, destination, frame, link, &layers) {
            line.next = line.next.max(header.next());
            line.over |= header.ends_session();
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

    fn line(
        &mut self,
        header: &Header,
        destination: Destination,
        frame: &[u8],
        link: LinkType,
        layers: &Layers,
    ) -> Option<&mut SentLine> {
        let is_it = |line: &SentLine| line.session == header.session && line.destination == destination;
        if !self.lines.get(self.last).is_some_and(is_it) {
            let found = self.lines.iter().position(is_it);
            if found.is_none() && self.lines.len() < LINES_MAX {
                let mut lower = Vec::new();
                lower.extend_from_slice(&frame[..layers.udp? + 8]);
                let (session, layers) = (header.session, *layers);
                self.lines.push(SentLine { session, destination, link, lower, layers, next: 0, over: false });
            }
            self.last = found.unwrap_or(self.lines.len() - 1);
        }
        self.lines.get_mut(self.last).filter(|line| is_it(line))
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
}
