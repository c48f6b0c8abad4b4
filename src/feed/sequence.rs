//! Hot path: one stream's sequence numbers: what is new, what is a copy, what is missing.
//!
//! Invariant: every number from the first to the newest of an epoch is either seen or missing, and each is new
//! exactly once. A ring of masks remembers, for the newest [`SEQUENCE_WINDOW`] numbers, which lines brought them;
//! the entry that a new number takes over is the one that leaves the window, and is settled then.

use crate::event::Nanos;
use crate::ledger::{LineBook, StreamBook};
use crate::limits::{LINES_MAX, SEQUENCE_WINDOW};

const WINDOW: usize = SEQUENCE_WINDOW as usize;

/// A ring entry that belongs to no number of this epoch.
const BLANK: u8 = 0x80;
const _: () = assert!(LINES_MAX < 8, "line bits and BLANK share a byte");

/// What the sequence says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen before on any line.
    New,
    /// Seen before, on this or another line.
    Duplicate,
    /// Older than the window, or of an ended epoch: whether it was seen can't be told.
    Stale,
}

/// Sequence state of one stream.
#[derive(Clone, Debug)]
pub struct Sequencer {
    masks: [u8; WINDOW],
    next: u64,
    first: u64,
    started: bool,
    // Whether the last number that left the window was missing: a gap is counted where a missing range begins.
    leaving_gap: bool,
    epoch_began_by_reset: bool,
    // Bit set of the lines that brought numbers in this epoch.
    lines: u8,
    session: u128,
    previous_session: Option<u128>,
    epoch_send_ns: Nanos,
    newest_send_ns: Nanos,
}

impl Default for Sequencer {
    fn default() -> Sequencer {
        Sequencer {
            masks: [BLANK; WINDOW],
            next: 0,
            first: 0,
            started: false,
            leaving_gap: false,
            epoch_began_by_reset: false,
            lines: 0,
            session: 0,
            previous_session: None,
            epoch_send_ns: 0,
            newest_send_ns: 0,
        }
    }
}

#[inline]
fn place(sequence: u64) -> usize {
    (sequence % SEQUENCE_WINDOW) as usize
}

impl Sequencer {
    /// The next number that the stream should use.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Session of the present epoch, 0 where the protocol has none.
    pub fn session(&self) -> u128 {
        self.session
    }

    /// Whether any run of the stream has been seen.
    pub fn started(&self) -> bool {
        self.started
    }

    /// Number of the present epoch, from 0.
    pub fn epoch(&self, book: &StreamBook) -> u32 {
        book.epochs.saturating_sub(1) as u32
    }

    /// A number, at most [`crate::limits::SEQUENCE_NUMBER_MAX`], arrives on a line.
    #[inline]
    pub fn arrive(&mut self, sequence: u64, line: u8, book: &mut StreamBook) -> Verdict {
        self.lines |= 1 << line;
        if sequence == self.next {
            self.advance(1 << line, book);
            book.seen += 1;
            book.lines[usize::from(line)].wins += 1;
            return Verdict::New;
        }
        self.arrive_out_of_order(sequence, line, book)
    }

    /// Settles the entry that leaves the window and gives its place to `self.next` with `mask`.
    #[inline]
    fn advance(&mut self, mask: u8, book: &mut StreamBook) {
        let entry = &mut self.masks[place(self.next)];
        let leaving = *entry;
        *entry = mask;
        self.next += 1;
        settle(leaving, &mut self.leaving_gap, book);
    }

    #[cold]
    #[inline(never)]
    fn arrive_out_of_order(&mut self, sequence: u64, line: u8, book: &mut StreamBook) -> Verdict {
        if sequence > self.next {
            self.skip_to(sequence, book);
            return self.arrive(sequence, line, book);
        }
        if self.next - sequence > SEQUENCE_WINDOW {
            return Verdict::Stale;
        }
        if sequence < self.first {
            self.extend_back_to(sequence);
        }
        let entry = &mut self.masks[place(sequence)];
        let seen_before = *entry != 0;
        *entry |= 1 << line;
        let line_book = &mut book.lines[usize::from(line)];
        if seen_before {
            line_book.duplicates += 1;
            return Verdict::Duplicate;
        }
        line_book.wins += 1;
        book.seen += 1;
        Verdict::New
    }

