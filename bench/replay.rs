//! Question: how exactly does a paced replay keep a capture's times, measured at the receiver, and how does tcpreplay?
//!
//! `cargo bench --bench replay [-- --short]`. Both send the same file onto a veth pair in namespaces of the bench's own;
//! the XDP program on the other end stamps each frame as it arrives. A frame's error is how far its arrival is from
//! its capture time, after the median of that distance over the run has been taken away (the wire's own latency). Drift
//! is how much the distance grows from the first tenth of the run to the last. Runs are interleaved. Needs root.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

#[path = "common/captures.rs"]
mod captures;
#[path = "../tests/common/rig.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod rig;

use captures::Frames;
use rig::{RX, Rig, TX};
use sluice::event::{ClockKind, Destination, LinkType};
use sluice::source::xdp::{AttachWish, LaneSettings, Steering, SteeringSettings, XdpSource};
use sluice::source::{Budget, FrameSource};
use sluice::wire;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What is sent: a stretch of a capture, so many times as fast as it was.
struct Load {
    name: String,
    speed: f64,
    path: PathBuf,
    frames: Frames,
}

/// Who sends it.
#[derive(Clone, Copy, PartialEq)]
enum Sender {
    Sluice,
    /// With one of its ways to measure time, as an ordinary thread or, as Sluice's, a real-time one.
    Tcpreplay {
        timer: &'static str,
        real_time: bool,
    },
}

impl Sender {
    fn name(self) -> String {
        match self {
            Sender::Sluice => "sluice".to_owned(),
            Sender::Tcpreplay { timer, real_time: false } => format!("tcpreplay {timer}"),
            Sender::Tcpreplay { timer, real_time: true } => format!("tcpreplay {timer}, FIFO"),
        }
    }

