//! A byte stream with a window over it: plain, gzip or zstd, told apart by content.
//!
//! Invariant: the window grows only as far as a caller asks, so memory is bounded by the largest record.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::Path;

use super::CaptureError;

/// The window's first size: four times the largest record that common tools write (64 KiB).
const WINDOW_BYTES: usize = 256 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// At the end of the file.
    Clean,
    /// In the middle of a compressed stream.
    CutOff,
    /// At a place that can't be unpacked.
    Damaged(String),
}

/// The stream and its window.
pub(super) struct Input {
    stream: Box<dyn Read + Send>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
    ended: Option<StreamEnd>,
}

impl Input {
    /// Opens a file and, if it is packed, the decompressor over it.
    pub(super) fn open(path: &Path) -> Result<Input, CaptureError> {
        let failed = |source| CaptureError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(CaptureError::Directory { path: path.to_owned() });
        }
        let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
        (&mut file).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head).map_err(failed)?;
        if head.is_empty() {
            return Err(CaptureError::Empty { path: path.to_owned() });
        }
        let packed = head.clone();
        let stream = Cursor::new(head).chain(file);
        let stream: Box<dyn Read + Send> = if packed.starts_with(&GZIP_MAGIC) {
            Box::new(flate2::read::MultiGzDecoder::new(stream))
        } else if packed.starts_with(&ZSTD_MAGIC) {
            Box::new(zstd::stream::read::Decoder::new(stream).map_err(failed)?)
        } else {
            Box::new(stream)
        };
        Ok(Input::over(stream))
    }

    /// A window over any stream.
    pub(super) fn over(stream: Box<dyn Read + Send>) -> Input {
        Input { stream, window: vec![0; WINDOW_BYTES], start: 0, end: 0, consumed: 0, ended: None }
    }

    /// The bytes in the window that are not consumed yet.
    pub(super) fn data(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Bytes consumed so far, unpacked.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// How the stream ended, if it did.
    pub(super) fn ended(&self) -> Option<&StreamEnd> {
        self.ended.as_ref()
    }

    /// Reads until the window holds `bytes` bytes. `false`: the stream ended before. What [`Input::consume`]
    /// returned before is invalid after this.
    pub(super) fn want(&mut self, bytes: usize) -> io::Result<bool> {
        while self.end - self.start < bytes {
            if self.ended.is_some() {
                return Ok(false);
            }
            self.make_room(bytes);
            match self.stream.read(&mut self.window[self.end..]) {
                Ok(0) => self.ended = Some(StreamEnd::Clean),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The operating system's errors are errors; anything else is a decompressor's judgement of its input.
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.ended = Some(StreamEnd::CutOff);
                }
                Err(error) => self.ended = Some(StreamEnd::Damaged(error.to_string())),
            }
        }
        Ok(true)
    }

    /// Consumes bytes that are in the window and returns where they lie, for [`Input::slice`].
    pub(super) fn consume(&mut self, bytes: usize) -> Range<usize> {
        let start = self.start;
        self.start += bytes.min(self.end - self.start);
        self.consumed += (self.start - start) as u64;
        start..self.start
    }

    /// Bytes consumed since the last [`Input::want`].
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.window[range]
    }

    /// Consumes bytes without holding them. `false`: the stream ended before.
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        let mut left = bytes;
        while left > 0 {
            let step = left.min(WINDOW_BYTES as u64) as usize;
            let whole = self.want(step)?;
            left -= self.consume(step).len() as u64;
            if !whole {
                return Ok(left == 0);
            }
        }
        Ok(true)
    }

    /// Moves what is left to the front, and grows the window if `bytes` don't fit it.
    fn make_room(&mut self, bytes: usize) {
        if self.end < self.window.len() && self.window.len() - self.start >= bytes {
            return;
        }
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.window.len() < bytes {
            self.window.resize(bytes.next_power_of_two(), 0);
        }
    }
}
