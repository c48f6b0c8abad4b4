//! Hot path: framing of ITCH message files, for a reader that streams them through a buffer.
//!
//! Invariant: `next` looks only at the front of the buffer, and asks for at most one frame's bytes; so a reader's
//! buffer need never hold more than [`FRAME_BYTES_MAX`].

use super::length_of;
use std::fmt;
use std::ops::Range;

const PREFIX_BYTES: usize = 2;

/// The largest frame of a file: its length prefix and a message of 65,535 bytes.
pub const FRAME_BYTES_MAX: usize = PREFIX_BYTES + u16::MAX as usize;

/// How the messages of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// "BinaryFILE": each message has its length in front, 2 bytes big-endian; a length of 0 ends the file.
    Lengths,
    /// The 2 bytes in front of each message are zero; the type letter tells the length.
    Types,
}

/// Why the rest of a file can't be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends inside a frame.
    Truncated,
    /// A type whose length is not known, in a file that is framed by type.
    UnknownType(u8),
    /// Bytes other than zero in front of a message, in a file that is framed by type.
    PrefixNotZero(u16),
    /// Bytes behind the length of 0 that ends the file.
    BytesBehindEnd,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Truncated => f.write_str("the file ends inside a message"),
            Damage::UnknownType(kind) => {
                write!(f, "a message of unknown type {kind:#04x} and so of unknown length")
            }
            Damage::PrefixNotZero(prefix) => {
                write!(f, "a length of {prefix} in a file whose lengths are zeroed")
            }
            Damage::BytesBehindEnd => f.write_str("bytes behind the length of 0 that ends the file"),
        }
    }
}

/// What stands at the front of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// Too little to tell: call again with so many bytes at least, or with `at_end`.
    Need(usize),
    /// A message, from its type letter on; never empty, as a length of 0 is the end. The reader drops the first
    /// `range.end` bytes of the buffer before the next call.
    Message(Range<usize>),
    /// The file is over.
    End,
    /// What follows can't be framed; every further call says the same.
    Damaged(Damage),
}

/// The state of framing one file: what framing it has, once its first bytes told, and whether it is over.
#[derive(Clone, Debug, Default)]
pub struct FileFramer {
    framing: Option<Framing>,
    over: Option<Framed>,
}

impl FileFramer {
    /// The file's framing; `None` until the first message was seen.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// What stands at the front of `buffer`; `at_end` when the file has no bytes behind it.
    #[inline]
    pub fn next(&mut self, buffer: &[u8], at_end: bool) -> Framed {
        if let Some(over) = &self.over {
            return over.clone();
        }
        let framed = match self.front(buffer) {
            Framed::Need(_) if at_end && may_end_with(buffer) => Framed::End,
            Framed::Need(_) if at_end => Framed::Damaged(Damage::Truncated),
            framed => framed,
        };
        if matches!(framed, Framed::End | Framed::Damaged(_)) {
            self.over = Some(framed.clone());
        }
        framed
    }

    #[inline]
    fn front(&mut self, buffer: &[u8]) -> Framed {
        let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
            return Framed::Need(PREFIX_BYTES);
        };
        let prefix = u16::from_be_bytes(*prefix);
        let framing = match self.framing {
            Some(framing) => framing,
            None => match detect(prefix, rest) {
                Ok(framing) => *self.framing.insert(framing),
                Err(undecided) => return undecided,
            },
        };
        match framing {
            Framing::Lengths if prefix == 0 && rest.is_empty() => Framed::Need(PREFIX_BYTES + 1),
            Framing::Lengths if prefix == 0 => Framed::Damaged(Damage::BytesBehindEnd),
            Framing::Lengths => message(usize::from(prefix), buffer),
            Framing::Types if prefix != 0 => Framed::Damaged(Damage::PrefixNotZero(prefix)),
            Framing::Types => match rest.first() {
                None => Framed::Need(PREFIX_BYTES + 1),
                Some(letter) => match length_of(*letter) {
                    Some(length) => message(length, buffer),
                    None => Framed::Damaged(Damage::UnknownType(*letter)),
                },
            },
        }
    }
}

/// A file may end with nothing, or with a length of 0 (which in a file framed by type has no message behind it).
fn may_end_with(buffer: &[u8]) -> bool {
    buffer.is_empty() || buffer == [0; PREFIX_BYTES]
}

