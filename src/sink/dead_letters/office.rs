//! Where the dead letters of all agents arrive: counted, the newest kept, each handed to the file.
//!
//! Invariant: each letter that a port wrote is taken exactly once; what is kept is bounded in number and in bytes.

use super::file::{LetterFile, Trouble};
use super::reader::{LETTER_BYTES_MIN, LetterReader};
use super::reason::Reason;
use super::record::Letter;
use crate::event::Nanos;
use crate::limits::{LETTER_RING_BYTES, LETTERS_KEPT_BYTES_MAX};
use std::collections::VecDeque;

/// Letters that are taken from one reader before it is another one's turn.
const TURN_LETTERS: usize = 1_024;

/// What became of the dead letters of one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// That arrived here.
    pub letters: u64,
    /// That were over an agent's rate, and are only counted.
    pub suppressed: u64,
    /// That found an agent's ring full, and are only counted.
    pub no_room: u64,
    /// Of those that arrived: written to the file.
    pub written: u64,
    /// Of those that arrived: lost to the file.
    pub not_written: u64,
}

/// The office.
pub struct LetterOffice {
    readers: Vec<LetterReader>,
    file: Option<LetterFile>,
    kept: VecDeque<Letter>,
    kept_max: usize,
    kept_bytes: usize,
    letters: [u64; Reason::COUNT],
}

impl LetterOffice {
    /// An office that keeps the newest `kept_max` letters and hands all to `file`, if there is one.
    pub fn new(kept_max: usize, file: Option<LetterFile>) -> LetterOffice {
        LetterOffice {
            readers: Vec::new(),
            file,
            kept: VecDeque::new(),
            kept_max,
            kept_bytes: 0,
            letters: [0; Reason::COUNT],
        }
    }

    /// Takes the letters of a further port.
    pub fn add(&mut self, reader: LetterReader) {
        self.readers.push(reader);
    }

    /// Takes what has come, up to a bounded number, and writes what has waited long enough. `now` is CLOCK_MONOTONIC ns,
    /// `unix_ns` the time of day. How many were taken.
    pub fn step(&mut self, now: Nanos, unix_ns: u64) -> usize {
        let mut taken = 0;
        let mut readers = std::mem::take(&mut self.readers);
        for reader in &mut readers {
            let letters = std::iter::from_fn(|| reader.take(unix_ns)).take(TURN_LETTERS);
            for letter in letters {
                self.take(letter, now);
                taken += 1;
            }
        }
        self.readers = readers;
        if let Some(file) = &mut self.file {
            file.turn(now);
        }
        taken
    }

    /// Takes everything that has come, and writes it out. Ports that write no more leave nothing behind it.
    pub fn finish(&mut self, now: Nanos, unix_ns: u64) {
        // As often as full rings may need, so that a port that should be quiet and isn't holds nothing up.
        for _ in 0..=LETTER_RING_BYTES / LETTER_BYTES_MIN / TURN_LETTERS {
            if self.step(now, unix_ns) == 0 {
                break;
            }
        }
        if let Some(file) = &mut self.file {
            file.flush(now);
        }
    }

    /// The letters that are kept, the newest last: all, or those of one reason.
    pub fn kept(&self, reason: Option<Reason>) -> impl DoubleEndedIterator<Item = &Letter> {
        self.kept.iter().filter(move |letter| reason.is_none_or(|reason| letter.reason == reason))
    }

    /// What became of those of a reason. What is written behind the last [`LetterOffice::finish`] may wait for its turn.
    pub fn counts(&self, reason: Reason) -> LetterCounts {
        let mut counts =
            LetterCounts { letters: self.letters[usize::from(reason.code())], ..LetterCounts::default() };
        for reader in &self.readers {
            let port = reader.counts(reason);
            counts.suppressed += port.suppressed;
            counts.no_room += port.no_room;
        }
        if let Some(file) = &self.file {
            let file = file.counts(reason);
            (counts.written, counts.not_written) = (file.written, file.not_written);
        }
        counts
    }

