//! Hot path: one stream's sequence numbers: what is new, what is a copy, what was skipped.
//!
//! Invariant: every number from the first to the newest of an epoch is either seen or missing, and each is new
//! at most once. A ring of masks remembers, for the newest numbers, which lines brought them; the entry that a new
//! number takes over is the one that leaves the window, and is settled then.

use super::streams::EpochBegin;
use crate::event::{Marks, Nanos};
use crate::ledger::StreamBook;
use crate::limits::{LINE_PLACES, RECOVERY_LINE, SEQUENCE_WINDOW};
use std::ops::Range;

/// A ring entry that belongs to no number of this epoch.
const BLANK: u8 = 0x80;
/// A number that was given up: it is not delivered any more.
const LOST: u8 = 0x40;
const _: () = assert!(LINE_PLACES <= 6, "line bits, LOST and BLANK share a byte");

/// Sessions that were left and are still known as such.
const SESSIONS_REMEMBERED: usize = 4;

/// How many numbers a line may be ahead of the one that told of a reset.
const REORDER_REACH: u64 = 64;

/// How far from the end of a round of a 32-bit field numbers are taken for being on either side of it.
const WRAP_REACH: u64 = 1 << 20;

/// How a number stands to those that have come. (Whether it is delivered is decided by the stream's policy.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the next one.
    Next,
    /// It is new, and the numbers of the range were skipped.
    Behind(Range<u64>),
    /// It was skipped before.
    Late,
    /// It is older than the first one, and so are those of the range, which are now known to be missing.
    Before(Range<u64>),
    /// It has come before, on this or another line.
    Copy,
    /// It is older than the window, or was given up: whether it was seen can't be told, or does not matter any more.
    Stale,
}

/// Sequence state of one stream.
#[derive(Clone, Debug)]
pub struct Sequencer {
    masks: Box<[u8]>,
    next: u64,
    first: u64,
    started: bool,
    /// Whether messages are held back, so that even the next number is not simply delivered.
    pub(super) holding: bool,
    // Whether numbers right before the next one were only named, and none behind them has come; and from which on.
    skipped: bool,
    silent_from: u64,
    /// Marks of everything that is delivered now.
    pub(super) standing: Marks,
    /// Whether numbers before the first one are refused: they can't be delivered in order any more.
    pub(super) in_order: bool,
    /// The last number that was given up in this epoch, 0 for none.
    pub(super) lost_last: u64,
    epoch_began_by_reset: bool,
    // Bit set of the lines that brought numbers in this epoch, and the number with which each began.
    lines: u8,
    joined: [u64; LINE_PLACES],
    // What is added to a field that has come round, for each time.
    round_base: u64,
    session: u128,
    // Those that were left, so that a line which is some sessions behind begins nothing.
    previous_sessions: [Option<u128>; SESSIONS_REMEMBERED],
    // Lines that have not been seen to follow a reset, where neither session nor send time tells, those included that were
    // not heard before it; and the next number of the epoch that it ended.
    laggards: u8,
    left_next: u64,
    /// Whether the sender said that the session is over.
    pub(super) ended: bool,
    epoch_send_ns: Nanos,
    newest_send_ns: Nanos,
}

impl Default for Sequencer {
    fn default() -> Sequencer {
        Sequencer::with_window(SEQUENCE_WINDOW)
    }
}

impl Sequencer {
    /// Remembers `window` numbers, a power of two.
    pub fn with_window(window: u64) -> Sequencer {
        debug_assert!(window.is_power_of_two());
        Sequencer {
            masks: std::iter::repeat_n(BLANK, window as usize).collect(),
            next: 0,
            first: 0,
            started: false,
            holding: false,
            skipped: false,
            silent_from: 0,
            standing: Marks::NONE,
            in_order: false,
            lost_last: 0,
            epoch_began_by_reset: false,
            lines: 0,
            joined: [0; LINE_PLACES],
            round_base: 0,
            session: 0,
            previous_sessions: [None; SESSIONS_REMEMBERED],
            laggards: 0,
            left_next: 0,
            ended: false,
            epoch_send_ns: 0,
            newest_send_ns: 0,
        }
    }

