//! Faults in captures: in memory, streamed and looped, they are the same.

use super::super::loader::open_with_blocks;
use super::super::testing::{Order, pcap, write};
use super::super::{CaptureError, CaptureOptions, CaptureSource, TimeWindow};
use super::{FaultPlan, FaultReport, PerLine};
use crate::source::{Budget, Frame, FrameSource};

const BASE_NS: u64 = 1_700_000_000_000_000_000;

fn all<T>(value: T) -> PerLine<T> {
    PerLine { all: Some(value), lines: Vec::new() }
}

fn faults() -> FaultPlan {
    FaultPlan {
        seed: 11,
        loss: all(0.2),
        duplicate: all(0.1),
        reorder: all(0.1),
        delay_ns: all(40_000),
        corrupt: all(0.1),
        ..FaultPlan::default()
    }
}

/// A capture of packets on two lines, numbered from 0, 1 µs apart.
fn capture(folder: &tempfile::TempDir, count: usize, options: CaptureOptions) -> CaptureOptions {
    let records: Vec<_> = (0..count)
        .map(|number| {
            let mut frame = Vec::new();
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [3; 6])
                .ipv4([10, 0, 0, 1], [239, 0, 0, (number % 2) as u8], 8)
                .udp(7, 1_000);
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(900, 7);
            builder.write(&mut frame, &payload).expect("a vector takes it");
            (BASE_NS + number as u64 * 1_000, frame)
        })
        .collect();
    let paths = vec![write(folder, "capture", &pcap(Order { big_endian: false }, true, 1, &records))];
    CaptureOptions { paths, ..options }
}

/// The frames of a loop, each with its time.
type Loop = Vec<(u64, Vec<u8>)>;

/// All that comes, loop by loop, and what faults did.
fn played(mut source: CaptureSource) -> (Vec<Loop>, FaultReport) {
    let mut loops = vec![Vec::new()];
    while !source.exhausted() {
        let mut some = Vec::new();
        source.poll(1, Budget { frames: 64, bytes: 1 << 20 }, &mut |frame: Frame<'_>| {
            some.push((frame.wire_ns, frame.bytes.to_vec()));
        });
        if some.is_empty() {
            std::thread::yield_now();
        }
        loops.last_mut().expect("there is one").extend(some);
        // Told when the next frame in front is another loop's, so after what has come.
        if source.begins_again() {
            loops.push(Vec::new());
        }
    }
    let report = source.report().expect("it has ended").faults.clone();
    (loops, report.expect("there were faults"))
}

fn options(loops: u64, memory_bytes: usize) -> CaptureOptions {
    CaptureOptions { loops, memory_bytes, faults: Some(faults()), ..CaptureOptions::new(Vec::new()) }
}

#[test]
fn memory_makes_no_difference() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let resident = capture(&folder, 3_000, options(1, 256 << 20));
    let streamed = CaptureOptions { memory_bytes: 0, ..resident.clone() };
    let (frames, report) = played(CaptureSource::open(&resident).expect("it opens"));
    assert_eq!((frames, report.clone()), played(open_with_blocks(&streamed, 300_000).expect("it opens")));
    assert!(report.is_balanced() && report.complete);
}

#[test]
fn loops_go_on_with_other_faults_and_the_same_command_repeats_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let looped = capture(&folder, 1_000, options(3, 256 << 20));
    let (loops, report) = played(CaptureSource::open(&looped).expect("it opens"));
    assert_eq!(loops.len(), 3);
    assert!(loops[0] != loops[1] && loops[1] != loops[2] && loops[0] != loops[2]);
    let once = CaptureOptions { loops: 1, ..looped.clone() };
    assert_eq!(played(CaptureSource::open(&once).expect("it opens")).0[0], loops[0]);
    let streamed = CaptureOptions { memory_bytes: 0, ..looped.clone() };
    assert_eq!(
        played(open_with_blocks(&streamed, 300_000).expect("it opens")),
        (loops.clone(), report.clone())
    );
    let frames: usize = loops.iter().map(Vec::len).sum();
    assert_eq!(report.delivered(), frames as u64);
    assert!(report.is_balanced() && report.complete);
    assert_eq!(report.lines.iter().map(|line| line.seen).collect::<Vec<_>>(), [1_500, 1_500]);
}

#[test]
fn loops_without_a_packet_left_come_to_an_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nothing = FaultPlan { loss: all(1.0), ..FaultPlan::default() };
    let options = CaptureOptions { faults: Some(nothing), ..options(4, 256 << 20) };
    let (loops, report) = played(CaptureSource::open(&capture(&folder, 10, options)).expect("it opens"));
    assert!(loops.iter().all(Vec::is_empty));
    assert_eq!(report.lines.iter().map(|line| (line.seen, line.lost)).collect::<Vec<_>>(), [(20, 20); 2]);
    assert!(report.complete);
}

#[test]
fn faults_come_behind_the_window_and_the_order_heap() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let late = FaultPlan { delay_ns: all(3_000), reorder: all(0.2), ..FaultPlan::default() };
    let window = TimeWindow { from: None, until: Some(super::super::Moment::After(100_000)) };
    let options = CaptureOptions { faults: Some(late), window, order_records: 50, ..options(1, 256 << 20) };
    let (loops, report) = played(CaptureSource::open(&capture(&folder, 1_000, options)).expect("it opens"));
    assert_eq!(loops[0].len(), 100, "what is delayed beyond the window's end still comes");
    let numbers: Vec<_> = loops[0].iter().map(|(_, bytes)| bytes[42..50].to_vec()).collect();
    assert!(!numbers.is_sorted() && loops[0].is_sorted_by_key(|(time_ns, _)| *time_ns));
    assert!(report.lines.iter().all(|line| line.seen == 50 && line.reordered > 0));
}

#[test]
fn what_can_be_read_once_only_is_not_looped_with_faults() {
    let error = CaptureSource::open(&CaptureOptions { paths: vec!["/dev/stdin".into()], ..options(2, 0) });
    assert!(matches!(error.err(), Some(CaptureError::ReadOnce { .. })));
}
