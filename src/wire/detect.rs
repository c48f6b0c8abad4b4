//! Which protocol is this? A pure sniff of one packet, for `decode --protocol auto` and for groups without a rule.
//!
//! Invariant: a protocol is named only when the whole packet adds up under its framing; a packet that says too
//! little (a bare header off a unicast port, noise, a damaged packet) is nobody's.

use super::native_v2;
use crate::event::{Destination, Priority, Protocol};

/// Times outside of 2000-01-01 to 2100-01-01 (seconds since the Unix epoch) are taken for something else.
const PLAUSIBLE_SECONDS: std::ops::Range<u64> = 946_684_800..4_102_444_800;

/// Sequences from here on are taken for something else: 2^48 messages are 8 years at a million a second.
const PLAUSIBLE_SEQUENCE: u64 = 1 << 48;

/// The test for one protocol: the packet, and whether it was sent to a multicast group.
type Sniff = fn(&[u8], bool) -> bool;

/// Most specific first: those with magic numbers or times, then those with only lengths and counts.
const SNIFFS: [(Protocol, Sniff); 8] = [
    (Protocol::IexTp, iex_tp),
    (Protocol::CmeMdp3, cme_mdp3),
    (Protocol::NysePillar, nyse_pillar),
    (Protocol::IceImpact, ice_impact),
    (Protocol::Moldudp64Itch50, moldudp64),
    (Protocol::MiaxMach, miax_mach),
    (Protocol::Native, native),
    (Protocol::CboePitch, cboe_pitch),
];

/// The protocol of a packet (a UDP payload) that was sent to `destination`, if it is beyond reasonable doubt.
///
/// All bytes of the packet must be explained: lengths equal, announced messages walked exactly to the end, times
/// between 2000 and 2100, types of the protocol's kind. A Cboe heartbeat is 8 bytes with hardly a mark in them,
/// so it counts only when sent to a multicast group. Time is bounded by the packet's length.
///
/// The intake binds a destination by the first of its packets that is recognised. One packet proves little against a
/// hostile sender: where senders are not trusted, feeds are configured and nothing is left to guess.
pub fn detect(payload: &[u8], destination: Destination) -> Option<Protocol> {
    let multicast = destination.ip().is_multicast();
    SNIFFS.into_iter().find(|(_, sniff)| sniff(payload, multicast)).map(|(protocol, _)| protocol)
}

/// The protocol of a TCP flow that begins with these bytes (a segment's), if it is beyond reasonable doubt: FIX by its
/// first two fields, SoupBinTCP by its server's acceptance of a login, native frames by a whole one of them.
///
/// A flow whose bytes prove nothing may do so later: at the beginning of each of its segments.
#[cold]
pub fn detect_stream(bytes: &[u8]) -> Option<Protocol> {
    if super::fix::begins_stream(bytes) {
        Some(Protocol::Fix)
    } else if soup_accepted(bytes) {
        Some(Protocol::SoupbintcpItch50)
    } else if native_frame(bytes) {
        Some(Protocol::Native)
    } else {
        None
    }
}

/// A SoupBinTCP server's first packet: `A`, ten bytes of the session, twenty of a number.
fn soup_accepted(stream: &[u8]) -> bool {
    let Some([0, 31, b'A', rest @ ..]) = stream.first_chunk::<33>() else { return false };
    let (session, sequence) = rest.split_at(10);
    session.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ')
        && sequence.iter().all(|b| b.is_ascii_digit() || *b == b' ')
        && sequence[19].is_ascii_digit()
}

/// A whole frame of either version stands in front.
fn native_frame(stream: &[u8]) -> bool {
    let version_2 = || {
        let length = usize::try_from(native_v2::frame_bytes(stream)?).ok()?;
        Some(native_v2::parse(stream.get(..length)?).is_ok())
    };
    let version_1 = || {
        let length = usize::try_from(bytes(stream, 0).map(u32::from_be_bytes)?).ok()?;
        Some(native(stream.get(..length.checked_add(4)?)?, false))
    };
    version_2() == Some(true) || version_1() == Some(true)
}

/// The `N` bytes at `at`.
fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn u16_le(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn u16_be(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_be_bytes)
}

/// Walks `packet` from `at` on: `measure` gives the length of the item at the front of what is left, or `None`
/// when it is no such item. Returns how many items there were, if they end exactly where the packet ends.
fn walk(packet: &[u8], at: usize, measure: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut rest = packet.get(at..)?;
    let mut count = 0;
    while !rest.is_empty() {
        let length = measure(rest).filter(|length| *length > 0)?;
        rest = rest.get(length..)?;
        count += 1;
    }
    Some(count)
}

fn iex_tp(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let protocol = u16_le(packet, 2)?;
        let payload_bytes = usize::from(u16_le(packet, 12)?);
        let count = usize::from(u16_le(packet, 14)?);
        let messages = walk(packet, 40, |rest| Some(2 + usize::from(u16_le(rest, 0)?)))?;
        Some(
            packet[0] == 1
                && (0x8002..=0x8005).contains(&protocol)
                && payload_bytes + 40 == packet.len()
                && messages == count,
        )
    };
    sniff() == Some(true)
}