    /// Numbers up to `sequence` (exclusive) are missing for now; another line may still bring those in the window.
    fn skip_to(&mut self, sequence: u64, book: &mut StreamBook) {
        let jump = sequence - self.next;
        if jump > SEQUENCE_WINDOW {
            let beyond = jump - SEQUENCE_WINDOW;
            self.settle_window(book);
            // What would have entered and left the window again was never seen.
            book.gaps += u64::from(!self.leaving_gap);
            book.missing = book.missing.saturating_add(beyond);
            self.leaving_gap = true;
            self.next += beyond;
        }
        while self.next != sequence {
            self.advance(0, book);
        }
    }

    /// A line that runs behind brings numbers from before the first one: the epoch began earlier.
    fn extend_back_to(&mut self, sequence: u64) {
        for earlier in sequence..self.first {
            self.masks[place(earlier)] = 0;
        }
        self.first = sequence;
    }

    /// Settles all entries of the window, oldest first, and blanks them.
    fn settle_window(&mut self, book: &mut StreamBook) {
        let oldest = self.next.saturating_sub(SEQUENCE_WINDOW).max(self.first);
        for sequence in oldest..self.next {
            let leaving = std::mem::replace(&mut self.masks[place(sequence)], BLANK);
            settle(leaving, &mut self.leaving_gap, book);
        }
    }

    /// Names the next number that the stream will use, as heartbeats do: what lies before it and has not come is
    /// missing.
    #[cold]
    pub fn announce_next(&mut self, sequence: u64, book: &mut StreamBook) {
        if sequence > self.next {
            self.skip_to(sequence, book);
        }
    }

    /// Ends the present epoch, settles its books, and begins one with `sequence` as its next number.
    #[cold]
    pub fn begin_epoch(&mut self, begin: EpochBegin, book: &mut StreamBook) {
        self.end_epoch(book);
        self.masks.fill(BLANK);
        self.first = begin.sequence;
        self.next = begin.sequence;
        self.leaving_gap = false;
        self.previous_session = self.started.then_some(self.session);
        self.session = begin.session;
        self.started = true;
        self.epoch_began_by_reset = begin.by_reset;
        self.lines = 0;
        self.epoch_send_ns = begin.send_ns;
        self.newest_send_ns = begin.send_ns;
        book.epochs += 1;
    }

    /// Settles what is still in the window: afterwards `expected = seen + missing` in the book.
    #[cold]
    pub fn end_epoch(&mut self, book: &mut StreamBook) {
        if self.started {
            self.settle_window(book);
            book.expected = book.expected.saturating_add(self.next - self.first);
            self.first = self.next;
            self.leaving_gap = false;
        }
    }

    /// Forgets the stream's past: its next run begins an epoch, whatever its number and session.
    #[cold]
    pub fn forget(&mut self, book: &mut StreamBook) {
        self.end_epoch(book);
        self.started = false;
        self.previous_session = None;
        self.session = 0;
        self.epoch_send_ns = 0;
        self.newest_send_ns = 0;
    }

    /// Whether a run belongs to an epoch that has ended: its session was left, or it was sent before this epoch.
    #[inline]
    pub fn is_of_ended_epoch(&self, session: u128, send_ns: Nanos) -> bool {
        (send_ns != 0 && send_ns < self.epoch_send_ns)
            || (session != self.session && self.previous_session == Some(session))
    }

    /// Whether a reset that names `sequence` on `line` is a copy of the one that began this epoch: nothing but the
    /// reset itself has come since, or it comes on a line that has not followed into this epoch yet, or it was sent
    /// before what has come since.
    pub fn is_copy_of_reset(&self, sequence: u64, send_ns: Nanos, line: u8) -> bool {
        let nothing_since = self.next <= self.first + 1;
        let not_newer = send_ns != 0 && send_ns <= self.newest_send_ns;
        self.epoch_began_by_reset
            && sequence == self.first
            && (nothing_since || not_newer || self.is_behind(line))
    }

