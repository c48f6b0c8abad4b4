//! Config files from outside: the three shipped ones are right, and every wrong one is refused with the file,
//! the line, the key and what is allowed.

use sluice::config::{Admission, ConfigError, Settings};
use sluice::event::Protocol;

const FEED: &str = "[[feed]]\nname = 'f'\nprotocol = 'iex-tp'\n";

#[test]
fn shipped_files_are_right() {
    for name in ["appliance", "lab-veth", "demo"] {
        let path = format!("{}/config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let settings = Settings::load(&path).unwrap_or_else(|error| panic!("{error}"));
        settings.check_runnable().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.admission, Admission::FeedsOnly);
    }
}

#[test]
fn the_lab_knows_the_lines_of_the_real_feeds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/lab-veth.toml");
    let settings = Settings::load(path).expect("is right");
    let cme = settings.feeds.iter().find(|feed| feed.protocol == Protocol::CmeMdp3).expect("has CME");
    let lines: Vec<String> = cme.lines.iter().map(|l| format!("{} {}", l.name, l.destination)).collect();
    assert_eq!(lines, ["A 224.0.31.64:14340", "B 224.0.32.64:15340"]);
    let destinations: Vec<_> = settings.destinations().collect();
    assert_eq!(destinations.len(), 6);
    assert_eq!(destinations[1].0, cme.lines[1].destination);
    assert_eq!((destinations[1].1, destinations[1].2), (0, 1));
}

