//! Hot path: whole Ethernet frames to an interface through AF_PACKET, when AF_XDP is not to be had.

use std::os::fd::OwnedFd;

use super::batch::{Batch, PACKET_BYTES_MAX};
use super::{FrameSink, SendOutcome, SinkError};
use crate::os::packet::{interface_index, interface_mtu, packet_socket};
use crate::source::LinkType;

/// Room for frames in the kernel: some 4,000 of 1,500 B, so that a burst does not wait for each batch.
const SEND_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Two MAC addresses and an EtherType.
const ETHERNET_BYTES: usize = 14;

/// An interface, by a raw socket. It needs CAP_NET_RAW.
#[derive(Debug)]
pub struct PacketSink {
    interface: String,
    /// The longest frame the interface takes; a VLAN tag may come on top.
    frame_bytes_max: usize,
    socket: OwnedFd,
    batch: Batch,
}

impl PacketSink {
    /// Opens an interface for sending.
    ///
    /// # Errors
    /// When there is no such interface or the program may not send raw frames.
    pub fn open(interface: &str) -> Result<PacketSink, SinkError> {
        let target = interface.to_owned();
        let Some(index) = interface_index(interface) else {
            return Err(SinkError::NoInterface { name: target });
        };
        let failed = |operation, source| SinkError::Setup { operation, target: target.clone(), source };
        let socket = packet_socket(index).map_err(|error| failed("opening an AF_PACKET socket", error))?;
        let mtu = interface_mtu(&socket, interface).map_err(|error| failed("asking for the MTU", error))?;
        let frame_bytes_max = (mtu + ETHERNET_BYTES).min(PACKET_BYTES_MAX);
        socket2::SockRef::from(&socket)
            .set_send_buffer_size(SEND_BUFFER_BYTES)
            .map_err(|error| failed("setting the send buffer", error))?;
        Ok(PacketSink { interface: target, frame_bytes_max, socket, batch: Batch::new() })
    }
}

impl FrameSink for PacketSink {
    fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome {
        if link != LinkType::Ethernet || frame.len() < ETHERNET_BYTES {
            return SendOutcome::LinkType;
        }
        let tag_bytes = if frame[12..14] == [0x81, 0x00] { 4 } else { 0 };
        if frame.len() > self.frame_bytes_max + tag_bytes {
            return SendOutcome::TooLong;
        }
        if self.batch.push(frame) { SendOutcome::Queued } else { SendOutcome::Full }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let sent = self.batch.flush(&self.socket, None);
        sent.map_err(|source| SinkError::Send { target: self.interface.clone(), source })
    }

    fn sent(&self) -> u64 {
        self.batch.sent
    }

    fn waits(&self) -> u64 {
        self.batch.waits
    }

    fn describe(&self) -> String {
        ["af_packet ", &self.interface].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use std::io::Write;
    use std::net::{Ipv6Addr, UdpSocket};

    #[test]
    fn an_unknown_interface_is_named() {
        let error = PacketSink::open("nowhere0").expect_err("there is none").to_string();
        assert!(error.contains("nowhere0") && error.contains("ip link"), "{error}");
    }

    #[test]
    fn frames_reach_the_loopback_interface_whole() {
        // IPv6, because the kernel takes frames from 127.0.0.1 for forged when they come in by a device.
        let opened = PacketSink::open("lo").map_err(|error| error.to_string());
        let bound = UdpSocket::bind("[::1]:0").map_err(|error| error.to_string());
        let (mut sink, receiver) = match (opened, bound) {
            (Ok(sink), Ok(receiver)) => (sink, receiver),
            (Err(why), _) | (_, Err(why)) => {
                let line = format!("skipped: {why}\n");
                std::io::stderr().write_all(line.as_bytes()).expect("standard error can be written");
                return;
            }
        };
        // A lost frame fails the test instead of hanging it.
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a valid timeout");
        let port = receiver.local_addr().expect("it is bound").port();
        for n in 0..100_u8 {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([0; 6], [0; 6])
                .ipv6(Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets(), 9)
                .udp(1_000, port)
                .write(&mut frame, &[n; 30])
                .expect("memory can be written");
            if sink.send(&frame, LinkType::Ethernet) == SendOutcome::Full {
                sink.flush().expect("loopback takes it");
                assert_eq!(sink.send(&frame, LinkType::Ethernet), SendOutcome::Queued);
            }
        }
        sink.flush().expect("loopback takes it");
        for n in 0..100_u8 {
            let mut buffer = [0; 64];
            let length = receiver.recv(&mut buffer).expect("it was sent");
            assert_eq!(buffer[..length], [n; 30]);
        }
        assert_eq!(sink.sent(), 100);
        assert_eq!(sink.send(&[0; 13], LinkType::Ethernet), SendOutcome::LinkType);
        assert_eq!(sink.send(&[0; 60], LinkType::RawIp), SendOutcome::LinkType);
        assert_eq!(sink.send(&vec![0; 70_000], LinkType::Ethernet), SendOutcome::TooLong);
    }
}
