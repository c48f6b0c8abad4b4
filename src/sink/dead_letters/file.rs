//! The file of dead letters: JSON Lines, appended to, given up for a new one when it is full.
//!
//! Invariant: the file ends with a whole line after each write that this process survives; each letter that it was given is
//! counted as written, or as not written, or waits in the buffer.

use super::error::DeadLetterError;
use super::reason::Reason;
use super::record::Letter;
use crate::event::Nanos;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// The longest that a letter waits in the buffer.
const FLUSH_NS: Nanos = 1_000_000_000;

/// How long after a failure the file is tried again.
const RETRY_NS: Nanos = 5_000_000_000;

/// Why nothing can be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The file system, or the user's share of it, is full.
    DiskFull,
    /// The file system may only be read.
    ReadOnly,
    /// The process may not write there.
    NotPermitted,
    /// The folder is gone.
    FolderMissing,
    /// Another process writes to the file.
    Locked,
    /// The device reported another error.
    IoError,
}

impl Trouble {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::DiskFull => "disk_full",
            Trouble::ReadOnly => "read_only",
            Trouble::NotPermitted => "not_permitted",
            Trouble::FolderMissing => "folder_missing",
            Trouble::Locked => "locked",
            Trouble::IoError => "io_error",
        }
    }

    fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => Trouble::DiskFull,
            Some(Errno::EROFS) => Trouble::ReadOnly,
            Some(Errno::EACCES | Errno::EPERM) => Trouble::NotPermitted,
            Some(Errno::ENOENT | Errno::ENOTDIR) => Trouble::FolderMissing,
            Some(Errno::EWOULDBLOCK) => Trouble::Locked,
            _ => Trouble::IoError,
        }
    }
}

/// How many letters of a reason were written, and how many could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// The kernel has them.
    pub written: u64,
    /// They are lost to the file.
    pub not_written: u64,
}

/// The file that letters are appended to.
#[derive(Debug)]
pub struct LetterFile {
    path: PathBuf,
    max_bytes: u64,
    max_files: u32,
    /// `None` after a failed change to a new one.
    file: Option<Flock<File>>,
    /// Bytes of the file, whole lines all of them unless it `ends_torn`.
    length: u64,
    ends_torn: bool,
    buffer: Vec<u8>,
    /// Where the lines in the buffer end, and their reasons.
    waiting: Vec<(usize, Reason)>,
    counts: [FileCounts; Reason::COUNT],
    trouble: Option<Trouble>,
    next_ns: Nanos,
    missed: u64,
    remark: Option<String>,
}

impl LetterFile {
    /// Opens the file to append to it, or makes it. When it would grow beyond `max_bytes` it is renamed to `path.1`, that to
    /// `path.2` and so on, up to `max_files` files in all.
    ///
    /// # Errors
    /// It can't be opened, another process writes to it, or it is no regular file.
    pub fn open(path: &Path, max_bytes: u64, max_files: u32) -> Result<LetterFile, DeadLetterError> {
        let path = path.to_owned();
        // Asked before it is opened: to open a pipe may wait.
        if fs::metadata(&path).is_ok_and(|facts| !facts.is_file()) {
            return Err(DeadLetterError::NotRegular { path });
        }
        let opened = open(&path).map_err(|source| match Trouble::of(&source) {
            Trouble::Locked => DeadLetterError::Locked { path: path.clone() },
            _ => DeadLetterError::Open { path: path.clone(), source },
        })?;
        Ok(LetterFile {
            path,
            max_bytes,
            max_files: max_files.max(1),
            file: Some(opened.file),
            length: opened.length,
            ends_torn: opened.ends_torn,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            waiting: Vec::new(),
            counts: [FileCounts::default(); Reason::COUNT],
            trouble: None,
            next_ns: 0,
            missed: 0,
            remark: None,
        })
    }

