//! Sockets for sending many packets per system call: AF_PACKET bound to an interface, and sendmmsg.
//!
//! Invariant: the kernel sees only memory that is borrowed for the time of one call.
#![expect(unsafe_code, reason = "sockaddr_ll and sendmmsg have no safe wrapper that needs no allocation")]

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Packets handed to the kernel in one call.
pub const SEND_BATCH_MAX: usize = 64;

/// The index of an interface; `None` if there is none of this name.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the pointer is to a NUL-terminated string that lives until the end of the function.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// The MTU of an interface: the bytes that a frame may carry behind its Ethernet header.
///
/// # Errors
/// The kernel's answer; ENODEV if the interface went away.
pub fn interface_mtu(socket: &impl AsFd, name: &str) -> io::Result<usize> {
    // SAFETY: ifreq is integers and unions of them, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero and ends the name.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU reads a name from, and writes an int to, an ifreq that lives on the stack.
    let answer = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel wrote this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as usize)
}

/// A raw socket that sends whole Ethernet frames to one interface, and receives nothing.
///
/// # Errors
/// The kernel's answer; EPERM without CAP_NET_RAW.
pub fn packet_socket(interface_index: u32) -> io::Result<OwnedFd> {
    // Protocol 0: the socket is not put on the receive path.
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fd was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_ll is integers and arrays of them, for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface_index as i32;
    // SAFETY: the pointer is to a sockaddr_ll that lives on the stack during the call, and the length is its size.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Sends packets, each one slice, through a socket: to `destination`, or to where the socket is bound or connected.
/// Returns how many the kernel took, at most [`SEND_BATCH_MAX`] and at least one if `packets` is not empty.
///
/// # Errors
/// The kernel's answer to the first packet; none was sent then.
pub fn send_batch(
    socket: &impl AsFd,
    destination: Option<&socket2::SockAddr>,
    packets: &[IoSlice<'_>],
) -> io::Result<usize> {
    let count = packets.len().min(SEND_BATCH_MAX);
    // SAFETY: mmsghdr is integers and pointers, for which zeros are valid.
    let mut headers: [libc::mmsghdr; SEND_BATCH_MAX] = unsafe { std::mem::zeroed() };
    for (header, packet) in headers.iter_mut().zip(packets) {
        if let Some(destination) = destination {
            header.msg_hdr.msg_name = destination.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = destination.len();
        }
        // IoSlice is guaranteed to have the layout of iovec.
        header.msg_hdr.msg_iov = std::ptr::from_ref(packet).cast_mut().cast();
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `count` headers point to an address and to slices that are borrowed until the end of this
    // function, and the kernel only reads them.
    let sent =
        unsafe { libc::sendmmsg(socket.as_fd().as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn interfaces_are_found_by_name() {
        assert_eq!(interface_index("lo"), Some(1));
        assert_eq!(interface_index("no such interface"), None);
        assert_eq!(interface_index("nul\0"), None);
    }

    #[test]
    fn an_interface_has_an_mtu() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        assert!(interface_mtu(&socket, "lo").expect("lo is there") >= 1_280);
        assert!(interface_mtu(&socket, "a name that is too long").is_err());
    }

    #[test]
    fn a_batch_arrives_whole_and_in_order() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let address = receiver.local_addr().expect("it is bound").into();
        let packets: Vec<Vec<u8>> = (0..100).map(|n| vec![n; usize::from(n)]).collect();
        let slices: Vec<_> = packets.iter().map(|packet| IoSlice::new(packet)).collect();
        let sent = send_batch(&sender, Some(&address), &slices).expect("loopback takes it");
        assert_eq!(sent, SEND_BATCH_MAX);
        for packet in &packets[..sent] {
            let mut buffer = [0; 256];
            let length = receiver.recv(&mut buffer).expect("it was sent");
            assert_eq!(buffer[..length], packet[..]);
        }
        assert_eq!(send_batch(&sender, Some(&address), &[]).expect("nothing is no error"), 0);
    }
}
