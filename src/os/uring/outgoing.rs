//! Datagrams on their way to their receivers. Invariant: a slot that the kernel is sending from is neither written nor
//! moved.
#![expect(unsafe_code, reason = "message headers that the kernel reads are made of addresses")]

use socket2::SockAddr;
use std::net::SocketAddr;

/// Bytes of a datagram that is sent: requests are some 20.
pub(super) const OUTGOING_BYTES: usize = 64;

struct Slot {
    header: libc::msghdr,
    part: libc::iovec,
    receiver: SockAddr,
    bytes: [u8; OUTGOING_BYTES],
    sending: bool,
}

/// Slots for datagrams that are sent.
#[derive(Default)]
pub(super) struct Outgoing {
    // Made once: the kernel is told addresses inside.
    slots: Box<[Slot]>,
}

impl Outgoing {
    /// Allocates the slots.
    pub(super) fn allocate(slots: usize) -> Outgoing {
        let nobody = SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0)));
        let slot = |_| Slot {
            // SAFETY: a msghdr of zeros is a valid one: null pointers and lengths of zero.
            header: unsafe { std::mem::zeroed() },
            part: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            receiver: nobody.clone(),
            bytes: [0; OUTGOING_BYTES],
            sending: false,
        };
        Outgoing { slots: (0..slots).map(slot).collect() }
    }

    /// The slot to write a datagram into, unless one is being sent from it.
    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        self.slots.get_mut(slot as usize).filter(|slot| !slot.sending).map(|slot| &mut slot.bytes[..])
    }

    /// Gives the slot's first `length` bytes to the kernel, for `receiver`: the message's header.
    ///
    /// # Panics
    /// If it has it already, or there is no such slot.
    pub(super) fn lend(&mut self, slot: u32, length: usize, receiver: SocketAddr) -> *const libc::msghdr {
        let slot = &mut self.slots[slot as usize];
        assert!(!slot.sending, "a datagram is being sent from this slot");
        slot.sending = true;
        slot.receiver = receiver.into();
        slot.part =
            libc::iovec { iov_base: slot.bytes.as_mut_ptr().cast(), iov_len: length.min(OUTGOING_BYTES) };
        slot.header.msg_name = slot.receiver.as_ptr().cast_mut().cast();
        slot.header.msg_namelen = slot.receiver.len();
        slot.header.msg_iov = &raw mut slot.part;
        slot.header.msg_iovlen = 1;
        &raw const slot.header
    }

    /// The kernel is done with the slot.
    pub(super) fn returned(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.sending = false;
        }
    }
}
