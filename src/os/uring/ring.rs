//! Hot path: the ring: requests in, completions out, at most one system call in a turn.
//!
//! Invariant: whatever the kernel may still touch (buffers, replies, addresses) is owned here and dropped after the ring,
//! whose requests are cancelled first.
#![expect(unsafe_code, reason = "requests carry addresses that must stay valid until they complete")]

use super::buffers::{Chunk, Group, GroupIndex};
use super::create::Addresses;
use super::outgoing::Outgoing;
use super::replies::Replies;
use super::token::{Operation, Token};
use io_uring::types::{CancelBuilder, Fixed, RecvMsgOut};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The end of a request, or one of the results of a request that goes on.
#[derive(Debug)]
pub struct Completion {
    /// The request.
    pub token: Token,
    /// Its result: bytes, or the error number as a negative.
    pub result: i32,
    /// The connection, for accepts.
    pub file: Option<OwnedFd>,
    /// Whether the request goes on; if not, it must be made again for more.
    pub more: bool,
    /// The bytes, for requests that receive.
    pub chunk: Option<Chunk>,
}

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether the buffer was too short for it.
    pub truncated: bool,
    /// Who sent it, as far as that is an IP address.
    pub source: Option<SocketAddr>,
}

/// An io_uring with all that belongs to it.
pub struct Uring {
    // First, so that it is dropped before the memory that its requests use.
    pub(super) ring: IoUring,
    pub(super) groups: Vec<Group>,
    pub(super) replies: Replies,
    pub(super) outgoing: Outgoing,
    // One for all receives of datagrams: the kernel reads only the two lengths in it.
    pub(super) message: Box<libc::msghdr>,
    pub(super) addresses: Addresses,
    pub(super) polled: bool,
    pub(super) enters: u64,
    pub(super) completed: Vec<cqueue::Entry>,
    /// Why a request could not even be queued; the next turn says it.
    pub(super) failed: Option<io::Error>,
    /// Whether no request is left and none follows.
    pub(super) ended: bool,
}

// SAFETY: the raw pointers inside of `msghdr` are null, and nothing else is bound to a thread: the kernel wants requests
// from one thread only, the one that calls `enable`, and `&mut self` keeps it to one at a time.
unsafe impl Send for Uring {}