    /// How many numbers are remembered.
    #[inline]
    pub fn window(&self) -> u64 {
        self.masks.len() as u64
    }

    #[inline]
    fn place(&self, sequence: u64) -> usize {
        (sequence & (self.window() - 1)) as usize
    }

    /// The next number that the stream should use.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Session of the present epoch, 0 where the protocol has none.
    #[inline]
    pub fn session(&self) -> u128 {
        self.session
    }

    /// Whether any run of the stream has been seen.
    #[inline]
    pub fn started(&self) -> bool {
        self.started
    }

    /// Number of the present epoch, from 0.
    #[inline]
    pub fn epoch(&self, book: &StreamBook) -> u32 {
        book.epochs.saturating_sub(1) as u32
    }

    /// The number that a field stands for which comes round after `cycle` numbers: `raw`, and `cycle` for each time that
    /// the stream has come round. Near the end of a round it may be on either side of it.
    #[inline]
    pub(super) fn unroll(&mut self, raw: u64, cycle: u64) -> u64 {
        let mut low = self.next.saturating_sub(self.round_base);
        if low >= cycle + WRAP_REACH {
            self.round_base += cycle;
            low -= cycle;
        }
        if raw < WRAP_REACH && low >= cycle - WRAP_REACH {
            self.round_base + cycle + raw
        } else if self.round_base > 0 && raw >= cycle - WRAP_REACH && low < WRAP_REACH {
            self.round_base - cycle + raw
        } else {
            self.round_base + raw
        }
    }

    /// Takes a number, at most [`crate::limits::SEQUENCE_NUMBER_MAX`], if it is simply the next one on a line: what
    /// nearly all are.
    #[inline(always)]
    pub(super) fn take_next(&mut self, sequence: u64, line: u8, book: &mut StreamBook) -> bool {
        if sequence != self.next || self.holding || self.skipped || self.lines & (1 << line) == 0 {
            return false;
        }
        self.advance(1 << line, book);
        book.seen += 1;
        book.lines[usize::from(line)].wins += 1;
        true
    }

    /// Takes a number if it is simply a copy of one that came and was not given up: what nearly all others are.
    #[inline(always)]
    pub(super) fn take_copy(&mut self, sequence: u64, line: u8, book: &mut StreamBook) -> bool {
        let is_in_window =
            sequence < self.next && sequence >= self.first && self.next - sequence <= self.window();
        if !is_in_window || self.lines & (1 << line) == 0 || !self.has(sequence) {
            return false;
        }
        let place = self.place(sequence);
        self.masks[place] |= 1 << line;
        let joined = &mut self.joined[usize::from(line)];
        *joined = sequence.min(*joined);
        book.lines[usize::from(line)].duplicates += 1;
        true
    }

    /// Settles the entry that leaves the window and gives its place to `self.next` with `mask`.
    #[inline]
    fn advance(&mut self, mask: u8, book: &mut StreamBook) {
        let place = self.place(self.next);
        let leaving = std::mem::replace(&mut self.masks[place], mask);
        if leaving != BLANK {
            self.settle(leaving, self.next.wrapping_sub(self.window()), book);
        }
        self.next += 1;
    }

