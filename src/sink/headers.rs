//! Hot path: where a frame's headers lie, for those who send or change it.
//!
//! Invariant: every offset lies inside the frame; what is not there is `None`, whatever the bytes.

use crate::source::LinkType;

const TAGS_MAX: usize = crate::limits::VLAN_TAGS_MAX;

/// The layers of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Bytes of VLAN tags behind the MAC addresses.
    pub tag_bytes: usize,
    /// Where the IP header begins, if there is a whole one.
    pub ip: Option<usize>,
    /// Whether it is IPv6.
    pub ipv6: bool,
    /// Whether the packet is a fragment: without a UDP header, or without all of its payload.
    pub fragment: bool,
    /// Where the UDP header begins, if the datagram is there whole; not in fragments.
    pub udp: Option<usize>,
    /// Where the UDP payload ends.
    pub udp_end: usize,
}

impl Layers {
    /// Finds the layers of a frame.
    pub fn of(frame: &[u8], link: LinkType) -> Layers {
        let mut layers = Layers::default();
        let version = frame.first().map(|byte| byte >> 4);
        let (ip, ipv6) = match (link, version) {
            (LinkType::RawIp, Some(4)) => (0, false),
            (LinkType::RawIp, Some(6)) => (0, true),
            (LinkType::Ethernet, _) => {
                let mut at = 12;
                while matches!(word(frame, at), Some(0x8100 | 0x88a8)) && layers.tag_bytes < 4 * TAGS_MAX {
                    layers.tag_bytes += 4;
                    at += 4;
                }
                match word(frame, at) {
                    Some(0x0800) => (at + 2, false),
                    Some(0x86dd) => (at + 2, true),
                    _ => return layers,
                }
            }
            _ => return layers,
        };
        layers.ipv6 = ipv6;
        if ipv6 {
            layers.find_ipv6(frame, ip)
        } else {
            layers.find_ipv4(frame, ip)
        }
        layers
    }

    /// The UDP payload.
    pub fn payload<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        frame.get(self.udp? + 8..self.udp_end)
    }

    fn find_ipv4(&mut self, frame: &[u8], ip: usize) {
        let Some(header) = frame.get(ip..ip + 20) else { return };
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        let total_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_bytes < 20 || frame.len() < ip + header_bytes {
            return;
        }
        self.ip = Some(ip);
        // More fragments, or an offset.
        self.fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        if header[9] == 17 && !self.fragment && total_bytes >= header_bytes {
            self.find_udp(frame, ip + header_bytes, ip + total_bytes);
        }
    }

    fn find_ipv6(&mut self, frame: &[u8], ip: usize) {
        let Some(header) = frame.get(ip..ip + 40) else { return };
        if header[0] >> 4 != 6 {
            return;
        }
        self.ip = Some(ip);
        self.fragment = header[6] == 44;
        // Extension headers are not walked: a datagram behind one is not found.
        if header[6] == 17 {
            let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
            self.find_udp(frame, ip + 40, ip + 40 + payload_bytes);
        }
    }

    fn find_udp(&mut self, frame: &[u8], udp: usize, ip_end: usize) {
        let Some(length) = word(frame, udp + 4) else { return };
        let end = udp + usize::from(length);
        if length >= 8 && end <= ip_end && end <= frame.len() {
            self.udp = Some(udp);
            self.udp_end = end;
        }
    }
}

/// A big-endian word, if it is there.
fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn tagged(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [3; 6])
            .double_vlan(5.try_into().expect("a VLAN id"), 6.try_into().expect("a VLAN id"))
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
            .udp(1_000, 2_000)
            .write(&mut frame, payload)
            .expect("memory can be written");
        frame
    }

    #[test]
    fn a_tagged_datagram_with_padding() {
        let mut frame = tagged(b"hello");
        frame.extend([9; 12]);
        let layers = Layers::of(&frame, LinkType::Ethernet);
        assert_eq!((layers.tag_bytes, layers.ip, layers.udp), (8, Some(22), Some(42)));
        assert_eq!(layers.payload(&frame), Some(&b"hello"[..]));
        assert_eq!(Layers::of(&frame[22..], LinkType::RawIp).payload(&frame[22..]), Some(&b"hello"[..]));
        assert_eq!(Layers::of(&frame, LinkType::Unsupported), Layers::default());
        frame[28] |= 0x20;
        let layers = Layers::of(&frame, LinkType::Ethernet);
        assert!(layers.fragment && layers.udp.is_none());
    }

    #[test]
    fn ipv6_and_cut_frames() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [3; 6])
            .ipv6([1; 16], [2; 16], 9)
            .udp(1_000, 2_000)
            .write(&mut frame, b"hello")
            .expect("memory can be written");
        let layers = Layers::of(&frame, LinkType::Ethernet);
        assert!(layers.ipv6);
        assert_eq!(layers.payload(&frame), Some(&b"hello"[..]));
        frame.pop();
        assert_eq!(Layers::of(&frame, LinkType::Ethernet).udp, None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_offsets_inside(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            damage in prop::collection::vec((0_usize..60, any::<u8>()), 0..4),
        ) {
            let mut frame = tagged(&bytes);
            damage.iter().for_each(|(at, value)| { let last = frame.len() - 1; frame[(*at).min(last)] = *value; });
            for frame in [&frame[..], &bytes[..]] {
                for link in [LinkType::Ethernet, LinkType::RawIp] {
                    let layers = Layers::of(frame, link);
                    prop_assert!(layers.udp_end <= frame.len());
                    prop_assert!(layers.ip.is_none_or(|ip| ip + 20 <= frame.len()));
                    prop_assert_eq!(layers.payload(frame).is_some(), layers.udp.is_some());
                }
            }
        }
    }
}
