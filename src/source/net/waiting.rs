//! Hot path: connections that wait for room. Invariant: they hold up neither each other nor those that could go on.

use super::connection::Phase;
use super::port::NetPort;
use crate::event::Nanos;
use crate::os::uring::Chunk;

/// Chunks that a waiting connection may hold before its receive is withdrawn.
const WAITING_CHUNKS_MAX: usize = 4;

/// Time that connections may wait and keep all buffers from others: a processor that runs has made room long before.
const SPILL_AFTER_NS: Nanos = 20_000_000;

impl NetPort {
    /// There is no room for the connection's next message: its peer is made to wait by no longer receiving, as soon as
    /// it holds enough.
    #[cold]
    pub(super) fn hold(&mut self, index: u32, now: Nanos) {
        let slot = &mut self.slots[index as usize];
        if slot.waiting_since.is_none() {
            slot.waiting_since = Some(now);
            self.book.blocks += 1;
        }
        let scarce = self.ring.offered(self.streams) < self.buffers / 2;
        if scarce || self.slots[index as usize].pending.len() > WAITING_CHUNKS_MAX {
            self.withdraw(index);
        }
    }

    /// Others could go on and have no buffer, because those that wait for room hold them all: these are copied out. It
    /// can't be more than all buffers hold, as often as connections begin to wait.
    #[cold]
    #[inline(never)]
    pub(super) fn relieve_starved(&mut self, now: Nanos) {
        let could_go_on = |index: &u32| {
            let slot = &self.slots[*index as usize];
            slot.phase == Phase::Open && slot.waiting_since.is_none()
        };
        if self.ring.offered(self.streams) > 0 || !self.starved.iter().any(could_go_on) {
            return;
        }
        for index in 0..self.slots.len() as u32 {
            let since = self.slots[index as usize].waiting_since;
            if since.is_some_and(|since| now.saturating_sub(since) > SPILL_AFTER_NS) {
                self.spill(index);
            }
        }
    }

    fn spill(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.spilled.drain(..slot.spilled_at);
        slot.spilled_at = 0;
        slot.spilled.reserve(slot.pending.iter().map(Chunk::len).sum());
        while let Some(chunk) = slot.pending.pop_front() {
            slot.spilled.extend_from_slice(self.ring.bytes(&chunk));
            self.ring.release(chunk);
        }
    }

    /// The connection does not wait any more: the time that it did is counted.
    #[inline]
    pub(super) fn end_wait(&mut self, index: u32, now: Nanos) {
        if let Some(since) = self.slots[index as usize].waiting_since.take() {
            self.book.blocked_ns += now.saturating_sub(since);
        }
    }

    #[inline]
    pub(super) fn resume(&mut self, index: u32, now: Nanos) {
        self.end_wait(index, now);
        let slot = &mut self.slots[index as usize];
        if slot.spilled_at > 0 && slot.spilled_at == slot.spilled.len() {
            slot.spilled = Vec::new();
            slot.spilled_at = 0;
        }
    }
}
