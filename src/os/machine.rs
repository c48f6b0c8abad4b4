//! Facts about the machine that stand beside every figure in a report. What can't be read is left empty, never guessed.

use super::process::kib_of;
use super::{Clock, TickSource};
use std::fs;

/// What a figure was measured on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MachineFacts {
    /// The CPU's name as /proc/cpuinfo has it.
    pub cpu_model: String,
    /// CPUs (hardware threads) that are online.
    pub cpus: usize,
    /// CPUs this process may use.
    pub cpus_allowed: Vec<usize>,
    /// NUMA nodes that are online.
    pub numa_nodes: usize,
    /// The kernel's release, such as `6.18.0`.
    pub kernel: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Bytes of one hugetlb page of the default size.
    pub huge_page_bytes: u64,
    /// Hugetlb pages of the default size, in all.
    pub huge_pages_total: u64,
    /// Of these, those nobody has.
    pub huge_pages_free: u64,
    /// Whether the CPU says that it belongs to a virtual machine; `None` if it says nothing on this architecture.
    pub virtual_machine: Option<bool>,
    /// The kernel's clock source, such as `tsc` or `kvm-clock`.
    pub clock_source: String,
    /// What the appliance's own clock counts by.
    pub clock: &'static str,
}

impl MachineFacts {
    /// Collects them; `clock` is the one in use, if there is one.
    pub fn collect(clock: Option<&Clock>) -> MachineFacts {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let cpu = read("/proc/cpuinfo");
        let number = |key: &str| kib_of(&memory, key).unwrap_or(0);
        let list = |path: &str| count_of_list(read(path).trim());
        MachineFacts {
            cpu_model: field(&cpu, "model name").unwrap_or_default().to_owned(),
            cpus: list("/sys/devices/system/cpu/online"),
            cpus_allowed: super::allowed_cpus().unwrap_or_default(),
            numa_nodes: list("/sys/devices/system/node/online"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: number("MemTotal:") * 1_024,
            huge_page_bytes: number("Hugepagesize:") * 1_024,
            huge_pages_total: number("HugePages_Total:"),
            huge_pages_free: number("HugePages_Free:"),
            virtual_machine: field(&cpu, "flags")
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .trim()
                .to_owned(),
            clock: clock.map_or(TickSource::Kernel, Clock::kind).name(),
        }
    }
}

/// The value of the first line `key  : value` of /proc/cpuinfo.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// How many numbers a list such as `0-3,8,10-11` holds; 0 for one that isn't a list.
fn count_of_list(list: &str) -> usize {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last >= first).then(|| last - first + 1)
    };
    list.split(',').map(count).sum::<Option<usize>>().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_counted() {
        let table = [("0", 1), ("0-3", 4), ("0-3,8,10-11", 7), ("", 0), ("3-1", 0), ("a-b", 0), ("0,", 0)];
        for (list, count) in table {
            assert_eq!(count_of_list(list), count, "{list:?}");
        }
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2.50GHz: fast\nflags : tsc hypervisor\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 2.50GHz: fast"));
        assert_eq!((field(text, "model"), field(text, "name")), (Some("85"), None));
    }

    #[test]
    fn this_machine_has_cpus_memory_and_a_kernel() {
        let facts = MachineFacts::collect(Some(&Clock::kernel()));
        assert!(facts.cpus >= facts.cpus_allowed.len() && !facts.cpus_allowed.is_empty(), "{facts:?}");
        assert!(facts.memory_bytes > 64 << 20 && facts.kernel.contains('.'), "{facts:?}");
        assert_eq!(facts.clock, "clock_gettime");
        let json = serde_json::to_value(&facts).expect("plain data");
        assert_eq!(json["memory_bytes"], facts.memory_bytes);
    }
}
