//! How readers wait for several sockets: epoll, level-triggered, and poll; both with memory made once.
#![expect(unsafe_code, reason = "epoll and poll by the bare calls: the safe wrappers make their lists anew")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Events taken by one wait.
const EVENTS: usize = 64;

/// An epoll instance and the events of its last wait.
pub(crate) struct Epoll {
    file: OwnedFd,
    events: [libc::epoll_event; EVENTS],
}

impl Epoll {
    /// Watches nothing yet.
    pub(crate) fn create() -> io::Result<Epoll> {
        // SAFETY: the call takes a number and returns one.
        let file = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        Ok(Epoll { file, events: [libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Watches `socket` until it is closed; `index` is told when it can be read.
    pub(crate) fn add(&self, socket: &impl AsRawFd, index: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index.into() };
        // SAFETY: both files are open, and the event outlives the call, which only reads it.
        let status = unsafe {
            libc::epoll_ctl(self.file.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits up to `timeout_ms` and returns how many sockets can be read; an interrupted wait finds none.
    pub(crate) fn wait(&mut self, timeout_ms: u8) -> usize {
        // SAFETY: the events are as many as said, and ours for the time of the call.
        let found = unsafe {
            libc::epoll_wait(
                self.file.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as i32,
                i32::from(timeout_ms),
            )
        };
        usize::try_from(found).unwrap_or_default()
    }

    /// The index of the n-th of those that the last wait found.
    pub(crate) fn index(&self, event: usize) -> u32 {
        self.events[event].u64 as u32
    }
}

/// The sockets that poll(2) looks at, by their index.
#[derive(Default)]
pub(crate) struct PollList {
    sockets: Vec<libc::pollfd>,
}

impl PollList {
    /// Watches one more socket; its index is the number of those before it.
    pub(crate) fn add(&mut self, socket: &impl AsRawFd) {
        self.sockets.push(libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    }

    /// Watches the socket `index` no longer.
    pub(crate) fn remove(&mut self, index: u32) {
        if let Some(socket) = self.sockets.get_mut(index as usize) {
            // Negative ones are passed over.
            (socket.fd, socket.revents) = (-1, 0);
        }
    }

    /// Waits up to `timeout_ms`, and returns how many indexes there are to ask for.
    pub(crate) fn wait(&mut self, timeout_ms: u8) -> u32 {
        // SAFETY: the list is as long as said, and ours for the time of the call.
        let found = unsafe {
            libc::poll(self.sockets.as_mut_ptr(), self.sockets.len() as libc::nfds_t, i32::from(timeout_ms))
        };
        if found > 0 { self.sockets.len() as u32 } else { 0 }
    }

    /// Whether the last wait found something to read, or an end, at the socket `index`.
    pub(crate) fn can_read(&self, index: u32) -> bool {
        self.sockets.get(index as usize).is_some_and(|socket| socket.revents != 0)
    }
}