    fn start(self, load: &Load) -> std::io::Result<Child> {
        let mut command = match self {
            Sender::Sluice => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
                command.arg("replay").arg(&load.path).args(["--to", &format!("iface:{TX}")]);
                command.args(["--speed", &format!("{}x", load.speed)]);
                command
            }
            Sender::Tcpreplay { timer, real_time } => {
                let mut command = Command::new(if real_time { "chrt" } else { "tcpreplay" });
                if real_time {
                    command.args(["--fifo", "1", "tcpreplay"]);
                }
                command.args(["--quiet", "--preload-pcap", "--no-flow-stats", "--timer", timer]);
                command.arg(format!("--multiplier={}", load.speed)).args(["--intf1", TX]).arg(&load.path);
                command
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

/// What a run's arrivals say, ns.
#[derive(Clone, Copy)]
struct Errors {
    p50: f64,
    p99: f64,
    max: f64,
    drift: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Compares arrivals with when each frame should have come, by the capture and the speed.
fn errors(load: &Load, arrivals_ns: &[u64]) -> Errors {
    let first = arrivals_ns[0];
    let begin = load.frames.iter().next().map_or(0, |(_, time_ns, _)| time_ns);
    let late: Vec<f64> = std::iter::zip(load.frames.iter(), arrivals_ns)
        .map(|((_, time_ns, _), at)| (*at as f64 - first as f64) - (time_ns - begin) as f64 / load.speed)
        .collect();
    let latency = median(late.clone());
    let mut sizes: Vec<f64> = late.iter().map(|late| (late - latency).abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let at = |quantile: f64| sizes[((sizes.len() - 1) as f64 * quantile).round() as usize];
    let tenth = late.len().div_ceil(10);
    let drift = median(late[late.len() - tenth..].to_vec()) - median(late[..tenth].to_vec());
    Errors { p50: at(0.5), p99: at(0.99), max: at(1.0), drift }
}

/// The receiving end.
struct Receiver {
    // Dropped in this order: a source must be gone before its steering is.
    source: XdpSource,
    _steering: Steering,
}

impl Receiver {
    fn open(load: &Load) -> Receiver {
        let destinations: BTreeSet<Destination> = load
            .frames
            .iter()
            .map(|(frame, _, link)| {
                wire::link::parse(frame, link).expect("captures of UDP alone").destination
            })
            .collect();
        let settings = SteeringSettings {
            interface: RX.to_owned(),
            rules: destinations.into_iter().collect(),
            hardware_time: false,
            mode: AttachWish::NativeElseGeneric,
            napi_threads: false,
        };
        let steering = Steering::attach(&settings).expect("a veth takes the program");
        let lane = LaneSettings { huge_pages: false, ..LaneSettings::of_queue(0) };
        let source = XdpSource::open(&steering, &lane).expect("a veth takes the socket");
        Receiver { source, _steering: steering }
    }

    /// Takes what is there and notes when it arrived. Frames that are not the next expected one are not counted.
    fn poll(&mut self, expected: &[&[u8]], arrivals_ns: &mut Vec<u64>) -> usize {
        let budget = Budget { frames: usize::MAX, bytes: usize::MAX };
        self.source.poll(0, budget, &mut |frame| {
            let next = expected.get(arrivals_ns.len());
            if next == Some(&frame.bytes) && frame.clock == ClockKind::Monotonic {
                arrivals_ns.push(frame.wire_ns);
            }
        })
    }

    /// One run. Yields the arrivals, fewer than there are frames if some were lost.
    fn run(&mut self, rig: &Rig, sender: Sender, load: &Load) -> Result<Vec<u64>, String> {
        let expected: Vec<&[u8]> = load.frames.iter().map(|(bytes, ..)| bytes).collect();
        let mut arrivals_ns = Vec::with_capacity(expected.len());
        let failed = |error: std::io::Error| format!("{}: {error}", sender.name());
        let mut child = rig.in_tx(|| sender.start(load)).map_err(failed)?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break status;
            }
            // The rings hold a second of any of these loads; the processors belong to the sender.
            sleep(Duration::from_millis(20));
            self.poll(&expected, &mut arrivals_ns);
        };
        while self.poll(&expected, &mut arrivals_ns) > 0 {}
        if status.success() { Ok(arrivals_ns) } else { Err(format!("{} ended with {status}", sender.name())) }
    }
}

/// The busiest stretch of `seconds` of a real capture, in order of time, as a file of its own.
fn load(folder: &Path, name: &str, file: &str, seconds: u64, speed: f64) -> Option<Load> {
    let whole = Frames::of_capture(&captures::real(file)?);
    let mut order: Vec<(&[u8], u64, LinkType)> = whole.iter().collect();
    order.sort_by_key(|(_, time_ns, _)| *time_ns);
    let until = |first: usize| {
        let end_ns = order[first].1 + seconds * 1_000_000_000;
        order.partition_point(|(_, time_ns, _)| *time_ns < end_ns)
    };
    let busiest = (0..order.len()).max_by_key(|first| until(*first) - first)?;
    let mut frames = Frames::default();
    for (frame, time_ns, link) in &order[busiest..until(busiest)] {
        frames.push(frame, *time_ns, *link);
    }
    let path = folder.join(format!("{name}.pcap"));
    std::fs::write(&path, pcap_of(&frames)).expect("the folder is writable");
    Some(Load { name: format!("{name}, {seconds} s at {speed}x"), speed, path, frames })
}

/// A capture file with nanoseconds.
fn pcap_of(frames: &Frames) -> Vec<u8> {
    let mut file = Vec::new();
    let words =
        |file: &mut Vec<u8>, words: &[u32]| file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    words(&mut file, &[0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1]);
    for (frame, time_ns, _) in frames.iter() {
        let (seconds, nanos) = ((time_ns / 1_000_000_000) as u32, (time_ns % 1_000_000_000) as u32);
        words(&mut file, &[seconds, nanos, frame.len() as u32, frame.len() as u32]);
        file.extend_from_slice(frame);
    }
    file
}

fn loads(folder: &Path, short: bool) -> Vec<Load> {
    let stretch = if short { 1 } else { 10 };
    [
        load(folder, "CME", "cme-mdp3-ab.pcapng", stretch, 1.0),
        // At its own pace it has two frames a second.
        load(folder, "ICE", "ice-impact.pcap", 100 * stretch, 100.0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sluice, and tcpreplay with both timers that are any good: its own default, which spins, and the one that sleeps. A
/// spinning thread can't be real-time: the kernel's throttle would stop it.
fn senders() -> Vec<Sender> {
    let present = Command::new("tcpreplay").arg("--version").output().is_ok();
    if present {
        let tcpreplay = |timer, real_time| Sender::Tcpreplay { timer, real_time };
        return vec![
            Sender::Sluice,
            tcpreplay("gtod", false),
            tcpreplay("nano", false),
            tcpreplay("nano", true),
        ];
    }
    eprintln!(
        "replay: tcpreplay is not here to compare with: install the package tcpreplay, or scripts/setup --bench"
    );
    vec![Sender::Sluice]
}

/// Runs all senders in turn and prints a row for each.
fn compare(load: &Load, rounds: usize) -> Result<(), String> {
    let rig = Rig::new(1);
    let mut receiver = rig.in_rx(|| Receiver::open(load));
    let senders = senders();
    let mut runs: Vec<Vec<Errors>> = vec![Vec::new(); senders.len()];
    for _ in 0..rounds {
        for (sender, runs) in senders.iter().zip(&mut runs) {
            let arrivals_ns = receiver.run(&rig, *sender, load)?;
            if arrivals_ns.len() == load.frames.len() {
                runs.push(errors(load, &arrivals_ns));
            } else {
                let (got, sent) = (arrivals_ns.len(), load.frames.len());
                eprintln!("replay: {}: {got} of {sent} frames in order, run left out", sender.name());
            }
        }
    }
    println!(
        "\n{}: {} frames, {rounds} interleaved rounds; µs, medians over the rounds",
        load.name,
        load.frames.len()
    );
    println!(
        "{:<22} {:>10} {:>10} {:>12} {:>11} {:>10}",
        "", "error p50", "p99", "max", "drift", "p99 ratio"
    );
    let of = |runs: &[Errors], part: fn(&Errors) -> f64| median(runs.iter().map(part).collect()) / 1e3;
    let sluice = of(&runs[0], |run| run.p99);
    for (sender, runs) in senders.iter().zip(&runs) {
        let p99 = of(runs, |run| run.p99);
        println!(
            "{:<22} {:>10.1} {p99:>10.1} {:>12.1} {:>11.1} {:>10.2}",
            sender.name(),
            of(runs, |run| run.p50),
            of(runs, |run| run.max),
            of(runs, |run| run.drift),
            p99 / sluice
        );
    }
    match runs.iter().all(|runs| !runs.is_empty()) {
        true => Ok(()),
        false => Err("a sender had no run without loss".to_owned()),
    }
}

fn main() -> ExitCode {
    if !rig::is_root("the replay bench") {
        return ExitCode::SUCCESS;
    }
    let short = std::env::args().any(|argument| argument == "--short");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let loads = loads(folder.path(), short);
    if loads.is_empty() {
        println!("skipped: no captures (set SLUICE_CAPTURES)");
    }
    for load in &loads {
        if let Err(error) = compare(load, if short { 1 } else { 5 }) {
            eprintln!("replay: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