/// Text, the line that the message names, and what else it says.
struct Wrong(&'static str, usize, &'static [&'static str]);

const WRONG: &[Wrong] = &[
    Wrong("[queues\n", 1, &["table"]),
    Wrong("[run]\ndrain = 1\n", 2, &["run.drain", "unknown field", "drain_deadline_s"]),
    Wrong("[[interfaces]]\nname = 'x'\n", 1, &["interfaces", "expected one of", "\"interface\""]),
    Wrong("[[interface]]\nqueues = 'all'\n", 1, &["interface[0]", "missing field \"name\""]),
    Wrong("[[interface]]\nname = 'x'\ndrive = 'poll'\n", 3, &["interface[0].drive", "\"poll\"", "busy-poll"]),
    Wrong(
        "[[interface]]\nname = 'x'\nqueues = 'some'\n",
        3,
        &["interface[0].queues", "\"some\"", "\"all\" or a list"],
    ),
    Wrong("[[interface]]\nname = 'x'\nqueues = []\n", 3, &["interface[0].queues", "empty list", "[0]"]),
    Wrong("[[interface]]\nname = 'x'\nqueues = [1, 1]\n", 3, &["interface[0].queues", "queue 1 twice"]),
    Wrong("[[interface]]\nname = 'x'\nqueues = [-1]\n", 3, &["interface[0].queues[0]", "-1"]),
    Wrong(
        "[[interface]]\nname = 'x'\nqueues = [5000]\n",
        3,
        &["interface[0].queues", "queue 5000", "0 to 1023"],
    ),
    Wrong("[[interface]]\nname = 'x'\nchunk_bytes = 2048\n", 3, &["chunk_bytes", "unknown"]),
    Wrong(
        "[[interface]]\nname = 'x'\nring_entries = 1000\n",
        3,
        &["interface[0].ring_entries", "1000", "1024"],
    ),
    Wrong(
        "[[interface]]\nname = 'x'\nring_entries = 131072\n",
        3,
        &["interface[0].ring_entries", "64 to 65536"],
    ),
    Wrong(
        "[[interface]]\nname = 'a name too long'\n",
        2,
        &["interface[0].name", "a name too long", "ip link"],
    ),
    Wrong("[[interface]]\nname = 'x'\nhugepages = 1\n", 3, &["interface[0].hugepages", "boolean"]),
    Wrong(
        "[[interface]]\nname = 'x'\nattach = 'generic'\nzero_copy = 'require'\n",
        4,
        &["interface[0].zero_copy", "attach = \"native\""],
    ),
    Wrong(
        "[[interface]]\nname = 'x'\n[[interface]]\nname = 'x'\n",
        4,
        &["interface[1].name", "interface[0].name"],
    ),
    Wrong(
        "[[feed]]\nname = 'f'\nprotocol = 'itch'\nlines = []\n",
        3,
        &["feed[0].protocol", "moldudp64-itch50"],
    ),
    Wrong("[threads]\nshards = 0\n", 2, &["threads.shards", "is 0", "1 to 64"]),
    Wrong("[threads]\nburst = 65\n", 2, &["threads.burst", "is 65", "1 to 64 frames"]),
    Wrong("[threads]\nfifo_priority = 100\n", 2, &["threads.fifo_priority", "is 100", "1 to 99"]),
    Wrong("[threads]\ncpus = [1, 2, 1]\n", 2, &["threads.cpus", "CPU 1 twice"]),
    Wrong("[threads]\ncpus = ['0']\n", 2, &["threads.cpus[0]", "string \"0\""]),
    Wrong("[threads]\nidle = 'sleep'\n", 2, &["threads.idle", "sleep", "backoff"]),
    Wrong(
        "[threads]\nmode = 'dedicated'\nshards = 2\ncpus = [3]\n",
        4,
        &["threads.cpus", "1 CPUs for 2 shards"],
    ),
    Wrong("[queues]\nbatch_capacity = 60000\n", 2, &["queues.batch_capacity", "is 60000", "65536"]),
    Wrong("[queues]\nrealtime_capacity = 99999999999\n", 2, &["queues.realtime_capacity", "99999999999"]),
    Wrong("[pool]\nslots_64 = 0\n", 2, &["pool.slots_64", "is 0", "slots"]),
    Wrong("[pool]\nhugepages = '4MiB'\n", 2, &["pool.hugepages", "4MiB", "2MiB", "1GiB", "never"]),
    Wrong("[report]\nstatus_interval_s = 1.5\n", 2, &["report.status_interval_s", "1.5"]),
    Wrong("[report]\npath = ''\n", 2, &["report.path", "empty"]),
    Wrong("[run]\ndrain_deadline_s = 0\n", 2, &["run.drain_deadline_s", "is 0", "1 to 3600 seconds"]),
    Wrong("[classes.iex-tp]\nTT = 'batch'\n", 2, &["classes.iex-tp.TT", "no message type of iex-tp"]),
    Wrong("[classes.cme-mdp3]\nT = 'batch'\n", 2, &["classes.cme-mdp3.T", "decimal"]),
    Wrong("[classes.cme-mdp3]\n32 = 'urgent'\n", 2, &["classes.cme-mdp3.32", "urgent", "realtime"]),
    Wrong("[classes.cme]\n32 = 'batch'\n", 1, &["classes.cme", "unknown protocol", "cme-mdp3"]),
];

fn message(text: &str) -> String {
    match Settings::from_text(text, "wrong.toml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn expect(text: &str, line: usize, words: &[&str]) {
    let message = message(text);
    assert!(
        message.starts_with(&format!("wrong.toml:{line}: ")),
        "line {line} expected of\n{text}\nin: {message}"
    );
    assert!(message.contains("sluice check-config"), "no advice in: {message}");
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

#[test]
fn every_wrong_file_is_refused_by_line_key_and_value() {
    for Wrong(text, line, words) in WRONG {
        expect(text, *line, words);
    }
}

#[test]
fn wrong_feeds_are_refused_by_line_key_and_value() {
    let table: &[(&str, usize, &[&str])] = &[
        ("lines = []\n", 4, &["feed[0].lines", "0 lines", "1 to 4"]),
        (
            "lines = [{ name = 'A', destination = '224.0.31.64' }]\n",
            4,
            &["feed[0].lines[0].destination", "14340"],
        ),
        (
            "lines = [{ name = 'A', destination = '224.0.31.64:70000' }]\n",
            4,
            &["lines[0].destination", "70000"],
        ),
        ("lines = [{ name = 'A', destination = '1.2.3.4:0' }]\n", 4, &["lines[0].destination", "ports 1 to"]),
        ("lines = [{ name = 'A', destination = '0.0.0.0:9' }]\n", 4, &["lines[0].destination", "wildcard"]),
        ("lines = [{ name = '', destination = '1.2.3.4:9' }]\n", 4, &["feed[0].lines[0].name", "1 to 48"]),
        (
            "lines = [{ name = 'A\\t', destination = '1.2.3.4:9' }]\n",
            4,
            &["feed[0].lines[0].name", "letters"],
        ),
        ("lines = [{ name = 'A' }]\n", 4, &["feed[0].lines[0]", "missing field \"destination\""]),
        (
            "lines = [\n{ name = 'A', destination = '1.2.3.4:9' },\n{ name = 'A', destination = '1.2.3.5:9' }]\n",
            6,
            &["feed[0].lines[1].name", "lines[0].name"],
        ),
        (
            "lines = [\n{ name = 'A', destination = '1.2.3.4:9' },\n{ name = 'B', destination = '1.2.3.4:9' }]\n",
            6,
            &["feed[0].lines[1].destination", "1.2.3.4:9", "line A of feed \"f\""],
        ),
    ];
    for (lines, line, words) in table {
        expect(&format!("{FEED}{lines}"), *line, words);
    }
}

#[test]
fn a_destination_belongs_to_one_feed_and_a_name_too() {
    let one = format!("{FEED}lines = [{{ name = 'A', destination = '[ff0e::1]:9' }}]\n");
    expect(&format!("{one}{one}"), 6, &["feed[1].name", "feed[0].name"]);
    let renamed = one.replace("'f'", "'g'");
    expect(&format!("{one}{renamed}"), 8, &["feed[1].lines[0].destination", "[ff0e::1]:9", "feed \"f\""]);
    let (plain, mapped) = (one.replace("[ff0e::1]", "1.2.3.4"), renamed.replace("ff0e::1", "::ffff:1.2.3.4"));
    expect(&format!("{plain}{mapped}"), 8, &["feed[1].lines[0].destination", "feed \"f\""]);
}

#[test]
fn five_lines_are_too_many() {
    let lines: Vec<String> =
        (1..=5).map(|n| format!("{{ name = 'L{n}', destination = '1.2.3.{n}:9' }}")).collect();
    expect(&format!("{FEED}lines = [{}]\n", lines.join(", ")), 4, &["feed[0].lines", "5 lines", "1 to 4"]);
}

#[test]
fn more_queues_than_shards_can_poll() {
    let queues: Vec<String> = (0..17).map(|queue| queue.to_string()).collect();
    let text =
        format!("[[interface]]\nname = 'x'\nqueues = [{}]\n[threads]\nshards = 1\n", queues.join(", "));
    expect(&text, 5, &["threads.shards", "at least 17", "shards = 2"]);
}

#[test]
fn all_findings_are_told_at_once() {
    let message = message("[run]\ndrain_deadline_s = 0\n[threads]\nburst = 0\n");
    assert!(message.contains("wrong.toml:2: run.drain_deadline_s"), "{message}");
    assert!(message.contains("wrong.toml:4: threads.burst"), "{message}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Settings::load("/nonexistent/sluice.toml").expect_err("is not there");
    assert!(matches!(error, ConfigError::Read { .. }));
    let message = error.to_string();
    assert!(message.contains("/nonexistent/sluice.toml") && message.contains("--config"), "{message}");
}

#[test]
fn a_run_needs_an_interface_and_a_feed() {
    let settings = Settings::from_text("", "empty.toml").expect("a replay needs nothing");
    let message = settings.check_runnable().expect_err("nothing to receive from").to_string();
    assert!(message.contains("empty.toml") && message.contains("[[interface]]"), "{message}");
    let settings = Settings::from_text("[[interface]]\nname = 'x'\n", "feedless.toml").expect("is right");
    let message = settings.check_runnable().expect_err("nothing to receive").to_string();
    assert!(message.contains("[[feed]]"), "{message}");
}
