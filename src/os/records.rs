//! A small file of records that outlives the process. Invariant: whenever the process is killed, each record is found as it
//! was written last or as it was written before; what the process wrote is the kernel's, not the process', to keep.
#![expect(unsafe_code, reason = "the file is written through a shared mapping")]

use memmap2::MmapRaw;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 64;

/// Which copy is the newest, and two copies, each on a cache line of its own.
const SLOT_BYTES: usize = 3 * RECORD_BYTES;

/// The file's first line: what it is, and the version of its layout.
const MAGIC: &[u8; 16] = b"sluice records 1";
const HEADER_BYTES: usize = 64;

/// The records of a file.
#[derive(Debug)]
pub struct RecordFile {
    map: MmapRaw,
    // Held for its lock, which keeps a second process out.
    _file: File,
    slots: usize,
}

impl RecordFile {
    /// Opens the file, or makes it, with room for at least `slots` records; new ones are zeros.
    ///
    /// # Errors
    /// It can't be opened, another process has it, or it is something else.
    pub fn open(path: &Path, slots: usize) -> io::Result<RecordFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        lock(&file)?;
        let there = file.metadata()?.len() as usize;
        let wanted = HEADER_BYTES + slots * SLOT_BYTES;
        if there < wanted {
            file.set_len(wanted as u64)?;
        }
        let slots = (there.max(wanted) - HEADER_BYTES) / SLOT_BYTES;
        let map = MmapRaw::map_raw(&file)?;
        let records = RecordFile { map, _file: file, slots };
        records.check_header(there == 0)?;
        Ok(records)
    }

    fn check_header(&self, is_new: bool) -> io::Result<()> {
        // SAFETY: the mapping is longer than the header, and nobody else has the file (it is locked).
        let header = unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr(), MAGIC.len()) };
        if is_new {
            header.copy_from_slice(MAGIC);
        }
        match header == MAGIC {
            true => Ok(()),
            false => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of records of this version"))
            }
        }
    }

    /// How many records there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The address of a slot: its selector, then its two copies.
    fn slot(&self, slot: usize) -> *mut u8 {
        assert!(slot < self.slots, "record {slot} of {}", self.slots);
        self.map.as_mut_ptr().wrapping_add(HEADER_BYTES + slot * SLOT_BYTES)
    }

    fn selector(&self, slot: usize) -> &AtomicU64 {
        // SAFETY: the slot lies inside the mapping, which lives as long as `self`; slots begin at multiples of 64 from a
        // page, so the selector is aligned.
        unsafe { AtomicU64::from_ptr(self.slot(slot).cast()) }
    }

    /// A record as it was written last.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn read(&self, slot: usize) -> [u8; RECORD_BYTES] {
        let newest = (self.selector(slot).load(Ordering::Acquire) & 1) as usize;
        let mut record = [0; RECORD_BYTES];
        // SAFETY: both copies lie inside the mapping; the writer is this process, which borrows `self` exclusively to
        // write.
        unsafe {
            let from = self.slot(slot).add((1 + newest) * RECORD_BYTES);
            from.copy_to_nonoverlapping(record.as_mut_ptr(), RECORD_BYTES);
        }
        record
    }

    /// Writes a record: the older copy first, then that it is the newer one now.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    pub fn write(&mut self, slot: usize, record: &[u8; RECORD_BYTES]) {
        let newest = self.selector(slot).load(Ordering::Relaxed) & 1;
        let older = 1 - newest;
        // SAFETY: the copy lies inside the mapping and nobody reads it now: `self` is borrowed exclusively, and the file
        // is locked against other processes.
        unsafe {
            let to = self.slot(slot).add((1 + older as usize) * RECORD_BYTES);
            to.copy_from_nonoverlapping(record.as_ptr(), RECORD_BYTES);
        }
        // Pairs with the Acquire load in `read`, of whoever opens the file next.
        self.selector(slot).store(older, Ordering::Release);
    }
}

fn lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; flock touches no memory.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_again_and_the_file_grows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records");
        {
            let mut records = RecordFile::open(&path, 2).expect("new");
            assert_eq!(records.read(1), [0; RECORD_BYTES]);
            for value in 1..=5 {
                records.write(1, &[value; RECORD_BYTES]);
                assert_eq!(records.read(1), [value; RECORD_BYTES]);
            }
            let busy = RecordFile::open(&path, 2).expect_err("locked");
            assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
        }
        let records = RecordFile::open(&path, 9).expect("there");
        assert_eq!((records.slots(), records.read(1), records.read(8)), (9, [5; 64], [0; 64]));
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letter");
        std::fs::write(&path, "dear reader".repeat(9)).expect("written");
        let error = RecordFile::open(&path, 1).expect_err("no records");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(std::fs::read(&path).expect("there").starts_with(b"dear reader"));
    }
}