    /// Takes any other number.
    #[cold]
    #[inline(never)]
    pub(super) fn arrive(&mut self, sequence: u64, line: u8, book: &mut StreamBook) -> Arrival {
        if line != RECOVERY_LINE && self.lines & (1 << line) == 0 {
            self.lines |= 1 << line;
            self.joined[usize::from(line)] = sequence;
        }
        if sequence >= self.next {
            let skipped = self.next..sequence;
            self.skipped = false;
            self.skip_to(sequence, book);
            self.advance(1 << line, book);
            book.seen += 1;
            book.lines[usize::from(line)].wins += 1;
            return if skipped.is_empty() { Arrival::Next } else { Arrival::Behind(skipped) };
        }
        let is_before = sequence < self.first && (self.in_order || self.epoch_began_by_reset);
        if self.next - sequence > self.window() || is_before {
            return Arrival::Stale;
        }
        let joined = &mut self.joined[usize::from(line)];
        *joined = sequence.min(*joined);
        let before = sequence + 1..self.first;
        let was_before = sequence < self.first;
        if was_before {
            self.extend_back_to(sequence);
        }
        let place = self.place(sequence);
        let entry = &mut self.masks[place];
        if *entry & LOST != 0 {
            return Arrival::Stale;
        }
        let seen_before = *entry != 0;
        *entry |= 1 << line;
        let line_book = &mut book.lines[usize::from(line)];
        if seen_before {
            line_book.duplicates += 1;
            return Arrival::Copy;
        }
        line_book.wins += 1;
        book.seen += 1;
        if was_before { Arrival::Before(before) } else { Arrival::Late }
    }

    /// Numbers up to `sequence` (exclusive) are missing for now; another line may still bring those in the window.
    fn skip_to(&mut self, sequence: u64, book: &mut StreamBook) {
        let jump = sequence - self.next;
        if jump > self.window() {
            let beyond = jump - self.window();
            self.settle_window(book);
            // What would have entered and left the window again was never seen.
            book.missing = book.missing.saturating_add(beyond);
            let lines = book.lines.iter_mut().enumerate().filter(|(line, _)| self.lines & (1 << line) != 0);
            lines.for_each(|(_, line)| line.missing = line.missing.saturating_add(beyond));
            self.next += beyond;
        }
        while self.next != sequence {
            self.advance(0, book);
        }
    }

    /// A line that runs behind brings numbers from before the first one: the epoch began earlier.
    fn extend_back_to(&mut self, sequence: u64) {
        for earlier in sequence..self.first {
            let place = self.place(earlier);
            self.masks[place] = 0;
        }
        if self.silent_from == self.first {
            self.silent_from = sequence;
        }
        self.first = sequence;
    }

