//! A replay that runs for long stays as it began: no memory is added, and the threads of the hot path allocate nothing.

use sluice::appliance::replay_inline;
use sluice::config::Settings;
use sluice::os::{CountingAllocator, StopFlag, resident_bytes};
use sluice::replay::synthetic::{Session, iex_session, itch_session, write_pcap};
use sluice::source::capture::{CaptureOptions, Speed};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What may be added after the first tenth: pages that the allocator's own caches and the sampling thread touch late.
/// A leak of one byte per ten events would be more.
const SLACK_BYTES: u64 = 256 << 10;

/// Rings and pools so small that each is used from end to end in the first tenth: a page counts as resident only when
/// it was touched, and with the default ones some rings take longer than that for their first lap.
const SETTINGS: &str = "[steering]\nadmit_unknown = true\n\
    [queues]\nrealtime_capacity = 1024\ntransactional_capacity = 1024\nbatch_capacity = 64\n\
    [pool]\nslots_64 = 2048\nslots_192 = 1024\nslots_1984 = 16\nslots_65536 = 1\n";

/// Loops: with 30,000 messages each, four million events.
const LOOPS: u64 = 140;

fn looped(session: &Session, memory_bytes: usize, speed: Speed) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("looped.pcap");
    write_pcap(&path, &session.packets).expect("writes");
    let frames_in_all = LOOPS * session.packets.len() as u64;
    let options = CaptureOptions { loops: LOOPS, memory_bytes, speed, ..CaptureOptions::new(vec![path]) };
    let (mut warm, mut last, mut samples) = (None, 0, 0);
    let mut sample = |frames: u64, _: Option<u64>| {
        let resident = resident_bytes().expect("/proc is mounted");
        if frames >= frames_in_all / 10 {
            warm.get_or_insert(resident);
            last = resident;
            samples += 1;
        }
    };
    let settings = Settings::from_text(SETTINGS, "steady_state").expect("is right");
    let replayed =
        replay_inline(&settings, &options, &StopFlag::new(), &mut sample, &mut |_| {}).expect("it replays");
    let outcome = replayed.outcome;
    assert_eq!(outcome.ledger.imbalances(), []);
    assert_eq!(outcome.ledger.frames.received, frames_in_all);
    assert_eq!(outcome.ledger.events.delivered, LOOPS * session.counts.messages);
    assert_eq!(outcome.streams[0].stream.book.epochs, LOOPS);
    for thread in &outcome.threads {
        assert_eq!(thread.allocations, Some(0), "{thread:?}");
    }
    let warm = warm.expect("it was sampled after the first tenth");
    assert!(samples >= 10, "{samples} samples");
    assert!(last <= warm + SLACK_BYTES, "from {warm} to {last} bytes, {} samples", samples);
}

/// One after the other: resident memory is the process's.
#[test]
fn long_replays_add_no_memory_and_allocate_nothing() {
    looped(&iex_session(21, 30_000), 256 << 20, Speed::Max);
    looped(&itch_session(22, 30_000), 256 << 20, Speed::Max);
    // Read from the file again and again, by the loader's thread.
    looped(&itch_session(23, 30_000), 0, Speed::Max);
}
