//! ITCH 5.0 message files, presented as the packets that would have carried them: the decoder sees MoldUDP64 over
//! UDP and can't tell the difference.
//!
//! Invariant: every whole message of the file is in exactly one packet, in the file's order.

use super::input::Input;
use super::step::{Found, Step, Stepped, short};
use crate::source::LinkType;
use crate::wire::itch50::{Damage, FileFramer, Framed, length_of, timestamp};

/// The length in front of a message.
const PREFIX_BYTES: usize = 2;
/// Ethernet, IPv4 and UDP headers.
const LOWER_BYTES: usize = 14 + 20 + 8;
/// Session, sequence, count.
const MOLD_BYTES: usize = 20;
/// The customary largest UDP payload of MoldUDP64.
const PAYLOAD_BYTES_MAX: usize = 1_400;
/// Longest message taken; all known ones have at most 50 bytes, and any fits a packet.
const MESSAGE_BYTES_MAX: usize = 1_024;

const SESSION: &[u8; 10] = b"ITCHFILE01";
const DESTINATION: [u8; 4] = [233, 54, 12, 111];
const SOURCE: [u8; 4] = [192, 0, 2, 1];
const PORT: u16 = 26_477;

/// Ethernet to the multicast group, IPv4 with TTL 1, UDP without checksum; lengths are filled in per packet.
const LOWER: [u8; LOWER_BYTES] = {
    let mut header = [0; LOWER_BYTES];
    let ethernet = [0x01, 0x00, 0x5e, 0x36, 0x0c, 0x6f, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00];
    let mut at = 0;
    while at < ethernet.len() {
        header[at] = ethernet[at];
        at += 1;
    }
    header[14] = 0x45;
    header[22] = 1;
    header[23] = 17;
    at = 0;
    while at < 4 {
        header[26 + at] = SOURCE[at];
        header[30 + at] = DESTINATION[at];
        at += 1;
    }
    header[34] = PORT.to_be_bytes()[0];
    header[35] = PORT.to_be_bytes()[1];
    header[36] = PORT.to_be_bytes()[0];
    header[37] = PORT.to_be_bytes()[1];
    header
};

/// A message file being read.
pub(super) struct ItchFile {
    framer: FileFramer,
    packet: Vec<u8>,
    next_sequence: u64,
    /// What ended the file, to be told after its last packet.
    ending: Option<Step>,
}

/// Whether these are the first bytes of a message file: a known type behind its length, or behind a zeroed one.
pub(super) fn is_message_file(head: &[u8]) -> bool {
    let [high, low, kind, ..] = *head else { return false };
    let prefix = usize::from(u16::from_be_bytes([high, low]));
    length_of(kind).is_some_and(|length| prefix == 0 || prefix == length)
}

impl ItchFile {
    /// A reader of a file with these first bytes; `None` if they are not those of a message file.
    pub(super) fn open(input: &Input) -> Option<ItchFile> {
        let packet = Vec::with_capacity(LOWER_BYTES + PAYLOAD_BYTES_MAX);
        let framer = FileFramer::default();
        is_message_file(input.data()).then_some(ItchFile { framer, packet, next_sequence: 1, ending: None })
    }

    /// The last packet made.
    pub(super) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Makes the next packet of as many messages as fit it; its time is its last message's.
    pub(super) fn step(&mut self, input: &mut Input) -> Stepped {
        if let Some(ending) = self.ending.take() {
            return Ok(ending);
        }
        self.packet.clear();
        self.packet.extend_from_slice(&LOWER);
        self.packet.extend_from_slice(SESSION);
        self.packet.extend_from_slice(&self.next_sequence.to_be_bytes());
        self.packet.extend_from_slice(&[0; 2]);
        let (mut count, mut time_ns) = (0_u16, 0);
        while self.ending.is_none() {
            match self.message_length(input)? {
                Ok(length) => {
                    if self.packet.len() + 2 + length > LOWER_BYTES + PAYLOAD_BYTES_MAX {
                        break;
                    }
                    let message = &input.data()[PREFIX_BYTES..PREFIX_BYTES + length];
                    time_ns = timestamp(message).unwrap_or(0);
                    self.packet.extend_from_slice(&(length as u16).to_be_bytes());
                    self.packet.extend_from_slice(message);
                    input.consume(PREFIX_BYTES + length);
                    count += 1;
                }
                Err(ending) => self.ending = Some(ending),
            }
        }
        if count == 0 {
            return Ok(self.ending.take().unwrap_or(Step::End));
        }
        self.next_sequence += u64::from(count);
        self.complete(count);
        let original_bytes = self.packet.len() as u32;
        Ok(Step::Record(Found {
            time_ns,
            original_bytes,
            link: LinkType::Ethernet,
            bytes: 0..self.packet.len(),
        }))
    }

