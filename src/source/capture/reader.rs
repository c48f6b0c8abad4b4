//! Reads a capture record by record, whatever its format, in bounded memory.
//!
//! Invariant: damage never panics, hangs or errs: it ends the capture and is counted with its place and reason.

use std::path::{Path, PathBuf};

use super::input::{Input, StreamEnd};
use super::itch::{ItchFile, is_message_file};
use super::pcap::{self, Pcap, is_pcap};
use super::pcapng::{PcapNg, is_pcapng};
use super::step::{Found, Step};
use super::{CaptureError, CaptureStats};
use crate::event::Nanos;
use crate::source::LinkType;

/// A record of a capture, borrowed until the next one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was captured, ns since the epoch (since midnight in message files); 0 if the capture doesn't say.
    pub time_ns: Nanos,
    /// What was captured.
    pub bytes: &'a [u8],
    /// Bytes it had on the wire; more than `bytes` if the capture was cut at a snaplen.
    pub original_bytes: u32,
    /// How its first bytes are read.
    pub link: LinkType,
}

/// A capture being read: pcap, pcapng or ITCH 5.0 messages, plain, gzip or zstd, told apart by content.
pub struct CaptureReader {
    path: PathBuf,
    input: Input,
    format: Format,
    stats: CaptureStats,
    done: bool,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    Itch(ItchFile),
}

impl CaptureReader {
    /// Opens a capture and reads its first bytes.
    ///
    /// # Errors
    /// When the file can't be opened, is empty, a directory, or in none of the known formats.
    pub fn open(path: impl AsRef<Path>) -> Result<CaptureReader, CaptureError> {
        let path = path.as_ref().to_owned();
        let mut input = Input::open(&path)?;
        let read = input.want(pcap::HEADER_BYTES);
        read.map_err(|source| CaptureError::Read { path: path.clone(), bytes: 0, source })?;
        let format = match sniff(&mut input) {
            Some(format) => format,
            None => return Err(unknown(path, &input)),
        };
        Ok(CaptureReader { path, input, format, stats: CaptureStats::default(), done: false })
    }

    /// The next record; `None` at the end, which [`CaptureReader::stats`] tells the manner of.
    ///
    /// # Errors
    /// When the operating system fails to read the file.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        match self.find()? {
            None => Ok(None),
            Some(found) => {
                let bytes = match &self.format {
                    Format::Itch(file) => file.packet(),
                    _ => self.input.slice(found.bytes),
                };
                self.stats.record(found.time_ns, bytes.len());
                let Found { time_ns, original_bytes, link, .. } = found;
                Ok(Some(Record { time_ns, bytes, original_bytes, link }))
            }
        }
    }

    /// What was found so far.
    pub fn stats(&self) -> &CaptureStats {
        &self.stats
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes read so far, unpacked.
    pub fn position(&self) -> u64 {
        self.input.consumed()
    }

    /// Steps to the next record and counts how the capture ends.
    fn find(&mut self) -> Result<Option<Found>, CaptureError> {
        while !self.done {
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(&mut self.input),
                Format::PcapNg(pcapng) => pcapng.step(&mut self.input),
                Format::Itch(itch) => itch.step(&mut self.input),
            };
            let bytes = self.input.consumed();
            match step.map_err(|source| CaptureError::Read { path: self.path.clone(), bytes, source })? {
                Step::Record(found) => return Ok(Some(found)),
                Step::Skipped => self.stats.blocks_skipped += 1,
                Step::End => self.done = true,
                Step::TruncatedTail => {
                    self.stats.truncated_tail += 1;
                    self.done = true;
                }
                Step::Damaged(reason) => {
                    let path = self.path.display();
                    self.stats.damaged = Some(format!("{path}: {reason}, after {bytes} bytes"));
                    self.done = true;
                }
            }
        }
        Ok(None)
    }
}

/// Which format the first bytes are of.
fn sniff(input: &mut Input) -> Option<Format> {
    let head = input.data();
    if is_pcap(head) {
        Pcap::open(input).map(Format::Pcap)
    } else if is_pcapng(head) {
        Some(Format::PcapNg(PcapNg::new()))
    } else if is_message_file(head) {
        ItchFile::open(input).map(Format::Itch)
    } else {
        None
    }
}

