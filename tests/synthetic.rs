//! Made-up captures are read back by an independent reader, and are taken for what they are.

use pcap_parser::{PcapBlockOwned, PcapError, create_reader};
use sluice::event::{Destination, Protocol};
use sluice::replay::synthetic::{Packet, Session, iex_session, itch_session, write_pcap};
use sluice::wire::detect::detect;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

fn read_back(path: &Path) -> Vec<Packet> {
    let mut reader = create_reader(1 << 20, Cursor::new(std::fs::read(path).unwrap())).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let PcapBlockOwned::Legacy(record) = &block {
                    assert_eq!(record.caplen, record.origlen);
                    packets.push(udp_packet(record.ts_sec, record.ts_usec, record.data));
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return packets,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn udp_packet(seconds: u32, nanos: u32, frame: &[u8]) -> Packet {
    let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
    let Some(etherparse::TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP") };
    let destination = std::net::SocketAddrV4::new(ip.header().destination_addr(), udp.destination_port());
    let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(nanos);
    Packet { time_ns, destination, payload: udp.payload().to_vec() }
}

fn check(session: &Session, protocol: Protocol) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made-up.pcap");
    write_pcap(&path, &session.packets).unwrap();
    assert!(read_back(&path) == session.packets, "what is read is not what was written");
    for packet in &session.packets {
        let socket = SocketAddr::new(IpAddr::V4(*packet.destination.ip()), packet.destination.port());
        assert_eq!(detect(&packet.payload, Destination::from(socket)), Some(protocol));
    }
    let packets: u64 = session.counts.lines.iter().map(|line| line.packets).sum();
    assert_eq!(packets, session.packets.len() as u64);
}

#[test]
fn itch_over_moldudp64() {
    check(&itch_session(11, 10_000), Protocol::Moldudp64Itch50);
}

#[test]
fn tops_over_iex_tp() {
    check(&iex_session(11, 10_000), Protocol::IexTp);
}