fn cme_mdp3(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let sent_ns = bytes(packet, 4).map(u64::from_le_bytes)?;
        let messages = walk(packet, 12, |rest| {
            let size = usize::from(u16_le(rest, 0)?);
            let block = usize::from(u16_le(rest, 2)?);
            let schema = u16_le(rest, 6)?;
            let version = u16_le(rest, 8)?;
            (schema == 1 && version < 64 && size >= block + 10).then_some(size)
        })?;
        Some(PLAUSIBLE_SECONDS.contains(&(sent_ns / 1_000_000_000)) && messages > 0)
    };
    sniff() == Some(true)
}

fn nyse_pillar(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let size = usize::from(u16_le(packet, 0)?);
        let [flag, count] = bytes(packet, 2)?;
        let seconds = bytes(packet, 8).map(u32::from_le_bytes)?;
        let nanos = bytes(packet, 12).map(u32::from_le_bytes)?;
        let messages = walk(packet, 16, |rest| {
            // 1,000 is twice the highest type of the published feeds.
            let kind = u16_le(rest, 2)?;
            let size = usize::from(u16_le(rest, 0)?);
            (size >= 4 && (1..1_000).contains(&kind)).then_some(size)
        })?;
        Some(
            size == packet.len()
                && matches!(flag, 1 | 10..=13 | 15 | 17..=21)
                && PLAUSIBLE_SECONDS.contains(&u64::from(seconds))
                && nanos < 1_000_000_000
                && messages == usize::from(count)
                && (flag == 1) == (count == 0),
        )
    };
    sniff() == Some(true)
}

fn ice_impact(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let count = usize::from(u16_be(packet, 6)?);
        let sent_millis = bytes(packet, 8).map(u64::from_be_bytes)?;
        let messages = walk(packet, 16, |rest| {
            rest[0].is_ascii_alphanumeric().then_some(3 + usize::from(u16_be(rest, 1)?))
        })?;
        Some(PLAUSIBLE_SECONDS.contains(&(sent_millis / 1_000)) && messages == count)
    };
    sniff() == Some(true)
}

fn moldudp64(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let session: [u8; 10] = bytes(packet, 0)?;
        let sequence = bytes(packet, 10).map(u64::from_be_bytes)?;
        let count = usize::from(u16_be(packet, 18)?);
        let messages = walk(packet, 20, |rest| {
            let length = usize::from(u16_be(rest, 0)?);
            let letter = rest.get(2).is_none_or(u8::is_ascii_alphabetic);
            (length == 0 || letter).then_some(2 + length)
        })?;
        let printable = |b: &u8| b.is_ascii_alphanumeric() || *b == b' ';
        Some(
            session.iter().all(printable)
                && session.iter().any(u8::is_ascii_alphanumeric)
                && sequence < PLAUSIBLE_SEQUENCE
                && (messages == count || (count == 0xFFFF && messages == 0)),
        )
    };
    sniff() == Some(true)
}

fn miax_mach(packet: &[u8], _multicast: bool) -> bool {
    let sniff = || {
        let session = packet.get(11)?;
        let packets = walk(packet, 0, |rest| {
            let sequence = bytes(rest, 0).map(u64::from_le_bytes)?;
            let length = usize::from(u16_le(rest, 8)?);
            let fits = match rest.get(10)? {
                0..=2 => length == 12,
                3 => length > 12 && rest.get(12)?.is_ascii_alphanumeric(),
                _ => false,
            };
            (fits && sequence < PLAUSIBLE_SEQUENCE && rest.get(11) == Some(session)).then_some(length)
        })?;
        Some(packets > 0)
    };
    sniff() == Some(true)
}

fn native(packet: &[u8], _multicast: bool) -> bool {
    let frames_v2 = walk(packet, 0, |rest| {
        let length = usize::try_from(native_v2::frame_bytes(rest)?).ok()?;
        native_v2::parse(rest.get(..length)?).is_ok().then_some(length)
    });
    if frames_v2.is_some_and(|frames| frames > 0) {
        return true;
    }
    let sniff = || {
        let frame = bytes(packet, 0).map(u32::from_be_bytes)?;
        let priority = packet.get(4)?;
        let topic_bytes = usize::from(u16_be(packet, 5)?);
        let topic = packet.get(7..7 + topic_bytes)?;
        let topic = std::str::from_utf8(topic).ok()?;
        Some(
            usize::try_from(frame).ok()? + 4 == packet.len()
                && Priority::from_u8(*priority).is_some()
                && !topic.is_empty()
                && !topic.chars().any(char::is_control),
        )
    };
    sniff() == Some(true)
}

