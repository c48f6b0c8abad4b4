//! Packets as Ethernet frames in a pcap file with nanoseconds.
//!
//! Invariant: every frame is one that a NIC would deliver: multicast MAC of its group, right lengths and checksums.

use super::lines::Packet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Sender of all packets: TEST-NET-1 of RFC 5737, and a locally administered MAC.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOURCE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const SOURCE_PORT: u16 = 40_000;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// pcap with nanoseconds, little-endian.
const PCAP_NANOS_MAGIC: u32 = 0xa1b2_3c4d;
const LINK_TYPE_ETHERNET: u32 = 1;

/// Why a made-up capture could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// The file system refused.
    #[error(
        "can't write the capture {path}: {source}; choose a folder that exists, is yours to write in and has room"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Writes `packets` as a capture (pcap, nanoseconds, Ethernet) to `path`, over whatever is there.
///
/// # Errors
/// [`SyntheticError::Write`] when the file can't be written.
pub fn write_pcap(path: &Path, packets: &[Packet]) -> Result<(), SyntheticError> {
    std::fs::write(path, pcap_bytes(packets))
        .map_err(|source| SyntheticError::Write { path: path.to_owned(), source })
}

/// The bytes of a capture (pcap, nanoseconds, Ethernet) of `packets`, in their order.
pub fn pcap_bytes(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(PCAP_NANOS_MAGIC.to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(4u16.to_le_bytes());
    // Time zone and accuracy, which nobody fills in.
    file.extend([0; 8]);
    file.extend(65_535u32.to_le_bytes());
    file.extend(LINK_TYPE_ETHERNET.to_le_bytes());
    for (index, packet) in packets.iter().enumerate() {
        let frame = frame(packet, index as u16);
        let seconds = (packet.time_ns / 1_000_000_000) as u32;
        let nanos = (packet.time_ns % 1_000_000_000) as u32;
        file.extend(seconds.to_le_bytes());
        file.extend(nanos.to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend(frame);
    }
    file
}

/// One packet as an Ethernet frame without FCS. Payloads are below an MTU, so no length overflows.
fn frame(packet: &Packet, identification: u16) -> Vec<u8> {
    let group = packet.destination.ip().octets();
    let udp_bytes = (UDP_BYTES + packet.payload.len()) as u16;
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + IPV4_BYTES + usize::from(udp_bytes));
    // The low 23 bits of the group (RFC 1112).
    frame.extend([0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]]);
    frame.extend(SOURCE_MAC);
    frame.extend(0x0800u16.to_be_bytes());

    let mut ip = [0u8; IPV4_BYTES];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(IPV4_BYTES as u16 + udp_bytes).to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    // Don't fragment; time to live 16; UDP.
    ip[6] = 0x40;
    ip[8] = 16;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&SOURCE.octets());
    ip[16..20].copy_from_slice(&group);
    let checksum = !ones_complement_sum(0, &ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);

    let mut udp = [0u8; UDP_BYTES];
    udp[0..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&packet.destination.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
    let pseudo = ones_complement_sum(u32::from(udp_bytes) + 17, &ip[12..20]);
    let header = ones_complement_sum(u32::from(pseudo), &udp);
    let checksum = !ones_complement_sum(u32::from(header), &packet.payload);
    // 0 would say that there is no checksum.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(udp);
    frame.extend(&packet.payload);
    frame
}

/// The internet checksum's sum (RFC 1071) of `bytes`, going on from `sum`.
fn ones_complement_sum(sum: u32, bytes: &[u8]) -> u16 {
    let mut sum = bytes.chunks(2).fold(sum, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use std::net::SocketAddrV4;

    #[test]
    fn frames_are_right_to_the_checksum() {
        for payload in [vec![], vec![7], (0..=255).collect::<Vec<u8>>(), vec![0xff; 1_400]] {
            let destination = SocketAddrV4::new(Ipv4Addr::new(233, 252, 0, 2), 26_477);
            let packet = Packet { time_ns: 1, destination, payload };
            let bytes = frame(&packet, 9);
            assert_eq!(bytes[..6], [0x01, 0x00, 0x5e, 0x7c, 0, 2]);
            let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
            let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP") };
            let ip = ip.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!((ip.destination, udp.destination_port()), ([233, 252, 0, 2], 26_477));
            assert_eq!(udp.payload(), packet.payload);
            let checksum = udp.to_header().calc_checksum_ipv4(&ip, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), checksum);
        }
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_pcap(&folder.path().join("missing/x.pcap"), &[]).unwrap_err();
        assert!(error.to_string().contains("missing/x.pcap"), "{error}");
        let path = folder.path().join("x.pcap");
        write_pcap(&path, &[]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), pcap_bytes(&[]));
    }
}
