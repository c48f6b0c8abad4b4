//! `sluice run` in a process of its own, with status lines to wait by and a file of control topics to judge by.
//!
//! Invariant: a run that ends in good order exits with 0 and closed books; anything else fails the test that ended it.

use crate::program::{json_file, number, word};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// A run, and the folder of its files.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
    told: String,
    folder: TempDir,
}

/// What a run left behind.
pub(crate) struct Ended {
    /// report.json.
    pub(crate) report: Value,
    /// The control topics, as they were told.
    pub(crate) topics: Vec<Value>,
}

impl Running {
    /// Starts one with these tables, and waits until it takes what comes.
    pub(crate) fn start(tables: &str) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let control = at("control.jsonl");
        let report = format!("[report]\nstatus_interval_s = 1\ncontrol = '{}'\n", word(&control));
        std::fs::write(at("sluice.toml"), format!("{tables}\n{report}")).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["run", "--config", word(&at("sluice.toml")), "--report", word(&at("report.json"))])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, lines, told: String::new(), folder };
        running.wait_for(|line| line.contains("running;"));
        running
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wait_for(&mut self, right: impl Fn(&str) -> bool) {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended early: {}", self.told);
            self.told += &line;
            if right(&line) {
                return;
            }
        }
    }

    /// Waits until so many events have been processed, by its status lines.
    pub(crate) fn wait_for_events(&mut self, events: u64) {
        let processed = |line: &str| -> Option<u64> {
            let (before, _) = line.strip_prefix("status: ")?.split_once(" events")?;
            before.rsplit(' ').next()?.parse().ok()
        };
        self.wait_for(|line| processed(line).is_some_and(|processed| processed >= events));
    }

    /// Where a listener is.
    pub(crate) fn at(&self, name: &str) -> String {
        let (_, behind) = self.told.split_once(&format!("; {name} on ")).expect("it is told");
        behind.split([';', '\n', ' ']).next().expect("a place").to_owned()
    }

    /// Ends it by SIGTERM: exit code 0, and closed books.
    pub(crate) fn end(mut self) -> Ended {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        self.lines.read_to_string(&mut self.told).expect("text");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.told);
        assert!(!self.told.contains("panicked"), "{}", self.told);
        let report = json_file(&self.file("report.json"));
        let ledger = &report["ledger"];
        assert_eq!(ledger["balanced"], true, "{ledger:#}");
        assert_eq!(number(ledger, "/events/in_flight"), 0, "{ledger:#}");
        let topics = std::fs::read_to_string(self.file("control.jsonl")).expect("it is written");
        let topics = topics.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        Ended { report, topics }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that a test has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The listener's stream in the report.
    pub(crate) fn stream(&self) -> &Value {
        let streams = self.report["streams"].as_array().expect("streams");
        streams.iter().find(|stream| stream["name"] == "itch").expect("the feed's stream")
    }

    /// The control topics of one name.
    pub(crate) fn told(&self, topic: &str) -> Vec<&Value> {
        self.topics.iter().filter(|told| told["topic"] == topic).collect()
    }
}