/// A file whose first message has a length of zero, and yet a known type behind it, is framed by type.
fn detect(prefix: u16, rest: &[u8]) -> Result<Framing, Framed> {
    match (prefix, rest.first()) {
        (0, None) => Err(Framed::Need(PREFIX_BYTES + 1)),
        (0, Some(letter)) if length_of(*letter).is_some() => Ok(Framing::Types),
        _ => Ok(Framing::Lengths),
    }
}

#[inline]
fn message(length: usize, buffer: &[u8]) -> Framed {
    let end = PREFIX_BYTES + length;
    if buffer.len() < end { Framed::Need(end) } else { Framed::Message(PREFIX_BYTES..end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A real S and the beginning of the real R behind it, as they begin a day's file.
    const REAL: &[u8] = b"\x00\x0cS\x00\x00\x00\x00\x0a\x11\xea\x0e\x8cCO\x00\x27R";

    fn walk(file: &[u8]) -> (Vec<&[u8]>, Framed, Option<Framing>) {
        let mut framer = FileFramer::default();
        let (mut messages, mut rest) = (Vec::new(), file);
        loop {
            match framer.next(rest, true) {
                Framed::Message(range) => {
                    messages.push(&rest[range.clone()]);
                    rest = &rest[range.end..];
                }
                over => {
                    assert_eq!(framer.next(b"\x00\x01S", false), over, "the end is final");
                    return (messages, over, framer.framing());
                }
            }
        }
    }

    #[test]
    fn frames_by_length() {
        let (messages, over, framing) = walk(&REAL[..14]);
        assert_eq!((messages, over), (vec![&REAL[2..14]], Framed::End));
        assert_eq!(framing, Some(Framing::Lengths));
        assert_eq!(walk(REAL).1, Framed::Damaged(Damage::Truncated));
        let ended = [&REAL[..14], &[0, 0]].concat();
        assert_eq!(walk(&ended).1, Framed::End);
        let behind = [&ended[..], &[7]].concat();
        assert_eq!(walk(&behind).1, Framed::Damaged(Damage::BytesBehindEnd));
    }

    #[test]
    fn frames_by_type_where_the_lengths_are_zero() {
        let mut zeroed = REAL[..14].to_vec();
        zeroed[1] = 0;
        let (messages, over, framing) = walk(&zeroed);
        assert_eq!((messages, over), (vec![&REAL[2..14]], Framed::End));
        assert_eq!(framing, Some(Framing::Types));
        let with = |behind: &[u8]| walk(&[&zeroed, behind].concat()).1;
        assert_eq!(with(b"\x00\x00?"), Framed::Damaged(Damage::UnknownType(b'?')));
        assert_eq!(with(b"\x00\x0cS"), Framed::Damaged(Damage::PrefixNotZero(12)));
        assert_eq!(with(b"\x00\x00S"), Framed::Damaged(Damage::Truncated));
        assert_eq!(with(b"\x00\x00"), Framed::End);
    }

    #[test]
    fn asks_for_what_it_lacks() {
        let mut framer = FileFramer::default();
        assert_eq!(framer.next(b"", false), Framed::Need(2));
        assert_eq!(framer.next(b"\x00\x00", false), Framed::Need(3));
        assert_eq!(framer.framing(), None);
        assert_eq!(framer.next(&REAL[..3], false), Framed::Need(14));
        assert_eq!(framer.next(b"\xff\xff", false), Framed::Need(FRAME_BYTES_MAX));
        assert_eq!(framer.next(b"", true), Framed::End);
        assert_eq!(FileFramer::default().next(b"\x00\x00", true), Framed::End);
        assert_eq!(FileFramer::default().next(b"\x00", true), Framed::Damaged(Damage::Truncated));
    }

    proptest! {
        /// However the bytes arrive, the messages are the same.
        #[test]
        fn pieces_make_no_difference(file in prop::collection::vec(prop_oneof![Just(0u8), Just(12), Just(b'S'), any::<u8>()], 0..200),
                                     piece in 1usize..20) {
            let at_once = crate::wire::harness::exercise_itch_file(&file, usize::MAX);
            prop_assert_eq!(crate::wire::harness::exercise_itch_file(&file, piece), at_once);
        }
    }
}
