//! Where a packet is sent to: the key by which steering rules and lines are found.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Destination address and port of a UDP packet. IPv4 addresses stand as IPv4-mapped IPv6 (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// Address, network byte order.
    pub address: [u8; 16],
    /// UDP port, host byte order.
    pub port: u16,
}

impl Destination {
    /// From an IPv4 address in network byte order.
    #[inline]
    pub const fn v4(a: [u8; 4], port: u16) -> Destination {
        let address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]];
        Destination { address, port }
    }

    /// The address in its natural family.
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.address).to_canonical()
    }
}

impl From<SocketAddr> for Destination {
    fn from(socket: SocketAddr) -> Destination {
        match socket.ip() {
            IpAddr::V4(ip) => Destination::v4(ip.octets(), socket.port()),
            IpAddr::V6(ip) => Destination { address: ip.octets(), port: socket.port() },
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip(), self.port).fmt(f)
    }
}
