//! `sluice replay --to inline`, and all that must hold of its report whatever was replayed.

use crate::program::{json_file, number, sluice, text, total};
use serde_json::Value;
use sluice::event::{Class, Protocol};
use sluice::process::ClassTable;

/// The report of a replay with these words; its books are checked.
pub(crate) fn replayed(words: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let report = path.to_str().expect("a plain path");
    let output = sluice(&[&["replay", "--to", "inline", "--report", report], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    let report = json_file(&path);
    check_books(&report);
    report
}

fn check_books(report: &Value) {
    let n = |pointer: &str| number(report, pointer);
    assert_eq!(report["ledger"]["balanced"], true, "{:#}", report["ledger"]);
    assert_eq!(report["ledger"]["kernel"], serde_json::json!({}));
    assert_eq!(
        n("/ledger/frames/received"),
        n("/ledger/frames/decoded") + total(report, "/ledger/frames/rejected")
    );
    assert_eq!(n("/ledger/messages/accepted"), n("/ledger/events/accepted"));
    assert_eq!(n("/ledger/events/delivered"), n("/ledger/events/accepted"));
    assert_eq!(total(report, "/ledger/events/shed"), 0, "a capture waits");
    assert_eq!(n("/latency_ns/receive_to_processed/count"), n("/ledger/events/delivered"));
    assert_eq!(n("/hot_path/allocations"), 0, "{:#}", report["threads"]);
    let by_class = by_class(report["streams"].as_array().expect("streams"));
    for class in Class::ALL {
        let queue = &report["queues"][class.name()];
        assert_eq!(queue["pushed"], queue["popped"], "{queue}");
        assert_eq!(number(queue, "/pushed"), by_class[class as usize], "{}", class.name());
        let (high_water, capacity) = (number(queue, "/high_water"), number(queue, "/capacity"));
        assert!(high_water <= capacity && (high_water > 0) == (number(queue, "/pushed") > 0), "{queue}");
    }
}

/// Events of each class, by the streams' types: all copies of a stream are complete, so each type has its share.
fn by_class(streams: &[Value]) -> [u64; 3] {
    let table = ClassTable::default();
    let mut sums = [0; 3];
    for stream in streams {
        let protocol: Protocol = stream["protocol"].as_str().expect("a name").parse().expect("a protocol");
        // What was refused as no message has no type.
        let (messages, accepted) = (total(stream, "/by_type"), number(stream, "/accepted"));
        for (name, count) in stream["by_type"].as_object().expect("types") {
            let kind = protocol.type_code(name).expect("a type of the protocol");
            let class = table.class_of(protocol, kind);
            sums[class as usize] += count.as_u64().expect("a count") * accepted / messages;
        }
    }
    sums
}
