//! Captures for benches: the real ones where they are at hand, else made-up ones; and their frames in memory.

use sluice::event::{LinkType, Nanos};
use sluice::source::capture::CaptureReader;
use std::path::{Path, PathBuf};

/// A real capture by name, from $SLUICE_CAPTURES or ../shared/captures.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"));
    Some(folder.join(name)).filter(|path| path.exists())
}

/// One frame's place among [`Frames::bytes`].
struct Place {
    begin: usize,
    end: usize,
    time_ns: Nanos,
    link: LinkType,
}

/// Frames one behind the other in memory, as a capture source keeps them.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Frames {
    /// All frames of a capture.
    pub(crate) fn of_capture(path: &Path) -> Frames {
        let mut reader = CaptureReader::open(path).expect("the capture opens");
        let mut frames = Frames::default();
        while let Some(record) = reader.next_record().expect("the capture is whole") {
            frames.push(record.bytes, record.time_ns, record.link);
        }
        frames
    }

    pub(crate) fn push(&mut self, frame: &[u8], time_ns: Nanos, link: LinkType) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.places.push(Place { begin, end: self.bytes.len(), time_ns, link });
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The frames, each with its capture time and link type.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Nanos, LinkType)> {
        self.places.iter().map(|place| (&self.bytes[place.begin..place.end], place.time_ns, place.link))
    }
}
