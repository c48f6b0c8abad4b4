//! A `sluice run` of its own for a test: started with a config of its listeners, ended by a signal, judged by its report.
//!
//! Invariant: a run that ends in good order exits with 0 and closed books; anything else fails the test that ended it.

use crate::program::{json_file, number};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Small queues, so that a start takes no time and full ones are part of every test.
const QUEUES: &str = "
[queues]
realtime_capacity = 1024
transactional_capacity = 1024
batch_capacity = 1024

[report]
status_interval_s = 0
";

/// A listener's table: its name, its source (`tcp`, `udp`, or `unix` in the test's folder) and further keys.
pub(crate) fn listener(name: &str, source: &str, keys: &str) -> String {
    let place = match source {
        "unix" => format!("path = 'FOLDER/{name}.sock'"),
        _ if keys.contains("address") => String::new(),
        _ => "address = '127.0.0.1:0'".to_owned(),
    };
    let protocol = if keys.contains("protocol") { "" } else { "protocol = 'native'" };
    format!("[[listen]]\nname = '{name}'\nsource = '{source}'\n{place}\n{protocol}\n{keys}\n")
}

/// The config of a test: its tables, with `FOLDER` for the test's folder, and small queues unless it has its own.
pub(crate) struct Config {
    pub(crate) folder: TempDir,
    path: PathBuf,
    report: PathBuf,
}

impl Config {
    pub(crate) fn new(tables: &str) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sluice.toml");
        let queues = if tables.contains("[queues]") { "" } else { QUEUES };
        let text = format!("{tables}{queues}").replace("FOLDER", folder.path().to_str().expect("text"));
        std::fs::write(&path, text).expect("written");
        let report = folder.path().join("report.json");
        Config { folder, path, report }
    }

    /// A path in the test's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run that is not waited for.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("run").arg("--config").arg(&self.path).arg("--report").arg(&self.report);
        command
    }

    /// A start that must fail: its exit code and what it said.
    pub(crate) fn refused(&self) -> (Option<i32>, String) {
        let output = self.command().output().expect("it starts");
        (output.status.code(), crate::program::text(&output.stderr))
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn start(&self) -> Server<'_> {
        let started = self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.expect("text");
            said.push_str(&line);
            said.push('\n');
            if line.contains("running;") {
                break;
            }
        }
        assert!(said.contains("running;"), "it runs: {said}");
        let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
        Server { child, said, rest: Some(rest), report: &self.report }
    }
}

/// A running `sluice run`.
pub(crate) struct Server<'a> {
    child: Child,
    said: String,
    rest: Option<JoinHandle<String>>,
    report: &'a Path,
}

impl Server<'_> {
    /// Where a listener is, as clients are told: `tcp:ADDRESS`, `udp:ADDRESS` or `unix:PATH`.
    pub(crate) fn at(&self, name: &str) -> String {
        let words = format!("; {name} on ");
        let (_, behind) =
            self.said.split_once(&words).unwrap_or_else(|| panic!("{words:?} in {}", self.said));
        behind.split([';', '\n', ' ']).next().expect("a place").to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("it starts").success(), "a signal finds it");
    }

    fn end(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child");
        let said = self.rest.take().expect("ends once").join().expect("it reads");
        assert!(!said.contains("panicked"), "{said}");
        (status, said)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.end();
    }

    /// Ends it by SIGTERM. Its report: exit code 0, closed books, and no connection that is left open.
    pub(crate) fn stop(self) -> Value {
        self.signal("TERM");
        self.stopped()
    }

    /// As [`stop`](Server::stop), the signal being sent.
    pub(crate) fn stopped(mut self) -> Value {
        let (status, said) = self.end();
        let report = json_file(self.report);
        let ledger = &report["ledger"];
        assert_eq!(status.code(), Some(0), "{said}\n{ledger:#}");
        assert_eq!(ledger["balanced"], true, "{ledger:#}");
        assert_eq!(number(ledger, "/connections/open"), 0, "{ledger:#}");
        assert_eq!(number(ledger, "/events/in_flight"), 0, "{ledger:#}");
        report
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that is done has ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream's events by priority, those of which there are any.
pub(crate) fn by_priority(report: &Value, stream: &str) -> Value {
    let streams = report["streams"].as_array().expect("a list");
    let found = streams.iter().find(|candidate| candidate["name"] == stream);
    let found = found.unwrap_or_else(|| panic!("no stream {stream} in {streams:#?}"));
    found["by_type"].clone()
}

/// The counts of an object that are not 0.
pub(crate) fn counts(report: &Value, pointer: &str) -> Vec<(String, u64)> {
    let all = report.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("no {pointer}"));
    let counts = all.iter().map(|(name, count)| (name.clone(), count.as_u64().expect("a count")));
    let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    counts.sort();
    counts
}

/// Reasons why connections ended, and how many did.
pub(crate) fn closed(report: &Value) -> Vec<(String, u64)> {
    counts(report, "/ledger/connections/closed")
}

/// The same list, written down.
pub(crate) fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