/// The error for first bytes that are of no known format.
fn unknown(path: PathBuf, input: &Input) -> CaptureError {
    let head = input.data();
    match input.ended() {
        Some(StreamEnd::Damaged(reason)) => return CaptureError::Unpack { path, reason: reason.clone() },
        Some(StreamEnd::CutOff) => {
            return CaptureError::Unpack { path, reason: String::from("it ends in the middle") };
        }
        Some(StreamEnd::Clean) if head.is_empty() => return CaptureError::Empty { path },
        _ => {}
    }
    let what = match head {
        [0xa1, 0xb2, 0xcd, 0x34, ..] | [0x34, 0xcd, 0xb2, 0xa1, ..] => {
            String::from("it is pcap with Kuznetzov's extensions")
        }
        _ if is_pcap(head) => String::from("its file header is cut off"),
        _ if head.iter().take(8).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            String::from("it looks like text")
        }
        _ => {
            let first: Vec<_> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("its first bytes are {}", first.join(" "))
        }
    };
    CaptureError::Unknown { path, what }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const ORDERS: [Order; 2] = [Order { big_endian: false }, Order { big_endian: true }];

    fn records(count: usize) -> Vec<(u64, Vec<u8>)> {
        (0..count).map(|n| (1_700_000_000_000_000_000 + n as u64 * 1_234_000, frame(n, 60 + n * 7))).collect()
    }

    fn read(path: &Path) -> (Vec<(u64, Vec<u8>)>, CaptureStats) {
        let mut reader = CaptureReader::open(path).expect("it opens");
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().expect("it can be read") {
            records.push((record.time_ns, record.bytes.to_vec()));
        }
        assert_eq!(reader.stats().records, records.len() as u64);
        (records, reader.stats().clone())
    }

    fn whole(stats: &CaptureStats) -> bool {
        stats.truncated_tail == 0 && stats.damaged.is_none()
    }

    fn pcapng(order: Order, records: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut file = section(order);
        file.extend(interface(order, 1, 0, &[(9, &[9])]));
        records.iter().for_each(|(time, frame)| file.extend(packet(order, 0, *time, frame)));
        file
    }

    #[test]
    fn every_variant_of_pcap() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = records(40);
        for order in ORDERS {
            for nanoseconds in [false, true] {
                let path = write(&folder, "a.pcapng", &pcap(order, nanoseconds, 1, &expected));
                let (found, stats) = read(&path);
                assert_eq!(found, expected);
                assert!(whole(&stats));
                assert_eq!((stats.first_ns, stats.last_ns), (expected[0].0, expected[39].0));
            }
        }
    }

    #[test]
    fn link_types_and_original_lengths() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = [(1, LinkType::Ethernet), (101, LinkType::RawIp), (228, LinkType::RawIp)];
        // 0xf4000001: Ethernet with an FCS of 4 bytes; 113: Linux cooked.
        for (number, link) in
            expected.into_iter().chain([(0xf400_0001, LinkType::Ethernet), (113, LinkType::Unsupported)])
        {
            let path = write(&folder, "a", &pcap(ORDERS[0], true, number, &records(1)));
            let mut reader = CaptureReader::open(&path).expect("it opens");
            let record = reader.next_record().expect("it can be read").expect("a record");
            assert_eq!((record.link, record.original_bytes), (link, 64));
        }
    }

    #[test]
    fn pcapng_clocks_sections_and_interfaces() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = Vec::new();
        for order in ORDERS {
            let offset: i64 = -10;
            let offset = if order.big_endian { offset.to_be_bytes() } else { offset.to_le_bytes() };
            file.extend(section(order));
            file.extend(interface(order, 1, 0, &[]));
            file.extend(interface(order, 101, 0, &[(9, &[0x80 | 10]), (14, &offset), (0, &[]), (9, &[3])]));
            file.extend(block(order, 5, &[0; 20]));
            file.extend(packet(order, 0, 1_700_000_000_000_001, &frame(1, 61)));
            file.extend(block(order, 0xbad, &vec![1; 700_000]));
            file.extend(packet(order, 1, (20 << 10) + 512, &frame(2, 62)));
        }
        let (found, stats) = read(&write(&folder, "a", &file));
        let expected = [(1_700_000_000_000_001_000, frame(1, 61)), (10_500_000_000, frame(2, 62))];
        assert_eq!(found, [&expected[..], &expected[..]].concat());
        assert!(whole(&stats));
        assert_eq!(stats.backwards, 2);
        assert_eq!(stats.blocks_skipped, 10);
    }

    #[test]
    fn simple_packets_are_cut_at_the_snaplen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = section(ORDERS[1]);
        file.extend(interface(ORDERS[1], 1, 50, &[]));
        file.extend(simple_packet(ORDERS[1], &frame(0, 43), 50));
        file.extend(simple_packet(ORDERS[1], &frame(1, 90), 50));
        let (found, stats) = read(&write(&folder, "a", &file));
        assert_eq!(found, [(0, frame(0, 43)), (0, frame(1, 90)[..50].to_vec())]);
        assert!(whole(&stats));
    }

    #[test]
    fn every_truncation_gives_the_records_before_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = records(5);
        for order in ORDERS {
            let mut starts = vec![24];
            expected.iter().for_each(|(_, frame)| starts.push(starts[starts.len() - 1] + 16 + frame.len()));
            check_truncations(&folder, &pcap(order, true, 1, &expected), &expected, &starts, 24);
            let mut starts = vec![28, 28 + 28];
            for (_, frame) in &expected {
                starts.push(starts[starts.len() - 1] + 44 + frame.len().next_multiple_of(4));
            }
            check_truncations(&folder, &pcapng(order, &expected), &expected, &starts, 12);
        }
    }

    fn check_truncations(
        folder: &tempfile::TempDir,
        file: &[u8],
        expected: &[(u64, Vec<u8>)],
        ends: &[usize],
        opens_at: usize,
    ) {
        assert_eq!(ends[ends.len() - 1], file.len());
        let before_records = ends.len() - expected.len();
        for length in 0..=file.len() {
            let path = write(folder, "cut", &file[..length]);
            if length < opens_at {
                let error = CaptureReader::open(&path).err().expect("too short to tell what it is");
                assert!(error.to_string().contains("cut"), "{error}");
                continue;
            }
            let (found, stats) = read(&path);
            let whole_records =
                ends.iter().filter(|end| **end <= length).count().saturating_sub(before_records);
            assert_eq!(found, expected[..whole_records], "cut at {length}");
            assert_eq!(stats.truncated_tail == 0, ends.contains(&length), "cut at {length}");
            assert_eq!(stats.damaged, None);
        }
    }

    #[test]
    fn packed_files_also_cut_or_damaged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = records(300);
        let file = pcap(ORDERS[0], true, 1, &expected);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&file).expect("memory can be written");
        let gzip = gzip.finish().expect("memory can be written");
        // With a checksum, as the zstd program writes it: without one, damage inside a frame can't be seen.
        let mut zstandard = zstd::stream::Encoder::new(Vec::new(), 1).expect("a level that exists");
        zstandard.include_checksum(true).expect("it can");
        zstandard.write_all(&file).expect("memory can be written");
        let zstandard = zstandard.finish().expect("memory can be written");
        for packed in [gzip, zstandard] {
            let (found, stats) = read(&write(&folder, "packed", &packed));
            assert_eq!(found, expected);
            assert!(whole(&stats));
            let (found, stats) = read(&write(&folder, "packed", &packed[..packed.len() * 3 / 4]));
            assert!(!found.is_empty() && found.len() < 300 && stats.truncated_tail == 1);
            assert_eq!(found, expected[..found.len()]);
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle..middle + 64].fill(0xff);
            let (found, stats) = read(&write(&folder, "packed", &damaged));
            assert!(found.len() <= 300 && !whole(&stats));
        }
    }

    #[test]
    fn absurd_headers_end_the_capture_with_a_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = records(4);
        let mut file = pcap(ORDERS[0], true, 1, &expected);
        file.extend([0xff; 600]);
        let (found, stats) = read(&write(&folder, "garbage", &file));
        assert_eq!(found, expected);
        let reason = stats.damaged.expect("it is damaged");
        assert!(reason.contains("garbage") && reason.contains("more bytes"), "{reason}");
        file.truncate(file.len() - 600);
        file.extend([0; 4_096]);
        let (found, stats) = read(&write(&folder, "zeros", &file));
        assert_eq!(found, expected);
        assert!(stats.damaged.expect("it is damaged").contains("zeros"));
        let mut file = pcapng(ORDERS[1], &expected);
        file.extend(packet(ORDERS[1], 7, 0, &frame(0, 60)));
        let (found, stats) = read(&write(&folder, "interfaces", &file));
        assert_eq!(found, expected);
        assert!(stats.damaged.expect("it is damaged").contains("interface 7"));
    }

    #[test]
    fn what_is_no_capture_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = |path: &Path| CaptureReader::open(path).err().expect("it is refused").to_string();
        for (bytes, word) in [
            (&b""[..], "is empty"),
            (b"once upon a time", "text"),
            (b"\x00\x01\x02\x03\x04", "00 01 02 03"),
            (b"\x34\xcd\xb2\xa1\0\0\0\0", "Kuznetzov"),
            (b"\xd4\xc3\xb2\xa1\0\0", "cut off"),
            (b"\x1f\x8b\x08\x00", "in the middle"),
            (b"\x1f\x8bnonsense nonsense", "can't be unpacked"),
        ] {
            let error = error(&write(&folder, "some.pcap", bytes));
            assert!(error.contains(word) && error.contains("some.pcap"), "{error}");
        }
        assert!(error(folder.path()).contains("is a directory"));
        assert!(error(&folder.path().join("absent")).contains("absent"));
    }

    #[test]
    fn the_real_captures_have_the_known_counts() {
        let Some(folder) = real_captures() else { return };
        for (name, records, backwards) in [
            ("cme-mdp3-ab.pcapng", 10_000, Some(581)),
            ("iex-tops16.pcap.gz", 13_022, None),
            ("miax-tom-mach.pcap", 20_560, None),
            ("ice-impact.pcap", 8_680, None),
            ("moldudp64-nasdaq-38msgs.pcap", 2, None),
            ("fix-tcp.pcap", 1_261, None),
        ] {
            let (found, stats) = read(&folder.join(name));
            assert_eq!(found.len(), records, "{name}");
            assert!(whole(&stats), "{name}: {stats:?}");
            if let Some(backwards) = backwards {
                assert_eq!(stats.backwards, backwards, "{name}");
            }
        }
        for (name, messages) in [("itch50-artificial.bin.gz", 12_012), ("itch50-head1000.bin", 1_000)] {
            let (packets, stats) = read(&folder.join(name));
            let count = |packet: &Vec<u8>| usize::from(u16::from_be_bytes([packet[60], packet[61]]));
            assert_eq!(packets.iter().map(|(_, packet)| count(packet)).sum::<usize>(), messages, "{name}");
            assert!(whole(&stats), "{name}: {stats:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn damage_never_panics_or_hangs(
            kind in 0_usize..5,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected = records(12);
            let mut file = match kind {
                0 => pcap(ORDERS[0], true, 1, &expected),
                1 => pcap(ORDERS[1], false, 1, &expected),
                2 => pcapng(ORDERS[0], &expected),
                3 => pcapng(ORDERS[1], &expected),
                _ => [0, 12, b'S'].into_iter().chain([1; 11]).cycle().take(4_200).collect(),
            };
            for (index, value) in damage {
                let at = index.index(file.len());
                file[at] = value;
            }
            file.truncate(file.len() - cut.index(file.len() / 2));
            let folder = tempfile::tempdir().expect("a temporary folder");
            if let Ok(mut reader) = CaptureReader::open(write(&folder, "damaged", &file)) {
                let mut found = 0;
                while let Some(record) = reader.next_record().expect("damage is no error") {
                    found += 1;
                    prop_assert!(record.bytes.len() <= 262_144 && found <= file.len());
                }
                prop_assert!(reader.next_record().expect("the end is no error").is_none());
            }
        }
    }
}