    /// Takes a letter. `now` is CLOCK_MONOTONIC ns.
    pub fn take(&mut self, letter: &Letter, now: Nanos) {
        if self.trouble.is_some() && now < self.next_ns {
            self.miss(letter.reason);
            return;
        }
        letter.write_line(&mut self.buffer);
        self.waiting.push((self.buffer.len(), letter.reason));
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush(now);
        }
    }

    /// Writes what has waited long enough.
    pub fn turn(&mut self, now: Nanos) {
        if !self.waiting.is_empty() && now >= self.next_ns {
            self.flush(now);
        }
    }

    /// Writes what waits. What can't be written is counted, told once, and given up; the file is tried again later.
    pub fn flush(&mut self, now: Nanos) {
        if self.waiting.is_empty() {
            // Nothing that is written shows that something can be.
            return;
        }
        let written = self.write_out();
        for (_, reason) in std::mem::take(&mut self.waiting) {
            // What was written is not among them any more.
            self.miss(reason);
        }
        self.buffer.clear();
        match written {
            Ok(()) => {
                self.next_ns = now + FLUSH_NS;
                if self.trouble.take().is_some() {
                    self.remark =
                        Some(format!("{}: is written again, {} were not", self.path.display(), self.missed));
                    self.missed = 0;
                }
            }
            Err(error) => {
                self.next_ns = now + RETRY_NS;
                if self.trouble.replace(Trouble::of(&error)).is_none() {
                    self.remark = Some(format!(
                        "{}: {error}; dead letters are not written, which is tried again every {} s",
                        self.path.display(),
                        RETRY_NS / 1_000_000_000
                    ));
                }
            }
        }
    }

    /// What there is to tell since it was asked last: that writing failed, or goes on.
    pub fn remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// Why nothing is written now, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// How many of a reason were written, and how many not; those in the buffer are in neither.
    pub fn counts(&self, reason: Reason) -> FileCounts {
        self.counts[usize::from(reason.code())]
    }

    /// The file that is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn miss(&mut self, reason: Reason) {
        self.counts[usize::from(reason.code())].not_written += 1;
        self.missed += 1;
    }

    /// Writes the buffer, and leaves in `waiting` what was not written.
    fn write_out(&mut self) -> io::Result<()> {
        if self.length > 0 && self.length + self.buffer.len() as u64 > self.max_bytes {
            self.change_file()?;
        }
        if self.file.is_none() {
            let opened = open(&self.path)?;
            (self.length, self.ends_torn) = (opened.length, opened.ends_torn);
            self.file = Some(opened.file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.ends_torn {
            // A line that somebody was killed in: it is refused when it is read, and the next one is not.
            file.write_all(b"\n")?;
            self.length += 1;
            self.ends_torn = false;
        }
        let (bytes, result) = write_as_much(file, &self.buffer);
        let lines = self.waiting.partition_point(|(end, _)| *end <= bytes);
        let whole = self.waiting[..lines].last().map_or(0, |(end, _)| *end);
        for (_, reason) in self.waiting.drain(..lines) {
            self.counts[usize::from(reason.code())].written += 1;
        }
        self.length += whole as u64;
        if bytes > whole && file.set_len(self.length).is_err() {
            self.length += (bytes - whole) as u64;
            self.ends_torn = true;
        }
        result
    }

    /// Moves the files one on, the oldest away, and begins a new one.
    fn change_file(&mut self) -> io::Result<()> {
        if self.max_files == 1 {
            if let Some(file) = &self.file {
                file.set_len(0)?;
                (self.length, self.ends_torn) = (0, false);
            }
            return Ok(());
        }
        for number in (1..self.max_files - 1).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))?;
        self.file = None;
        self.length = 0;
        Ok(())
    }
}

/// The name of an older file.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

struct Opened {
    file: Flock<File>,
    length: u64,
    ends_torn: bool,
}

fn open(path: &Path) -> io::Result<Opened> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from_raw_os_error(errno as i32))?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(Opened { file, length, ends_torn: last != [b'\n'] })
}

