#![no_main]
use sluice::{event::Protocol, wire::harness::exercise_stream};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first bytes say where the rest is cut.
    let (cuts, stream) = bytes.split_at(bytes.len().min(4));
    let cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut)).collect();
    exercise_stream(Protocol::Fix, stream, &cuts);
});
