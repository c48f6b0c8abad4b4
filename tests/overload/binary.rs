//! The program itself: a replay into tiny queues that give events up, its report, and its file of dead letters.

use crate::program::{capture, json_file, number, sluice, text, word};
use serde_json::Value;

const CONFIG: &str = "
[steering]
admit_unknown = true
[queues]
realtime_capacity = 64
transactional_capacity = 64
batch_capacity = 64
[queues.overflow]
realtime = 'drop-oldest'
transactional = 'conflate'
batch = 'drop-newest'
[dead_letters]
per_second = 1000000
burst = 1000000
payload_bytes_max = 16
";

fn object<'a>(value: &'a Value, pointer: &str) -> Vec<(&'a String, u64)> {
    let found = value.pointer(pointer).and_then(Value::as_object);
    let found = found.unwrap_or_else(|| panic!("no {pointer} in {value:#}"));
    found.iter().map(|(name, count)| (name, count.as_u64().expect("a count"))).collect()
}

#[test]
fn a_replay_into_tiny_queues_tells_of_everything_that_it_gave_up() {
    let Some(capture) = capture("cme-mdp3-ab.pcapng") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let letters = at("letters.jsonl");
    let config = CONFIG.replace("[dead_letters]", &format!("[dead_letters]\nfile = '{}'", word(&letters)));
    std::fs::write(at("sluice.toml"), config).expect("written");
    let (file, report) = (at("sluice.toml"), at("report.json"));
    let words =
        ["replay", word(&capture), "--config", word(&file), "--speed", "max", "--report", word(&report)];
    let output = sluice(&words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json_file(&report);
    let ledger = &report["ledger"];
    assert_eq!(
        (&ledger["balanced"], number(ledger, "/events/in_flight")),
        (&Value::Bool(true), 0),
        "{ledger:#}"
    );
    let mut given_up = object(ledger, "/events/dead_lettered");
    given_up.extend(object(ledger, "/events/shed"));
    given_up.retain(|(_, count)| *count > 0);
    assert!(!given_up.is_empty(), "it was not too much: {ledger:#}");
    let counts = sluice(&["dead-letters", word(&letters), "--counts", "--json"]);
    let counted: Value = serde_json::from_slice(&counts.stdout).expect("JSON");
    let by_reason = &report["dead_letters"]["by_reason"];
    for (reason, count) in given_up {
        let of = |key: &str| number(by_reason, &format!("/{reason}/{key}"));
        let (came, written) = (of("letters"), of("written"));
        assert_eq!(came + of("suppressed") + of("no_room"), count, "{reason}: {by_reason:#}");
        assert_eq!(written + of("not_written"), came, "{reason}: {by_reason:#}");
        let listed = counted["by_reason"][reason].as_u64().unwrap_or(0);
        assert_eq!(listed, written, "{reason}: {counted:#}");
    }
}
