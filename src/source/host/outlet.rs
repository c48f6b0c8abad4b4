//! Writes whole frames into a stream without ever waiting for its reader.
//!
//! Invariant: the reader sees whole frames only, in order. Of a frame that fitted in part, the rest is kept and goes
//! first the next time; frames behind it are given up, and counted.

use std::io::{self, Write};

/// Frames on their way into a stream.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    /// The rest of the frame that is half written.
    rest: Vec<u8>,
}

/// What became of the frames of one [`Outlet::send`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Frames whose last byte the stream took.
    pub(super) whole: u64,
    /// Frames that were given up.
    pub(super) skipped: u64,
}

impl Outlet {
    /// Writes `frames`, of which each ends at one of `ends`, as far as the stream takes them now.
    ///
    /// # Errors
    /// The stream is broken: its reader is gone.
    pub(super) fn send(
        &mut self,
        stream: &mut impl Write,
        frames: &[u8],
        ends: &[usize],
    ) -> Result<Sent, io::Error> {
        let mut sent = Sent::default();
        let had_rest = !self.rest.is_empty();
        let written = write_now(stream, &self.rest)?;
        self.rest.drain(..written);
        if !self.rest.is_empty() {
            sent.skipped = ends.len() as u64;
            return Ok(sent);
        }
        sent.whole += u64::from(had_rest);
        let written = write_now(stream, frames)?;
        let whole = ends.partition_point(|end| *end <= written);
        let begin = whole.checked_sub(1).map_or(0, |last| ends[last]);
        let mut skipped_from = whole;
        if written > begin {
            self.rest.extend_from_slice(&frames[written..ends[whole]]);
            skipped_from += 1;
        }
        sent.whole += whole as u64;
        sent.skipped = (ends.len() - skipped_from) as u64;
        Ok(sent)
    }

    /// The rest of a half-written frame, for the last write; empty if there is none.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }
}

/// Writes until the stream takes no more, and says how much it took.
fn write_now(stream: &mut impl Write, bytes: &[u8]) -> Result<usize, io::Error> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream that takes as many bytes as it is told to, and then no more.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Not all at once: short writes are the stream's right.
            let count = bytes.len().min(self.room).min(7);
            self.taken.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn a_reader_sees_whole_frames_in_order_and_every_frame_is_counted(
            rounds in proptest::collection::vec((0usize..60, proptest::collection::vec(1u8..20, 0..6)), 1..30),
        ) {
            let mut stream = Narrow::default();
            let mut outlet = Outlet::default();
            let (mut offered, mut sum) = (0, Sent::default());
            for (room, lengths) in rounds {
                stream.room = room;
                let (mut frames, mut ends) = (Vec::new(), Vec::new());
                for length in lengths {
                    // A frame is its length, and as many bytes.
                    frames.push(length);
                    frames.extend(std::iter::repeat_n(0, usize::from(length)));
                    ends.push(frames.len());
                }
                offered += ends.len() as u64;
                let sent = outlet.send(&mut stream, &frames, &ends).expect("not broken");
                sum.whole += sent.whole;
                sum.skipped += sent.skipped;
            }
            let half = u64::from(!outlet.rest().is_empty());
            prop_assert_eq!(sum.whole + sum.skipped + half, offered);
            stream.taken.extend_from_slice(outlet.rest());
            let (mut at, mut seen) = (0, 0);
            while at < stream.taken.len() {
                let length = usize::from(stream.taken[at]);
                prop_assert!(length > 0);
                prop_assert!(stream.taken[at + 1..=at + length].iter().all(|byte| *byte == 0));
                at += 1 + length;
                seen += 1;
            }
            prop_assert_eq!(at, stream.taken.len());
            prop_assert_eq!(seen, sum.whole + half);
        }
    }
}
