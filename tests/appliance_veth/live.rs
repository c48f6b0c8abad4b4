//! A running `sluice run`, and the sending of captures to it.

use crate::program::{json_file, number, text, total, word};
use crate::rig::{RX, Rig, TX};
use serde_json::Value;
use sluice::replay::synthetic::{Packet, pcap_bytes};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything that must happen may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pair of namespaces, a folder, and the names of what is in it.
pub(crate) struct Lab {
    pub(crate) rig: Rig,
    folder: tempfile::TempDir,
    tx_namespace: String,
}

impl Lab {
    pub(crate) fn new(queues: u32) -> Lab {
        let rig = Rig::new(queues);
        // The rig's two names differ in their end.
        let tx_namespace = rig.rx_namespace().replace("-rx", "-tx");
        Lab { rig, folder: tempfile::tempdir().expect("a folder"), tx_namespace }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a config for the receiving end; `more` comes behind `[[interface]]`'s own keys.
    pub(crate) fn config(&self, more: &str) -> PathBuf {
        let path = self.path("run.toml");
        let text = format!(
            "[[interface]]\nname = \"{RX}\"\nattach = \"native\"\nzero_copy = \"never\"\n{more}\n[report]\nstatus_interval_s = 1\n"
        );
        std::fs::write(&path, text).expect("writes");
        path
    }

    pub(crate) fn capture(&self, name: &str, packets: &[Packet]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, pcap_bytes(packets)).expect("writes");
        path
    }

    pub(crate) fn command(namespace: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_sluice")]).args(words);
        command
    }

    /// Runs the program at the receiving end to its end.
    pub(crate) fn at_rx(&self, words: &[&str]) -> Output {
        Lab::command(self.rig.rx_namespace(), words).output().expect("it starts")
    }

    /// Frames that left the sending end, as the kernel counts them.
    pub(crate) fn sent_by_the_kernel(&self) -> u64 {
        let show = || Command::new("ip").args(["-s", "-j", "link", "show", "dev", TX]).output();
        let output = self.rig.in_tx(show).expect("it starts");
        let links: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        number(&links, "/0/stats64/tx/packets")
    }

    /// Starts `sluice run` with this config and waits until it takes frames.
    pub(crate) fn start(&self, config: &Path, more: &[&str]) -> Running {
        let report = self.path("report.json");
        let words = [&["run", "--config", word(config), "--report", word(&report)], more].concat();
        let mut child = Lab::command(self.rig.rx_namespace(), &words)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, lines, told: String::new(), report };
        running.wait_for(|line| line.contains("running; SIGINT or SIGTERM stops it"));
        running
    }

    /// Sends a capture onto the sending end; how many frames the kernel took.
    pub(crate) fn send(&self, capture: &Path, more: &[&str]) -> u64 {
        self.send_from(&self.tx_namespace, TX, capture, more)
    }

    /// Sends a capture onto an interface of a namespace.
    pub(crate) fn send_from(&self, namespace: &str, end: &str, capture: &Path, more: &[&str]) -> u64 {
        let report = self.path(&format!("sent-{end}.json"));
        let to = format!("iface:{end}");
        let words = [&["replay", word(capture), "--to", &to, "--report", word(&report)], more].concat();
        let output = Lab::command(namespace, &words).output().expect("it starts");
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        let report = json_file(&report);
        assert_eq!(total(&report, "/sent/skipped"), 0, "{report:#}");
        number(&report, "/sent/frames")
    }
}

/// A `sluice run` that takes frames. It is killed if the test ends before it does.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    told: String,
    report: PathBuf,
}

impl Running {
    /// Waits until it has told a line like that on standard error.
    pub(crate) fn wait_for(&mut self, right: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        let mut line = String::new();
        // Status lines come every second, so the time is looked at while nothing else is told.
        while begun.elapsed() < PATIENCE {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("text");
            self.told += &line;
            assert!(read > 0, "it ended early: {}", self.told);
            if right(&line) {
                return;
            }
        }
        panic!("waited in vain: {}", self.told);
    }

    /// Waits until it has taken this many frames or more, by its status lines; the report tells of each one.
    pub(crate) fn wait_for_frames(&mut self, frames: u64) {
        let taken = |line: &str| line.strip_prefix("status: ")?.split(' ').next()?.parse::<u64>().ok();
        self.wait_for(|line| taken(line).is_some_and(|taken| taken >= frames));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        crate::rig::run("kill", &format!("-s {name} {}", self.pid()));
    }

    /// Waits for its end: its exit code, all that it told, and its report, whose books are checked.
    pub(crate) fn end(mut self) -> Value {
        self.lines.read_to_string(&mut self.told).expect("text");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.told);
        assert!(!self.told.contains("panicked"), "{}", self.told);
        let report = json_file(&self.report);
        check_books(&report);
        report
    }

    /// Waits for the end of one that was killed.
    pub(crate) fn end_of_killed(mut self) {
        let status = self.child.wait().expect("it ends");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended it says so, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_books(report: &Value) {
    let n = |pointer: &str| number(report, pointer);
    assert_eq!(report["ledger"]["balanced"], true, "{:#}", report["ledger"]);
    let (passed, dropped) = (total(report, "/ledger/kernel/passed"), total(report, "/ledger/kernel/dropped"));
    assert_eq!(n("/ledger/kernel/xdp_seen"), n("/ledger/kernel/redirected") + passed + dropped);
    let lost = total(report, "/ledger/kernel/lost");
    assert_eq!(n("/ledger/kernel/redirected"), n("/ledger/kernel/received") + lost);
    assert_eq!(n("/ledger/kernel/received"), n("/ledger/frames/received"));
    let given_up = total(report, "/ledger/events/shed") + total(report, "/ledger/events/dead_lettered");
    assert_eq!(n("/ledger/events/accepted"), n("/ledger/events/delivered") + given_up);
    assert_eq!(n("/ledger/events/in_flight"), 0);
    assert_eq!(n("/hot_path/allocations"), 0, "{:#}", report["threads"]);
}

/// The streams without what depends on when frames came.
pub(crate) fn streams_of(report: &Value) -> Vec<Value> {
    let mut streams = report["streams"].as_array().expect("streams").clone();
    for stream in &mut streams {
        for line in stream["lines"].as_array_mut().expect("lines") {
            let line = line.as_object_mut().expect("a line");
            // By the clock, and a line is dead in captures of another day.
            for key in ["late_ns", "deaths", "silences"] {
                line.remove(key);
            }
        }
    }
    streams.sort_by_key(|stream| stream["name"].as_str().expect("a name").to_owned());
    streams
}

/// `[[feed]]` tables: name, protocol and lines.
pub(crate) fn feeds(feeds: &[(&str, &str, &[&str])]) -> String {
    let feed = |(name, protocol, lines): &(&str, &str, &[&str])| {
        let lines = lines.iter().zip(["A", "B"]);
        let lines: Vec<_> =
            lines.map(|(to, line)| format!("{{ name = \"{line}\", destination = \"{to}\" }}")).collect();
        format!("[[feed]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nlines = [{}]\n", lines.join(", "))
    };
    feeds.iter().map(feed).collect()
}

/// The made-up sessions' feeds.
pub(crate) const ITCH: (&str, &str, &[&str]) =
    ("itch", "moldudp64-itch50", &["233.252.0.1:26477", "233.252.0.2:26477"]);
pub(crate) const IEX: (&str, &str, &[&str]) = ("iex", "iex-tp", &["233.252.0.1:10378", "233.252.0.2:10378"]);
