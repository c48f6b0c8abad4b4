//! What goes wrong outside of Sluice is told in one message that names the thing and the remedy, with the exit code of
//! the contract; damage inside a capture is counted, and the books balance all the same.

#[path = "common/program.rs"]
mod program;

use program::{capture, decoded, json_file, number, sluice, text, total, word};
use proptest::prelude::*;
use sluice::config::Settings;
use sluice::os::StopFlag;
use sluice::replay::synthetic::{iex_session, itch_session, pcap_bytes};
use sluice::source::capture::CaptureOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Exit code of a refusal, and that standard error names all of `named`.
fn refused(words: &[&str], code: i32, named: &[&str]) {
    check_refusal(words, &sluice(words), code, named);
}

fn check_refusal(words: &[&str], output: &Output, code: i32, named: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {message}");
    assert!(output.stdout.is_empty(), "{words:?} wrote to standard output: {}", text(&output.stdout));
    for name in named {
        assert!(message.contains(name), "{words:?}: no '{name}' in {message}");
    }
    assert_eq!(message.matches("error: ").count(), 1, "{words:?}: one message, not {message}");
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("writes");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("packs");
    packer.finish().expect("packs")
}

#[test]
fn files_that_are_no_captures_are_named_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.pcap");
    let empty = written(folder.path(), "empty.pcap", b"");
    let prose =
        written(folder.path(), "prose.pcap", b"This is a letter, and by no means a capture of packets.");
    let binary = written(folder.path(), "binary.pcap", &[0xfe; 100]);
    let broken = written(
        folder.path(),
        "broken.pcap.gz",
        &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xff; 90]].concat(),
    );
    let header = written(folder.path(), "header.pcap", &pcap_bytes(&[])[..20]);
    for command in ["decode", "replay"] {
        for (path, named) in [
            (missing.as_path(), ["missing.pcap", "No such file", "check the path"]),
            (folder.path(), [word(folder.path()), "directory", "name the capture files"]),
            (&empty, ["empty.pcap", "is empty", "fetch it again"]),
            (&prose, ["prose.pcap", "looks like text", "pcap, pcapng"]),
            (&binary, ["binary.pcap", "fe fe fe fe", "pcap, pcapng"]),
            (&broken, ["broken.pcap.gz", "can't be unpacked", "fetch it again"]),
            (&header, ["header.pcap", "cut off", "pcap, pcapng"]),
        ] {
            refused(&[command, word(path)], 1, &named);
        }
    }
    // A good file beside a bad one does not hide it.
    let good = written(folder.path(), "good.pcap", &pcap_bytes(&itch_session(1, 100).packets));
    refused(&["replay", word(&good), word(&missing)], 1, &["missing.pcap"]);
    refused(&["decode", word(&good), word(&missing)], 1, &["missing.pcap"]);
}

#[test]
fn a_capture_without_a_packet_is_an_empty_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(folder.path(), "none.pcap", &pcap_bytes(&[]));
    assert_eq!(decoded(&[word(&path)])["streams"], serde_json::json!([]));
    assert_eq!(sluice(&["replay", word(&path), "--loop", "3"]).status.code(), Some(0));
}

#[test]
fn damage_inside_a_capture_is_told_and_what_came_before_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = itch_session(2, 5_000);
    let plain = pcap_bytes(&session.packets);
    let packed = gzip(&plain);
    let mut flipped = packed.clone();
    flipped[packed.len() / 2..][..8].fill(0xff);
    for (name, bytes, label) in [
        ("flipped.gz", &flipped[..], "damaged capture"),
        ("cut.gz", &packed[..packed.len() / 2], "truncated capture"),
        ("cut.pcap", &plain[..plain.len() - 7], "truncated capture"),
    ] {
        let path = written(folder.path(), name, bytes);
        let report = folder.path().join("report.json");
        for words in [&["decode", word(&path)][..], &["replay", word(&path), "--report", word(&report)]] {
            let output = sluice(words);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{words:?}: {message}");
            assert!(message.contains(label), "{words:?}: no '{label}' in {message}");
        }
        let report = json_file(&report);
        let frames = number(&report, "/ledger/frames/received");
        assert!(frames > 0 && frames < session.packets.len() as u64, "{name}: {frames}");
        assert_eq!(report["ledger"]["balanced"], true);
        assert_eq!(
            frames,
            number(&report, "/ledger/frames/decoded") + total(&report, "/ledger/frames/rejected")
        );
    }
}