    /// Length of the next message, which is then in the window whole; or what ends the file.
    fn message_length(&mut self, input: &mut Input) -> std::io::Result<Result<usize, Step>> {
        let mut at_end = false;
        loop {
            match self.framer.next(input.data(), at_end) {
                Framed::Need(bytes) if bytes > PREFIX_BYTES + MESSAGE_BYTES_MAX => {
                    let claimed = bytes - PREFIX_BYTES;
                    return Ok(Err(Step::Damaged(format!("a message claims {claimed} bytes"))));
                }
                Framed::Need(bytes) => at_end = !input.want(bytes)?,
                Framed::Message(range) => return Ok(Ok(range.len())),
                Framed::End | Framed::Damaged(Damage::Truncated) => return Ok(Err(short(input))),
                Framed::Damaged(Damage::BytesBehindEnd) => return Ok(Err(Step::End)),
                Framed::Damaged(damage) => return Ok(Err(Step::Damaged(damage.to_string()))),
            }
        }
    }

    /// Fills in the lengths, the count and the IPv4 checksum.
    fn complete(&mut self, count: u16) {
        let ip_bytes = (self.packet.len() - 14) as u16;
        self.packet[16..18].copy_from_slice(&ip_bytes.to_be_bytes());
        self.packet[38..40].copy_from_slice(&(ip_bytes - 20).to_be_bytes());
        self.packet[LOWER_BYTES + MOLD_BYTES - 2..LOWER_BYTES + MOLD_BYTES]
            .copy_from_slice(&count.to_be_bytes());
        let sum: u32 = self.packet[14..34]
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
        self.packet[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn message(kind: u8, time_ns: u64) -> Vec<u8> {
        let mut message = vec![0x5a; length_of(kind).expect("a known type")];
        message[0] = kind;
        message[5..11].copy_from_slice(&time_ns.to_be_bytes()[2..]);
        message
    }

    fn packets(file: Vec<u8>) -> (Vec<(u64, Vec<u8>)>, Step) {
        let mut input = Input::over(Box::new(Cursor::new(file)));
        input.want(3).expect("memory can be read");
        let mut reader = ItchFile::open(&input).expect("a message file");
        let mut packets = Vec::new();
        loop {
            match reader.step(&mut input).expect("memory can be read") {
                Step::Record(found) => packets.push((found.time_ns, reader.packet().to_vec())),
                step => return (packets, step),
            }
        }
    }

    /// Messages of a packet, after checking its headers with an independent parser.
    fn messages(packet: &[u8], first_sequence: u64) -> Vec<Vec<u8>> {
        let parsed = etherparse::PacketHeaders::from_ethernet_slice(packet).expect("valid headers");
        let Some(etherparse::NetHeaders::Ipv4(ip, _)) = parsed.net else { panic!("not IPv4") };
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert_eq!(ip.destination, DESTINATION);
        let payload = parsed.payload.slice();
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(&payload[..10], SESSION);
        assert_eq!(payload[10..18], first_sequence.to_be_bytes());
        let mut rest = &payload[20..];
        let mut messages = Vec::new();
        for _ in 0..u16::from_be_bytes([payload[18], payload[19]]) {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            messages.push(rest[2..2 + length].to_vec());
            rest = &rest[2 + length..];
        }
        assert!(rest.is_empty());
        messages
    }

    #[test]
    fn both_framings_give_the_same_packets() {
        let all: Vec<_> = (0..200_u64).map(|n| message(b"SRADEUPQ"[n as usize % 8], n * 1_000)).collect();
        for zeroed in [false, true] {
            let mut file = Vec::new();
            for one in &all {
                let prefix = if zeroed { 0 } else { one.len() as u16 };
                file.extend_from_slice(&prefix.to_be_bytes());
                file.extend_from_slice(one);
            }
            let (packets, end) = packets(file);
            assert!(matches!(end, Step::End));
            let mut seen = Vec::new();
            for (time_ns, packet) in &packets {
                let some = messages(packet, seen.len() as u64 + 1);
                assert_eq!(*time_ns, (seen.len() + some.len() - 1) as u64 * 1_000);
                seen.extend(some);
            }
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn a_zero_length_ends_and_a_piece_is_left_out() {
        let one = message(b'A', 7);
        let mut file = vec![0, 36];
        file.extend_from_slice(&one);
        let cut = [&file[..], &file[..20]].concat();
        let (some, end) = packets(cut);
        assert_eq!((some.len(), messages(&some[0].1, 1).len()), (1, 1));
        assert!(matches!(end, Step::TruncatedTail));
        let ended = [&file[..], &[0, 0], &file[..]].concat();
        let (some, end) = packets(ended);
        assert_eq!(messages(&some[0].1, 1), [one]);
        assert!(matches!(end, Step::End));
    }

    #[test]
    fn other_files_are_not_taken_for_message_files() {
        for head in
            [&b"\xd4\xc3\xb2\xa1"[..], b"\x0a\x0d\x0d\x0a", b"\x00\x0cT", b"\x00\x0dS", b"\x00\x00", b""]
        {
            assert!(!is_message_file(head));
        }
    }
}
