//! Hot path: packets copied into one arena until the next flush, and handed to the kernel by sendmmsg.
//!
//! Invariant: what was copied in leaves in its order, or the flush fails.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::os::packet::{SEND_BATCH_MAX, send_batch};

/// The largest frame of a device with jumbo frames and the largest UDP payload both fit.
pub(super) const PACKET_BYTES_MAX: usize = 65_536;

/// How long to wait when a device's queue is full: a few hundred frames leave a 10 Gb/s link meanwhile.
const QUEUE_FULL_WAIT: Duration = Duration::from_micros(50);

/// A batch of packets.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub(super) sent: u64,
    pub(super) waits: u64,
}

impl Batch {
    pub(super) fn new() -> Batch {
        let bytes = Vec::with_capacity(SEND_BATCH_MAX * PACKET_BYTES_MAX);
        Batch { bytes, ends: Vec::with_capacity(SEND_BATCH_MAX), sent: 0, waits: 0 }
    }

    /// Copies a packet in; `false` if the batch is full. The caller has checked its length.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        if self.ends.len() == SEND_BATCH_MAX {
            return false;
        }
        self.bytes.extend_from_slice(packet);
        self.ends.push(self.bytes.len());
        true
    }

    /// Hands everything to the kernel, waiting while its queue is full. After an error the batch is empty, and
    /// `sent` tells how much of it the kernel took.
    pub(super) fn flush(
        &mut self,
        socket: &impl AsFd,
        destination: Option<&socket2::SockAddr>,
    ) -> io::Result<()> {
        let mut done = 0;
        let mut result = Ok(());
        while done < self.ends.len() && result.is_ok() {
            let mut slices = [IoSlice::new(&[]); SEND_BATCH_MAX];
            let mut start = if done == 0 { 0 } else { self.ends[done - 1] };
            let count = self.ends.len() - done;
            for (slice, end) in slices.iter_mut().zip(&self.ends[done..]) {
                *slice = IoSlice::new(&self.bytes[start..*end]);
                start = *end;
            }
            match send_batch(socket, destination, &slices[..count]) {
                Ok(sent) => {
                    done += sent;
                    self.sent += sent as u64;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // An earlier packet found nobody listening; the kernel tells it once, and this one was not sent.
                    Some(libc::ECONNREFUSED) => self.waits += 1,
                    Some(libc::EAGAIN | libc::ENOBUFS) => {
                        self.waits += 1;
                        std::thread::sleep(QUEUE_FULL_WAIT);
                    }
                    _ => result = Err(error),
                },
            }
        }
        self.bytes.clear();
        self.ends.clear();
        result
    }
}
