//! What the host's counters are at one moment.
//!
//! Invariant: a part that can't be read is absent and counted; it takes no other part with it. Every list has a limit.

use super::rings::{Ring, rings};
use procfs::net::DeviceStatus;
use procfs::{Current, CurrentSI, DiskStat, KernelStats, LoadAverage, Meminfo, ProcResult};
use std::fs;
use std::time::{Duration, SystemTime};

/// Interfaces, and disks, of a sample: the first by name. A machine with more has mostly virtual ones.
const DEVICES_MAX: usize = 256;

/// The host's counters.
#[derive(Debug)]
pub(super) struct Sample {
    /// Since the Unix epoch.
    pub(super) time: Duration,
    /// Parts that could not be read.
    pub(super) failed: u64,
    /// Processors, context switches, processes.
    pub(super) kernel: Option<KernelStats>,
    /// Numbers of the processors in `kernel`, in its order.
    pub(super) cpu_numbers: Vec<u32>,
    /// Load averages.
    pub(super) load: Option<LoadAverage>,
    /// Memory; bytes, and pages where the kernel counts hugepages.
    pub(super) memory: Option<Meminfo>,
    /// Interfaces by name.
    pub(super) interfaces: Vec<InterfaceCounters>,
    /// Disks by name, without those that never did anything.
    pub(super) disks: Vec<DiskStat>,
    /// This process' rings.
    pub(super) rings: Vec<Ring>,
}

/// An interface's counters since it was made.
#[derive(Debug)]
pub(super) struct InterfaceCounters {
    /// Of /proc/net/dev.
    pub(super) status: DeviceStatus,
    /// Of /sys/class/net: what the NIC itself lost or refused.
    pub(super) nic: NicCounters,
}

/// What /proc/net/dev adds up with other things.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NicCounters {
    /// Packets that the NIC had no room for.
    pub(super) rx_missed: u64,
    /// Packets with a wrong checksum.
    pub(super) rx_crc_errors: u64,
    /// Packets with a wrong length.
    pub(super) rx_length_errors: u64,
    /// Packets that overran the NIC's buffer.
    pub(super) rx_over_errors: u64,
    /// Packets that nobody took.
    pub(super) rx_nohandler: u64,
}

impl Sample {
    /// The counters now.
    pub(super) fn take() -> Sample {
        let mut failed = 0;
        let kernel = part(KernelStats::current(), &mut failed);
        let cpu_count = kernel.as_ref().map_or(0, |kernel| kernel.cpu_time.len());
        Sample {
            time: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            cpu_numbers: cpu_numbers(cpu_count),
            kernel,
            load: part(LoadAverage::current(), &mut failed),
            memory: part(Meminfo::current(), &mut failed),
            interfaces: part(interfaces(), &mut failed).unwrap_or_default(),
            disks: part(disks(), &mut failed).unwrap_or_default(),
            rings: part(rings(), &mut failed).unwrap_or_default(),
            failed,
        }
    }
}

fn part<T>(read: ProcResult<T>, failed: &mut u64) -> Option<T> {
    if read.is_err() {
        *failed += 1;
    }
    read.ok()
}

fn interfaces() -> ProcResult<Vec<InterfaceCounters>> {
    let mut list: Vec<DeviceStatus> = procfs::net::dev_status()?.into_values().collect();
    list.sort_by(|one, other| one.name.cmp(&other.name));
    list.truncate(DEVICES_MAX);
    let counters = |status: DeviceStatus| InterfaceCounters { nic: nic_counters(&status.name), status };
    Ok(list.into_iter().map(counters).collect())
}

/// Zeros for what the interface doesn't show, as one that went away meanwhile.
fn nic_counters(interface: &str) -> NicCounters {
    let counter = |name: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{interface}/statistics/{name}"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    NicCounters {
        rx_missed: counter("rx_missed_errors"),
        rx_crc_errors: counter("rx_crc_errors"),
        rx_length_errors: counter("rx_length_errors"),
        rx_over_errors: counter("rx_over_errors"),
        rx_nohandler: counter("rx_nohandler"),
    }
}

fn disks() -> ProcResult<Vec<DiskStat>> {
    let mut list = procfs::diskstats()?;
    list.retain(|disk| disk.reads > 0 || disk.writes > 0);
    list.sort_by(|one, other| one.name.cmp(&other.name));
    list.truncate(DEVICES_MAX);
    Ok(list)
}

/// The numbers of the processors that are online; /proc/stat lists those, and procfs leaves their numbers out.
fn cpu_numbers(count: usize) -> Vec<u32> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    match online.and_then(|list| numbers_of_list(&list)) {
        Some(numbers) if numbers.len() == count => numbers,
        // One came or went between the two readings.
        _ => (0..count as u32).collect(),
    }
}

/// The numbers of a list such as "0-3,8".
fn numbers_of_list(list: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(numbers_of_list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(numbers_of_list("5"), Some(vec![5]));
        assert_eq!(numbers_of_list("x"), None);
    }

    #[test]
    fn this_host_can_be_read() {
        let sample = Sample::take();
        assert_eq!(sample.failed, 0);
        let kernel = sample.kernel.expect("/proc/stat");
        assert_eq!(kernel.cpu_time.len(), sample.cpu_numbers.len());
        assert!(!kernel.cpu_time.is_empty() && kernel.ctxt > 0);
        assert!(sample.interfaces.iter().any(|interface| interface.status.name == "lo"));
    }
}