    /// Whether a heartbeat that names `sequence` on `line` announces a restart under the same session, as IEX-TP does:
    /// back to the first number, sent after all that this epoch has seen, on a line that was in this epoch. A line that
    /// was not is only on its way into it.
    pub fn is_restart(&self, sequence: u64, send_ns: Nanos, line: u8) -> bool {
        sequence <= 1 && sequence < self.next && send_ns > self.newest_send_ns && !self.is_behind(line)
    }

    /// Whether other lines have brought numbers in this epoch and `line` has not.
    fn is_behind(&self, line: u8) -> bool {
        self.lines != 0 && self.lines & (1 << line) == 0
    }

    /// Remembers the newest send time of the epoch.
    #[inline]
    pub fn note_sent(&mut self, send_ns: Nanos) {
        self.newest_send_ns = self.newest_send_ns.max(send_ns);
    }
}

/// How an epoch begins.
#[derive(Clone, Copy, Debug)]
pub struct EpochBegin {
    /// Its first number.
    pub sequence: u64,
    /// Its session, 0 where the protocol has none.
    pub session: u128,
    /// When its first run was sent, 0 where the protocol does not say.
    pub send_ns: Nanos,
    /// Whether an explicit reset began it.
    pub by_reset: bool,
}

/// Counts the fate of a number that leaves the window.
#[inline]
fn settle(leaving: u8, leaving_gap: &mut bool, book: &mut StreamBook) {
    match leaving {
        0 => {
            book.missing += 1;
            book.gaps += u64::from(!*leaving_gap);
            *leaving_gap = true;
        }
        // No number of this epoch leaves, so a gap before it goes on behind it.
        BLANK => {}
        lines => settle_seen(lines, leaving_gap, book),
    }
}

#[inline]
fn settle_seen(lines: u8, leaving_gap: &mut bool, book: &mut StreamBook) {
    *leaving_gap = false;
    if lines.is_power_of_two() {
        only(&mut book.lines, lines.trailing_zeros() as usize);
    }
}

