//! The real captures, for tests of the decoders: UDP payloads and files as they lie in the captures' folder.

use flate2::read::GzDecoder;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use sluice::event::LinkType;
use std::io::Read;
use std::path::PathBuf;

/// The captures' folder; `None`, with one line that says so, when there is none.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    // Straight to the descriptor, so that the line is seen also when the harness captures output.
    let line = b"skipped: no captures (set SLUICE_CAPTURES)\n";
    std::io::Write::write_all(&mut std::io::stderr(), line).expect("standard error takes a line");
    None
}

/// A file of the folder, unpacked if it is gzip.
pub(crate) fn bytes(name: &str) -> Option<Vec<u8>> {
    let path = folder()?.join(name);
    let raw = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return Some(raw);
    }
    let mut plain = Vec::new();
    GzDecoder::new(&raw[..]).read_to_end(&mut plain).expect("the gzip stream is whole");
    Some(plain)
}

/// The frames of a capture, in file order. All captures of the folder are Ethernet.
pub(crate) fn frames(name: &str) -> Option<Vec<Vec<u8>>> {
    let plain = bytes(name)?;
    let mut reader = create_reader(1 << 17, &plain[..]).expect("a capture");
    let mut frames = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                match block {
                    PcapBlockOwned::Legacy(record) => frames.push(record.data.to_vec()),
                    PcapBlockOwned::NG(Block::EnhancedPacket(record)) => {
                        frames.push(record.data[..record.caplen as usize].to_vec());
                    }
                    _ => {}
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return Some(frames),
            Err(PcapError::Incomplete(_)) => reader.refill().expect("reading memory can't fail"),
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

/// The UDP payloads of a capture, in file order; frames that hold none are left out.
pub(crate) fn payloads(name: &str) -> Option<Vec<Vec<u8>>> {
    let parsed = |frame: &Vec<u8>| {
        sluice::wire::link::parse(frame, LinkType::Ethernet).ok().map(|datagram| datagram.payload.to_vec())
    };
    Some(frames(name)?.iter().filter_map(parsed).collect())
}