    /// The oldest number that the window has.
    pub(super) fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.window()).max(self.first)
    }

    /// Whether a number of the window has come.
    #[inline]
    pub(super) fn has(&self, sequence: u64) -> bool {
        let entry = self.masks[self.place(sequence)];
        entry != 0 && entry & (LOST | BLANK) == 0
    }

    /// Gives up what is missing of a range: it will not be delivered when it comes.
    #[cold]
    pub(super) fn give_up(&mut self, range: Range<u64>) {
        for sequence in range.start.max(self.oldest())..range.end.min(self.next) {
            let place = self.place(sequence);
            if self.masks[place] == 0 {
                self.masks[place] = LOST;
            }
        }
    }

    /// Settles all entries of the window, oldest first, and blanks them.
    fn settle_window(&mut self, book: &mut StreamBook) {
        for sequence in self.oldest()..self.next {
            let place = self.place(sequence);
            let leaving = std::mem::replace(&mut self.masks[place], BLANK);
            if leaving != BLANK {
                self.settle(leaving, sequence, book);
            }
        }
    }

    /// Names the next number that the stream will use, as heartbeats do: what lies before it and has not come is
    /// missing. Returns what was skipped.
    #[cold]
    pub(super) fn announce_next(&mut self, sequence: u64, book: &mut StreamBook) -> Range<u64> {
        let skipped = self.next..sequence.max(self.next);
        if !skipped.is_empty() {
            if !std::mem::replace(&mut self.skipped, true) {
                self.silent_from = self.next;
            }
            self.skip_to(sequence, book);
        }
        skipped
    }

    /// Whether the number right before this one, which has just come, has not come. Of numbers that have left the window
    /// nothing is known.
    pub(super) fn is_after_gap(&self, sequence: u64) -> bool {
        sequence > self.oldest() && !self.has(sequence - 1)
    }

    /// Whether higher numbers have come before this one, which has just come late: they may as well have been named only.
    pub(super) fn is_overtaken(&mut self, sequence: u64) -> bool {
        let is_newest = self.skipped && sequence >= self.silent_from;
        if is_newest {
            self.silent_from = sequence + 1;
        }
        !is_newest
    }

    /// Ends the present epoch, settles its books, and begins one with `sequence` as its next number.
    #[cold]
    pub(super) fn begin_epoch(&mut self, begin: EpochBegin, book: &mut StreamBook) {
        self.end_epoch(book);
        self.masks.fill(BLANK);
        self.left_next = self.next;
        self.first = begin.sequence;
        self.next = begin.sequence;
        self.round_base = 0;
        if self.started && begin.session != self.session {
            self.previous_sessions.rotate_right(1);
            self.previous_sessions[0] = Some(self.session);
        }
        let tells = begin.session != 0 || begin.send_ns != 0;
        self.laggards = if tells || !begin.by_reset { 0 } else { !(1 << begin.line) };
        let is_first = !self.started;
        self.session = begin.session;
        self.started = true;
        self.ended = false;
        (self.skipped, self.silent_from) = (true, begin.sequence);
        self.lost_last = 0;
        self.standing = Marks::NONE;
        self.epoch_began_by_reset = begin.by_reset;
        self.lines = 0;
        // Nothing ended before the first one: a line that runs behind may still bring what was sent earlier.
        self.epoch_send_ns = if is_first { 0 } else { begin.send_ns };
        self.newest_send_ns = begin.send_ns;
        book.epochs += 1;
    }

    /// Settles what is still in the window: afterwards `expected = seen + missing` in the book.
    #[cold]
    pub(super) fn end_epoch(&mut self, book: &mut StreamBook) {
        if self.started {
            self.settle_window(book);
            book.expected = book.expected.saturating_add(self.next - self.first);
            self.first = self.next;
        }
    }

    /// Forgets the stream's past: its next run begins an epoch, whatever its number and session.
    #[cold]
    pub(super) fn forget(&mut self, book: &mut StreamBook) {
        self.end_epoch(book);
        self.started = false;
        self.previous_sessions = [None; SESSIONS_REMEMBERED];
        self.laggards = 0;
        self.session = 0;
        self.epoch_send_ns = 0;
        self.newest_send_ns = 0;
    }

    /// Whether a run belongs to an epoch that has ended: its session was left, or it was sent before this epoch.
    #[inline]
    pub(super) fn is_of_ended_epoch(&self, session: u128, send_ns: Nanos) -> bool {
        (send_ns != 0 && send_ns < self.epoch_send_ns)
            || (session != self.session && self.previous_sessions.contains(&Some(session)))
    }

    /// Whether a number on a line is of the epoch before: the line took part in that, has not been seen to follow the
    /// reset, and the number is one of the last that were to be seen there.
    #[inline]
    pub(super) fn lags(&mut self, line: u8, sequence: u64) -> bool {
        self.laggards & (1 << line) != 0 && self.still_lags(line, sequence)
    }

    #[cold]
    fn still_lags(&mut self, line: u8, sequence: u64) -> bool {
        let lags = sequence.saturating_add(self.window()) >= self.left_next
            && sequence < self.left_next.saturating_add(REORDER_REACH);
        if !lags {
            self.follows(line);
        }
        lags
    }

    /// A line has followed into the present epoch.
    pub(super) fn follows(&mut self, line: u8) {
        self.laggards &= !(1 << line);
    }

    /// Whether a reset that names `sequence` on `line` is a copy of the one that began this epoch: nothing but the
    /// reset itself has come since, or it comes on a line that has not followed into this epoch yet, or it was sent
    /// before what has come since.
    pub(super) fn is_copy_of_reset(&self, sequence: u64, send_ns: Nanos, line: u8) -> bool {
        let nothing_since = self.next <= self.first + 1;
        let not_newer = send_ns != 0 && send_ns <= self.newest_send_ns;
        self.epoch_began_by_reset
            && sequence == self.first
            && (nothing_since || not_newer || self.is_behind(line))
    }

    /// Whether a heartbeat that names `sequence` on `line` announces a restart under the same session, as IEX-TP does:
    /// back to the first number, sent after all that this epoch has seen, on a line that was in this epoch. A line that
    /// was not is only on its way into it.
    pub(super) fn is_restart(&self, sequence: u64, send_ns: Nanos, line: u8) -> bool {
        sequence <= 1 && sequence < self.next && send_ns > self.newest_send_ns && !self.is_behind(line)
    }

    /// Whether other lines have brought numbers in this epoch and `line` has not.
    fn is_behind(&self, line: u8) -> bool {
        self.lines != 0 && self.lines & (1 << line) == 0
    }

    /// Remembers the newest send time of the epoch.
    #[inline]
    pub(super) fn note_sent(&mut self, send_ns: Nanos) {
        self.newest_send_ns = self.newest_send_ns.max(send_ns);
    }

    /// Counts the fate of a number that leaves the window.
    #[inline]
    fn settle(&self, leaving: u8, sequence: u64, book: &mut StreamBook) {
        if leaving.is_power_of_two() && leaving & (LOST | BLANK) == 0 {
            book.lines[leaving.trailing_zeros() as usize].only += 1;
        }
        if leaving != self.lines || leaving == 0 {
            self.settle_incomplete(leaving, sequence, book);
        }
    }

    /// Counts a number that not all lines have brought.
    #[inline(never)]
    fn settle_incomplete(&self, leaving: u8, sequence: u64, book: &mut StreamBook) {
        if leaving == 0 || leaving & LOST != 0 {
            book.missing = book.missing.saturating_add(1);
        }
        for (line, line_book) in book.lines.iter_mut().enumerate() {
            let took_part = self.lines & (1 << line) != 0 && sequence >= self.joined[line];
            let missed = took_part && leaving & (1 << line) == 0;
            line_book.missing = line_book.missing.saturating_add(missed.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SEQUENCE_NUMBER_MAX;

    fn begun(sequence: u64) -> (Sequencer, StreamBook) {
        let mut sequencer = Sequencer::default();
        let mut book = StreamBook::default();
        let begin = EpochBegin { sequence, session: 0, send_ns: 0, by_reset: false, line: 0 };
        sequencer.begin_epoch(begin, &mut book);
        (sequencer, book)
    }

    /// As a visit does it.
    fn take(sequencer: &mut Sequencer, sequence: u64, line: u8, book: &mut StreamBook) -> Arrival {
        if sequencer.take_next(sequence, line, book) {
            Arrival::Next
        } else if sequencer.take_copy(sequence, line, book) {
            Arrival::Copy
        } else {
            sequencer.arrive(sequence, line, book)
        }
    }

    #[test]
    fn a_field_that_comes_round_goes_on() {
        for (cycle, first_again) in [(u64::from(u32::MAX), 1), (1 << 32, 0)] {
            let (mut sequencer, mut book) = begun(u64::from(u32::MAX) - 2);
            let mut raw = u64::from(u32::MAX) - 2;
            for n in 0..3_000_000u64 {
                let sequence = sequencer.unroll(raw, cycle);
                assert_eq!(sequence, u64::from(u32::MAX) - 2 + n);
                assert_eq!(take(&mut sequencer, sequence, 0, &mut book), Arrival::Next);
                if n == 5 {
                    let late = sequencer.unroll(u64::from(u32::MAX) - 1, cycle);
                    assert_eq!(late, u64::from(u32::MAX) - 1, "a copy from before");
                }
                raw = if raw == u64::from(u32::MAX) { first_again } else { raw + 1 };
            }
            sequencer.end_epoch(&mut book);
            assert_eq!((book.expected, book.missing), (3_000_000, 0));
        }
    }

    #[test]
    fn first_copy_wins_and_every_number_is_settled_once() {
        let (mut sequencer, mut book) = begun(100);
        for sequence in 100..20_000 {
            let (first, second) = if sequence % 3 == 0 { (0, 1) } else { (1, 0) };
            assert_eq!(take(&mut sequencer, sequence, first, &mut book), Arrival::Next);
            if sequence % 5 != 0 {
                assert_eq!(sequencer.arrive(sequence, second, &mut book), Arrival::Copy);
            }
        }
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing), (19_900, 19_900, 0));
        assert_eq!(book.lines[0].wins + book.lines[1].wins, 19_900);
        assert_eq!(book.lines[0].only + book.lines[1].only, 19_900 / 5);
        // Line 0 began with number 101: the first one is not missing there.
        assert_eq!(book.lines[0].missing + book.lines[1].missing, 19_900 / 5 - 1);
    }

    #[test]
    fn a_number_out_of_a_gap_is_late_or_counted() {
        let (mut sequencer, mut book) = begun(1);
        for (sequence, arrival) in
            [1, 2, 6, 7].into_iter().zip([Arrival::Next, Arrival::Next, Arrival::Behind(3..6), Arrival::Next])
        {
            assert_eq!(take(&mut sequencer, sequence, 0, &mut book), arrival);
        }
        assert_eq!(sequencer.arrive(4, 1, &mut book), Arrival::Late);
        assert_eq!(sequencer.arrive(4, 1, &mut book), Arrival::Copy);
        sequencer.give_up(1..6);
        assert_eq!(sequencer.arrive(5, 1, &mut book), Arrival::Stale, "it was given up");
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing), (7, 5, 2));
    }

    #[test]
    fn a_jump_far_beyond_the_window() {
        let (mut sequencer, mut book) = begun(1);
        assert_eq!(sequencer.arrive(1, 0, &mut book), Arrival::Next);
        assert_eq!(sequencer.arrive(1_000_000, 0, &mut book), Arrival::Behind(2..1_000_000));
        assert_eq!(sequencer.arrive(2, 1, &mut book), Arrival::Stale);
        assert_eq!(sequencer.arrive(999_999, 1, &mut book), Arrival::Late);
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing), (1_000_000, 3, 999_997));
        assert_eq!(book.lines[0].missing, 999_998);
    }

    #[test]
    fn the_largest_jump_neither_hangs_nor_overflows() {
        let (mut sequencer, mut book) = begun(0);
        let all = Arrival::Behind(0..SEQUENCE_NUMBER_MAX);
        assert_eq!(sequencer.arrive(SEQUENCE_NUMBER_MAX, 0, &mut book), all);
        assert_eq!(sequencer.arrive(3, 0, &mut book), Arrival::Stale);
        sequencer.end_epoch(&mut book);
        assert_eq!(book.expected, SEQUENCE_NUMBER_MAX + 1);
        assert_eq!(book.expected, book.seen + book.missing);
    }

    #[test]
    fn a_line_that_runs_behind_extends_the_epoch_backwards() {
        let (mut sequencer, mut book) = begun(10);
        assert_eq!(sequencer.arrive(10, 0, &mut book), Arrival::Next);
        assert_eq!(sequencer.arrive(8, 1, &mut book), Arrival::Before(9..10));
        assert_eq!(sequencer.arrive(10, 1, &mut book), Arrival::Copy);
        sequencer.in_order = true;
        assert_eq!(sequencer.arrive(7, 1, &mut book), Arrival::Stale, "it can't be delivered in order");
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing), (3, 2, 1));
    }

    #[test]
    fn a_heartbeat_shows_a_trailing_gap() {
        let (mut sequencer, mut book) = begun(1);
        sequencer.arrive(1, 0, &mut book);
        assert_eq!(sequencer.announce_next(4, &mut book), 2..4);
        assert!(sequencer.announce_next(2, &mut book).is_empty());
        sequencer.end_epoch(&mut book);
        assert_eq!((book.expected, book.seen, book.missing), (3, 1, 2));
    }

    fn begin_by_reset(sequencer: &mut Sequencer, book: &mut StreamBook, send_ns: Nanos) {
        sequencer.begin_epoch(EpochBegin { sequence: 1, session: 0, send_ns, by_reset: true, line: 0 }, book);
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
        assert_eq!(sequencer.arrive(1, 1, &mut book), Arrival::Copy);
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