#[inline]
fn only(lines: &mut [LineBook; LINES_MAX], line: usize) {
    if let Some(line) = lines.get_mut(line) {
        line.only += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SEQUENCE_NUMBER_MAX;

    fn begun(sequence: u64) -> (Sequencer, StreamBook) {
        let mut sequencer = Sequencer::default();
        let mut book = StreamBook::default();
        let begin = EpochBegin { sequence, session: 0, send_ns: 0, by_reset: false };
        sequencer.begin_epoch(begin, &mut book);
        (sequencer, book)
    }

    #[test]
    fn first_copy_wins_and_every_number_is_settled_once() {
        let (mut sequencer, mut book) = begun(100);
        for sequence in 100..20_000 {
            let (first, second) = if sequence % 3 == 0 { (0, 1) } else { (1, 0) };
            assert_eq!(sequencer.arrive(sequence, first, &mut book), Verdict::New);
            if sequence % 5 != 0 {
                assert_eq!(sequencer.arrive(sequence, second, &mut book), Verdict::Duplicate);
            }
        }
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (19_900, 19_900, 0, 0));
        assert_eq!(book.lines[0].wins + book.lines[1].wins, 19_900);
        assert_eq!(book.lines[0].only + book.lines[1].only, 19_900 / 5);
    }

    #[test]
    fn a_gap_is_closed_by_a_late_copy_or_counted() {
        let (mut sequencer, mut book) = begun(1);
        for sequence in [1, 2, 6, 7] {
            assert_eq!(sequencer.arrive(sequence, 0, &mut book), Verdict::New);
        }
        assert_eq!(sequencer.arrive(4, 1, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(4, 1, &mut book), Verdict::Duplicate);
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (7, 5, 2, 2));
    }

    #[test]
    fn a_jump_far_beyond_the_window_is_one_gap() {
        let (mut sequencer, mut book) = begun(1);
        assert_eq!(sequencer.arrive(1, 0, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(1_000_000, 0, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(2, 1, &mut book), Verdict::Stale);
        assert_eq!(sequencer.arrive(999_999, 1, &mut book), Verdict::New);
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (1_000_000, 3, 999_997, 1));
    }

    #[test]
    fn the_largest_jump_neither_hangs_nor_overflows() {
        let (mut sequencer, mut book) = begun(0);
        assert_eq!(sequencer.arrive(SEQUENCE_NUMBER_MAX, 0, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(3, 0, &mut book), Verdict::Stale);
        sequencer.end_epoch(&mut book);
        assert_eq!(book.expected, SEQUENCE_NUMBER_MAX + 1);
        assert_eq!(book.expected, book.seen + book.missing);
    }

    #[test]
    fn a_line_that_runs_behind_extends_the_epoch_backwards() {
        let (mut sequencer, mut book) = begun(10);
        assert_eq!(sequencer.arrive(10, 0, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(8, 1, &mut book), Verdict::New);
        assert_eq!(sequencer.arrive(10, 1, &mut book), Verdict::Duplicate);
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (3, 2, 1, 1));
    }

    #[test]
    fn a_heartbeat_shows_a_trailing_gap() {
        let (mut sequencer, mut book) = begun(1);
        sequencer.arrive(1, 0, &mut book);
        sequencer.announce_next(4, &mut book);
        sequencer.announce_next(2, &mut book);
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing, book.gaps), (3, 1, 2, 1));
    }

    fn begin_by_reset(sequencer: &mut Sequencer, book: &mut StreamBook, send_ns: Nanos) {
        sequencer.begin_epoch(EpochBegin { sequence: 1, session: 0, send_ns, by_reset: true }, book);
    }

    #[test]
    fn restarts_and_their_copies() {
        let (mut sequencer, mut book) = begun(1);
        sequencer.arrive(1, 0, &mut book);
        sequencer.note_sent(50);
        assert!(!sequencer.is_restart(2, 60, 0), "an ordinary heartbeat");
        assert!(!sequencer.is_restart(1, 40, 0), "sent before what was seen");
        assert!(!sequencer.is_restart(1, 60, 1), "another line that is only beginning");
        assert!(sequencer.is_restart(1, 60, 0));
        begin_by_reset(&mut sequencer, &mut book, 60);
        assert!(sequencer.is_of_ended_epoch(0, 50));
        assert!(!sequencer.is_of_ended_epoch(0, 60));
        assert_eq!(book.epochs, 2);
    }

    #[test]
    fn the_other_line_follows_into_an_epoch_and_then_restarts_again() {
        let (mut sequencer, mut book) = begun(1);
        begin_by_reset(&mut sequencer, &mut book, 60);
        sequencer.arrive(1, 0, &mut book);
        sequencer.arrive(2, 0, &mut book);
        sequencer.note_sent(70);
        // Line B announces it later than line A's first messages were sent.
        assert!(!sequencer.is_restart(1, 71, 1));
        assert!(sequencer.is_copy_of_reset(1, 71, 1) && sequencer.is_copy_of_reset(1, 0, 1));
        assert_eq!(sequencer.arrive(1, 1, &mut book), Verdict::Duplicate);
        // Now both lines are in the epoch: the next one is another.
        assert!(sequencer.is_restart(1, 80, 1));
        assert!(!sequencer.is_copy_of_reset(1, 80, 1) && !sequencer.is_copy_of_reset(1, 0, 1));
        assert!(sequencer.is_copy_of_reset(1, 70, 0), "a late copy of the first reset");
    }

    #[test]
    fn a_repeated_reset_without_send_times_is_a_copy_until_numbers_follow() {
        let (mut sequencer, mut book) = begun(1);
        begin_by_reset(&mut sequencer, &mut book, 0);
        assert!(sequencer.is_copy_of_reset(1, 0, 0));
        sequencer.arrive(1, 0, &mut book);
        assert!(sequencer.is_copy_of_reset(1, 0, 0), "the reset's own message");
        sequencer.arrive(2, 0, &mut book);
        assert!(!sequencer.is_copy_of_reset(1, 0, 0));
    }

    #[test]
    fn a_restart_is_seen_by_a_listener_who_joined_in_silence() {
        let (sequencer, _) = begun(9_000);
        assert!(sequencer.is_restart(1, 60, 0));
    }
}
