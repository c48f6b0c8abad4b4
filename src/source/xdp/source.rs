//! Hot path: one NIC queue as a source of frames.
//!
//! Invariant: every frame is handed over once, and its chunk is back on the fill ring when `poll` returns, so that a
//! slow consumer can't starve the NIC; where the kernel has not made its place known yet, the next `poll` begins so.

use super::attach::Steering;
use super::counters::{QueueCounters, QueueCounts};
use super::program::{register_socket, settle, withdraw_socket};
use super::rings::{FillRing, Held, RxRing};
use super::socket::{Bound, Way, bind, call_for_rx};
use super::umem::Memory;
use super::{DriveMode, LaneReport, LaneSettings, XdpError};
use crate::event::Nanos;
use crate::ledger::KernelBook;
use crate::limits::BURST_MAX;
use crate::source::{Budget, Frame, FrameSource, LinkType};
use libbpf_rs::MapHandle;
use std::os::fd::AsRawFd;

/// The AF_XDP socket of one RX queue. One lane owns it; its thread polls it.
#[derive(Debug)]
pub struct XdpSource {
    rx: RxRing,
    fill: FillRing,
    memory: Memory,
    /// Frames of this turn; of the last one too, should its consumer have panicked or the fill ring have had no room.
    held: Held,
    /// How many of `held` were handed over.
    handed: usize,
    received: u64,
    doorbells: u64,
    busy_poll: bool,
    stopped: bool,
    exhausted: bool,
    sockets: MapHandle,
    counters: QueueCounters,
    earlier: QueueCounts,
    report: LaneReport,
}

impl XdpSource {
    /// Opens a queue of the interface that `steering` is attached to, and directs its frames here. Memory comes from
    /// the calling thread's NUMA node: call it on the thread, or pinned where the thread will run.
    ///
    /// # Errors
    /// Any [`XdpError`] of sockets.
    pub fn open(steering: &Steering, settings: &LaneSettings) -> Result<XdpSource, XdpError> {
        if settings.drive == DriveMode::NapiThread && !steering.has_napi_threads() {
            return Err(XdpError::Drive {
                mode: settings.drive,
                interface: steering.interface().to_owned(),
                reason: "the interface was attached without threads".to_owned(),
            });
        }
        let Bound { memory, chunks, rx, mut fill, report, .. } = bind(steering.device(), settings, Way::Rx)?;
        let mut held = Held::none(memory.id());
        for chunk in chunks {
            if let Err(chunk) = held.push(chunk) {
                fill.give(&mut held);
                held.push(chunk).expect("the fill ring has a place for every chunk, so the hand is empty");
            }
        }
        fill.give(&mut held);
        let (sockets, counters) = (steering.sockets()?, steering.counters(settings.queue)?);
        let earlier = counters.read()?;
        register_socket(&sockets, settings.queue, rx.fd().as_raw_fd())?;
        let mut source = XdpSource {
            busy_poll: settings.drive == DriveMode::BusyPoll,
            rx,
            fill,
            memory,
            held,
            handed: 0,
            received: 0,
            doorbells: 0,
            stopped: false,
            exhausted: false,
            sockets,
            counters,
            // What an earlier lane of this queue was redirected is in that lane's book, with all it saw. Without one,
            // frames that went to the kernel before the socket was there are ours to report.
            earlier: if earlier.redirected() > 0 { earlier } else { QueueCounts::default() },
            report,
        };
        source.ring_if_asleep();
        Ok(source)
    }

    /// What the socket turned out to be.
    pub fn report(&self) -> &LaneReport {
        &self.report
    }

    /// System calls made to wake the kernel or to drive it, since the start.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Wakes the kernel where it sleeps until chunks are offered (zero-copy drivers on an empty fill ring).
    #[inline]
    fn ring_if_asleep(&mut self) {
        if self.fill.needs_wakeup() {
            self.ring();
        }
    }

    #[cold]
    #[inline(never)]
    fn ring(&mut self) {
        self.doorbells += 1;
        call_for_rx(self.rx.fd().as_raw_fd());
    }

    /// Gives the chunks that were handed over back to the kernel. False, and they stay in hand, while the kernel has
    /// not told that it emptied their places: it shows frames on the RX ring before it moves the fill ring's index.
    #[inline]
    fn give_back(&mut self) -> bool {
        let given = self.fill.give(&mut self.held);
        if given {
            self.handed = 0;
        }
        given
    }

    /// Takes the next frames off the ring, unless a panic left some of the last turn.
    #[inline]
    fn take_up(&mut self, frames: usize) -> usize {
        if self.handed < self.held.count() {
            return self.held.count() - self.handed;
        }
        if !self.give_back() {
            return 0;
        }
        if self.busy_poll {
            self.ring();
        }
        let count = self.rx.take(&mut self.held, frames.min(BURST_MAX));
        self.received += count as u64;
        count
    }
}

impl FrameSource for XdpSource {
    #[inline]
    fn poll(&mut self, _now: Nanos, budget: Budget, take: &mut impl FnMut(Frame<'_>)) -> usize {
        let count = self.take_up(budget.frames);
        if count == 0 {
            // With chunks still in hand the ring was not looked at.
            self.exhausted = self.stopped && budget.frames > 0 && self.held.count() == 0;
            self.ring_if_asleep();
            return 0;
        }
        while self.handed < self.held.count() {
            let index = self.handed;
            self.handed += 1;
            let (wire_ns, clock) = self.memory.take_stamp(&mut self.held, index);
            let bytes = self.memory.bytes(&self.held, index);
            take(Frame { bytes, wire_ns, clock, link: LinkType::Ethernet });
        }
        self.give_back();
        self.ring_if_asleep();
        count
    }

    fn exhausted(&self) -> bool {
        self.exhausted
    }

    fn interface(&self) -> Option<&str> {
        Some(&self.report.interface)
    }

    fn can_wait(&self) -> bool {
        false
    }

    /// Sends the queue's further frames to the kernel's stack and waits until those in flight are on the ring.
    /// Blocks for some milliseconds.
    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        // It fails only when the entry is gone already, which is what is wanted.
        let _ = withdraw_socket(&self.sockets, self.report.queue);
        settle();
    }

    /// Exact once the source is stopped and exhausted. A failure to read shows as an imbalance.
    fn kernel_book(&self) -> Option<KernelBook> {
        let mut book = KernelBook { received: self.received, ..KernelBook::default() };
        if let Ok(counts) = self.counters.read() {
            counts.since(&self.earlier).write(&mut book);
        }
        if let Ok(statistics) = self.rx.fd().xdp_statistics() {
            // An empty fill ring raises rx_dropped for the frame and fill_ring_empty for the attempt, a full RX ring
            // rx_ring_full only: so these two are fates, and the others explain.
            book.lost.push(("rx_dropped", statistics.rx_dropped()));
            book.lost.push(("rx_ring_full", statistics.rx_ring_full()));
            book.notes.push(("fill_ring_empty", statistics.rx_fill_ring_empty_descs()));
            book.notes.push(("rx_invalid_descs", statistics.rx_invalid_descs()));
            book.notes.push(("tx_invalid_descs", statistics.tx_invalid_descs()));
            book.notes.push(("tx_ring_empty", statistics.tx_ring_empty_descs()));
        }
        book.notes.push(("doorbells", self.doorbells));
        Some(book)
    }
}
