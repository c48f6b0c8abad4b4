//! Hot path: changes to a frame on its way out: MAC addresses, VLAN, destination address and port.
//!
//! Invariant: bytes behind the IP packet (padding, FCS) stay as captured, and every checksum that was valid is valid
//! afterwards.

use std::net::IpAddr;

use crate::sink::Layers;
use crate::source::LinkType;

/// What happens to VLAN tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VlanChange {
    /// They stay.
    #[default]
    Keep,
    /// The outermost one gets this id (0..=4095), keeping its priority; an untagged frame gets a tag.
    Set(u16),
    /// All of them go.
    Strip,
}

/// What is changed; `None` leaves it as captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Source MAC address.
    pub source_mac: Option<[u8; 6]>,
    /// Destination MAC address. Without it, a multicast `destination_ip` brings its own; a unicast one keeps the
    /// captured MAC address.
    pub destination_mac: Option<[u8; 6]>,
    /// VLAN tags.
    pub vlan: VlanChange,
    /// Destination IP address, for packets of its family.
    pub destination_ip: Option<IpAddr>,
    /// Destination UDP port.
    pub destination_port: Option<u16>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// Nothing was to be changed.
    Untouched,
    /// Everything asked for was changed.
    Whole,
    /// The address or port could not be changed, so nothing was: the frame carries no whole UDP datagram of that
    /// address family, or no Ethernet header for a MAC address or VLAN.
    Impossible,
}

impl Rewrite {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Rewrite::default()
    }

    /// Writes the changed frame into `scratch`. If the answer is not `Whole`, `scratch` means nothing and the frame
    /// goes out as it is. `scratch` grows only for a frame that is longer than all before it.
    pub fn apply(&self, frame: &[u8], link: LinkType, scratch: &mut Vec<u8>) -> Rewritten {
        if self.is_empty() {
            return Rewritten::Untouched;
        }
        let layers = Layers::of(frame, link);
        let changes_ethernet =
            self.source_mac.is_some() || self.destination_mac.is_some() || self.vlan != VlanChange::Keep;
        if changes_ethernet && (link != LinkType::Ethernet || frame.len() < 14 + layers.tag_bytes) {
            return Rewritten::Impossible;
        }
        let changes_packet = self.destination_ip.is_some() || self.destination_port.is_some();
        let family_differs = self.destination_ip.is_some_and(|ip| ip.is_ipv6() != layers.ipv6);
        if changes_packet && (layers.udp.is_none() || family_differs) {
            return Rewritten::Impossible;
        }
        scratch.clear();
        scratch.extend_from_slice(frame);
        if changes_packet {
            self.change_packet(scratch, &layers);
        }
        if link == LinkType::Ethernet {
            self.change_macs(scratch);
            self.change_vlan(scratch, layers.tag_bytes);
        }
        Rewritten::Whole
    }

    fn change_macs(&self, frame: &mut [u8]) {
        let follows = self.destination_ip.and_then(multicast_mac);
        if let Some(mac) = self.destination_mac.or(follows) {
            frame[..6].copy_from_slice(&mac);
        }
        if let Some(mac) = self.source_mac {
            frame[6..12].copy_from_slice(&mac);
        }
    }

    fn change_vlan(&self, frame: &mut Vec<u8>, tag_bytes: usize) {
        match self.vlan {
            VlanChange::Keep => {}
            VlanChange::Strip => drop(frame.drain(12..12 + tag_bytes)),
            VlanChange::Set(id) if tag_bytes == 0 => {
                let [high, low] = (id & 0x0fff).to_be_bytes();
                drop(frame.splice(12..12, [0x81, 0x00, high, low]));
            }
            VlanChange::Set(id) => {
                let [high, low] = (id & 0x0fff).to_be_bytes();
                frame[14] = frame[14] & 0xf0 | high;
                frame[15] = low;
            }
        }
    }

    /// Changes address and port, and the checksums with them.
    fn change_packet(&self, frame: &mut [u8], layers: &Layers) {
        let (Some(ip), Some(udp)) = (layers.ip, layers.udp) else { return };
        match self.destination_ip {
            Some(IpAddr::V4(address)) => frame[ip + 16..ip + 20].copy_from_slice(&address.octets()),
            Some(IpAddr::V6(address)) => frame[ip + 24..ip + 40].copy_from_slice(&address.octets()),
            None => {}
        }
        if let Some(port) = self.destination_port {
            frame[udp + 2..udp + 4].copy_from_slice(&port.to_be_bytes());
        }
        renew_checksums(frame, layers);
    }
}

