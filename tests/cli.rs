//! The command line from outside: exit codes and where text goes are a contract.

use std::process::{Command, Output};

fn sluice(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).args(words).output().expect("starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_config_accepts_the_shipped_files() {
    for name in ["appliance", "lab-veth", "lab-lines", "demo", "native-ingest"] {
        let path = format!("{}/config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let output = sluice(&["check-config", &path]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(&format!("{path}: valid, config ")));
    }
}

#[test]
fn wrong_files_and_wrong_usage_exit_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wrong.toml");
    std::fs::write(&path, "[threads]\nburst = 0\n").expect("writes");
    let path = path.to_str().expect("a plain path");
    for (words, named) in [
        (&["check-config", path][..], "wrong.toml:2: threads.burst"),
        (&["check-config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["check-config"], "Usage"),
        (&["replay", "a.pcap", "--vlan", "5"], "--to iface:NAME"),
        (&["replay", "a.pcap", "--speed", "2"], "--speed"),
        (&["decode", "a.pcap", "--protocol", "itch"], "moldudp64-itch50"),
        (&["--log", "!!=", "check-config", path], "--log"),
        (&["unknown"], "unknown"),
    ] {
        let output = sluice(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?} wrote to standard output");
        let message = text(&output.stderr);
        assert!(message.contains(named), "{words:?}: no '{named}' in {message}");
    }
}

#[test]
fn the_default_file_is_printed_and_accepted() {
    let output = sluice(&["check-config", "--print-default"]);
    assert_eq!(output.status.code(), Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("appliance.toml");
    std::fs::write(&path, &output.stdout).expect("writes");
    let checked = sluice(&["check-config", path.to_str().expect("a plain path")]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}
