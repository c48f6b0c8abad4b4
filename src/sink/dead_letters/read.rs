//! Files of dead letters, read back: any bytes give letters and refusals with the numbers of their lines.
//!
//! Invariant: no line takes more memory than the longest letter's.

use super::record::{LINE_BYTES_MAX, Letter, LineError};
use std::io::{self, BufRead};

/// A line that is no letter.
#[derive(Debug, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct WrongLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: ReadProblem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum ReadProblem {
    /// It is no letter; the next line may be one.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It can't be read, and nothing behind it.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
}

/// The letters of a file, in its order. Empty lines are passed over.
#[derive(Debug)]
pub struct LetterLines<R> {
    from: R,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

/// How a line ended.
enum Ending {
    Whole,
    TooLong,
    /// The file ended in it.
    CutOff,
    /// The file had ended before it.
    None,
}

impl<R: BufRead> LetterLines<R> {
    /// Reads from the beginning.
    pub fn new(from: R) -> LetterLines<R> {
        LetterLines { from, line: 0, buffer: Vec::new(), ended: false }
    }

    /// Reads a line into the buffer, without its end.
    fn read(&mut self) -> io::Result<Ending> {
        self.buffer.clear();
        let (mut any, mut too_long) = (false, false);
        loop {
            let found = match self.from.fill_buf() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if found.is_empty() {
                return Ok(match (any, too_long) {
                    (false, _) => Ending::None,
                    (true, false) => Ending::CutOff,
                    (true, true) => Ending::TooLong,
                });
            }
            any = true;
            let end = found.iter().position(|byte| *byte == b'\n');
            let part = &found[..end.unwrap_or(found.len())];
            too_long |= self.buffer.len() + part.len() >= LINE_BYTES_MAX;
            if !too_long {
                self.buffer.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.from.consume(taken);
            if end.is_some() {
                return Ok(if too_long { Ending::TooLong } else { Ending::Whole });
            }
        }
    }
}

impl<R: BufRead> Iterator for LetterLines<R> {
    type Item = Result<Letter, WrongLine>;

    fn next(&mut self) -> Option<Result<Letter, WrongLine>> {
        while !self.ended {
            self.line += 1;
            let line = self.line;
            let wrong = |problem: ReadProblem| Some(Err(WrongLine { line, problem }));
            match self.read() {
                Ok(Ending::Whole) if self.buffer.trim_ascii().is_empty() => {}
                Ok(Ending::Whole) => {
                    let letter = Letter::read_line(&self.buffer);
                    return Some(letter.map_err(|problem| WrongLine { line, problem: problem.into() }));
                }
                Ok(Ending::TooLong) => return wrong(LineError::TooLong.into()),
                Ok(Ending::CutOff) => {
                    self.ended = true;
                    // Whole but for its end, as an editor leaves the last line.
                    return match Letter::read_line(&self.buffer) {
                        Ok(letter) => Some(Ok(letter)),
                        Err(_) if self.buffer.trim_ascii().is_empty() => None,
                        Err(_) => wrong(LineError::CutOff.into()),
                    };
                }
                Ok(Ending::None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return wrong(error.into());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::some_letter;
    use super::*;
    use crate::event::DeadReason;
    use proptest::prelude::*;
    use std::io::{BufReader, Read};

    fn read(bytes: &[u8]) -> Vec<Result<u64, String>> {
        // A small buffer, so that lines lie across its ends.
        let lines = LetterLines::new(BufReader::with_capacity(7, bytes));
        lines.map(|letter| letter.map(|l| l.sequence).map_err(|wrong| wrong.to_string())).collect()
    }

    fn line(sequence: u64) -> Vec<u8> {
        let mut line = Vec::new();
        some_letter(DeadReason::Late.into(), sequence, b"payload").write_line(&mut line);
        line
    }

    #[test]
    fn wrong_lines_are_named_and_the_others_read() {
        let long = vec![b'x'; 3 * LINE_BYTES_MAX];
        let bytes = [&line(1)[..], b"\n", &long, b"\n", &line(2), b"no letter\n", &line(3)[..90]].concat();
        let found = read(&bytes);
        assert_eq!(found.len(), 5);
        assert_eq!((&found[0], &found[2]), (&Ok(1), &Ok(2)));
        for (place, words) in
            [(1, "line 3 is longer"), (3, "line 5 is no dead letter"), (4, "line 6 is cut off")]
        {
            let error = found[place].as_ref().expect_err("is wrong");
            assert!(error.starts_with(words), "{error}");
        }
        assert_eq!(read(line(4).trim_ascii_end()), [Ok(4)], "a last line without an end");
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n \n"), []);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let mut lines = LetterLines::new(BufReader::new(io::repeat(b'a').take(50 << 20)));
        let wrong = lines.next().expect("a line").expect_err("is none");
        assert!(matches!(wrong.problem, ReadProblem::Line(LineError::TooLong)));
        assert!(lines.buffer.capacity() <= 2 * LINE_BYTES_MAX && lines.next().is_none());
    }

    #[test]
    fn what_can_t_be_read_ends_the_reading() {
        let folder = std::fs::File::open(".").expect("a folder can be opened, and not read");
        let mut lines = LetterLines::new(BufReader::new(folder));
        assert!(matches!(lines.next(), Some(Err(WrongLine { line: 1, problem: ReadProblem::Io(_) }))));
        assert!(lines.next().is_none());
    }

    proptest! {
        #[test]
        fn damage_costs_the_lines_that_it_hits(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = [line(1), line(2), line(3)].concat();
            let length = line(1).len();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let found = read(&bytes);
            let hit = at / length;
            // The end of a line belongs to the next one, too.
            let touched = [hit, hit + usize::from(at % length == length - 1)];
            for other in (0..3).filter(|other| !touched.contains(other)) {
                prop_assert!(found.contains(&Ok(other as u64 + 1)), "{:?}", found);
            }
        }
    }
}
