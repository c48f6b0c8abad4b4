//! Two samples as events: a topic, and `key=value` words separated by spaces.
//!
//! Invariant: every key, its unit and its meaning stand in docs/host-metrics.md; a test holds one against the other.
//! Rates are over the time between the two samples; a counter that fell back counts as not moved.

use super::rings::Ring;
use super::sample::{InterfaceCounters, Sample};
use procfs::{CpuTime, DiskStat, KernelStats};
use std::fmt::{Display, Write as _};

/// What an event of the host is, in a native frame's `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    Cpu = 1,
    Memory = 2,
    Network = 3,
    Disk = 4,
    Uring = 5,
}

/// An event of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// What it is.
    pub(super) kind: Kind,
    /// Behind the prefix and a dot.
    pub(super) topic: String,
    /// The words.
    pub(super) payload: String,
}

impl Fact {
    fn new(kind: Kind, topic: impl Into<String>) -> Fact {
        Fact { kind, topic: topic.into(), payload: String::new() }
    }

    fn with(mut self, key: &str, value: impl Display) -> Fact {
        if !self.payload.is_empty() {
            self.payload.push(' ');
        }
        write!(self.payload, "{key}={value}").expect("writing to a String cannot fail");
        self
    }

    fn with_decimal(self, key: &str, value: f64) -> Fact {
        self.with(key, format_args!("{value:.1}"))
    }
}

/// What happened between two samples.
pub(super) fn facts(before: &Sample, now: &Sample) -> Vec<Fact> {
    // A clock that was set back makes one sample's rates too high, never infinite.
    let seconds = now.time.saturating_sub(before.time).as_secs_f64().max(0.001);
    let mut facts = Vec::new();
    if let (Some(old), Some(new)) = (&before.kernel, &now.kernel) {
        facts.push(cpu_total(old, new, now, seconds));
        // Processors that came or went meanwhile have no pairs.
        if before.cpu_numbers == now.cpu_numbers {
            let pairs = old.cpu_time.iter().zip(&new.cpu_time).zip(&now.cpu_numbers);
            facts
                .extend(pairs.map(|((old, new), number)| {
                    cpu(Fact::new(Kind::Cpu, format!("cpu.{number}")), old, new)
                }));
        }
    }
    facts.extend(memory(now));
    for new in &now.interfaces {
        let old = before.interfaces.iter().find(|old| old.status.name == new.status.name);
        facts.extend(old.map(|old| interface(old, new, seconds)));
    }
    for new in &now.disks {
        let old = before.disks.iter().find(|old| old.name == new.name);
        facts.extend(old.map(|old| disk(old, new, seconds)));
    }
    rings(before, now, seconds, &mut facts);
    facts
}

