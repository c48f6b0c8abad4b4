//! Somebody else's MoldUDP64 server, built from tests/foreign/moldudp and run for a test: it sends an ITCH file as
//! multicast and answers requests.
//!
//! Invariant: it ends when the test does, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// A foreign server. Dropping it kills it.
pub(crate) struct Foreign {
    child: Child,
    /// Its standard input: it ends when that is closed.
    words: ChildStdin,
    lines: BufReader<ChildStdout>,
    /// Where it answers requests.
    pub(crate) requests: SocketAddr,
}

/// What it put on the line and what it left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForeignSent {
    pub(crate) messages: u64,
    pub(crate) packets: u64,
    pub(crate) lost_messages: u64,
    pub(crate) lost_packets: u64,
}

/// The server's program, built once; `None` where the crates that it needs can't be had.
fn program() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = root.join("target/foreign");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(root.join("tests/foreign/moldudp/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .output();
        let is_built = output.is_ok_and(|output| output.status.success());
        is_built.then(|| target.join("debug/foreign-moldudp"))
    };
    BUILT.get_or_init(build).as_deref()
}

/// Starts the foreign server for an ITCH message file; `words` are its options (tests/foreign/moldudp/src/main.rs lists
/// them). It sends nothing before [`Foreign::send`]. `None`, with one line that says so, where it can't be built.
pub(crate) fn foreign_server(file: &Path, words: &[&str]) -> Option<Foreign> {
    let Some(program) = program() else {
        // Straight to the descriptor, so that the line is seen also when the harness captures output.
        let line = b"skipped: tests/foreign/moldudp can't be built here (cargo build tells why)\n";
        std::io::stderr().write_all(line).expect("standard error takes a line");
        return None;
    };
    let mut child = Command::new(program)
        .arg(file)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = child.stdin.take().expect("standard input");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("ready ").and_then(|address| address.parse().ok());
    let requests = address.unwrap_or_else(|| panic!("it is not ready: {line}"));
    Some(Foreign { child, words: input, lines, requests })
}

impl Foreign {
    /// Lets it send the whole file, and waits until it has.
    pub(crate) fn send(&mut self) -> ForeignSent {
        self.words.write_all(b"send\n").expect("it reads");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [messages, packets, lost_messages, lost_packets] = numbers[..] else { panic!("{line}") };
        ForeignSent { messages, packets, lost_messages, lost_packets }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
