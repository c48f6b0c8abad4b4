//! The file in which producers of acknowledged sessions are remembered. Invariant: a record is there before its
//! acknowledgement leaves, and a kill of the process at any moment leaves each record whole.

use crate::feed::{ProducerRecord, ProducerStore};
use crate::os::{self, RECORD_BYTES, RecordFile};
use std::io;
use std::path::{Path, PathBuf};

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProducerFileError {
    /// It can't be opened.
    #[error(
        "network.producers_file {}: {source}; its folder must exist and be writable, and only one process may use the file",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It remembers more producers than there may be.
    #[error(
        "network.producers_file {} remembers {remembered} producers: write network.producers_max = {remembered} or more",
        path.display()
    )]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many.
        remembered: usize,
    },
}

/// The open file.
#[derive(Debug)]
pub struct ProducerFile {
    records: RecordFile,
}

impl ProducerFile {
    /// Opens the file, or makes it, and reads who is remembered.
    ///
    /// # Errors
    /// It can't be opened, another process has it and keeps it, or it holds more than `producers_max`.
    pub fn open(
        path: &Path,
        producers_max: usize,
    ) -> Result<(ProducerFile, Vec<ProducerRecord>), ProducerFileError> {
        let failed = |source| ProducerFileError::Open { path: path.to_owned(), source };
        let is_locked = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let records = os::patiently(|| RecordFile::open(path, producers_max), is_locked).map_err(failed)?;
        let all = (0..records.slots()).map(|slot| decode(&records.read(slot)));
        let remembered: Vec<ProducerRecord> = all.take_while(|record| record.id != 0).collect();
        if remembered.len() > producers_max {
            return Err(ProducerFileError::TooMany { path: path.to_owned(), remembered: remembered.len() });
        }
        Ok((ProducerFile { records }, remembered))
    }
}

impl ProducerStore for ProducerFile {
    #[inline]
    fn remember(&mut self, place: usize, record: &ProducerRecord) {
        self.records.write(place, &encode(record));
    }
}

/// Four little-endian numbers; the rest is zero.
fn encode(record: &ProducerRecord) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let fields = [record.id, record.processed, record.count, record.digest];
    for (to, field) in bytes.chunks_exact_mut(8).zip(fields) {
        to.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES]) -> ProducerRecord {
    let mut fields = [0; 4];
    for (field, from) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
        *field = from.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    let [id, processed, count, digest] = fields;
    ProducerRecord { id, processed, count, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("producers");
        let one = ProducerRecord { id: 7, processed: 300, count: 300, digest: u64::MAX - 5 };
        {
            let (mut file, remembered) = ProducerFile::open(&path, 2).expect("new");
            assert_eq!(remembered, []);
            file.remember(0, &one);
            file.remember(1, &ProducerRecord { id: 8, ..one });
        }
        let (_, remembered) = ProducerFile::open(&path, 2).expect("there");
        assert_eq!(remembered, [one, ProducerRecord { id: 8, ..one }]);
        let error = ProducerFile::open(&path, 1).map(|_| ()).expect_err("two");
        assert!(error.to_string().contains("producers_max = 2"), "{error}");
    }

    #[test]
    fn a_file_that_is_being_given_up_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("producers");
        let (before, _) = ProducerFile::open(&path, 1).expect("new");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                drop(before);
            });
            ProducerFile::open(&path, 1).expect("free soon");
        });
    }
}