/// Writes until all is written or nothing more can be; how many bytes that were, and why not all.
fn write_as_much(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::read::LetterLines;
    use super::super::record::tests::some_letter;
    use super::*;
    use crate::event::{DeadReason, ShedReason};
    use std::io::BufReader;

    const LATE: Reason = Reason::Dead(DeadReason::Late);
    const FULL: Reason = Reason::Shed(ShedReason::BatchQueueFull);
    const SECOND: Nanos = 1_000_000_000;

    fn sequences(path: &Path) -> Vec<u64> {
        let file = BufReader::new(File::open(path).expect("is there"));
        LetterLines::new(file).map(|letter| letter.expect("is right").sequence).collect()
    }

    #[test]
    fn letters_are_written_at_the_latest_after_a_second_and_appended() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters.jsonl");
        let mut file = LetterFile::open(&path, 1 << 20, 3).expect("opens");
        file.take(&some_letter(LATE, 1, b"x"), 10 * SECOND);
        file.turn(10 * SECOND);
        file.take(&some_letter(FULL, 2, b"y"), 10 * SECOND);
        file.turn(11 * SECOND - 1);
        assert_eq!(sequences(&path), [1], "the second one waits for company");
        file.turn(11 * SECOND);
        assert_eq!(sequences(&path), [1, 2]);
        assert_eq!(file.counts(LATE), FileCounts { written: 1, not_written: 0 });
        assert!(matches!(LetterFile::open(&path, 1, 1), Err(DeadLetterError::Locked { .. })));
        drop(file);
        // As a kill in the middle of a line leaves it.
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut f| f.write_all(b"{\"v\""))
            .expect("writes");
        let mut file = LetterFile::open(&path, 1 << 20, 3).expect("opens");
        file.take(&some_letter(LATE, 3, b"z"), 0);
        file.flush(0);
        let read = LetterLines::new(BufReader::new(File::open(&path).expect("is there")));
        let read: Vec<Result<u64, u64>> =
            read.map(|letter| letter.map(|l| l.sequence).map_err(|wrong| wrong.line)).collect();
        assert_eq!(read, [Ok(1), Ok(2), Err(3), Ok(3)]);
    }

    #[test]
    fn full_files_move_on_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        for (max_files, kept) in [(1, 1), (2, 2), (3, 3)] {
            let path = folder.path().join(format!("letters-{max_files}"));
            let mut file = LetterFile::open(&path, 1_000, max_files).expect("opens");
            for sequence in 0..9 {
                file.take(&some_letter(LATE, sequence, &[0; 60]), 0);
                file.flush(0);
            }
            assert_eq!(file.counts(LATE), FileCounts { written: 9, not_written: 0 });
            assert_eq!(sequences(&path), [8]);
            let of_name = |entry: &fs::DirEntry| {
                entry.file_name().to_string_lossy().starts_with(&format!("letters-{max_files}"))
            };
            let files: Vec<fs::DirEntry> = fs::read_dir(folder.path())
                .expect("a folder")
                .map(|entry| entry.expect("an entry"))
                .filter(of_name)
                .collect();
            assert_eq!(files.len(), kept);
            assert!(files.iter().all(|entry| entry.metadata().expect("is there").len() <= 1_000));
            if max_files > 1 {
                assert_eq!(sequences(&numbered(&path, 1)), [6, 7]);
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path(), Path::new("/dev/null")] {
            assert!(matches!(LetterFile::open(path, 1, 1), Err(DeadLetterError::NotRegular { .. })));
        }
        let missing = folder.path().join("no/letters");
        let error = LetterFile::open(&missing, 1, 1).map(|_| ()).expect_err("no folder").to_string();
        assert!(error.contains("no/letters") && error.contains("folder must exist"), "{error}");
    }

    #[test]
    fn a_folder_that_goes_is_told_of_once_and_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("makes it");
        let path = inner.join("letters");
        let mut file = LetterFile::open(&path, 600, 3).expect("opens");
        file.take(&some_letter(LATE, 1, &[0; 60]), 0);
        file.flush(0);
        fs::remove_dir_all(&inner).expect("removes it");
        for sequence in 2..5 {
            file.take(&some_letter(FULL, sequence, &[0; 60]), SECOND);
            file.flush(SECOND);
        }
        assert_eq!(file.trouble(), Some(Trouble::FolderMissing));
        assert!(file.remark().is_some_and(|text| text.contains("tried again")));
        assert_eq!((file.remark(), file.counts(FULL).not_written), (None, 3));
        file.flush(SECOND);
        assert_eq!(file.trouble(), Some(Trouble::FolderMissing), "nothing was written that shows otherwise");
        fs::create_dir(&inner).expect("makes it");
        file.take(&some_letter(FULL, 5, b""), 2 * SECOND);
        file.take(&some_letter(LATE, 6, b""), 7 * SECOND);
        file.turn(7 * SECOND);
        assert_eq!((file.trouble(), sequences(&path)), (None, vec![6]));
        assert!(file.remark().is_some_and(|text| text.contains("4 were not")));
    }
}
