//! Config files from outside: the shipped ones are right, and every wrong one is refused with the file,
//! the line, the key and what is allowed.

use sluice::config::{Admission, ConfigError, ListenSource, Settings};
use sluice::event::Protocol;

const FEED: &str = "[[feed]]\nname = 'f'\nprotocol = 'iex-tp'\n";

#[test]
fn shipped_files_are_right() {
    for name in ["appliance", "lab-veth", "lab-lines", "demo", "native-ingest"] {
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
    Wrong("[rules]\nwebhook_attempts = 0\n", 2, &["rules.webhook_attempts", "is 0", "1 to 10"]),
    Wrong("[rules]\nfile = ''\n", 2, &["rules.file", "is empty"]),
    Wrong("[queues\n", 1, &["table"]),
    Wrong("[run]\ndrain = 1\n", 2, &["run.drain", "unknown field", "drain_deadline_s"]),
    Wrong("[transactional]\nattempts = 0\n", 2, &["transactional.attempts", "0", "1 to 100"]),
    Wrong(
        "[transactional]\ndedup_entries_max = 100\n",
        2,
        &["transactional.dedup_entries_max", "100", "1024 to 67108864"],
    ),
    Wrong(
        "[transactional]\nretry_first_ms = 50\nretry_max_ms = 20\n",
        3,
        &["transactional.retry_max_ms", "20", "50"],
    ),
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
    Wrong(
        "[[feed]]\nname = 'f'\nprotocol = 'iex-tp'\nlines = [{ name = 'A', destination = '233.0.0.1:1' }]\n\
         [feed.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\n",
        5,
        &["feed[0].recovery", "\"iex-tp\"", "moldudp64-itch50"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = []\n",
        8,
        &["listen[0].recovery.servers", "0 servers", "1 to 8"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1', '[2001:db8::1]:1']\n",
        8,
        &["listen[0].recovery.servers", "[2001:db8::1]:1", "one family"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\nlocal = '[::1]:0'\n",
        9,
        &["listen[0].recovery.local", "[::1]:0", "family"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\nusername = 'u'\n",
        9,
        &["listen[0].recovery.username", "means nothing", "soupbintcp"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'soupbintcp'\nservers = ['192.0.2.1:1']\nmessages_max = 3\n",
        9,
        &["listen[0].recovery.messages_max", "means nothing", "moldudp64"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\nround_trip_ms = 3000\n",
        9,
        &["listen[0].recovery.round_trip_ms", "3000", "backoff_max_ms"],
    ),
    Wrong(
        "[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\nprotocol = 'moldudp64-itch50'\n\
         [listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\nround_trip_ms = 0\n",
        9,
        &["listen[0].recovery.round_trip_ms", "is 0", "1 to 60000"],
    ),
    Wrong(
        "[threads]\nshards = 2\n[[listen]]\nname = 'f'\nsource = 'udp'\naddress = '127.0.0.1:0'\n\
         protocol = 'moldudp64-itch50'\n[listen.recovery]\nprotocol = 'moldudp64'\nservers = ['192.0.2.1:1']\nshard = 1\n",
        11,
        &["listen[0].recovery.shard", "listener's", "remove"],
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
    Wrong("[[interface]]\nname = 'x'\njoin = 'no'\n", 3, &["interface[0].join", "boolean"]),
    Wrong("[control]\ninterval_ms = 0\n", 2, &["control.interval_ms", "is 0", "1 to 1000"]),
    Wrong("[control]\nmax_queue_depth = 0\n", 2, &["control.max_queue_depth", "is 0", "events"]),
    Wrong("[control]\nmax_drop_rate_pct = 0\n", 2, &["control.max_drop_rate_pct", "is 0", "percent"]),
    Wrong("[control]\nmax_drop_rate_pct = nan\n", 2, &["control.max_drop_rate_pct", "NaN", "percent"]),
    Wrong("[control]\nrecovery_factor = 1.5\n", 2, &["control.recovery_factor", "1.5", "0.01 to 1"]),
    Wrong("[control]\ndwell_ms = 0\n", 2, &["control.dwell_ms", "is 0"]),
    Wrong("[control]\nmax_latency_us = 0\n", 2, &["control.max_latency_us", "is 0", "microseconds"]),
    Wrong("[control]\nstall_ms = 9\n", 2, &["control.stall_ms", "is 9", "10 to"]),
    Wrong("[control]\non_kill = 'stop'\n", 2, &["control.on_kill", "stop", "pause"]),
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

/// A line of a feed on interfaces x and y, what is written into it, and what the message about it says.
const WRONG_LINES: &[(&str, &str, &[&str])] = &[
    ("239.1.1.1:9", "interface = 'z'", &["lines[0].interface", "\"z\"", "are of x, y"]),
    ("239.1.1.1:9", "source = 'z'", &["lines[0].source", "IP address"]),
    ("239.1.1.1:9", "source = '239.1.1.2'", &["lines[0].source", "239.1.1.2", "one sender"]),
    ("239.1.1.1:9", "source = '0.0.0.0'", &["lines[0].source", "0.0.0.0", "one sender"]),
    ("239.1.1.1:9", "source = '255.255.255.255'", &["lines[0].source", "one sender"]),
    ("239.1.1.1:9", "source = '2001:db8::1'", &["lines[0].source", "239.1.1.1:9", "destination's family"]),
    ("[ff3e::1]:9", "source = '192.0.2.1'", &["lines[0].source", "[ff3e::1]:9", "destination's family"]),
    ("10.0.0.1:9", "source = '192.0.2.1'", &["lines[0].source", "10.0.0.1:9", "no multicast group"]),
];

#[test]
fn lines_name_interfaces_and_senders_that_can_be() {
    let interfaces = "[[interface]]\nname = 'x'\n[[interface]]\nname = 'y'\njoin = false\n";
    let feed = |to: &str, more: &str| {
        format!("{interfaces}{FEED}lines = [{{ name = 'A', destination = '{to}', {more} }}]\n")
    };
    for (to, wrong, words) in WRONG_LINES {
        expect(&feed(to, wrong), 9, words);
    }
    expect(&feed("239.1.1.1:9", "interface = 'x'"), 4, &["interface[1].name", "names another interface"]);
    let alone = format!("{FEED}lines = [{{ name = 'A', destination = '239.1.1.1:9', interface = 'x' }}]\n");
    expect(&alone, 4, &["lines[0].interface", "no [[interface]] table"]);
}

#[test]
fn lines_are_of_one_interface_or_of_all() {
    let lines = "lines = [{ name = 'A', destination = '239.1.1.1:9', interface = 'x', source = '::ffff:192.0.2.7' }, \
                 { name = 'B', destination = '239.1.1.2:9' }]\n";
    let text = format!("[[interface]]\nname = 'x'\n[[interface]]\nname = 'y'\njoin = false\n{FEED}{lines}");
    let settings = Settings::from_text(&text, "right.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.interfaces.iter().map(|one| one.join).collect::<Vec<_>>(), [true, false]);
    let by = |name: &str| settings.lines_by(name).map(|line| line.name.clone()).collect::<Vec<_>>();
    assert_eq!((by("x"), by("y")), (vec!["A".to_owned(), "B".to_owned()], vec!["B".to_owned()]));
    assert_eq!(settings.feeds[0].lines[0].source, Some(std::net::IpAddr::from([192, 0, 2, 7])));
}

const TCP: &str = "[[listen]]\nname = 'l'\nsource = 'tcp'\naddress = '127.0.0.1:9000'\nprotocol = 'native'\n";
const UNIX: &str = "[[listen]]\nname = 'u'\nsource = 'unix'\nprotocol = 'native'\n";
const UDP: &str = "[[listen]]\nname = 'd'\nsource = 'udp'\naddress = '0.0.0.0:9001'\nprotocol = 'native'\n";
const SOUP: &str = "[[connect]]\nname = 's'\nservers = ['192.0.2.1:9']\nprotocol = 'soupbintcp-itch50'\n";

/// Tables that are right, a line more, and what the message about that line says.
const WRONG_NETWORK: &[(&str, &str, &[&str])] = &[
    (TCP, "path = '/x'", &["listen[0].path", "source = \"tcp\"", "belongs to source = \"unix\""]),
    (TCP, "mode = '0600'", &["listen[0].mode", "belongs to source = \"unix\""]),
    (TCP, "groups = ['239.1.1.1']", &["listen[0].groups", "multicast is for source = \"udp\""]),
    (TCP, "interface = 'eth1'", &["listen[0].interface", "source = \"udp\""]),
    (TCP, "connections_max = 0", &["listen[0].connections_max", "is 0", "1 to 16384 connections"]),
    (TCP, "connections_per_source_max = 16385", &["connections_per_source_max", "is 16385", "1 to 16384"]),
    (TCP, "allow = ['10.0.0.1/8']", &["listen[0].allow[0]", "write 10.0.0.0/8"]),
    (TCP, "allow = ['localhost']", &["listen[0].allow[0]", "\"localhost\"", "\"10.0.0.0/8\""]),
    (TCP, "frame_bytes_max = 65601", &["listen[0].frame_bytes_max", "is 65601", "64 to 65600 bytes"]),
    (TCP, "frame_bytes_max = 63", &["listen[0].frame_bytes_max", "is 63"]),
    (TCP, "idle_timeout_s = 86401", &["listen[0].idle_timeout_s", "0 to 86400 seconds (0 is never)"]),
    (TCP, "handshake_timeout_s = 0", &["listen[0].handshake_timeout_s", "is 0", "1 to 3600 seconds"]),
    (TCP, "unfinished_timeout_s = 3601", &["listen[0].unfinished_timeout_s", "1 to 3600 seconds"]),
    (TCP, "receive_buffer_bytes = 1", &["listen[0].receive_buffer_bytes", "is 1", "4096 to 1073741823"]),
    (TCP, "shard = 1", &["listen[0].shard", "is 1", "0 to 0", "threads.shards is 1"]),
    (TCP, "backlog = 5", &["listen[0].backlog", "unknown field", "connections_max"]),
    (UNIX, "address = '127.0.0.1:9000'", &["listen[0].address", "a Unix socket has a path"]),
    (UNIX, "path = ''", &["listen[0].path", "1 to 107 bytes"]),
    (UNIX, "mode = 660", &["listen[0].mode", "660", "octal string", "\"0660\""]),
    (UNIX, "mode = '0999'", &["listen[0].mode", "0999", "\"0777\""]),
    (UNIX, "allow = ['127.0.0.1']", &["listen[0].allow", "mode says who may connect"]),
    (UNIX, "connections_per_source_max = 5", &["connections_per_source_max", "write connections_max"]),
    (UNIX, "receive_buffer_bytes = 65536", &["listen[0].receive_buffer_bytes", "SO_SNDBUF"]),
    (UDP, "connections_max = 5", &["listen[0].connections_max", "datagrams have no connections"]),
    (UDP, "idle_timeout_s = 5", &["listen[0].idle_timeout_s", "time out"]),
    (UDP, "handshake_timeout_s = 5", &["listen[0].handshake_timeout_s", "time out"]),
    (UDP, "unfinished_timeout_s = 5", &["listen[0].unfinished_timeout_s", "time out"]),
    (UDP, "groups = ['10.0.0.1']", &["listen[0].groups", "10.0.0.1", "no multicast group", "239.1.1.1"]),
    (UDP, "groups = ['239.1.1.1', '239.1.1.1']", &["listen[0].groups", "239.1.1.1 twice"]),
    (UDP, "groups = ['ff0e::1']", &["listen[0].groups", "ff0e::1", "address' family"]),
    (UDP, "groups = ['x']", &["listen[0].groups[0]", "IP address"]),
    (UDP, "interface = 'eth1'", &["listen[0].interface", "list groups"]),
    (SOUP, "username = 'sevenxx'", &["connect[0].username", "sevenxx", "up to 6"]),
    (SOUP, "password = 'eleven char'", &["connect[0].password", "has 11 characters", "up to 10"]),
    (SOUP, "password_file = ''", &["connect[0].password_file", "empty"]),
    (SOUP, "password_file = '/nonexistent/secret'", &["connect[0].password_file", "/nonexistent/secret"]),
    (SOUP, "session = 'two words'", &["connect[0].session", "two words", "up to 10"]),
    (SOUP, "sequence = -1", &["connect[0].sequence", "-1"]),
    (SOUP, "shard = 7", &["connect[0].shard", "is 7", "0 to 0"]),
    (SOUP, "reconnect_min_ms = 10001", &["connect[0].reconnect_min_ms", "reconnect_max_ms is 10000"]),
    (SOUP, "reconnect_max_ms = 5", &["connect[0].reconnect_max_ms", "is 5", "10 to 600000 milliseconds"]),
    ("[network]\n", "mode = 'poll'", &["network.mode", "poll", "defer-taskrun", "sqpoll"]),
    ("[network]\n", "sqpoll_idle_ms = 0", &["network.sqpoll_idle_ms", "is 0", "1 to 60000"]),
    ("[network]\n", "sqpoll_cpu = 2", &["network.sqpoll_cpu", "mode = \"sqpoll\""]),
    ("[network]\n", "buffers = 100", &["network.buffers", "is 100", "the next one is 128"]),
    ("[network]\n", "buffer_bytes = 2097152", &["network.buffer_bytes", "4096 to 1048576"]),
    ("[network]\n", "buffers = 32768", &["network.buffers", "2048 MiB", "1024 MiB together"]),
    ("[network]\n", "producers_max = 65537", &["network.producers_max", "1 to 65536 producers"]),
    ("[dead_letters]\n", "file = ''", &["dead_letters.file", "empty"]),
    ("[dead_letters]\n", "max_bytes = 9", &["dead_letters.max_bytes", "is 9", "1048576 to 4294967295 bytes"]),
    ("[dead_letters]\n", "max_files = 0", &["dead_letters.max_files", "is 0", "1 to 100 files"]),
    ("[dead_letters]\n", "kept = 1000001", &["dead_letters.kept", "0 to 1000000"]),
    (
        "[dead_letters]\n",
        "payload_bytes_max = 65537",
        &["dead_letters.payload_bytes_max", "0 to 65536 bytes"],
    ),
    ("[dead_letters]\n", "per_second = 0", &["dead_letters.per_second", "1 to 1000000 letters"]),
    ("[dead_letters]\n", "burst = 0", &["dead_letters.burst", "1 to 1000000 letters"]),
    ("[host]\n", "interval_ms = 9", &["host.interval_ms", "is 9", "10 to 3600000"]),
    ("[host]\n", "topics_prefix = 'a b'", &["host.topics_prefix", "a b", "letters"]),
    ("[host]\n", "priority = 'urgent'", &["host.priority", "urgent", "critical"]),
    ("[host]\n", "shard = 1", &["host.shard", "is 1", "0 to 0"]),
];

#[test]
fn wrong_network_keys_are_refused_by_line_key_and_value() {
    for (right, wrong, words) in WRONG_NETWORK {
        Settings::from_text(right, "right.toml").unwrap_or_else(|error| panic!("{error}"));
        expect(&format!("{right}{wrong}\n"), right.lines().count() + 1, words);
    }
}

#[test]
fn listeners_need_an_address_and_a_protocol_that_fits() {
    let listen = |source: &str, protocol: &str| {
        format!("[[listen]]\nname = 'l'\nprotocol = '{protocol}'\nsource = '{source}'\n")
    };
    expect(&listen("tcp", "native"), 1, &["listen[0].address", "is missing", "address = \"127.0.0.1:9000\""]);
    expect(&listen("udp", "iex-tp"), 1, &["listen[0].address", "is missing"]);
    expect(&listen("unix", "iex-tp"), 3, &["listen[0].protocol", "datagrams", "\"engine20\" or \"fix\""]);
    expect(&listen("unix", "soupbintcp-itch50"), 3, &["listen[0].protocol", "[[connect]]", "servers"]);
    expect(&format!("{}address = '[::1]:9'\n", listen("udp", "fix")), 3, &["byte streams", "\"tcp\""]);
    expect(&listen("http", "native"), 4, &["listen[0].source", "http", "tcp", "unix", "udp"]);
    let bound = |address: &str| UDP.replace("0.0.0.0:9001", address);
    expect(&bound("239.1.1.1:9001"), 4, &["listen[0].address", "\"0.0.0.0:9001\"", "groups"]);
    let text = format!("{}groups = ['239.1.1.1']\n", bound("10.0.0.1:9001"));
    expect(&text, 4, &["listen[0].address", "\"0.0.0.0:9001\"", "interface"]);
    expect(&SOUP.replace("soupbintcp-itch50", "native"), 4, &["connect[0].protocol", "[[listen]]"]);
    for (servers, words) in [
        ("[]", &["connect[0].servers", "0 servers", "1 to 8"][..]),
        ("['192.0.2.1:9', '192.0.2.1:9']", &["connect[0].servers", "192.0.2.1:9 twice"]),
        ("['239.1.1.1:9']", &["connect[0].servers", "239.1.1.1:9", "multicast"]),
        ("['192.0.2.1:0']", &["connect[0].servers[0]", "ports 1 to"]),
        ("['0.0.0.0:9']", &["connect[0].servers[0]", "wildcard"]),
    ] {
        expect(&SOUP.replace("['192.0.2.1:9']", servers), 3, words);
    }
}

#[test]
fn names_and_addresses_belong_to_one_listener() {
    let named = |table: &str, name: &str| table.replacen("name = '", &format!("name = '{name}"), 1);
    let feed = format!("{FEED}lines = [{{ name = 'A', destination = '1.2.3.4:9' }}]\n");
    expect(&format!("{feed}{}", TCP.replace("'l'", "'f'")), 6, &["listen[0].name", "as is feed[0].name"]);
    expect(&format!("{TCP}{}", SOUP.replace("'s'", "'l'")), 7, &["connect[0].name", "as is listen[0].name"]);
    for (first, second) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::]:9000"),
        ("127.0.0.1:9000", "[::ffff:127.0.0.1]:9000"),
    ] {
        let (one, other) = (TCP.replace("127.0.0.1:9000", first), TCP.replace("127.0.0.1:9000", second));
        expect(&format!("{one}{}", named(&other, "b")), 9, &["listen[1].address", "listen[0].address"]);
    }
    expect(&format!("{UNIX}{}", named(UNIX, "b")), 5, &["listen[1].path", "ingest.sock", "listen[0].path"]);
    // Another kind of socket, another port, another address, or a port that the kernel chooses.
    let many = [
        TCP.to_owned(),
        named(UDP, "a").replace("9001", "9000"),
        named(TCP, "b").replace("9000", "9002"),
        named(TCP, "c").replace("127.0.0.1", "127.0.0.2"),
        named(TCP, "d").replace("9000", "0"),
        named(TCP, "e").replace("9000", "0"),
    ];
    let settings =
        Settings::from_text(&many.concat(), "right.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.listeners.len(), 6);
}

#[test]
fn acknowledged_sessions_share_a_shard() {
    let shards = "[threads]\nshards = 2\n";
    let text = format!("{TCP}{UNIX}shard = 1\n{shards}");
    expect(&text, 10, &["listen[1].shard", "listen[0] is on shard 0", "producers", "shard = 0"]);
    let engine = UNIX.replace("native", "engine20");
    for other in [engine.as_str(), UDP] {
        let text = format!("{TCP}{other}shard = 1\n{shards}");
        let settings = Settings::from_text(&text, "right.toml").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((settings.listeners[0].shard, settings.listeners[1].shard), (0, 1));
    }
}

#[test]
fn network_settings_are_typed_and_complete() {
    let settings = Settings::from_text(&format!("{TCP}{UNIX}{UDP}"), "right.toml").expect("is right");
    let [tcp, unix, udp] = settings.listeners.as_slice() else { panic!("three listeners") };
    assert_eq!(tcp.source, ListenSource::Tcp { address: "127.0.0.1:9000".parse().expect("an address") });
    assert_eq!((tcp.protocol, tcp.shard, tcp.frame_bytes_max), (Protocol::Native, 0, 65_536));
    assert_eq!((tcp.connections_max, tcp.connections_per_source_max), (1_024, 1_024));
    let seconds = std::time::Duration::from_secs;
    assert_eq!(
        (tcp.idle_timeout, tcp.handshake_timeout, tcp.unfinished_timeout),
        (None, seconds(10), seconds(10))
    );
    assert!(tcp.allow.is_empty() && tcp.receive_buffer_bytes.is_none());
    let path = "/run/sluice/ingest.sock".into();
    assert_eq!(unix.source, ListenSource::Unix { path, mode: 0o660 });
    let address = "0.0.0.0:9001".parse().expect("an address");
    assert_eq!(udp.source, ListenSource::Udp { address, groups: Vec::new(), interface: None });
    settings.check_runnable().expect("listeners need no interface and no feed");

    let few = Settings::from_text(&format!("{UNIX}connections_max = 3\nidle_timeout_s = 7\n"), "right.toml");
    let few = few.expect("is right");
    assert_eq!((few.listeners[0].connections_max, few.listeners[0].connections_per_source_max), (3, 3));
    assert_eq!(few.listeners[0].idle_timeout, Some(seconds(7)));
    let spelled =
        Settings::from_text(&format!("{UNIX}mode = '660'\nconnections_max = 1024\n"), "a").expect("is right");
    assert_eq!(spelled.config_hash(), Settings::from_text(UNIX, "b").expect("is right").config_hash());

    assert!(!settings.host.enabled);
    let host = Settings::from_text("[host]\nenabled = true\n", "right.toml").expect("is right");
    host.check_runnable().expect("the host's figures are something to receive");
}

#[test]
fn passwords_are_read_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, "geheim12\n").expect("written");
    let with_file = format!("{SOUP}password_file = '{}'\n", path.display());
    let from_file = Settings::from_text(&with_file, "right.toml").unwrap_or_else(|error| panic!("{error}"));
    let written =
        Settings::from_text(&format!("{SOUP}password = 'geheim12'\n"), "right.toml").expect("is right");
    for settings in [&from_file, &written] {
        assert_eq!(settings.connectors[0].password, "geheim12");
        assert!(!format!("{settings:?}").contains("geheim12"));
    }
    let other = Settings::from_text(&format!("{SOUP}password = 'other'\n"), "right.toml").expect("is right");
    assert_eq!(written.config_hash(), other.config_hash());
    assert_eq!(written.connectors[0].sequence, 1);
    expect(&format!("{with_file}password = 'x'\n"), 5, &["connect[0].password_file", "keep one"]);
    std::fs::write(&path, "a long passphrase\n").expect("written");
    let message = message(&with_file);
    assert!(message.contains("up to 10") && !message.contains("passphrase"), "{message}");
}

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
    assert!(message.contains("empty.toml") && message.contains("[[interface]], [[listen]] or"), "{message}");
    let settings = Settings::from_text("[[interface]]\nname = 'x'\n", "feedless.toml").expect("is right");
    let message = settings.check_runnable().expect_err("nothing to receive").to_string();
    assert!(message.contains("[[feed]]"), "{message}");
}

const TOPICS: &str = "[[batch.window]]\nname = 'w'\ngroup_by = 'topic'\n";
const TRADES: &str = "[[batch.window]]\nname = 'w'\ngroup_by = 'symbol'\n";

/// A table that is right, a line that makes it wrong, and what the message says.
const WRONG_WINDOWS: &[(&str, &str, &[&str])] = &[
    ("[batch]\n", "future_ms = 3600001", &["batch.future_ms", "0 to 3600000 milliseconds"]),
    (TOPICS, "topics = []", &["batch.window[0].topics", "0 topics", "[\"*\"]"]),
    (TOPICS, "topics = ['a*b']", &["batch.window[0].topics", "a*b", "host.*"]),
    (TOPICS, "value_key = 'a=b'", &["batch.window[0].value_key", "a=b", "busy_pct"]),
    (TOPICS, "protocols = []", &["batch.window[0].protocols", "group_by = \"symbol\""]),
    (TOPICS, "entries = ['trade']", &["batch.window[0].entries", "group_by = \"symbol\""]),
    (TRADES, "topics = ['*']", &["batch.window[0].topics", "group_by = \"topic\""]),
    (TRADES, "value_key = ''", &["batch.window[0].value_key", "group_by = \"topic\""]),
    (TRADES, "protocols = ['native']", &["batch.window[0].protocols", "native", "iex-tp"]),
    (TRADES, "entries = []", &["batch.window[0].entries", "empty", "execute"]),
    (TRADES, "entries = ['quote']", &["batch.window[0].entries", "quote", "trade"]),
    (TRADES, "feeds = ['nobody']", &["batch.window[0].feeds", "nobody"]),
    (TRADES, "kind = 'session'", &["batch.window[0].kind", "session", "tumbling"]),
    (TRADES, "length_ms = 0", &["batch.window[0].length_ms", "1 to 86400000"]),
    (TRADES, "slide_ms = 1000", &["batch.window[0].slide_ms", "kind = \"sliding\""]),
    (TRADES, "correction_ms = 1000", &["batch.window[0].correction_ms", "late = \"correct\""]),
    (TRADES, "late = 'drop'", &["batch.window[0].late", "drop", "dead-letter"]),
    (TRADES, "lateness_ms = 3600001", &["batch.window[0].lateness_ms", "0 to 3600000"]),
    (TRADES, "lateness_ms = 3600000\nlength_ms = 1000", &["batch.window[0].length_ms", "3603 panes"]),
    (TRADES, "keys_max = 65537", &["batch.window[0].keys_max", "1 to 65536 keys"]),
    (TRADES, "keys_max = 65536\nlateness_ms = 100000", &["keys_max", "1024 MiB", "quantiles = []"]),
    (TRADES, "quantiles = [1.5]", &["batch.window[0].quantiles", "1.5", "0.99"]),
    (
        TRADES,
        "quantiles = [0.1, 0.2, 0.3, 0.4, 0.5]",
        &["batch.window[0].quantiles", "5 quantiles", "up to 4"],
    ),
];

#[test]
fn wrong_windows_are_refused_by_key_and_value() {
    for (right, wrong, words) in WRONG_WINDOWS {
        Settings::from_text(right, "right.toml").unwrap_or_else(|error| panic!("{error}"));
        let message = message(&format!("{right}{wrong}\n"));
        assert!(message.starts_with("wrong.toml:") && message.contains("sluice check-config"), "{message}");
        for word in *words {
            assert!(message.contains(word), "no '{word}' in: {message}");
        }
    }
    expect(&format!("{TOPICS}{TRADES}"), 5, &["batch.window[1].name", "batch.window[0].name"]);
    let sliding = format!("{TRADES}kind = 'sliding'\n");
    assert!(message(&sliding).contains("slide_ms = 1000"));
    expect(&format!("{sliding}slide_ms = 6000\n"), 5, &["slide_ms", "is 6000", "length_ms, which is 5000"]);
}

#[test]
fn windows_are_there_unless_others_or_none_are_asked_for() {
    let windows = |text: &str| Settings::from_text(text, "right.toml").expect("is right").windows;
    let names = |text: &str| windows(text).definitions.into_iter().map(|d| d.name).collect::<Vec<_>>();
    assert_eq!(names(""), ["topics", "trades"]);
    assert_eq!(names("[batch]\nfuture_ms = 5\n"), ["topics", "trades"]);
    assert_eq!(names(TRADES), ["w"]);
    assert!(names("[batch]\nwindow = []\n").is_empty());
    let spelled = format!("{TRADES}entries = ['trade']\nlength_ms = 5000\n");
    let hash = |text: &str| Settings::from_text(text, "right.toml").expect("is right").config_hash();
    assert_eq!(hash(TRADES), hash(&spelled));

    // Feeds come first, then the listeners of each shard.
    let feed = format!("{FEED}lines = [{{ name = 'A', destination = '1.2.3.4:9' }}]\n");
    let text = format!("{feed}{UDP}shard = 1\n{TCP}[threads]\nshards = 2\n{TRADES}feeds = ['f', 'd', 'l']\n");
    let windows = windows(&text);
    let places: Vec<_> = windows.definitions[0].feeds.iter().map(|place| place.index).collect();
    assert_eq!((windows.feeds, places), (1, vec![0, 2, 1]));
}
