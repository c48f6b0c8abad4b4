//! Dead letters on disk: `sluice dead-letters` from outside, and a file system that is full.

use serde_json::Value;
use sluice::config::DeadLetters;
use sluice::event::{DeadReason, EventHeader, Marks, Protocol, ShardId, ShedReason};
use sluice::sink::dead_letters::{
    LetterFile, LetterLines, LetterOffice, LetterPort, Reason, Trouble, letter_way,
};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EVICTED: Reason = Reason::Dead(DeadReason::Evicted);
const FULL: Reason = Reason::Shed(ShedReason::BatchQueueFull);
const SECOND: u64 = 1_000_000_000;

fn sluice(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).args(words).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn word(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// The body of a native frame of version 1: priority, topic and payload.
fn native(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![2];
    body.extend((topic.len() as u16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(payload);
    body
}

fn write(port: &mut LetterPort, reason: Reason, sequence: u64, payload: &[u8]) {
    let protocol = Protocol::Native as u8;
    let marks = Marks::AFTER_GAP.0;
    let header = EventHeader { sequence, protocol, kind: 2, stream: 5, marks, ..EventHeader::default() };
    port.write(reason, &header, payload, ShardId(1), 3, sequence);
}

/// A file of letters: evicted ones with the even numbers below `count`, shed ones with the odd ones.
fn letters(folder: &Path, count: u64) -> PathBuf {
    let path = folder.join("letters.jsonl");
    let (mut port, reader) = letter_way(&DeadLetters::default());
    let mut office = LetterOffice::new(0, Some(LetterFile::open(&path, 1 << 30, 2).expect("opens")));
    office.add(reader);
    for sequence in 0..count {
        let reason = if sequence % 2 == 0 { EVICTED } else { FULL };
        write(&mut port, reason, sequence, &native("orders.new", b"hello"));
    }
    office.finish(1, 1_700_000_000 * SECOND);
    path
}

fn listed(words: &[&str]) -> String {
    let output = sluice(&[&["dead-letters"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn sequences(lines: &str) -> Vec<u64> {
    let value = |line| serde_json::from_str::<Value>(line).expect("JSON");
    lines.lines().map(|line| value(line)["sequence"].as_u64().expect("a number")).collect()
}

#[test]
fn a_file_is_listed_for_people_and_for_scripts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = letters(folder.path(), 6);
    let path = word(&path);
    let table = listed(&[path]);
    assert_eq!(table.lines().count(), 7, "{table}");
    for word in
        ["2023-11-14 22:13:20.000", "evicted", "batch_queue_full", "native", "1/5", "after_gap", "orders.new"]
    {
        assert!(table.contains(word), "no {word} in {table}");
    }
    let json = listed(&[path, "--json"]);
    assert_eq!(sequences(&json), [0, 1, 2, 3, 4, 5]);
    let first: Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["v"], &first["attempts"], &first["fate"]), (&1.into(), &3.into(), &"dead".into()));
    assert_eq!(first["fields"]["topic"], "orders.new");
    let rows = listed(&[path, "--tsv", "--reason", "evicted"]);
    let cells: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    let place = cells[0].iter().position(|head| *head == "sequence").expect("a column");
    assert_eq!(cells[1..].iter().map(|row| row[place]).collect::<Vec<_>>(), ["0", "2", "4"]);
    assert_eq!(sequences(&listed(&[path, "--json", "--limit", "2"])), [4, 5]);
    let short = listed(&[path, "--limit", "2"]);
    assert!(short.contains("and 4 before them"), "{short}");
    assert_eq!(listed(&[path, "--reason", "late"]), "  none\n");
    let counts: Value = serde_json::from_str(&listed(&[path, path, "--counts", "--json"])).expect("JSON");
    assert_eq!(counts["by_reason"], serde_json::json!({ "batch_queue_full": 6, "evicted": 6 }));
    assert_eq!(listed(&[path, "--counts", "--tsv"]), "reason\tletters\nbatch_queue_full\t3\nevicted\t3\n");
    assert!(listed(&[path, "--counts"]).contains("evicted"));
}

#[test]
fn what_is_printed_as_json_is_read_from_standard_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = letters(folder.path(), 4);
    let json = listed(&[word(&path), "--json"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["dead-letters", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("standard input").write_all(json.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), json));
}

#[test]
fn wrong_lines_are_named_by_file_and_number_and_the_others_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = letters(folder.path(), 3);
    let mut bytes = std::fs::read(&path).expect("is there");
    let first = bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    bytes.splice(first..first, *b"\xff\xfe no letter\n");
    bytes.truncate(bytes.len() - 10);
    std::fs::write(&path, bytes).expect("writes");
    let output = sluice(&["dead-letters", word(&path), "--json"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(sequences(&text(&output.stdout)), [0, 1]);
    for words in ["letters.jsonl: line 2 is no dead letter", "letters.jsonl: line 4 is cut off"] {
        assert!(message.contains(words), "{message}");
    }
    std::fs::write(&path, "x\n".repeat(500)).expect("writes");
    let output = sluice(&["dead-letters", word(&path)]);
    let message = text(&output.stderr);
    assert_eq!((output.status.code(), message.lines().count()), (Some(1), 11), "{message}");
    assert!(message.contains("and 490 more lines"), "{message}");
}

#[test]
fn wrong_paths_and_wrong_words_have_their_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = letters(folder.path(), 1);
    let missing = folder.path().join("missing.jsonl");
    for (words, code, named) in [
        (&[word(&path), word(&missing)][..], 1, "missing.jsonl can't be read"),
        (&[word(folder.path())], 1, "directory"),
        (&[word(&path), "--reason", "lost"], 2, "unknown reason 'lost'"),
        (&[word(&path), "--limit", "0"], 2, "--limit"),
        (&[], 2, "FILE"),
    ] {
        let output = sluice(&[&["dead-letters"], words].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {message}");
        assert!(message.contains(named) && output.stdout.is_empty(), "{words:?}: {message}");
    }
}

/// A file system of 512 KiB in memory, which goes when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with one line that says so, where none can be mounted.
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk(folder));
        }
        let line = b"skipped: a small file system can't be mounted here (it needs root)\n";
        std::io::stderr().write_all(line).expect("standard error takes a line");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It is gone with the namespace of the test, if not now.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_once_counted_and_written_again_when_there_is_room() {
    const LETTERS: u64 = 2_000;
    let Some(disk) = SmallDisk::mount() else { return };
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![0; 200 << 10]).expect("fits");
    let path = disk.0.path().join("letters.jsonl");
    let (mut port, reader) = letter_way(&DeadLetters { burst: 100_000, ..DeadLetters::default() });
    let mut office = LetterOffice::new(10, Some(LetterFile::open(&path, 1 << 30, 3).expect("opens")));
    office.add(reader);
    let mut remarks = Vec::new();
    for sequence in 0..LETTERS {
        write(&mut port, EVICTED, sequence, &[7; 150]);
        office.step(sequence, 1);
        remarks.extend(office.remark());
    }
    assert_eq!((office.trouble(), remarks.len()), (Some(Trouble::DiskFull), 1), "{remarks:?}");
    assert!(remarks[0].contains("No space left") && remarks[0].contains("letters.jsonl"), "{remarks:?}");
    let full = office.counts(EVICTED);
    assert_eq!((full.letters, full.written + full.not_written), (LETTERS, LETTERS));
    assert!(full.written > 100 && full.not_written > 100, "{full:?}");
    // Whole lines only, also where the disk ended in one.
    assert_eq!(read(&path), (0..full.written).collect::<Vec<_>>());

    std::fs::remove_file(&filler).expect("is there");
    write(&mut port, EVICTED, LETTERS, b"too soon");
    office.step(4 * SECOND, 1);
    write(&mut port, EVICTED, LETTERS + 1, b"in time");
    office.step(6 * SECOND, 1);
    office.finish(7 * SECOND, 1);
    assert_eq!(office.trouble(), None);
    assert!(office.remark().is_some_and(|remark| remark.contains("is written again")));
    let counts = office.counts(EVICTED);
    assert_eq!((counts.written, counts.not_written), (full.written + 1, full.not_written + 1));
    let sequences: Vec<u64> = (0..full.written).chain([LETTERS + 1]).collect();
    assert_eq!(read(&path), sequences);
}

fn read(path: &Path) -> Vec<u64> {
    let file = BufReader::new(std::fs::File::open(path).expect("is there"));
    LetterLines::new(file).map(|letter| letter.unwrap_or_else(|wrong| panic!("{wrong}")).sequence).collect()
}
