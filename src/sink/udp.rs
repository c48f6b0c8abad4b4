//! Hot path: the UDP payloads of frames to one destination, unicast or multicast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::batch::Batch;
use super::headers::Layers;
use super::{FrameSink, SendOutcome, SinkError};
use crate::source::LinkType;

/// The largest payload that a UDP datagram over IPv4 carries.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// Room for payloads in the kernel.
const SEND_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Where datagrams go and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// The address of the interface that multicast leaves by (its index, for IPv6, is 0: the system's choice);
    /// `None` leaves it to the routing table.
    pub interface: Option<Ipv4Addr>,
    /// Hops that multicast may take: 1 stays in the network.
    pub ttl: u32,
}

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        UdpOptions { interface: None, ttl: 1 }
    }
}

/// A UDP destination.
#[derive(Debug)]
pub struct UdpSink {
    destination: SocketAddr,
    address: socket2::SockAddr,
    socket: UdpSocket,
    batch: Batch,
}

impl UdpSink {
    /// Opens a socket towards a destination. Multicast is looped back, so that receivers on this machine get it.
    ///
    /// # Errors
    /// When the socket can't be made or set up.
    pub fn open(destination: SocketAddr, options: UdpOptions) -> Result<UdpSink, SinkError> {
        let failed =
            |operation, source| SinkError::Setup { operation, target: destination.to_string(), source };
        let any = match destination.ip() {
            IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).map_err(|error| failed("binding a UDP socket", error))?;
        let settings = socket2::SockRef::from(&socket);
        settings
            .set_send_buffer_size(SEND_BUFFER_BYTES)
            .map_err(|error| failed("setting the send buffer", error))?;
        let multicast = match (destination.ip(), options.interface) {
            (IpAddr::V4(ip), Some(interface)) if ip.is_multicast() => settings
                .set_multicast_if_v4(&interface)
                .and_then(|()| settings.set_multicast_ttl_v4(options.ttl)),
            (IpAddr::V4(ip), None) if ip.is_multicast() => settings.set_multicast_ttl_v4(options.ttl),
            (IpAddr::V6(ip), Some(interface)) if ip.is_multicast() => {
                return Err(SinkError::Family { address: destination, interface: interface.into() });
            }
            (IpAddr::V6(ip), None) if ip.is_multicast() => settings.set_multicast_hops_v6(options.ttl),
            _ => Ok(()),
        };
        multicast.map_err(|error| failed("choosing the way out of multicast", error))?;
        Ok(UdpSink { destination, address: destination.into(), socket, batch: Batch::new() })
    }
}

impl FrameSink for UdpSink {
    fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome {
        if link == LinkType::Unsupported {
            return SendOutcome::LinkType;
        }
        match Layers::of(frame, link).payload(frame) {
            None => SendOutcome::NotUdp,
            Some(payload) if payload.len() > PAYLOAD_BYTES_MAX => SendOutcome::TooLong,
            Some(payload) if self.batch.push(payload) => SendOutcome::Queued,
            Some(_) => SendOutcome::Full,
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let sent = self.batch.flush(&self.socket, Some(&self.address));
        sent.map_err(|source| SinkError::Send { target: self.destination.to_string(), source })
    }

    fn sent(&self) -> u64 {
        self.batch.sent
    }

    fn waits(&self) -> u64 {
        self.batch.waits
    }

    fn describe(&self) -> String {
        ["udp ", &self.destination.to_string()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn payloads_arrive_in_order_and_other_frames_are_refused() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let destination = receiver.local_addr().expect("it is bound");
        let mut sink = UdpSink::open(destination, UdpOptions::default()).expect("it opens");
        for n in 0..200_u8 {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2; 6], [3; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
                .udp(1_000, 2_000)
                .write(&mut frame, &[n; 7])
                .expect("memory can be written");
            if sink.send(&frame, LinkType::Ethernet) == SendOutcome::Full {
                sink.flush().expect("loopback takes it");
                assert_eq!(sink.send(&frame, LinkType::Ethernet), SendOutcome::Queued);
            }
            // Padding behind the datagram is not part of it.
            frame.extend([0; 9]);
            assert_ne!(sink.send(&frame[14..], LinkType::RawIp), SendOutcome::NotUdp);
            sink.flush().expect("loopback takes it");
            for _ in 0..2 {
                let mut buffer = [0; 64];
                let length = receiver.recv(&mut buffer).expect("it was sent");
                assert_eq!(buffer[..length], [n; 7]);
            }
        }
        assert_eq!(sink.sent(), 400);
        assert_eq!(sink.send(&[0; 60], LinkType::Ethernet), SendOutcome::NotUdp);
        assert_eq!(sink.send(&[0; 60], LinkType::Unsupported), SendOutcome::LinkType);
    }

    #[test]
    fn nobody_listening_does_not_end_the_sending() {
        let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let mut sink = UdpSink::open(closed, UdpOptions::default()).expect("it opens");
        let mut frame = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
            .udp(1, 2)
            .write(&mut frame, b"x")
            .expect("memory can be written");
        for _ in 0..10 {
            assert_eq!(sink.send(&frame, LinkType::RawIp), SendOutcome::Queued);
            sink.flush().expect("an unanswered datagram is no error");
        }
        assert_eq!(sink.sent(), 10);
    }
}
