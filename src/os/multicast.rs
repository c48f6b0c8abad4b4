//! Multicast memberships of a socket: of any sender, or of one (source-specific), by the interface's number.
//!
//! Invariant: the kernel is shown only structures that live through the call.
#![expect(unsafe_code, reason = "source-specific memberships by interface number have no safe wrapper")]

use socket2::{InterfaceIndexOrAddress, SockAddr, Socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// Joins a group on the interface of that number, for all senders or for `source` only. 0 leaves the choice of the
/// interface to the routing table. The group is left when the socket is closed, at the latest.
///
/// # Errors
/// The kernel's answer: ENODEV without such an interface, EADDRINUSE for a member, ENOBUFS where a limit is reached
/// (net.ipv4.igmp_max_memberships, net.ipv4.igmp_max_msf, net.ipv6.mld_max_msf, net.core.optmem_max).
pub fn join_group(socket: &Socket, group: IpAddr, source: Option<IpAddr>, interface: u32) -> io::Result<()> {
    match (group, source) {
        (_, Some(source)) => of_one(socket, libc::MCAST_JOIN_SOURCE_GROUP, group, source, interface),
        (IpAddr::V4(group), None) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        (IpAddr::V6(group), None) => socket.join_multicast_v6(&group, interface),
    }
}

/// Leaves a group as it was joined. The interface may be gone meanwhile.
///
/// # Errors
/// The kernel's answer: EADDRNOTAVAIL for one that is no member.
pub fn leave_group(socket: &Socket, group: IpAddr, source: Option<IpAddr>, interface: u32) -> io::Result<()> {
    match (group, source) {
        (_, Some(source)) => of_one(socket, libc::MCAST_LEAVE_SOURCE_GROUP, group, source, interface),
        (IpAddr::V4(group), None) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        (IpAddr::V6(group), None) => socket.leave_multicast_v6(&group, interface),
    }
}

/// The two requests about one sender have one shape (RFC 3678, section 5).
fn of_one(
    socket: &Socket,
    option: libc::c_int,
    group: IpAddr,
    source: IpAddr,
    interface: u32,
) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let request = libc::group_source_req {
        gsr_interface: interface,
        gsr_group: storage(group),
        gsr_source: storage(source),
    };
    // SAFETY: the pointer is to a structure of the length given, initialised in every field, which lives on the stack
    // during the call; the kernel only reads it.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const request).cast(),
            size_of::<libc::group_source_req>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: sockaddr_storage is integers and arrays of them, for which zeros are valid.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let bytes = (address.len() as usize).min(size_of_val(&storage));
    // SAFETY: `address` holds that many initialised bytes, `storage` has room for them, and they do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), (&raw mut storage).cast::<u8>(), bytes);
    }
    storage
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    /// Loopback is number 1 in every network namespace.
    const LO: u32 = 1;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn errno(result: io::Result<()>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    fn goes_in_and_out(group: IpAddr, source: Option<IpAddr>) {
        let socket =
            Socket::new(Domain::for_address((group, 0).into()), Type::DGRAM, None).expect("a socket");
        join_group(&socket, group, source, LO).unwrap_or_else(|error| panic!("{group} {source:?}: {error}"));
        let twice = errno(join_group(&socket, group, source, LO)).expect("it is a member");
        assert!([libc::EADDRINUSE, libc::EADDRNOTAVAIL].contains(&twice), "{twice}");
        leave_group(&socket, group, source, LO).unwrap_or_else(|error| panic!("{group} {source:?}: {error}"));
        assert!(leave_group(&socket, group, source, LO).is_err(), "it was left");
    }

    #[test]
    fn groups_are_joined_and_left_for_any_sender_and_for_one() {
        goes_in_and_out(ip("239.255.7.1"), None);
        goes_in_and_out(ip("232.255.7.1"), Some(ip("192.0.2.1")));
        // Machines without IPv6 have no such sockets.
        if link_local_v6() {
            goes_in_and_out(ip("ff12::7:1"), None);
            goes_in_and_out(ip("ff32::7:1"), Some(ip("2001:db8::1")));
        }
    }

    fn link_local_v6() -> bool {
        std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.contains(" lo"))
    }

    #[test]
    fn what_cannot_be_joined_is_refused_by_the_kernel() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        assert_eq!(errno(join_group(&socket, ip("239.255.7.2"), None, 999_999)), Some(libc::ENODEV));
        assert_eq!(errno(join_group(&socket, ip("10.0.0.1"), None, LO)), Some(libc::EINVAL));
        let source = Some(ip("192.0.2.1"));
        assert_eq!(errno(join_group(&socket, ip("239.255.7.2"), source, 999_999)), Some(libc::ENODEV));
    }
}