#[test]
fn wrong_words_and_wrong_configs_exit_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |name: &str, text: &str| written(folder.path(), name, text.as_bytes());
    let unknown = config("unknown.toml", "[queues]\nrealtime_capacity = 64\nrealtime_capasity = 64\n");
    let uneven = config("uneven.toml", "[queues]\nbatch_capacity = 100\n");
    let no_toml = config("no.toml", "queues = [\n");
    let none = config("none.toml", "[threads]\nburst = 1\n");
    let feed =
        "name = \"a\"\nprotocol = \"iex-tp\"\nlines = [{ name = \"A\", destination = \"233.0.0.1:1\" }]\n";
    let twice =
        config("twice.toml", &format!("[[feed]]\n{feed}[[feed]]\n{}", feed.replace("\"a\"", "\"b\"")));
    let good = written(folder.path(), "good.pcap", &pcap_bytes(&itch_session(1, 100).packets));
    for (path, named) in [
        (&unknown, ["unknown.toml:3", "realtime_capasity"]),
        (&uneven, ["uneven.toml:2", "queues.batch_capacity"]),
        (&no_toml, ["no.toml:", "no.toml"]),
        (&twice, ["twice.toml:", "233.0.0.1:1"]),
    ] {
        for words in [
            &["run", "--config", word(path)][..],
            &["check-config", word(path)],
            &["replay", word(&good), "--config", word(path)],
            &["decode", word(&good), "--config", word(path)],
        ] {
            refused(words, 2, &named);
        }
    }
    refused(&["run", "--config", word(&none)], 2, &["none.toml", "[[interface]]"]);
    refused(&["run", "--config", "/nonexistent/a.toml"], 2, &["/nonexistent/a.toml"]);
    for (words, named) in [
        (&["decode", word(&good), "--protocol", "itch"][..], &["itch", "moldudp64-itch50"][..]),
        (&["replay", word(&good), "--protocol", "PITCH"], &["PITCH", "cboe-pitch"]),
        (&["replay", word(&good), "--to", "quic:1.2.3.4:5"], &["iface:NAME"]),
        (&["replay", word(&good), "--loop", "0"], &["--loop"]),
        (&["replay", word(&good), "--from", "2s", "--until", "1s"], &["--from"]),
    ] {
        refused(words, 2, named);
    }
}

#[test]
fn a_missing_interface_is_named_and_exits_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = written(folder.path(), "run.toml", run_config("sluice-none0").as_bytes());
    refused(&["run", "--config", word(&config)], 3, &["sluice-none0", "there are: "]);
    refused(&["run", "--config", word(&config), "--print-topology"], 3, &["sluice-none0", "there are: "]);
    let capture = written(folder.path(), "a.pcap", &pcap_bytes(&itch_session(1, 100).packets));
    refused(&["replay", word(&capture), "--to", "iface:sluice-none0"], 3, &["sluice-none0"]);
}

fn run_config(interface: &str) -> String {
    format!(
        "[[interface]]\nname = \"{interface}\"\nring_entries = 64\n\
         [[feed]]\nname = \"a\"\nprotocol = \"iex-tp\"\nlines = [{{ name = \"A\", destination = \"233.0.0.1:1\" }}]\n"
    )
}

/// The program as a user without any right; `None`, with a line that says so, where that can't be had.
fn as_nobody(folder: &Path, words: &[&str]) -> Option<Output> {
    let program = folder.join("sluice");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_sluice"), &program).expect("copies");
    }
    let mut command = match nix::unistd::geteuid().is_root() {
        true => {
            let mut setpriv = Command::new("setpriv");
            setpriv.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ]);
            setpriv.arg(&program);
            setpriv
        }
        false => Command::new(&program),
    };
    match command.args(words).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let line = format!("skipped: rights (setpriv: {error})\n");
            std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
            None
        }
    }
}

