//! Hot path: requests to servers of lost messages: asked for once a turn, sent as datagrams, failures counted by name.
//!
//! Invariant: at most [`REQUESTS_UNDER_WAY`] requests of an inlet are with the kernel; no failure ends the inlet.

use super::inlets::Inlet;
use super::port::NetPort;
use crate::event::{InletIndex, Nanos, RequestFailure};
use crate::os::uring::{Operation, Token};
use crate::source::StreamHandler;

/// Requests of one inlet that the kernel may be sending at a time: it takes a datagram at once, and the next turn makes
/// more.
pub(super) const REQUESTS_UNDER_WAY: usize = 4;

impl NetPort {
    /// Sends the requests that are due. Returns how many.
    #[inline]
    pub(super) fn send_requests(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize {
        if self.requesters.is_empty() || self.stopping {
            return 0;
        }
        let mut sent = 0;
        for (ordinal, inlet) in self.requesters.iter().enumerate() {
            let first = ordinal * REQUESTS_UNDER_WAY;
            for slot in first..first + REQUESTS_UNDER_WAY {
                let Some(into) = self.ring.datagram_mut(slot as u32) else { continue };
                let Some((server, bytes)) = handler.next_request(InletIndex(*inlet), now, into) else {
                    break;
                };
                let token = Token { operation: Operation::SendDatagram, index: slot as u32, generation: 0 };
                self.ring.send_datagram(u32::from(*inlet), bytes, server, token);
                sent += 1;
            }
        }
        sent
    }

    /// A request has left, or could not.
    #[inline]
    pub(super) fn request_sent(&mut self, slot: u32, result: i32, handler: &mut dyn StreamHandler) {
        let ordinal = slot as usize / REQUESTS_UNDER_WAY;
        if let (..0, Some(inlet)) = (result, self.requesters.get(ordinal)) {
            handler.request_failed(InletIndex(*inlet), failure(-result));
        }
    }

    /// The inlets that send requests, in their order.
    pub(super) fn requesters_of(inlets: &[Inlet]) -> Vec<u16> {
        let sends =
            |inlet: &Inlet| matches!(inlet, Inlet::Datagrams { senders, .. } if senders.are_servers());
        let places = inlets.iter().enumerate().filter(|(_, inlet)| sends(inlet));
        places.map(|(index, _)| index as u16).collect()
    }
}

/// What an error number of a datagram socket means.
#[cold]
pub(super) fn failure(error: i32) -> RequestFailure {
    match error {
        libc::ECONNREFUSED => RequestFailure::Refused,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EADDRNOTAVAIL => {
            RequestFailure::Unreachable
        }
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => RequestFailure::NoRoom,
        libc::EPERM | libc::EACCES => RequestFailure::NotPermitted,
        libc::ECANCELED => RequestFailure::Stopped,
        _ => RequestFailure::IoError,
    }
}
