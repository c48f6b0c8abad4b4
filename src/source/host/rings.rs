//! This process' io_uring rings, as /proc/self/fdinfo shows them.
//!
//! Invariant: a line that is not known changes nothing; a kernel that shows less gives zeros, never an error. A ring
//! that is in use at the moment is not shown at all, and is then absent rather than zero.

use procfs::process::{FDTarget, Process};
use procfs::{ProcError, ProcResult};
use std::{fs, thread};

/// Rings that are looked at; a process has one for each shard.
const RINGS_MAX: usize = 256;

/// How often a ring that is in use is looked at again: its lock is held for microseconds.
const ATTEMPTS: usize = 8;

/// One ring's counters. Head and tail indexes are the kernel's: 32 bits, and they wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring {
    /// Its file descriptor.
    pub(super) fd: i32,
    /// Submissions that the kernel has taken.
    pub(super) sq_head: u32,
    /// Submissions that the program has made.
    pub(super) sq_tail: u32,
    /// Completions that the program has taken.
    pub(super) cq_head: u32,
    /// Completions that the kernel has made.
    pub(super) cq_tail: u32,
    /// Completions that found no place in the completion queue and wait in the kernel's list.
    pub(super) overflowed: u64,
    /// Registered files.
    pub(super) files: u64,
    /// Registered buffers.
    pub(super) buffers: u64,
    /// Time that the polling thread has run, µs; 0 without one.
    pub(super) sq_thread_total_us: u64,
    /// How much of that it had work.
    pub(super) sq_thread_work_us: u64,
}

/// The rings that this process has, by file descriptor.
///
/// The kernel shows a ring under the lock that its submissions take, for some microseconds, and only when nobody else
/// has it.
pub(super) fn rings() -> ProcResult<Vec<Ring>> {
    let mut rings = Vec::new();
    for descriptor in Process::myself()?.fd()? {
        // One that was closed meanwhile is none of ours.
        let Ok(descriptor) = descriptor else { continue };
        let is_ring = matches!(&descriptor.target, FDTarget::AnonInode(name) if name == "[io_uring]");
        if !is_ring || rings.len() == RINGS_MAX {
            continue;
        }
        let path = format!("/proc/self/fdinfo/{}", descriptor.fd);
        for _ in 0..ATTEMPTS {
            let text =
                fs::read_to_string(&path).map_err(|cause| ProcError::Io(cause, Some(path.clone().into())))?;
            if let Some(ring) = parse(descriptor.fd, &text) {
                rings.push(ring);
                break;
            }
            thread::yield_now();
        }
    }
    rings.sort_by_key(|ring| ring.fd);
    Ok(rings)
}

/// `None` where the kernel shows no indexes.
fn parse(fd: i32, text: &str) -> Option<Ring> {
    let mut ring = Ring { fd, ..Ring::default() };
    let mut shown = false;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let number = || value.parse::<u64>().unwrap_or(0);
        // Indexes are printed unsigned and wrap at 32 bits.
        let index = || number() as u32;
        match key {
            "SqHead" => {
                ring.sq_head = index();
                shown = true;
            }
            "SqTail" => ring.sq_tail = index(),
            "CqHead" => ring.cq_head = index(),
            "CqTail" => ring.cq_tail = index(),
            "UserFiles" => ring.files = number(),
            "UserBufs" => ring.buffers = number(),
            "SqTotalTime" => ring.sq_thread_total_us = number(),
            "SqWorkTime" => ring.sq_thread_work_us = number(),
            _ => {}
        }
    }
    // The list comes last but for a line or two; entries of the queue itself look alike, so that where it begins counts.
    let overflow_list = text.split_once("CqOverflowList:").map_or("", |(_, list)| list);
    let entries = overflow_list.lines().filter(|line| line.trim_start().starts_with("user_data"));
    ring.overflowed = entries.count() as u64;
    shown.then_some(ring)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::uring::{Operation, Token, Uring, UringMode, UringSettings};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    const TEXT: &str = "pos:\t0\nflags:\t02000002\nSqMask:\t0x7\nSqHead:\t4294967290\nSqTail:\t5\nCachedSqHead:\t1\n\
        CqMask:\t0xf\nCqHead:\t7\nCqTail:\t9\nSQEs:\t0\nCQEs:\t2\n    7: user_data:3, res:0, flag:0\nSqThread:\t12\n\
        SqTotalTime:\t1000\nSqWorkTime:\t250\nUserFiles:\t64\nUserBufs:\t2\nPollList:\nCqOverflowList:\n  \
        user_data=1, res=-4, flags=0\n  user_data=2, res=0, flags=2\nNAPI:\tdisabled\n";

    #[test]
    fn a_ring_is_read_whatever_else_stands_there() {
        let ring = parse(7, TEXT).expect("has indexes");
        assert_eq!((ring.fd, ring.sq_head, ring.sq_tail), (7, 4_294_967_290, 5));
        assert_eq!((ring.cq_head, ring.cq_tail, ring.overflowed), (7, 9, 2));
        assert_eq!((ring.files, ring.buffers), (64, 2));
        assert_eq!((ring.sq_thread_total_us, ring.sq_thread_work_us), (1_000, 250));
        assert_eq!(parse(3, "pos:\t0\n"), None);
        assert_eq!(parse(3, "SqHead:\tx\nCqTail\n:\n"), Some(Ring { fd: 3, ..Ring::default() }));
    }

    #[test]
    fn a_ring_of_this_process_is_found_and_what_it_does_is_seen() {
        // Places for files that no other test's ring has.
        const FILES: u32 = 37;
        let settings =
            UringSettings { mode: UringMode::DeferTaskrun, files: FILES, replies: (1, 64), completions: 16 };
        let (mut ring, _) = Uring::create(&settings).expect("this machine has io_uring");
        ring.enable().expect("enabled once");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        ring.register_file(0, listener.as_fd()).expect("slot 0");
        let shown = || rings().expect("readable").into_iter().find(|ring| ring.files == u64::from(FILES));
        let before = shown().expect("the ring");
        let token = Token { operation: Operation::Accept, index: 0, generation: 0 };
        ring.accept(0, token);
        let _peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let mut completions = Vec::with_capacity(16);
        while completions.is_empty() {
            ring.turn(&mut completions).expect("works");
        }
        let after = shown().expect("the ring");
        assert_eq!(after.sq_head.wrapping_sub(before.sq_head), 1);
        assert!(after.cq_tail.wrapping_sub(before.cq_tail) >= 1);
        assert_eq!((after.sq_head, after.overflowed), (after.sq_tail, 0));
    }
}
