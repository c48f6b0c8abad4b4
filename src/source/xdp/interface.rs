//! What must be known of an interface: its index and its MTU, in the network namespace of the calling thread.
//!
//! Invariant: asks the kernel by socket calls, not by /sys, which may show another namespace.

#![expect(unsafe_code, reason = "SIOCGIFMTU has no safe wrapper")]

use super::XdpError;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::AsRawFd;

/// An interface that exists.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    /// Its name.
    pub(super) name: String,
    /// Its index, from 1.
    pub(super) index: u32,
}

impl Interface {
    /// Finds an interface by name.
    ///
    /// # Errors
    /// [`XdpError::NoInterface`].
    pub(super) fn find(name: &str) -> Result<Interface, XdpError> {
        let index = nix::net::if_::if_nametoindex(name)
            .map_err(|_| XdpError::NoInterface { interface: name.to_owned() })?;
        Ok(Interface { name: name.to_owned(), index })
    }

    /// Its MTU: bytes of the largest packet, without Ethernet header and VLAN tags.
    ///
    /// # Errors
    /// [`XdpError::Query`].
    pub(super) fn mtu(&self) -> Result<u32, XdpError> {
        let failed =
            |source| XdpError::Query { operation: "reading the MTU", interface: self.name.clone(), source };
        let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|errno| failed(errno.into()))?;
        // SAFETY: all of ifreq's fields are integers or arrays of them, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: SIOCGIFMTU reads the name, which ends in zero since interface names are shorter than the field, and
        // writes within `request`, which outlives the call.
        if unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        // SAFETY: the call succeeded, so the union's member is the MTU.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        u32::try_from(mtu).map_err(|e| failed(io::Error::other(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_an_index_and_an_mtu() {
        let lo = Interface::find("lo").expect("every namespace has lo");
        assert!(lo.index > 0);
        assert!(lo.mtu().expect("lo has an MTU") >= 1_500);
    }

    #[test]
    fn an_absent_interface_is_named() {
        let error = Interface::find("absent0").expect_err("there is no such interface");
        assert!(error.to_string().contains("absent0"));
        assert!(error.machine_lacks());
    }
}
