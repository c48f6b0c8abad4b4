//! Clients in another language, as processes: the scripts in `clients`, which know Sluice from its documents alone.
//!
//! Invariant: what a client says it sent is what the test holds the server to; a client that fails fails its test.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

fn command(script: &str, words: &[&str]) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingest/clients").join(script);
    let mut command = Command::new("python3");
    // No compiled files beside the sources.
    command.arg("-B").arg(path).args(words);
    command
}

/// Runs a client to its end; what it said last.
pub(crate) fn run(script: &str, words: &[&str]) -> Value {
    let output = command(script, words).stderr(Stdio::inherit()).output();
    let output = output.expect("python3 is there: scripts/setup installs it");
    assert!(output.status.success(), "{script} {words:?} ends well");
    let line = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    serde_json::from_slice(line.expect("it says what it did")).expect("JSON")
}

/// A client that is still there while the test does something to it or to the server.
pub(crate) struct Client {
    child: Child,
    lines: BufReader<ChildStdout>,
    _stdin: ChildStdin,
}

impl Client {
    pub(crate) fn start(script: &str, words: &[&str]) -> Client {
        let started = command(script, words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.expect("python3 is there: scripts/setup installs it");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Client { child, lines: BufReader::new(stdout), _stdin: stdin }
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("a child");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // One that is gone already makes it fail, and no difference.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