fn cboe_pitch(packet: &[u8], multicast: bool) -> bool {
    let sniff = || {
        let length = usize::from(u16_le(packet, 0)?);
        let count = usize::from(*packet.get(2)?);
        let messages = walk(packet, 8, |rest| {
            // Types below 0x20 belong to the unicast request protocols; no message of the feeds has less than
            // 6 bytes (length, type and a time).
            let size = usize::from(*rest.first()?);
            (size >= 6 && *rest.get(1)? >= 0x20).then_some(size)
        })?;
        Some(length == packet.len() && messages == count && (count > 0 || multicast))
    };
    sniff() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: Destination = Destination::v4([233, 252, 0, 1], 30_001);
    const HOST: Destination = Destination::v4([192, 0, 2, 1], 9_001);

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// One good packet of each protocol; those of IEX, MoldUDP64, MACH and iMpact are real.
    fn samples() -> [(Protocol, Vec<u8>); 8] {
        [
            (
                Protocol::IexTp,
                hex(
                    "01000380 01000000 0000cd43 0000 0000 0000000000000000 0100000000000000 b94e92069afecf14",
                ),
            ),
            (
                Protocol::Moldudp64Itch50,
                hex("30303030313030353942 0000000000e149d0 0001 0013 440ab100001f1acf4c4eb70000000001665d6a"),
            ),
            (
                Protocol::MiaxMach,
                hex("bcc5730100000000 1100 03 01 31547a0658 bdc5730100000000 1c00 03 01
                     426f0b0100840a0004f4019000000041"),
            ),
            (Protocol::IceImpact, hex("050b 0003de84 0001 000001655bed3ef8 54 0001 53")),
            (Protocol::CmeMdp3, hex("01000000 00001c2b7dfb9717 1200 0800 0c00 0100 0800 0000000000000000")),
            (
                Protocol::NysePillar,
                hex("2400 0b 01 05000000 00f15365 00000000 1400 6600").into_iter().chain([0; 16]).collect(),
            ),
            (Protocol::Native, hex("0000000a 04 0003 414243 61626364")),
            (Protocol::CboePitch, hex("1c00 02 01 64000000 06 20 01020304 0e 29 18d20600 0500400500000000")),
        ]
    }

    #[test]
    fn knows_every_protocol_by_a_whole_packet() {
        for (protocol, packet) in samples() {
            assert_eq!(detect(&packet, GROUP), Some(protocol));
            assert_eq!(detect(&packet, HOST), Some(protocol));
        }
    }

    #[test]
    fn a_packet_cut_or_extended_by_a_byte_is_nobodys() {
        for (protocol, mut packet) in samples() {
            assert_eq!(detect(&packet[..packet.len() - 1], GROUP), None, "{protocol} cut");
            packet.push(b'A');
            assert_eq!(detect(&packet, GROUP), None, "{protocol} extended");
        }
        assert_eq!(detect(&[], GROUP), None);
    }

    #[test]
    fn flows_are_known_by_what_stands_in_front() {
        let fix = b"8=FIX.4.2\x019=5\x0135=0\x0110=161\x018=FI";
        assert_eq!(detect_stream(fix), Some(Protocol::Fix));
        let soup = format!("\0\x1fA{:>10}{:>20}\0\x01H", "SESSION1", 1).into_bytes();
        assert_eq!(detect_stream(&soup), Some(Protocol::SoupbintcpItch50));
        let mut frames = hex("0000000a 04 0003 414243 61626364");
        assert_eq!(detect_stream(&frames), Some(Protocol::Native));
        frames.extend([0, 0, 0]);
        assert_eq!(detect_stream(&frames), Some(Protocol::Native), "the next one is cut");
        let mut frames = Vec::new();
        native_v2::encode_control(&native_v2::Control::Heartbeat, 7, &mut frames);
        assert_eq!(detect_stream(&frames), Some(Protocol::Native));
        let others: [&[u8]; 7] = [
            b"",
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            &hex("1603010200 010001fc 0303"),
            &[0; 64],
            &soup[..20],
            &frames[1..],
        ];
        for bytes in others {
            assert_eq!(detect_stream(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn heartbeats() {
        let mold = hex("30303030313030353942 0000000000e149d0 0000");
        assert_eq!(detect(&mold, HOST), Some(Protocol::Moldudp64Itch50));
        assert_eq!(detect(&hex("bcc5730100000000 0c00 00 01"), HOST), Some(Protocol::MiaxMach));
        assert_eq!(detect(&hex("050b 0003de84 0000 000001655bed3ef8"), HOST), Some(Protocol::IceImpact));
        assert_eq!(detect(&hex("1000 01 00 05000000 00f15365 00000000"), HOST), Some(Protocol::NysePillar));
        let cboe = hex("0800 00 01 64000000");
        assert_eq!((detect(&cboe, GROUP), detect(&cboe, HOST)), (Some(Protocol::CboePitch), None));
    }

    proptest! {
        #[test]
        fn noise_is_nobodys(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // 16 random bytes that add up under any framing are a one-in-millions chance; shorter ones may.
            if bytes.len() >= 16 {
                prop_assert_eq!(detect(&bytes, HOST), None);
            }
        }

        #[test]
        fn a_damaged_packet_is_never_another_protocols(
            which in 0usize..8,
            at in any::<proptest::sample::Index>(),
            value in any::<u8>(),
        ) {
            let (protocol, mut packet) = samples()[which].clone();
            let at = at.index(packet.len());
            packet[at] = value;
            prop_assert!(detect(&packet, GROUP).is_none_or(|found| found == protocol));
        }
    }
}
