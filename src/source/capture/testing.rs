//! Test captures written byte by byte, in every variant, independently of the reader.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Integers in the byte order of a file.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) big_endian: bool,
}

impl Order {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A frame of `length` bytes that can't be packed, and is another one for each number.
pub(super) fn frame(number: usize, length: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A classic pcap file of these (time ns, frame) records.
pub(super) fn pcap(order: Order, nanoseconds: bool, link: u32, records: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    file.extend(order.u32(magic));
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    for field in [0, 0, 0, link] {
        file.extend(order.u32(field));
    }
    for (time_ns, frame) in records {
        let fraction = time_ns % 1_000_000_000 / if nanoseconds { 1 } else { 1_000 };
        for field in
            [(time_ns / 1_000_000_000) as u32, fraction as u32, frame.len() as u32, frame.len() as u32 + 4]
        {
            file.extend(order.u32(field));
        }
        file.extend(frame);
    }
    file
}

/// A pcapng block.
pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(padded as u32 + 12);
    let mut block = Vec::new();
    block.extend(order.u32(kind));
    block.extend(length);
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

/// A section header block.
pub(super) fn section(order: Order) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(order.u32(0x1a2b_3c4d));
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xff; 8]);
    block(order, 0x0a0d_0d0a, &body)
}

/// An interface description with these options: (code, value).
pub(super) fn interface(order: Order, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(order.u16(link));
    body.extend(order.u16(0));
    body.extend(order.u32(snaplen));
    for (code, value) in options {
        body.extend(order.u16(*code));
        body.extend(order.u16(value.len() as u16));
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(order, 1, &body)
}

/// An enhanced packet block with a comment behind the frame.
pub(super) fn packet(order: Order, interface: u32, units: u64, frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [interface, (units >> 32) as u32, units as u32, frame.len() as u32, frame.len() as u32] {
        body.extend(order.u32(field));
    }
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(order.u16(1));
    body.extend(order.u16(2));
    body.extend([b'o', b'k', 0, 0, 0, 0, 0, 0]);
    block(order, 6, &body)
}

/// A simple packet block of a frame cut at `snaplen`.
pub(super) fn simple_packet(order: Order, frame: &[u8], snaplen: usize) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(order.u32(frame.len() as u32));
    body.extend(&frame[..frame.len().min(snaplen)]);
    block(order, 3, &body)
}

/// Writes a file into a folder that lives as long as the test.
pub(super) fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(bytes))
        .expect("a temporary file can be written");
    path
}

/// The folder of real captures; `None`, with a line that says so, where it is absent.
pub(super) fn real_captures() -> Option<PathBuf> {
    let folder = match std::env::var_os("SLUICE_CAPTURES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    let line = b"skipped: no captures (set SLUICE_CAPTURES)\n";
    std::io::stderr().write_all(line).expect("standard error can be written");
    None
}
