//! Why a capture can't be read; every text names the file and says what to do next.

use std::io;
use std::path::PathBuf;

/// Errors of capture files. Damage inside a capture is none: it ends the file and is counted in
/// [`CaptureStats`](super::CaptureStats).
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file can't be opened.
    #[error("can't open capture {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The path is a directory.
    #[error("{} is a directory: name the capture files in it", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("capture {} is empty: nothing was captured, or copying it failed; fetch it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first bytes are those of no known format.
    #[error(
        "{} is no capture that is known here ({what}): give a pcap, pcapng or ITCH 5.0 message file, \
         plain or packed with gzip or zstd; `editcap -F pcapng IN OUT` converts others",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        what: String,
    },
    /// The compressed stream is broken before its first byte.
    #[error("capture {} can't be unpacked: {reason}; fetch it again", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// The decompressor's words.
        reason: String,
    },
    /// Reading failed in the middle.
    #[error("reading capture {} failed after {bytes} bytes: {source}; check the disk it lies on", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Bytes read before, unpacked.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Faults differ from loop to loop, so that the file is read for each.
    #[error(
        "{} is no regular file, and faults in several loops need to read it again: copy it to a file first, or replay it \
         once",
        path.display()
    )]
    ReadOnce {
        /// The file.
        path: PathBuf,
    },
    /// No capture was named.
    #[error("no capture was named: give at least one file")]
    NoFiles,
    /// The loader thread could not be started, or died.
    #[error("the capture loader thread {what}; lower the memory it may use or report this")]
    Loader {
        /// What happened.
        what: String,
    },
}
