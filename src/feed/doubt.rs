//! Hot path: numbers and sessions that are not believed at once, since one damaged packet must not move a stream away.
//!
//! Invariant: a stream moves farther than its window, or to another session, only when two packets say the same; until
//! then, and for ever if no second one does, it goes on where it was.

use super::keeper::{Keeper, Verdict};
use super::streams::EpochBegin;
use super::{Outlet, StreamState};
use crate::event::{Marks, Nanos};
use crate::limits::SEQUENCE_WINDOW;
use std::ops::Range;

/// A place that one packet says the stream has moved to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    session: u128,
    /// The first number that was said, and the one behind the last: the same if only the next one was named.
    first: u64,
    next: u64,
    line: u8,
    send_ns: Nanos,
    /// Which of the stream's packets it was.
    packet: u64,
    /// Where the stream was then.
    stream_next: u64,
}

/// Packets that may come between the one that is doubted and the one that bears it out: what a line that runs behind
/// brings meanwhile.
const PATIENCE: u64 = 4_096;

/// Numbers that one packet can bring: counts of runs have 16 bits.
const RUN_MAX: u64 = 1 << 16;

impl Doubt {
    fn is_borne_out(&self, session: u128, sequence: u64, window: u64, packets: u64) -> bool {
        session == self.session
            && packets != self.packet
            && packets - self.packet <= PATIENCE
            && sequence.saturating_add(window) >= self.first
            && sequence <= self.next.saturating_add(window)
    }
}

impl StreamState {
    /// How far ahead numbers are believed. Small windows don't make a loss of some packets incredible.
    #[inline]
    fn believable_reach(&self) -> u64 {
        self.sequencer.window().max(SEQUENCE_WINDOW)
    }

    /// Whether a number is farther ahead than is believed at once.
    #[inline]
    pub(super) fn is_far_ahead(&self, sequence: u64) -> bool {
        sequence >= self.sequencer.next().saturating_add(self.believable_reach())
    }

    /// Whether a number is farther behind than its window, in the packet right behind the first one of the epoch, or the
    /// next: then it is the first one that is doubtful.
    fn is_far_behind_a_beginning(&self, sequence: u64) -> bool {
        sequence.saturating_add(self.sequencer.window()) < self.sequencer.next()
            && self.book.packets <= self.epoch_packet + 2
    }
}

impl<O: Outlet> Keeper<'_, O> {
    /// Whether a number is to be doubted: then its verdict.
    #[inline]
    pub(super) fn doubt(&mut self, sequence: u64) -> Option<Verdict> {
        let is_far = self.state.is_far_ahead(sequence) || self.state.is_far_behind_a_beginning(sequence);
        if is_far && !self.state.is_reliable { self.doubt_far(sequence, false) } else { None }
    }

    /// As [`doubt`](Keeper::doubt), of a number that is only named as the next one.
    pub(super) fn doubt_announced(&mut self, sequence: u64) -> bool {
        let is_far = self.state.is_far_ahead(sequence) && !self.state.is_reliable;
        is_far && self.doubt_far(sequence, true).is_some()
    }

    #[cold]
    #[inline(never)]
    fn doubt_far(&mut self, sequence: u64, is_announced: bool) -> Option<Verdict> {
        let session = self.state.sequencer.session();
        let (window, packets) = (self.state.believable_reach(), self.state.book.packets);
        match &mut self.state.doubt {
            Some(doubt) if doubt.is_borne_out(session, sequence, window, packets) => {
                let doubt = *doubt;
                self.believe(doubt);
                return None;
            }
            Some(doubt) if doubt.packet == packets && doubt.next == sequence && doubt.session == session => {
                doubt.next += 1;
            }
            _ => {
                let numbers = sequence..sequence + u64::from(!is_announced);
                self.suspect(session, numbers, 0);
            }
        }
        self.state.book.doubted += 1;
        if self.policy.is_in_order() {
            return Some(Verdict::Doubted);
        }
        Some(Verdict::New(self.state.sequencer.standing.and(Marks::AFTER_GAP)))
    }

    /// Whether a run of another session is to be doubted, for want of a second packet that is of it.
    #[cold]
    pub(super) fn doubt_session(&mut self, begin: &EpochBegin) -> bool {
        let packets = self.state.book.packets;
        match &self.state.doubt {
            Some(doubt) if doubt.session == begin.session && doubt.packet != packets => {
                let doubt = *doubt;
                self.believe(doubt);
                return false;
            }
            Some(doubt) if doubt.session == begin.session => return true,
            _ => {}
        }
        self.suspect(begin.session, begin.sequence..begin.sequence, begin.send_ns);
        true
    }

    /// The packet at hand says that the stream has moved there.
    fn suspect(&mut self, session: u128, numbers: Range<u64>, send_ns: Nanos) {
        self.state.doubt = Some(Doubt {
            session,
            first: numbers.start,
            next: numbers.end,
            line: self.line,
            send_ns,
            packet: self.state.book.packets,
            stream_next: self.state.sequencer.next(),
        });
    }

    /// Whether what a session's first packet brings waits for what is recovered in front of it, which must be believed.
    fn is_backfilled_in_order(&self) -> bool {
        self.policy.is_in_order() && self.policy.backfill && self.policy.recovers()
    }

    /// A message of a doubted session. It is new, but where its session is to be delivered from its first number on.
    #[cold]
    pub(super) fn doubt_message(&mut self, sequence: u64) -> Verdict {
        self.state.book.doubted += 1;
        if let Some(doubt) = &mut self.state.doubt
            && (doubt.first..doubt.first + RUN_MAX).contains(&sequence)
        {
            doubt.next = sequence + 1;
        }
        if self.is_backfilled_in_order() { Verdict::Doubted } else { Verdict::New(Marks::NONE) }
    }

    /// The stream has moved; what its first packet there brought has been delivered, but for in-order streams that stayed
    /// in their session, or recover it from its first number on.
    #[cold]
    fn believe(&mut self, doubt: Doubt) {
        self.state.doubt = None;
        let line = std::mem::replace(&mut self.line, doubt.line);
        let is_back = doubt.first < self.state.sequencer.next();
        let is_session = doubt.session != self.state.sequencer.session();
        if is_session || is_back {
            let (session, send_ns) = (doubt.session, doubt.send_ns);
            let by_reset = false;
            self.begin_epoch(EpochBegin {
                sequence: doubt.first,
                session,
                send_ns,
                by_reset,
                line: doubt.line,
            });
        } else {
            self.announce(doubt.first);
        }
        let was_delivered = !self.policy.is_in_order() || (is_session && !self.is_backfilled_in_order());
        if was_delivered {
            for sequence in doubt.first..doubt.next {
                // Counted as seen; it was delivered when it came.
                let _ = self.state.sequencer.arrive(sequence, doubt.line, &mut self.state.book);
                if let Some(ring) = &mut self.state.hold
                    && ring.cursor == sequence
                {
                    ring.cursor += 1;
                }
            }
        }
        self.line = line;
    }

    /// Nothing more will come: what the last packet said is believed, if the stream has not gone on otherwise.
    #[cold]
    pub(super) fn believe_last(&mut self) {
        if let Some(doubt) = self.state.doubt.take()
            && doubt.stream_next == self.state.sequencer.next()
            && doubt.first >= doubt.stream_next
        {
            self.believe(doubt);
        }
    }
}
