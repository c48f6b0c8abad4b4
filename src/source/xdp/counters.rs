//! The steering program's counters of one queue, by name.
//!
//! Invariant: every counter of `bpf/steer.h` has a name here, checked at compile time against the generated types.

use super::XdpError;
use super::error::system_error;
use super::skeleton::types::steer_counter;
use crate::ledger::KernelBook;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

/// Reasons for which a frame goes on to the kernel.
pub(super) const PASSED: [(&str, steer_counter); 9] = [
    ("truncated", steer_counter::STEER_PASSED_TRUNCATED),
    ("malformed", steer_counter::STEER_PASSED_MALFORMED),
    ("not_ip", steer_counter::STEER_PASSED_NOT_IP),
    ("not_udp", steer_counter::STEER_PASSED_NOT_UDP),
    ("fragment", steer_counter::STEER_PASSED_FRAGMENT),
    ("vlan_too_deep", steer_counter::STEER_PASSED_VLAN_TOO_DEEP),
    ("ipv6_extension", steer_counter::STEER_PASSED_IPV6_EXTENSION),
    ("no_rule", steer_counter::STEER_PASSED_NO_RULE),
    ("no_socket", steer_counter::STEER_PASSED_NO_SOCKET),
];

/// What is noted of redirected frames: how they came to their wire time.
pub(super) const NOTED: [(&str, steer_counter); 3] = [
    ("wire_time_hardware", steer_counter::STEER_NOTED_WIRE_HARDWARE),
    ("wire_time_monotonic", steer_counter::STEER_NOTED_WIRE_MONOTONIC),
    ("wire_time_none", steer_counter::STEER_NOTED_NO_METADATA),
];

const COUNTERS: usize = steer_counter::STEER_COUNTERS.0 as usize;
const _: () = assert!(steer_counter::STEER_REDIRECTED.0 == 0);
const _: () = assert!(steer_counter::STEER_EXITS.0 as usize == 1 + PASSED.len());
const _: () = assert!(COUNTERS == 1 + PASSED.len() + NOTED.len());
const _: () = {
    let mut index = 0;
    while index < PASSED.len() {
        assert!(PASSED[index].1.0 as usize == 1 + index);
        index += 1;
    }
};

/// The counters of one queue, summed over the CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueCounts([u64; COUNTERS]);

impl QueueCounts {
    /// One counter.
    pub(super) fn get(&self, counter: steer_counter) -> u64 {
        self.0[counter.0 as usize]
    }

    /// Frames redirected into a socket.
    pub(super) fn redirected(&self) -> u64 {
        self.get(steer_counter::STEER_REDIRECTED)
    }

    /// What was counted since `earlier`.
    pub(super) fn since(&self, earlier: &QueueCounts) -> QueueCounts {
        QueueCounts(std::array::from_fn(|index| self.0[index] - earlier.0[index]))
    }

    /// Frames seen: the sum of the exits.
    pub(super) fn seen(&self) -> u64 {
        self.0[..steer_counter::STEER_EXITS.0 as usize].iter().sum()
    }

    /// Adds these counters to the kernel's side of the frames book.
    pub(super) fn write(&self, book: &mut KernelBook) {
        book.xdp_seen += self.seen();
        book.redirected += self.redirected();
        book.passed.extend(PASSED.iter().map(|(name, counter)| (*name, self.get(*counter))));
        book.notes.extend(NOTED.iter().map(|(name, counter)| (*name, self.get(*counter))));
    }
}

/// Reads the counters of one queue; it may outlive the attachment.
#[derive(Debug)]
pub(super) struct QueueCounters {
    map: MapHandle,
    queue: u32,
}

impl QueueCounters {
    pub(super) fn new(map: MapHandle, queue: u32) -> QueueCounters {
        QueueCounters { map, queue }
    }

    /// The counters as they stand.
    ///
    /// # Errors
    /// When the map can't be read, which no ordinary state of the machine brings about.
    pub(super) fn read(&self) -> Result<QueueCounts, XdpError> {
        read_counts(&self.map, self.queue)
    }
}

/// Reads a queue's counters from any handle of the counter map.
pub(super) fn read_counts(map: &impl MapCore, queue: u32) -> Result<QueueCounts, XdpError> {
    let mut counts = QueueCounts::default();
    for (counter, count) in counts.0.iter_mut().enumerate() {
        *count = read_count(map, queue, counter as u32)?;
    }
    Ok(counts)
}

/// Reads one counter, summed over the CPUs.
fn read_count(map: &impl MapCore, queue: u32, counter: u32) -> Result<u64, XdpError> {
    let failed =
        |source| XdpError::Map { operation: format!("reading the counters of queue {queue}"), source };
    // The same as steer_count_index in bpf/steer.h.
    let index = queue * COUNTERS as u32 + counter;
    let of_each_cpu = map
        .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
        .map_err(|e| failed(system_error(&e)))?
        .ok_or_else(|| failed(std::io::Error::from_raw_os_error(libc::ENOENT)))?;
    Ok(of_each_cpu
        .iter()
        .flat_map(|value| value.as_chunks::<8>().0)
        .map(|count| u64::from_ne_bytes(*count))
        .sum())
}
