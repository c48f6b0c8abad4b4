//! A UDP reader by recvmmsg, as feed handlers without kernel bypass are written: it counts and does nothing else.
#![expect(
    unsafe_code,
    reason = "recvmmsg with vectors made once; the safe wrappers make them anew for each call"
)]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const BATCH: usize = 64;
const BUFFER_BYTES: usize = 2_048;

/// Buffers and vectors of one reader.
pub(crate) struct Reader {
    socket: UdpSocket,
    buffers: Vec<[u8; BUFFER_BYTES]>,
}

impl Reader {
    /// A reader of a bound socket.
    pub(crate) fn new(socket: UdpSocket) -> Reader {
        Reader { socket, buffers: vec![[0; BUFFER_BYTES]; BATCH] }
    }

    /// Reads until `done` says so, which it is asked after each call; returns how many datagrams there were.
    pub(crate) fn count(&mut self, flags: libc::c_int, mut done: impl FnMut() -> bool) -> u64 {
        let mut vectors: Vec<libc::iovec> = self
            .buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BUFFER_BYTES })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all zeros is a valid mmsghdr: null pointers with zero lengths.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        let mut received = 0;
        while !done() {
            // SAFETY: `headers`, the vectors and the buffers that they point to live until the call returns, and
            // nobody else uses them.
            let got = unsafe {
                libc::recvmmsg(
                    self.socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    flags,
                    std::ptr::null_mut(),
                )
            };
            received += u64::try_from(got).unwrap_or_default();
        }
        received
    }
}