fn rate(old: u64, new: u64, seconds: f64) -> f64 {
    new.saturating_sub(old) as f64 / seconds
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn cpu(fact: Fact, old: &CpuTime, new: &CpuTime) -> Fact {
    let since = |ticks: fn(&CpuTime) -> u64| ticks(new).saturating_sub(ticks(old));
    // The time of guests is in that of users already.
    let user = since(|t| t.user + t.nice);
    let system = since(|t| t.system);
    let interrupts = since(|t| t.irq.unwrap_or(0) + t.softirq.unwrap_or(0));
    let stolen = since(|t| t.steal.unwrap_or(0));
    let waiting = since(|t| t.iowait.unwrap_or(0));
    let busy = user + system + interrupts + stolen;
    let whole = busy + waiting + since(|t| t.idle);
    fact.with_decimal("busy_pct", percent(busy, whole))
        .with_decimal("user_pct", percent(user, whole))
        .with_decimal("system_pct", percent(system, whole))
        .with_decimal("interrupts_pct", percent(interrupts, whole))
        .with_decimal("stolen_pct", percent(stolen, whole))
        .with_decimal("iowait_pct", percent(waiting, whole))
}

fn cpu_total(old: &KernelStats, new: &KernelStats, now: &Sample, seconds: f64) -> Fact {
    let mut fact = cpu(Fact::new(Kind::Cpu, "cpu"), &old.total, &new.total).with("cpus", new.cpu_time.len());
    if let Some(load) = &now.load {
        fact = fact
            .with("load_1m", format_args!("{:.2}", load.one))
            .with("load_5m", format_args!("{:.2}", load.five))
            .with("load_15m", format_args!("{:.2}", load.fifteen));
    }
    fact.with("runnable", new.procs_running.unwrap_or(0))
        .with("blocked", new.procs_blocked.unwrap_or(0))
        .with_decimal("context_switches_per_s", rate(old.ctxt, new.ctxt, seconds))
        .with_decimal("forks_per_s", rate(old.processes, new.processes, seconds))
}

fn memory(now: &Sample) -> Option<Fact> {
    let memory = now.memory.as_ref()?;
    Some(
        Fact::new(Kind::Memory, "memory")
            .with("total_bytes", memory.mem_total)
            // Kernels before 3.14 have no estimate.
            .with("available_bytes", memory.mem_available.unwrap_or(memory.mem_free))
            .with("free_bytes", memory.mem_free)
            .with("cached_bytes", memory.cached)
            .with("dirty_bytes", memory.dirty)
            .with("locked_bytes", memory.mlocked.unwrap_or(0))
            .with("swap_total_bytes", memory.swap_total)
            .with("swap_free_bytes", memory.swap_free)
            .with("hugepages_total", memory.hugepages_total.unwrap_or(0))
            .with("hugepages_free", memory.hugepages_free.unwrap_or(0))
            .with("hugepages_reserved", memory.hugepages_rsvd.unwrap_or(0))
            .with("hugepage_bytes", memory.hugepagesize.unwrap_or(0)),
    )
}

fn interface(before: &InterfaceCounters, now: &InterfaceCounters, seconds: f64) -> Fact {
    let (old, new, nic) = (&before.status, &now.status, &now.nic);
    Fact::new(Kind::Network, format!("network.{}", new.name))
        .with_decimal("rx_bytes_per_s", rate(old.recv_bytes, new.recv_bytes, seconds))
        .with_decimal("rx_packets_per_s", rate(old.recv_packets, new.recv_packets, seconds))
        .with_decimal("tx_bytes_per_s", rate(old.sent_bytes, new.sent_bytes, seconds))
        .with_decimal("tx_packets_per_s", rate(old.sent_packets, new.sent_packets, seconds))
        .with("rx_bytes", new.recv_bytes)
        .with("rx_packets", new.recv_packets)
        .with("rx_errors", new.recv_errs)
        .with("rx_dropped", new.recv_drop)
        .with("rx_missed", nic.rx_missed)
        .with("rx_fifo_errors", new.recv_fifo)
        .with("rx_crc_errors", nic.rx_crc_errors)
        .with("rx_length_errors", nic.rx_length_errors)
        .with("rx_over_errors", nic.rx_over_errors)
        .with("rx_nohandler", nic.rx_nohandler)
        .with("tx_bytes", new.sent_bytes)
        .with("tx_packets", new.sent_packets)
        .with("tx_errors", new.sent_errs)
        .with("tx_dropped", new.sent_drop)
}

fn disk(old: &DiskStat, new: &DiskStat, seconds: f64) -> Fact {
    /// Diskstats counts sectors of 512 bytes, whatever the disk's own are.
    const SECTOR_BYTES: u64 = 512;
    let bytes = |sectors: u64| sectors.saturating_mul(SECTOR_BYTES);
    let mean_ms = |time: u64, count: u64| if count == 0 { 0.0 } else { time as f64 / count as f64 };
    let (reads, writes) = (new.reads.saturating_sub(old.reads), new.writes.saturating_sub(old.writes));
    let busy_ms = new.time_in_progress.saturating_sub(old.time_in_progress) as f64;
    Fact::new(Kind::Disk, format!("disk.{}", new.name))
        .with_decimal("reads_per_s", reads as f64 / seconds)
        .with_decimal("read_bytes_per_s", rate(bytes(old.sectors_read), bytes(new.sectors_read), seconds))
        .with_decimal("read_ms_mean", mean_ms(new.time_reading.saturating_sub(old.time_reading), reads))
        .with_decimal("writes_per_s", writes as f64 / seconds)
        .with_decimal(
            "write_bytes_per_s",
            rate(bytes(old.sectors_written), bytes(new.sectors_written), seconds),
        )
        .with_decimal("write_ms_mean", mean_ms(new.time_writing.saturating_sub(old.time_writing), writes))
        // Requests are counted when they end, so that one can bring more than its share of the interval.
        .with_decimal("busy_pct", (busy_ms / seconds / 10.0).min(100.0))
        .with("in_flight", new.in_progress)
}

/// What a ring did between two samples, and what waits in it; sums of several rings too.
#[derive(Clone, Copy, Default)]
struct RingWork {
    submitted: u64,
    completed: u64,
    submissions_waiting: u64,
    completions_waiting: u64,
    overflowed: u64,
    files: u64,
    buffers: u64,
    sq_thread_us: u64,
    sq_thread_work_us: u64,
}

impl RingWork {
    /// Of one ring.
    fn of(old: &Ring, new: &Ring) -> RingWork {
        let between = |from: u32, to: u32| u64::from(to.wrapping_sub(from));
        RingWork {
            submitted: between(old.sq_head, new.sq_head),
            completed: between(old.cq_tail, new.cq_tail),
            submissions_waiting: between(new.sq_head, new.sq_tail),
            completions_waiting: between(new.cq_head, new.cq_tail),
            overflowed: new.overflowed,
            files: new.files,
            buffers: new.buffers,
            sq_thread_us: new.sq_thread_total_us.saturating_sub(old.sq_thread_total_us),
            sq_thread_work_us: new.sq_thread_work_us.saturating_sub(old.sq_thread_work_us),
        }
    }

    fn add(&mut self, other: &RingWork) {
        self.submitted += other.submitted;
        self.completed += other.completed;
        self.submissions_waiting += other.submissions_waiting;
        self.completions_waiting += other.completions_waiting;
        self.overflowed += other.overflowed;
        self.files += other.files;
        self.buffers += other.buffers;
        self.sq_thread_us += other.sq_thread_us;
        self.sq_thread_work_us += other.sq_thread_work_us;
    }

    fn written(&self, fact: Fact, seconds: f64) -> Fact {
        fact.with_decimal("submitted_per_s", self.submitted as f64 / seconds)
            .with_decimal("completed_per_s", self.completed as f64 / seconds)
            .with("submissions_waiting", self.submissions_waiting)
            .with("completions_waiting", self.completions_waiting)
            .with("overflowed", self.overflowed)
            .with("files", self.files)
            .with("buffers", self.buffers)
            .with_decimal("sq_thread_busy_pct", percent(self.sq_thread_work_us, self.sq_thread_us))
    }
}

fn rings(before: &Sample, now: &Sample, seconds: f64, facts: &mut Vec<Fact>) {
    let mut all = RingWork::default();
    let mut each = Vec::new();
    for new in &now.rings {
        // A ring that is new, or was in use at the sample before, has nothing to be compared with.
        let Some(old) = before.rings.iter().find(|old| old.fd == new.fd) else { continue };
        let work = RingWork::of(old, new);
        all.add(&work);
        each.push(work.written(Fact::new(Kind::Uring, format!("uring.{}", new.fd)), seconds));
    }
    facts.push(all.written(Fact::new(Kind::Uring, "uring").with("rings", each.len()), seconds));
    facts.append(&mut each);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn words(fact: &Fact) -> Vec<(&str, f64)> {
        let word = |word: &'_ str| -> Option<(usize, f64)> {
            let (key, value) = word.split_once('=')?;
            Some((key.len(), value.parse().ok()?))
        };
        let pair = |text| word(text).map(|(key_bytes, value)| (&text[..key_bytes], value));
        fact.payload.split(' ').map(|text: &str| pair(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    fn value(fact: &Fact, key: &str) -> f64 {
        words(fact)
            .into_iter()
            .find(|(name, _)| *name == key)
            .unwrap_or_else(|| panic!("{key} in {fact:?}"))
            .1
    }

    #[test]
    fn every_topic_and_key_is_documented_and_every_value_is_a_number() {
        let documented = include_str!("../../../docs/host-metrics.md");
        let mut before = Sample::take();
        let now = Sample::take();
        before.time = now.time - Duration::from_secs(1);
        let facts = facts(&before, &now);
        for kind in [Kind::Cpu, Kind::Memory, Kind::Network, Kind::Uring] {
            let of_kind = facts.iter().find(|fact| fact.kind == kind);
            let topic = of_kind.unwrap_or_else(|| panic!("no {kind:?}")).topic.split('.').next();
            assert!(documented.contains(&format!("`host.{}", topic.unwrap_or_default())));
        }
        for fact in &facts {
            for (key, value) in words(fact) {
                assert!(
                    documented.contains(&format!("| `{key}` |")),
                    "{key} of {} is not documented",
                    fact.topic
                );
                assert!(value >= 0.0 && value.is_finite(), "{fact:?}");
            }
            assert!(fact.payload.len() < 1_984, "{} has {} bytes", fact.topic, fact.payload.len());
        }
    }

    #[test]
    fn shares_of_a_processor_add_up() {
        let mut before = Sample::take();
        let mut now = Sample::take();
        before.time = now.time - Duration::from_secs(2);
        let (old, new) = (before.kernel.as_mut().expect("read"), now.kernel.as_mut().expect("read"));
        new.total = old.total.clone();
        new.total.user += 30;
        new.total.system += 20;
        new.total.idle += 40;
        new.total.softirq = Some(new.total.softirq.unwrap_or(0) + 10);
        // The kernel says that this one may fall.
        old.total.iowait = Some(new.total.iowait.unwrap_or(0) + 5);
        new.ctxt = old.ctxt + 500;
        let facts = facts(&before, &now);
        let cpu = &facts[0];
        assert_eq!(cpu.topic, "cpu");
        assert_eq!((value(cpu, "busy_pct"), value(cpu, "user_pct")), (60.0, 30.0));
        assert_eq!((value(cpu, "system_pct"), value(cpu, "interrupts_pct")), (20.0, 10.0));
        assert_eq!((value(cpu, "iowait_pct"), value(cpu, "context_switches_per_s")), (0.0, 250.0));
    }

    #[test]
    fn ring_indexes_wrap() {
        let old = Ring { sq_head: u32::MAX - 9, cq_tail: 5, ..Ring::default() };
        let new = Ring { sq_head: 10, sq_tail: 13, cq_head: 100, cq_tail: 105, ..Ring::default() };
        let work = RingWork::of(&old, &new);
        assert_eq!((work.submitted, work.completed), (20, 100));
        assert_eq!((work.submissions_waiting, work.completions_waiting), (3, 5));
    }

    #[test]
    fn disks_are_rated_by_interval() {
        let old = DiskStat::from_line("254 0 vda 10 0 100 50 20 0 200 80 1 500 0").expect("a line");
        let new = DiskStat::from_line("254 0 vda 30 0 300 150 20 0 200 80 2 1500 0").expect("a line");
        let fact = disk(&old, &new, 2.0);
        assert_eq!((value(&fact, "reads_per_s"), value(&fact, "read_bytes_per_s")), (10.0, 51_200.0));
        assert_eq!((value(&fact, "read_ms_mean"), value(&fact, "write_ms_mean")), (5.0, 0.0));
        assert_eq!((value(&fact, "busy_pct"), value(&fact, "in_flight")), (50.0, 2.0));
    }
}
