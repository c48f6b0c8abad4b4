//! The real binary, from outside: what it prints, writes and exits with.
//!
//! Invariant: whatever is asked of it, it does not panic.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `sluice` with these words to its end.
pub(crate) fn sluice(words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).args(words).output().expect("it starts");
    assert!(!text(&output.stderr).contains("panicked"), "{words:?}: {}", text(&output.stderr));
    output
}

/// What was printed, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path as a word of a command line.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// What `sluice decode --json` with these words prints; it must exit with 0.
pub(crate) fn decoded(words: &[&str]) -> Value {
    let output = sluice(&[&["decode", "--json"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A JSON file.
pub(crate) fn json_file(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number {pointer} in {value:#}"))
}

/// The sum of an object of numbers at a JSON pointer.
pub(crate) fn total(value: &Value, pointer: &str) -> u64 {
    let counts = value
        .pointer(pointer)
        .and_then(Value::as_object)
        .unwrap_or_else(|| panic!("no {pointer} in {value:#}"));
    counts.values().map(|count| count.as_u64().expect("a count")).sum()
}

/// A real capture; `None`, with one line that says so, where the captures are not at hand.
pub(crate) fn capture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder.join(name));
    }
    // Straight to the descriptor, so that the line is seen also when the harness captures output.
    let line = b"skipped: no captures (set SLUICE_CAPTURES)\n";
    std::io::Write::write_all(&mut std::io::stderr(), line).expect("standard error takes a line");
    None
}