#[test]
fn the_usual_limit_of_open_files_is_raised_for_listeners() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener =
        "[[listen]]\nname = \"tcp\"\nsource = \"tcp\"\naddress = \"127.0.0.1:0\"\nprotocol = \"native\"\n";
    let config = written(folder.path(), "listen.toml", listener.as_bytes());
    let script = "ulimit -Sn 256; exec \"$0\" run --duration 1s --config \"$1\"";
    let run = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_sluice"), word(&config)]).output();
    let output = run.expect("sh starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_rights_the_missing_capability_is_named_and_replays_work() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("may");
    // The loopback interface of every machine: nothing is attached to it for want of rights.
    let config = written(folder.path(), "run.toml", run_config("lo").as_bytes());
    let capture = written(folder.path(), "a.pcap", &pcap_bytes(&iex_session(1, 1_000).packets));
    let words = ["run", "--config", word(&config), "--duration", "1s"];
    let Some(output) = as_nobody(folder.path(), &words) else { return };
    check_refusal(&words, &output, 3, &["CAP_", "root", "setcap"]);
    let words = ["replay", word(&capture), "--to", "iface:lo"];
    let Some(output) = as_nobody(folder.path(), &words) else { return };
    check_refusal(&words, &output, 3, &["CAP_NET_RAW"]);
    for words in [&["replay", word(&capture)][..], &["decode", word(&capture)]] {
        let Some(output) = as_nobody(folder.path(), words) else { return };
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn hugepages_that_are_not_there_are_done_without_and_told() {
    let reserved = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    if reserved.is_ok_and(|pages| pages.trim() != "0") {
        std::io::stderr().write_all(b"skipped: hugepages (1 GiB pages are there)\n").expect("takes a line");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config =
        written(folder.path(), "a.toml", b"[steering]\nadmit_unknown = true\n[pool]\nhugepages = '1GiB'\n");
    let session = iex_session(1, 1_000);
    let capture = written(folder.path(), "a.pcap", &pcap_bytes(&session.packets));
    let report = folder.path().join("report.json");
    let output = sluice(&["replay", word(&capture), "--config", word(&config), "--report", word(&report)]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("event pool") && message.contains("1048576 KiB"), "no remark in {message}");
    assert_eq!(number(&json_file(&report), "/ledger/events/delivered"), session.counts.messages);
}

#[test]
fn a_report_that_cannot_be_written_is_told_after_the_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = written(folder.path(), "a.pcap", &pcap_bytes(&itch_session(1, 500).packets));
    for path in ["/nonexistent/report.json", word(folder.path()), "/proc/report.json"] {
        for option in ["--report", "--plot"] {
            let output = sluice(&["replay", word(&capture), option, path]);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{option} {path}: {message}");
            assert!(
                message.contains(path) && message.contains("choose another path"),
                "{option} {path}: {message}"
            );
            assert!(!output.stdout.is_empty(), "the summary is there all the same");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "no temporary file stays");
}

/// The first bytes of every capture that is at hand, and of made-up ones.
fn originals() -> Vec<Vec<u8>> {
    const BYTES: usize = 48 * 1024;
    let files =
        ["cme-mdp3-ab.pcapng", "miax-tom-mach.pcap", "ice-impact.pcap", "moldudp64-nasdaq-38msgs.pcap"];
    let files = files.into_iter().chain(["fix-tcp.pcap", "itch50-head1000.bin", "iex-tops16.pcap.gz"]);
    let real = files.map_while(capture).map(|path| std::fs::read(path).expect("reads"));
    let made_up = [iex_session(7, 3_000), itch_session(8, 3_000)].map(|session| pcap_bytes(&session.packets));
    real.chain(made_up).map(|bytes| bytes[..bytes.len().min(BYTES)].to_vec()).collect()
}

/// One way to damage a file; places and lengths are taken modulo what is there.
#[derive(Clone, Debug)]
enum Damage {
    Set { at: usize, byte: u8 },
    Cut { length: usize },
    Remove { at: usize, length: usize },
    Repeat { at: usize, length: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let (at, length) = (0..1usize << 20, 1..600usize);
    prop_oneof![
        20 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Set { at, byte }),
        1 => at.clone().prop_map(|length| Damage::Cut { length }),
        1 => (at.clone(), length.clone()).prop_map(|(at, length)| Damage::Remove { at, length }),
        1 => (at, length).prop_map(|(at, length)| Damage::Repeat { at, length }),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    // The first 24 bytes are the file's header: without it there is nothing to replay.
    let body = bytes.len() - 24;
    if body < 2 {
        return;
    }
    match *damage {
        Damage::Set { at, byte } => bytes[24 + at % body] = byte,
        Damage::Cut { length } => bytes.truncate(24 + body / 2 + length % (body / 2)),
        Damage::Remove { at, length } => {
            let at = 24 + at % body;
            bytes.drain(at..(at + length).min(24 + body));
        }
        Damage::Repeat { at, length } => {
            let at = 24 + at % body;
            let piece = bytes[at..(at + length).min(24 + body)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    // Each case makes pools, tables and threads, twice.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_ledger_balances_whatever_is_damaged(
        which in 0..9usize,
        damages in prop::collection::vec(damage(), 1..40),
        loops in 1..=2u64,
    ) {
        static ORIGINALS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let originals = ORIGINALS.get_or_init(originals);
        let mut bytes = originals[which % originals.len()].clone();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), "damaged", &bytes);
        let options = CaptureOptions { loops, ..CaptureOptions::new(vec![path.clone()]) };
        let settings = Settings::for_replay(None);
        let replay = sluice::appliance::replay_inline(&settings, &options, &StopFlag::new(), &mut |_, _| {}, &mut |_| {});
        let intake = sluice::appliance::capture_intake_settings(&settings);
        let decode = sluice::appliance::decode_captures(&[path], &intake, None, &mut |_, _| {});
        prop_assert_eq!(replay.is_ok(), decode.is_ok());
        let (Ok(replayed), Ok(decode)) = (replay, decode) else { return Ok(()) };
        let outcome = replayed.outcome;
        prop_assert_eq!(outcome.ledger.imbalances(), []);
        prop_assert_eq!(decode.ledger.imbalances(), []);
        prop_assert_eq!(outcome.ledger.events.delivered, outcome.ledger.events.accepted);
        prop_assert_eq!(outcome.ledger.frames.received, loops * decode.ledger.frames.received);
        // In a second loop the protocols are known from the first frame on.
        if loops == 1 {
            prop_assert_eq!(outcome.ledger.frames.decoded, decode.ledger.frames.decoded);
            prop_assert_eq!(outcome.ledger.messages.decoded, decode.ledger.messages.decoded);
        }
        for stream in outcome.streams.iter().chain(&decode.streams) {
            prop_assert!(stream.stream.book.balanced(), "{:?}", stream.stream.book);
            prop_assert_eq!(stream.processed, stream.stream.book.accepted);
        }
    }
}
