//! Which lines of a stream have fallen silent, died and returned.
//!
//! Invariant: each silence and death is told once, and so is the return from it.

use super::Outlet;
use super::keeper::Keeper;
use super::notice::Event;
use crate::event::Nanos;
use crate::limits::{LINES_MAX, RECOVERY_LINE};

impl<O: Outlet> Keeper<'_, O> {
    /// A packet has come on the line, which was taken for silent or dead.
    #[cold]
    #[inline(never)]
    pub(super) fn heard(&mut self) {
        let line = usize::from(self.line);
        let watch = &mut self.state.watch;
        let before = std::mem::replace(&mut watch.heard_ns[line], self.now);
        if (watch.silent | watch.dead) & (1 << line) != 0 {
            watch.silent &= !(1 << line);
            watch.dead &= !(1 << line);
            // 0 where all were silent meanwhile.
            let silent_ns = if before == 0 { 0 } else { self.now.saturating_sub(before) };
            self.tell(Event::LineReturned { silent_ns });
        }
    }

    /// Looks for lines that have fallen silent.
    pub(super) fn watch_lines(&mut self) {
        let venue = &self.state.watch.heard_ns[..LINES_MAX];
        let newest = venue.iter().copied().max().unwrap_or(0);
        let lines = self.state.lines;
        for line in (0..RECOVERY_LINE).filter(|line| lines & (1 << line) != 0) {
            let heard_ns = self.state.watch.heard_ns[usize::from(line)];
            if heard_ns == 0 {
                // Nothing has come on it, at all or since the source began again.
                continue;
            }
            let (bit, silent_ns) = (1 << line, self.now.saturating_sub(heard_ns));
            let watch = &mut self.state.watch;
            let book = &mut self.state.book.lines[usize::from(line)];
            let behind_ns = &mut watch.behind_ns[usize::from(line)];
            if heard_ns >= newest {
                *behind_ns = Nanos::MAX;
            } else if *behind_ns == Nanos::MAX || heard_ns > *behind_ns {
                // From now on, if it is not heard any more.
                *behind_ns = self.now;
            }
            let others_went_on_ns = newest.saturating_sub(*behind_ns);
            let event = if silent_ns >= self.policy.dead_ns && watch.dead & bit == 0 {
                watch.dead |= bit;
                book.deaths += 1;
                Event::LineDead { silent_ns }
            } else if others_went_on_ns >= self.policy.silent_ns && (watch.silent | watch.dead) & bit == 0 {
                watch.silent |= bit;
                book.silences += 1;
                Event::LineSilent { silent_ns }
            } else {
                continue;
            };
            self.line = line;
            self.tell(event);
        }
    }
}