impl Uring {
    /// Begins on the calling thread, which alone may use the ring from here on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enable(&mut self) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()
    }

    /// Enters an open file into the table at `slot`. A system call, for when connections come and go.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn register_file(&mut self, slot: u32, file: BorrowedFd<'_>) -> io::Result<()> {
        self.enters += 1;
        self.ring.submitter().register_files_update(slot, &[file.as_raw_fd()]).map(drop)
    }

    /// Takes the file at `slot` out of the table; the kernel closes it when its owner has, too.
    pub fn unregister_file(&mut self, slot: u32) {
        self.enters += 1;
        // An empty slot stays empty.
        let _ = self.ring.submitter().register_files_update(slot, &[-1]);
    }

    /// Asks for the connections of the listener at `file`, until told otherwise.
    pub fn accept(&mut self, file: u32, token: Token) {
        self.push(opcode::AcceptMulti::new(Fixed(file)).flags(libc::SOCK_CLOEXEC).build(), token);
    }

    /// Asks for the bytes that come to `file`, until told otherwise.
    pub fn receive(&mut self, file: u32, group: GroupIndex, token: Token) {
        self.push(opcode::RecvMulti::new(Fixed(file), group.0).build(), token);
    }

    /// Asks for the datagrams that come to `file`, until told otherwise.
    pub fn receive_datagrams(&mut self, file: u32, group: GroupIndex, token: Token) {
        let message: *const libc::msghdr = &*self.message;
        self.push(opcode::RecvMsgMulti::new(Fixed(file), message, group.0).build(), token);
    }

    /// Asks for a connection of `file` to `address`.
    pub fn connect(&mut self, file: u32, address: SocketAddr, token: Token) {
        let (address, bytes) = self.addresses.keep(token.index, address);
        self.push(opcode::Connect::new(Fixed(file), address.cast(), bytes).build(), token);
    }

    /// The memory for a reply to the peer of reply slot `slot`, unless one is under way.
    pub fn reply_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        self.replies.slot_mut(slot)
    }

    /// Sends the first `bytes` of the reply slot `token.index` to `file`.
    ///
    /// # Panics
    /// If a reply is under way from that slot.
    pub fn send(&mut self, file: u32, bytes: usize, token: Token) {
        let (address, length) = self.replies.lend(token.index, bytes);
        let entry = opcode::Send::new(Fixed(file), address, length).flags(libc::MSG_NOSIGNAL).build();
        self.push(entry, token);
    }

    /// The memory for a datagram to be sent from slot `slot`, unless one is under way from it.
    pub fn datagram_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        self.outgoing.slot_mut(slot)
    }

    /// Sends the first `bytes` of the datagram slot `token.index` by the socket at `file` to `receiver`.
    ///
    /// # Panics
    /// If a datagram is under way from that slot.
    pub fn send_datagram(&mut self, file: u32, bytes: usize, receiver: SocketAddr, token: Token) {
        let header = self.outgoing.lend(token.index, bytes, receiver);
        // As long as its socket has no room it would only be late: whoever sent it sends another one in time.
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32;
        self.push(opcode::SendMsg::new(Fixed(file), header).flags(flags).build(), token);
    }

    /// Moves the unsent bytes of a reply, which has `length`, to its front.
    pub fn shift_reply(&mut self, slot: u32, sent: usize, length: usize) {
        self.replies.shift(slot, sent, length);
    }

    /// Asks for the end of the request with the token `target`.
    pub fn cancel(&mut self, target: Token, token: Token) {
        let builder = CancelBuilder::user_data(target.to_u64());
        self.push(opcode::AsyncCancel2::new(builder).build(), token);
    }

    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.to_u64());
        loop {
            // SAFETY: what the entry points to is owned by `self` and outlives the ring (see `Drop`): slots of replies and
            // datagrams are not written while they are lent, the message header never, addresses never.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            if !self.make_room() {
                return;
            }
        }
    }

    /// The submission queue is full: hands it to the kernel. Returns whether to try again: not if the kernel takes nothing
    /// any more, which the next turn returns as its error.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> bool {
        self.enters += 1;
        let submitter = self.ring.submitter();
        let made = if self.polled { submitter.squeue_wait() } else { submitter.submit() };
        self.failed = made.err().filter(|error| !is_passing(error));
        self.failed.is_none()
    }

    /// One turn: hands requests to the kernel, lets it do what has become due, and appends what is completed to
    /// `into`, at most up to its capacity. Makes one system call if there is anything to do, in polled mode only if
    /// the kernel's thread sleeps.
    ///
    /// # Errors
    /// The kernel's word, for what is no passing lack of resources.
    #[inline]
    pub fn turn(&mut self, into: &mut Vec<Completion>) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let submission = self.ring.submission();
        let (waiting, overflow) = (submission.len() as u32, submission.cq_overflow());
        let due = if self.polled {
            submission.need_wakeup() && waiting > 0
        } else {
            waiting > 0 || submission.taskrun()
        };
        drop(submission);
        if due || overflow {
            self.enter(waiting, overflow)?;
        }
        self.collect(into);
        Ok(())
    }

    fn enter(&mut self, waiting: u32, overflow: bool) -> io::Result<()> {
        let flags = match (self.polled, overflow) {
            (false, _) => EnterFlags::GETEVENTS,
            (true, false) => EnterFlags::SQ_WAKEUP,
            (true, true) => EnterFlags::SQ_WAKEUP | EnterFlags::GETEVENTS,
        };
        self.enters += 1;
        // SAFETY: there is no argument, and the queue's entries were checked when they were pushed.
        let entered =
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(waiting, 0, flags.bits(), None) };
        match entered {
            Err(error) if !is_passing(&error) => Err(error),
            // What was not taken stays in the queue.
            _ => Ok(()),
        }
    }

    #[inline]
    fn collect(&mut self, into: &mut Vec<Completion>) {
        let room = (into.capacity() - into.len()).min(self.completed.capacity());
        self.completed.extend(self.ring.completion().take(room));
        for index in 0..self.completed.len() {
            let entry = &self.completed[index];
            let Some(token) = Token::from_u64(entry.user_data()) else { continue };
            let (result, flags) = (entry.result(), entry.flags());
            match token.operation {
                Operation::Send => self.replies.returned(token.index),
                Operation::SendDatagram => self.outgoing.returned(token.index),
                _ => {}
            }
            let file = (token.operation == Operation::Accept && result >= 0).then(|| {
                // SAFETY: the kernel has just opened it for this completion, and nobody else knows of it.
                unsafe { OwnedFd::from_raw_fd(result) }
            });
            let chunk = self.chunk(token, result, flags);
            into.push(Completion { token, result, file, more: cqueue::more(flags), chunk });
        }
        self.completed.clear();
    }

    /// The bytes that a completion brought. The group follows from the operation: streams use group 0, datagrams the
    /// last one.
    #[inline]
    fn chunk(&mut self, token: Token, result: i32, flags: u32) -> Option<Chunk> {
        let buffer = cqueue::buffer_select(flags)?;
        let group = match token.operation {
            Operation::ReceiveDatagrams => self.groups.last_mut()?,
            _ => self.groups.first_mut()?,
        };
        Some(group.received(buffer, result.max(0) as u32))
    }

    /// The bytes of a chunk.
    ///
    /// # Panics
    /// If it is another ring's.
    #[inline]
    pub fn bytes<'a>(&'a self, chunk: &'a Chunk) -> &'a [u8] {
        self.groups[usize::from(chunk.group().0)].bytes(chunk)
    }

    /// The datagram in a chunk; `None` if it holds none.
    #[inline]
    pub fn datagram<'a>(&'a self, chunk: &'a Chunk) -> Option<Datagram<'a>> {
        let found = RecvMsgOut::parse(self.bytes(chunk), &self.message).ok()?;
        let start = self.bytes(chunk).len().checked_sub(found.payload_data().len())?;
        Some(Datagram {
            payload: &self.bytes(chunk)[start..],
            truncated: found.is_payload_truncated(),
            source: address_of(found.name_data()),
        })
    }

    /// Takes a chunk back.
    ///
    /// # Panics
    /// If it is another ring's.
    #[inline]
    pub fn release(&mut self, chunk: Chunk) {
        self.groups[usize::from(chunk.group().0)].release(chunk);
    }

    /// Buffers of a group that the kernel has.
    #[inline]
    pub fn offered(&self, group: GroupIndex) -> u32 {
        self.groups[usize::from(group.0)].offered()
    }

    /// System calls made so far.
    pub fn enters(&self) -> u64 {
        self.enters
    }
}