    /// Why nothing is written now, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.file.as_ref().and_then(LetterFile::trouble)
    }

    /// What there is to tell of the file since it was asked last.
    pub fn remark(&mut self) -> Option<String> {
        self.file.as_mut().and_then(LetterFile::remark)
    }

    fn take(&mut self, letter: Letter, now: Nanos) {
        self.letters[usize::from(letter.reason.code())] += 1;
        if let Some(file) = &mut self.file {
            file.take(&letter, now);
        }
        self.kept_bytes += letter.bytes();
        self.kept.push_back(letter);
        while self.kept.len() > self.kept_max || self.kept_bytes > LETTERS_KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::port::{LetterPort, letter_way};
    use super::*;
    use crate::config::DeadLetters;
    use crate::event::{DeadReason, EventHeader, ShardId, ShedReason};

    const LATE: Reason = Reason::Dead(DeadReason::Late);
    const FULL: Reason = Reason::Shed(ShedReason::BatchQueueFull);

    fn write(port: &mut LetterPort, reason: Reason, sequence: u64, payload: &[u8]) {
        let header = EventHeader { sequence, ..EventHeader::default() };
        port.write(reason, &header, payload, ShardId(0), 0, sequence);
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let (mut port, reader) = letter_way(&DeadLetters { burst: 10, ..DeadLetters::default() });
        let (mut other, other_reader) = letter_way(&DeadLetters::default());
        let mut office = LetterOffice::new(4, None);
        office.add(reader);
        office.add(other_reader);
        (0..20).for_each(|n| write(&mut port, LATE, n, b"x"));
        (100..102).for_each(|n| write(&mut other, FULL, n, b"y"));
        assert_eq!((office.step(1, 1), office.step(2, 2)), (12, 0));
        let late = LetterCounts { letters: 10, suppressed: 10, ..LetterCounts::default() };
        assert_eq!(office.counts(LATE), late);
        assert_eq!(office.counts(FULL), LetterCounts { letters: 2, ..LetterCounts::default() });
        let sequences = |reason| office.kept(reason).map(|letter| letter.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(None), [8, 9, 100, 101]);
        assert_eq!((sequences(Some(LATE)), sequences(Some(FULL))), (vec![8, 9], vec![100, 101]));
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let settings = DeadLetters { payload_bytes_max: 65_536, ..DeadLetters::default() };
        let (mut port, reader) = letter_way(&settings);
        let mut office = LetterOffice::new(10_000, None);
        office.add(reader);
        for n in 0..1_100 {
            write(&mut port, LATE, n, &[0; 65_536]);
            office.step(n, n);
        }
        assert_eq!(office.counts(LATE).letters, 1_100);
        let kept = office.kept(None).count();
        assert!(kept > 1_000 && kept * 65_536 <= LETTERS_KEPT_BYTES_MAX, "{kept}");
        assert_eq!(office.kept(None).next_back().map(|letter| letter.sequence), Some(1_099));
        let mut none = LetterOffice::new(0, None);
        none.take(office.kept.pop_back().expect("is kept"), 0);
        assert_eq!((none.kept.len(), none.kept_bytes, none.counts(LATE).letters), (0, 0, 1));
    }

    /// A port storms, an office drains: each letter is read, or counted.
    #[test]
    fn of_a_storm_each_letter_is_read_or_counted() {
        const LETTERS: u64 = 400_000;
        for per_second in [1_000_000, 1_000] {
            let (mut port, reader) =
                letter_way(&DeadLetters { per_second, burst: 50_000, ..DeadLetters::default() });
            let mut office = LetterOffice::new(1_000, None);
            office.add(reader);
            let storm = std::thread::spawn(move || {
                let reasons: Vec<Reason> = Reason::all().collect();
                for n in 0..LETTERS {
                    let length = (n * 7_919 % 301) as usize;
                    let header = EventHeader { sequence: n, ..EventHeader::default() };
                    let reason = reasons[n as usize % reasons.len()];
                    // The sequence in every byte, so that a torn letter shows.
                    port.write(reason, &header, &[n as u8; 301][..length], ShardId(0), n as u8, n * 500);
                }
                port
            });
            let mut last = None;
            let mut drained = 0;
            loop {
                let ended = storm.is_finished();
                let taken = office.step(1, 1);
                drained += taken as u64;
                for letter in office.kept(None).rev().take(taken) {
                    assert_eq!(letter.payload.len() as u64, letter.sequence * 7_919 % 301);
                    assert!(letter.payload.iter().all(|byte| *byte == letter.sequence as u8));
                }
                let newest = office.kept(None).next_back().map(|letter| letter.sequence);
                assert!(newest >= last, "in order");
                last = newest;
                if ended && taken == 0 {
                    break;
                }
            }
            let port = storm.join().expect("no panic");
            let mut sum = LetterCounts::default();
            for reason in Reason::all() {
                let counts = office.counts(reason);
                assert_eq!(counts.letters, port.counts(reason).written);
                sum.letters += counts.letters;
                sum.suppressed += counts.suppressed;
                sum.no_room += counts.no_room;
            }
            assert_eq!(sum.letters, drained);
            assert_eq!(sum.letters + sum.suppressed + sum.no_room, LETTERS);
            if per_second == 1_000 {
                assert!(sum.letters <= 50_200 && sum.suppressed > LETTERS / 2, "{sum:?}");
            }
        }
    }
}