/// The MAC address of a multicast group.
fn multicast_mac(ip: IpAddr) -> Option<[u8; 6]> {
    match ip {
        _ if !ip.is_multicast() => None,
        IpAddr::V4(ip) => {
            let [_, b, c, d] = ip.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            Some([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
        }
    }
}

/// Makes the checksums of the IP and UDP headers anew; one that IPv4 left out stays out.
pub(super) fn renew_checksums(frame: &mut [u8], layers: &Layers) {
    let (Some(ip), Some(udp)) = (layers.ip, layers.udp) else { return };
    if !layers.ipv6 {
        frame[ip + 10..ip + 12].fill(0);
        let checksum = !folded(sum(&frame[ip..udp]));
        frame[ip + 10..ip + 12].copy_from_slice(&checksum.to_be_bytes());
    }
    // 0 says that there is none, which IPv4 allows.
    if layers.ipv6 || frame[udp + 6..udp + 8] != [0, 0] {
        let addresses = if layers.ipv6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 };
        frame[udp + 6..udp + 8].fill(0);
        let datagram = &frame[udp..layers.udp_end];
        let pseudo = sum(&frame[addresses]) + 17 + datagram.len() as u64;
        let checksum = match !folded(pseudo + sum(datagram)) {
            0 => 0xffff,
            checksum => checksum,
        };
        frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The sum of big-endian words; an odd byte is the upper half of a last one.
fn sum(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u64>() + odd
}

/// A sum with its carries added back in.
fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
    use proptest::prelude::*;

    const TRAILER: [u8; 6] = [0, 0, 0xde, 0xad, 0xbe, 0xef];

    fn frame(vlan: Option<u16>, ipv6: bool, payload: &[u8]) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2; 6], [3; 6]);
        let mut frame = Vec::new();
        let vlan = vlan.map(|id| id.try_into().expect("a VLAN id"));
        let ip = match (vlan, ipv6) {
            (None, false) => ethernet.ipv4([10, 0, 0, 1], [224, 0, 0, 9], 9),
            (Some(id), false) => ethernet.single_vlan(id).ipv4([10, 0, 0, 1], [224, 0, 0, 9], 9),
            (None, true) => ethernet.ipv6([1; 16], [2; 16], 9),
            (Some(id), true) => ethernet.single_vlan(id).ipv6([1; 16], [2; 16], 9),
        };
        ip.udp(1_000, 2_000).write(&mut frame, payload).expect("memory can be written");
        frame.extend(TRAILER);
        frame
    }

    fn apply(rewrite: Rewrite, frame: &[u8]) -> Vec<u8> {
        let mut scratch = Vec::new();
        assert_eq!(rewrite.apply(frame, LinkType::Ethernet, &mut scratch), Rewritten::Whole);
        scratch
    }

    /// Destination address and port of a frame whose checksums an independent parser finds valid.
    fn checked(frame: &[u8], payload: &[u8]) -> (IpAddr, u16) {
        let parsed = PacketHeaders::from_ethernet_slice(frame).expect("valid headers");
        let Some(TransportHeader::Udp(udp)) = parsed.transport else { panic!("not UDP") };
        assert_eq!(parsed.payload.slice(), payload);
        assert!(frame.ends_with(&TRAILER));
        let ip = match parsed.net {
            Some(NetHeaders::Ipv4(ip, _)) => {
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv4(&ip, payload));
                IpAddr::from(ip.destination)
            }
            Some(NetHeaders::Ipv6(ip, _)) => {
                assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv6(&ip, payload));
                IpAddr::from(ip.destination)
            }
            _ => panic!("not IP"),
        };
        (ip, udp.destination_port)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn macs_follow_a_multicast_address_unless_given() {
        let to_group = Rewrite { destination_ip: Some(ip("239.129.2.3")), ..Rewrite::default() };
        let changed = apply(to_group, &frame(None, false, b"abc"));
        assert_eq!(changed[..12], [1, 0, 0x5e, 1, 2, 3, 2, 2, 2, 2, 2, 2]);
        let given = Rewrite { destination_mac: Some([7; 6]), source_mac: Some([8; 6]), ..to_group };
        let changed = apply(given, &frame(None, false, b"abc"));
        assert_eq!(changed[..12], [7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8]);
        let unicast = Rewrite { destination_ip: Some(ip("10.0.0.7")), ..Rewrite::default() };
        assert_eq!(apply(unicast, &frame(None, false, b"abc"))[..6], [3; 6]);
        let v6 = Rewrite { destination_ip: Some(ip("ff02::1:2")), ..Rewrite::default() };
        assert_eq!(apply(v6, &frame(None, true, b"abc"))[..6], [0x33, 0x33, 0, 1, 0, 2]);
    }

    #[test]
    fn vlan_tags_come_change_and_go() {
        let untagged = frame(None, false, b"abcd");
        let tagged = frame(Some(905), false, b"abcd");
        let set = |id| Rewrite { vlan: VlanChange::Set(id), ..Rewrite::default() };
        let strip = Rewrite { vlan: VlanChange::Strip, ..Rewrite::default() };
        assert_eq!(apply(set(905), &untagged), tagged);
        assert_eq!(apply(strip, &tagged), untagged);
        assert_eq!(apply(strip, &untagged), untagged);
        let mut with_priority = tagged.clone();
        with_priority[14] |= 0xe0;
        assert_eq!(apply(set(7), &with_priority)[12..16], [0x81, 0, 0xe0, 7]);
    }

    #[test]
    fn a_missing_checksum_stays_missing_on_ipv4() {
        let mut original = frame(None, false, b"abc");
        original[40..42].fill(0);
        let changed = apply(Rewrite { destination_port: Some(9), ..Rewrite::default() }, &original);
        assert_eq!(changed[36..42], [0, 9, 0, 11, 0, 0]);
    }

    #[test]
    fn what_cannot_be_rewritten_is_told() {
        let mut scratch = Vec::new();
        let port = Rewrite { destination_port: Some(9), ..Rewrite::default() };
        let other_family = Rewrite { destination_ip: Some(ip("::1")), ..Rewrite::default() };
        let mac = Rewrite { source_mac: Some([1; 6]), ..Rewrite::default() };
        let whole = frame(None, false, b"abc");
        let mut check = |rewrite: Rewrite, frame: &[u8], link| rewrite.apply(frame, link, &mut scratch);
        assert_eq!(check(Rewrite::default(), &whole, LinkType::Ethernet), Rewritten::Untouched);
        assert_eq!(check(port, &[0; 60], LinkType::Ethernet), Rewritten::Impossible);
        assert_eq!(check(other_family, &whole, LinkType::Ethernet), Rewritten::Impossible);
        assert_eq!(check(mac, &whole[14..], LinkType::RawIp), Rewritten::Impossible);
        assert_eq!(check(mac, &whole[..13], LinkType::Ethernet), Rewritten::Impossible);
        assert_eq!(check(port, &whole[14..], LinkType::RawIp), Rewritten::Whole);
        assert_eq!(check(mac, &[0; 60], LinkType::Ethernet), Rewritten::Whole);
    }

    proptest! {
        #[test]
        fn checksums_stay_valid(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            vlan in prop::option::of(0_u16..4_096),
            ipv6: bool,
            set in prop::option::of(0_u16..4_096),
            address: u128,
            port: u16,
        ) {
            let address = if ipv6 { IpAddr::from(address.to_be_bytes()) } else { IpAddr::from((address as u32).to_be_bytes()) };
            let rewrite = Rewrite {
                destination_ip: Some(address),
                destination_port: Some(port),
                vlan: set.map_or(VlanChange::Strip, VlanChange::Set),
                ..Rewrite::default()
            };
            let changed = apply(rewrite, &frame(vlan, ipv6, &payload));
            prop_assert_eq!(checked(&changed, &payload), (address, port));
        }
    }
}
