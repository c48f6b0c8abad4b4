//! Hot path: how far ahead of a gap an in-order stream takes numbers, and what is given up when one comes from farther.
//!
//! Invariant: what is held back is neither more than the window nor more than there are places for; a recovery is waited
//! for beyond that only while its servers answer.

use super::Outlet;
use super::keeper::Keeper;
use super::notice::Loss;
use crate::limits::RECOVERY_LINE;

impl<O: Outlet> Keeper<'_, O> {
    /// Sees to it that an in-order stream can hold back up to `sequence`. False if it can't because what is in front is
    /// being recovered: the number will then be asked for, too.
    pub(super) fn bring_into_reach(&mut self, sequence: u64) -> bool {
        let window = self.window();
        let Some(mut loss) = self.out_of_reach(sequence) else { return true };
        let next = self.state.sequencer.next();
        if self.policy.recovers() && self.is_answered() && self.borrow_ring(next) {
            self.know_of(sequence + 1);
            return false;
        }
        // The oldest gaps only, as many as it takes: a line may be just about to close the younger ones.
        while let Some(index) = self.gaps.slab.first(&self.state.gaps) {
            self.end_gap(index, loss);
            self.release();
            match self.out_of_reach(sequence) {
                Some(reason) if self.state.hold.is_some() => loss = reason,
                _ => break,
            }
        }
        if self.state.hold.is_some() {
            return true;
        }
        let next = self.state.sequencer.next();
        if sequence >= next.saturating_add(window) {
            let skipped = self.state.sequencer.announce_next(sequence, &mut self.state.book);
            self.lose(skipped, Loss::WindowPassed);
        }
        true
    }

    /// Why a number can't be held back, if it would have to be and can't.
    fn out_of_reach(&self, sequence: u64) -> Option<Loss> {
        let sequencer = &self.state.sequencer;
        let next = sequencer.next();
        let cursor = self.state.hold.as_ref().map_or(next, |ring| ring.cursor);
        if sequence >= cursor.saturating_add(self.window()) {
            return Some(Loss::WindowPassed);
        }
        // Without a recovery it is taken as far as it goes: what has come once does not come again.
        let waits =
            self.policy.recovers() && sequence > cursor && !(sequence < next && sequencer.has(sequence));
        (waits && !self.outlet.can_hold()).then_some(Loss::NoRoom)
    }

    /// Whether it may be hoped that servers bring what is missing: not when they have brought nothing for too long, and
    /// from then on not before they bring something.
    fn is_answered(&mut self) -> bool {
        let heard_ns = self.state.watch.heard_ns[usize::from(RECOVERY_LINE)];
        let first = self.gaps.slab.first(&self.state.gaps).map(|index| self.gaps.slab.get(index));
        let asked_ns = first.map_or(self.now, |gap| gap.opened_ns.saturating_add(self.policy.reorder_ns));
        if self.now > asked_ns.max(heard_ns).saturating_add(self.policy.answer_ns) {
            self.state.unanswered_ns = self.now;
        }
        self.state.unanswered_ns <= heard_ns
    }
}
