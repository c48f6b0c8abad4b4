//! How a ring is made, and what the kernel was found to offer. Invariant: what was wished for and not had is remarked.
#![expect(unsafe_code, reason = "the kernel is given addresses that must stay valid as long as the ring")]

use super::buffers::{Group, GroupIndex};
use super::error::UringError;
use super::outgoing::Outgoing;
use super::replies::Replies;
use super::ring::Uring;
use crate::os::{MemoryWish, RegionReport};
use io_uring::IoUring;
use socket2::SockAddr;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Flag of a buffer group whose buffers are consumed bit by bit (Linux 6.12).
const BUFFERS_INCREMENTAL: u16 = 2;

/// How the ring's work gets done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UringMode {
    /// In the shard's own turn, by one system call for all that has come (Linux 6.1).
    DeferTaskrun,
    /// By a kernel thread that polls: no system call on the shard while it is awake, and a core for it.
    Sqpoll {
        /// Milliseconds without work after which it sleeps.
        idle_ms: u32,
        /// The CPU that it is bound to.
        cpu: Option<u32>,
    },
}

/// What a ring is made of.
#[derive(Clone, Debug)]
pub struct UringSettings {
    /// The mode that is wished for.
    pub mode: UringMode,
    /// Places for registered files.
    pub files: u32,
    /// Slots for replies, and bytes of each.
    pub replies: (usize, usize),
    /// Completions that are taken in one turn.
    pub completions: u32,
}

/// What a ring turned out to be.
#[derive(Clone, Debug, Default)]
pub struct UringReport {
    /// The mode, in words.
    pub mode: &'static str,
    /// Whether buffers are consumed bit by bit.
    pub incremental: bool,
    /// What was wished for and could not be had, and why.
    pub remarks: Vec<String>,
}

/// Requests that may be waiting for the kernel at once.
const SUBMISSIONS: u32 = 1_024;

/// Addresses that connections were asked to, one for each connection: the kernel may read them until it answers.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    // Boxed, so that they stay in their place when the table grows.
    by_index: HashMap<u32, Box<SockAddr>>,
}

impl Addresses {
    /// Keeps an address for connection `index`, whose last request has been answered.
    pub(super) fn keep(
        &mut self,
        index: u32,
        address: SocketAddr,
    ) -> (*const libc::sockaddr_storage, libc::socklen_t) {
        let address = Box::new(SockAddr::from(address));
        let (at, bytes) = (address.as_ptr().cast(), address.len());
        self.by_index.insert(index, address);
        (at, bytes)
    }
}

impl Uring {
    /// Makes a ring; it takes no request before [`enable`](Uring::enable). Falls back from deferred task work to what an
    /// older kernel has.
    ///
    /// # Errors
    /// The kernel has no io_uring for this process, or too little memory.
    pub fn create(settings: &UringSettings) -> Result<(Uring, UringReport), UringError> {
        let mut report = UringReport::default();
        let ring = create_ring(settings, &mut report)?;
        let register = |what| move |source| UringError::Register { what, source };
        ring.submitter().register_files_sparse(settings.files).map_err(register("a table of files"))?;
        // SAFETY: a msghdr of zeros is a valid one: null pointers and lengths of zero.
        let mut message = Box::new(unsafe { std::mem::zeroed::<libc::msghdr>() });
        message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        let polled = ring.params().is_setup_sqpoll();
        let uring = Uring {
            ring,
            groups: Vec::new(),
            replies: Replies::allocate(settings.replies.0, settings.replies.1)?,
            outgoing: Outgoing::default(),
            message,
            addresses: Addresses::default(),
            polled,
            enters: 0,
            completed: Vec::with_capacity(settings.completions as usize),
            failed: None,
            ended: false,
        };
        Ok((uring, report))
    }

    /// Makes room for so many datagrams that are being sent at a time; before anything is sent.
    pub fn allow_datagrams(&mut self, slots: usize) {
        self.outgoing = Outgoing::allocate(slots);
    }

    /// Adds a group of `count` buffers; with `incremental`, they are consumed bit by bit if the kernel can.
    ///
    /// # Errors
    /// Memory can't be mapped, or the kernel refuses the group.
    pub fn add_group(
        &mut self,
        count: u16,
        buffer_bytes: u32,
        incremental: bool,
        wish: &MemoryWish,
        report: &mut UringReport,
    ) -> Result<(GroupIndex, RegionReport), UringError> {
        let id = self.groups.len() as u16;
        let (mut group, region) = Group::allocate(id, count, buffer_bytes, wish)?;
        let (address, entries) = group.ring();
        let submitter = self.ring.submitter();
        let register = |flags| {
            // SAFETY: the group's ring is a mapped region of `entries` entries that `self` owns and drops after the
            // io_uring.
            unsafe { submitter.register_buf_ring_with_flags(address, entries, id, flags) }
        };
        let bit_by_bit = incremental && register(BUFFERS_INCREMENTAL).is_ok();
        if !bit_by_bit {
            register(0).map_err(|source| UringError::Register { what: "receive buffers", source })?;
        }
        if incremental && !bit_by_bit {
            report
                .remarks
                .push("this kernel hands out whole buffers only (bit by bit from Linux 6.12)".to_owned());
        }
        report.incremental |= bit_by_bit;
        group.registered(bit_by_bit);
        self.groups.push(group);
        Ok((GroupIndex(id), region))
    }
}

fn create_ring(settings: &UringSettings, report: &mut UringReport) -> Result<IoUring, UringError> {
    let builder = || {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_clamp()
            .setup_r_disabled()
            .setup_submit_all()
            .setup_cqsize(settings.completions.max(2 * SUBMISSIONS));
        builder
    };
    if let UringMode::Sqpoll { idle_ms, cpu } = settings.mode {
        report.mode = "sqpoll";
        let mut polled = builder();
        polled.setup_sqpoll(idle_ms).setup_single_issuer();
        if let Some(cpu) = cpu {
            polled.setup_sqpoll_cpu(cpu);
        }
        return polled.build(SUBMISSIONS).map_err(|source| UringError::Create { mode: "sqpoll", source });
    }
    report.mode = "defer-taskrun";
    let deferred =
        builder().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().build(SUBMISSIONS);
    if let Err(error) = &deferred
        && error.raw_os_error() == Some(libc::EINVAL)
    {
        report.mode = "coop-taskrun";
        report.remarks.push("this kernel does not defer task work (from Linux 6.1)".to_owned());
        return builder()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSIONS)
            .map_err(|source| UringError::Create { mode: "coop-taskrun", source });
    }
    deferred.map_err(|source| UringError::Create { mode: "defer-taskrun", source })
}