/// Interrupted, or short of something for now.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

/// The address in a `sockaddr_in` or `sockaddr_in6`, as the kernel writes them: family, port, address (behind the flow
/// label in the latter).
fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let ip = match i32::from(u16::from_ne_bytes(*name.first_chunk()?)) {
        libc::AF_INET => IpAddr::from(*name.get(4..)?.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*name.get(8..)?.first_chunk::<16>()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*name.get(2..)?.first_chunk()?)))
}

/// Turns of waiting for the kernel's thread to take what is queued.
const LAST_TURNS: usize = 10_000;

impl Uring {
    /// Ends all requests; none may be made any more. The kernel obeys only the thread that called `enable`. Returns
    /// whether none is left.
    #[cold]
    pub fn end(&mut self) -> bool {
        if self.polled && !self.ended {
            // What its thread took up afterwards would outlive the cancelling.
            let _ = self.ring.submitter().submit();
            (0..LAST_TURNS).find(|_| {
                std::thread::yield_now();
                self.ring.submission().is_empty()
            });
        }
        if !self.ended {
            let ended = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any().all());
            // ENOENT: there was none.
            self.ended = ended.map_or_else(|error| error.raw_os_error() == Some(libc::ENOENT), |()| true);
        }
        self.ended
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.end() {
            return;
        }
        // Requests go on until the kernel has got round to closing the ring, which is after this: their memory is given up.
        std::mem::take(&mut self.groups).into_iter().for_each(std::mem::forget);
        std::mem::forget(std::mem::take(&mut self.outgoing));
        if let Ok(none) = Replies::allocate(1, 1) {
            std::mem::forget(std::mem::replace(&mut self.replies, none));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::uring::{UringMode, UringReport, UringSettings};
    use crate::os::{HugeWish, MemoryWish};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    const WISH: MemoryWish =
        MemoryWish { huge: HugeWish::Never, node: None, lock: false, name: "test buffers" };

    fn token(operation: Operation, index: u32) -> Token {
        Token { operation, index, generation: 1 }
    }

    fn ring(
        mode: UringMode,
        buffers: u16,
        bytes: u32,
        incremental: bool,
    ) -> (Uring, GroupIndex, UringReport) {
        let settings = UringSettings { mode, files: 8, replies: (8, 256), completions: 64 };
        let (mut ring, mut report) = Uring::create(&settings).expect("this machine has io_uring");
        let (group, _) =
            ring.add_group(buffers, bytes, incremental, &WISH, &mut report).expect("small buffers");
        ring.enable().expect("enabled once");
        (ring, group, report)
    }

    /// Turns until something is completed.
    fn next(ring: &mut Uring) -> Completion {
        let mut into = Vec::with_capacity(1);
        while into.is_empty() {
            ring.turn(&mut into).expect("a working ring");
        }
        into.remove(0)
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        (client, listener.accept().expect("connected").0)
    }

    fn bytes_arrive_in_order(mode: UringMode, incremental: bool) {
        let (mut ring, group, _) = ring(mode, 4, 64, incremental);
        let (mut client, server) = pair();
        ring.register_file(3, server.as_fd()).expect("slot 3 of 8");
        ring.receive(3, group, token(Operation::Receive, 3));
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let writer = {
            let sent = sent.clone();
            std::thread::spawn(move || sent.chunks(37).try_for_each(|piece| client.write_all(piece)))
        };
        let mut got = Vec::new();
        loop {
            let completion = next(&mut ring);
            if let Some(chunk) = completion.chunk {
                got.extend_from_slice(ring.bytes(&chunk));
                ring.release(chunk);
            }
            match completion.result {
                0 => break,
                error if error == -libc::ENOBUFS => {}
                received => assert!(received > 0, "{received}"),
            }
            if !completion.more {
                ring.receive(3, group, token(Operation::Receive, 3));
            }
        }
        writer.join().expect("the writer").expect("all is taken");
        assert_eq!(got, sent);
        assert_eq!(ring.offered(group), 4, "every buffer went home");
    }

    #[test]
    fn bytes_arrive_in_order_in_every_mode() {
        bytes_arrive_in_order(UringMode::DeferTaskrun, true);
        bytes_arrive_in_order(UringMode::DeferTaskrun, false);
        bytes_arrive_in_order(UringMode::Sqpoll { idle_ms: 50, cpu: None }, true);
    }

    #[test]
    fn connections_are_accepted_and_answered() {
        let (mut ring, _, report) = ring(UringMode::DeferTaskrun, 4, 64, true);
        assert_eq!(report.mode, "defer-taskrun");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        ring.register_file(0, listener.as_fd()).expect("slot 0");
        ring.accept(0, token(Operation::Accept, 0));
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let accepted = next(&mut ring);
        assert_eq!((accepted.token.operation, accepted.more), (Operation::Accept, true));
        let server = accepted.file.expect("a connection");
        ring.register_file(1, server.as_fd()).expect("slot 1");
        ring.reply_mut(5).expect("free")[..5].copy_from_slice(b"hello");
        ring.send(1, 5, token(Operation::Send, 5));
        assert!(ring.reply_mut(5).is_none(), "under way");
        assert_eq!(next(&mut ring).result, 5);
        assert!(ring.reply_mut(5).is_some());
        let mut got = [0; 5];
        client.read_exact(&mut got).expect("five bytes");
        assert_eq!(&got, b"hello");
        ring.cancel(token(Operation::Accept, 0), token(Operation::Cancel, 0));
        let ends = [next(&mut ring), next(&mut ring)];
        assert!(ends.iter().any(|end| end.token.operation == Operation::Accept && !end.more));
    }

    #[test]
    fn datagrams_come_with_their_sender() {
        let settings =
            UringSettings { mode: UringMode::DeferTaskrun, files: 1, replies: (1, 64), completions: 16 };
        let (mut ring, mut report) = Uring::create(&settings).expect("this machine has io_uring");
        let (group, _) = ring.add_group(4, 256, false, &WISH, &mut report).expect("small buffers");
        ring.enable().expect("enabled once");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        ring.register_file(0, socket.as_fd()).expect("slot 0");
        ring.receive_datagrams(0, group, token(Operation::ReceiveDatagrams, 0));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        for payload in [&b"one"[..], b"", &[7; 400]] {
            sender.send_to(payload, socket.local_addr().expect("bound")).expect("sent");
            let completion = next(&mut ring);
            // The kernel takes an empty datagram for the end.
            assert_eq!(completion.more, !payload.is_empty());
            if !completion.more {
                ring.receive_datagrams(0, group, token(Operation::ReceiveDatagrams, 0));
            }
            let chunk = completion.chunk.expect("a datagram");
            let datagram = ring.datagram(&chunk).expect("with its header");
            assert_eq!(datagram.truncated, payload.len() > 256);
            assert_eq!(datagram.payload, &payload[..datagram.payload.len()]);
            assert_eq!(datagram.source, sender.local_addr().ok());
            ring.release(chunk);
        }
    }

    #[test]
    fn datagrams_are_sent_to_their_receivers_and_failures_are_told() {
        let (mut ring, _, _) = ring(UringMode::DeferTaskrun, 4, 64, true);
        ring.allow_datagrams(2);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        ring.register_file(0, socket.as_fd()).expect("slot 0");
        let receivers = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback"));
        for (slot, receiver) in receivers.iter().enumerate() {
            ring.datagram_mut(slot as u32).expect("free")[..4].copy_from_slice(b"word");
            let address = receiver.local_addr().expect("bound");
            ring.send_datagram(0, 3 + slot, address, token(Operation::SendDatagram, slot as u32));
            assert!(ring.datagram_mut(slot as u32).is_none(), "under way");
        }
        for (slot, receiver) in receivers.iter().enumerate() {
            let sent = next(&mut ring);
            assert_eq!((sent.token.operation, sent.result), (Operation::SendDatagram, 3 + slot as i32));
            let mut bytes = [0; 8];
            let (length, from) = receiver.recv_from(&mut bytes).expect("a datagram");
            assert_eq!((&bytes[..length], Some(from)), (&b"word"[..3 + slot], socket.local_addr().ok()));
        }
        assert!(
            ring.datagram_mut(0).is_some()
                && ring.datagram_mut(1).is_some()
                && ring.datagram_mut(2).is_none()
        );
        // No socket of this family reaches that.
        let elsewhere = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9));
        ring.send_datagram(0, 4, elsewhere, token(Operation::SendDatagram, 0));
        assert!(next(&mut ring).result < 0);
        assert!(ring.datagram_mut(0).is_some());
    }

    #[test]
    fn only_the_thread_that_enabled_a_ring_ends_its_requests() {
        for mode in [UringMode::DeferTaskrun, UringMode::Sqpoll { idle_ms: 50, cpu: None }] {
            let begun = move || {
                let (mut ring, group, _) = ring(mode, 4, 64, true);
                let (client, server) = pair();
                ring.register_file(0, server.as_fd()).expect("slot 0");
                ring.receive(0, group, token(Operation::Receive, 0));
                ring.turn(&mut Vec::with_capacity(1)).expect("a working ring");
                (ring, client)
            };
            let (mut ring, _) = std::thread::spawn(begun).join().expect("the other thread");
            assert!(!ring.end(), "another thread's ring keeps its memory");
            let ended = std::thread::spawn(move || {
                let (mut ring, _) = begun();
                (ring.end(), ring)
            });
            let (ended, mut ring) = ended.join().expect("the other thread");
            assert!(ended && ring.end());
        }
    }

    #[test]
    fn a_ring_that_takes_nothing_says_so() {
        let settings =
            UringSettings { mode: UringMode::DeferTaskrun, files: 1, replies: (1, 64), completions: 16 };
        let (mut ring, mut report) = Uring::create(&settings).expect("this machine has io_uring");
        let (group, _) = ring.add_group(4, 64, true, &WISH, &mut report).expect("small buffers");
        // It was never enabled, and more is asked of it than it can queue.
        (0..5_000).for_each(|index| ring.receive(0, group, token(Operation::Receive, index)));
        assert!(ring.turn(&mut Vec::with_capacity(1)).is_err());
    }

    #[test]
    #[should_panic(expected = "a chunk of another ring")]
    fn chunks_of_other_rings_are_refused() {
        let (mut one, group, _) = ring(UringMode::DeferTaskrun, 4, 64, true);
        let (other, _, _) = ring(UringMode::DeferTaskrun, 4, 64, true);
        let (mut client, server) = pair();
        one.register_file(0, server.as_fd()).expect("slot 0");
        one.receive(0, group, token(Operation::Receive, 0));
        client.write_all(b"x").expect("sent");
        let chunk = next(&mut one).chunk.expect("a byte");
        other.bytes(&chunk);
    }
}
