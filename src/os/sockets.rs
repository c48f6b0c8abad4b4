//! What sockets tell beyond the standard library: how many datagrams the kernel had no room for.
#![expect(unsafe_code, reason = "SO_MEMINFO has no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Words of SO_MEMINFO, of which the last is the count of drops (linux/sock_diag.h).
const MEMINFO_WORDS: usize = 9;
const MEMINFO_DROPS: usize = 8;

/// Datagrams that arrived at a socket and were dropped, because its buffer was full or they were damaged. 0 when the
/// kernel does not say.
pub fn dropped_datagrams(socket: BorrowedFd<'_>) -> u64 {
    let mut words = [0u32; MEMINFO_WORDS];
    let mut bytes = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes to `words`, which is that long.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if status == 0 { u64::from(words[MEMINFO_DROPS]) } else { 0 }
}
