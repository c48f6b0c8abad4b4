//! Two lines on two interfaces, from namespaces of their own: groups are joined where their line comes in, again after
//! a flap, and left at the end; the copies are one stream.

use crate::live::{Lab, Running};
use crate::program::{capture, number, text, word};
use crate::rig::{RX, TX, enter, is_root, run};
use serde_json::{Value, json};
use sluice::replay::synthetic::{Packet, pcap_bytes};
use sluice::source::capture::CaptureReader;
use sluice::wire;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;
use std::net::{IpAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The receiving end of line B, beside that of line A.
const RX_B: &str = "veth-rx-b";
/// Its sending end, in a namespace of its own.
const TX_B: &str = "veth-tx-b";
/// The groups of the capture's lines.
const GROUP_A: [u8; 4] = [224, 0, 31, 64];
const GROUP_B: [u8; 4] = [224, 0, 32, 64];
/// Who sends the packets of captures made here.
const SENDER: [u8; 4] = [192, 0, 2, 1];
/// How long anything that must happen may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab with a second line.
struct Lines {
    lab: Lab,
    tx_b: String,
}

impl Lines {
    fn new() -> Lines {
        let lab = Lab::new(1);
        let rx = lab.rig.rx_namespace().to_owned();
        let lines = Lines { tx_b: rx.replace("-rx", "-txb"), lab };
        let tx_b = &lines.tx_b;
        run("ip", &format!("netns add {tx_b}"));
        run("ip", &format!("-n {rx} link add {RX_B} type veth peer name {TX_B} netns {tx_b}"));
        for (namespace, end, address) in [(tx_b, TX_B, "10.9.1.1/24"), (&rx, RX_B, "10.9.1.2/24")] {
            run("ip", &format!("netns exec {namespace} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"));
            run("ip", &format!("netns exec {namespace} ethtool -K {end} tx off gro off"));
            run("ip", &format!("-n {namespace} address add {address} dev {end}"));
            run("ip", &format!("-n {namespace} link set {end} arp off up"));
        }
        run("ip", &format!("-n {rx} link set {RX} multicast on"));
        lines
    }

    /// Both interfaces, and the CME feed with a line on each; `more` stands in the table of line B's interface.
    fn config(&self, more: &str) -> PathBuf {
        let path = self.lab.path("lines.toml");
        let interface = |name: &str| {
            format!("[[interface]]\nname = \"{name}\"\nattach = \"native\"\nzero_copy = \"never\"\n")
        };
        let lines = format!(
            "lines = [{{ name = \"A\", destination = \"224.0.31.64:14340\", interface = \"{RX}\" }}, {{ name = \"B\", \
             destination = \"224.0.32.64:15340\", interface = \"{RX_B}\", source = \"192.0.2.1\" }}]\n"
        );
        let text = format!(
            "{}{}{more}\n[[feed]]\nname = \"cme\"\nprotocol = \"cme-mdp3\"\n{lines}[report]\nstatus_interval_s = 1\n",
            interface(RX),
            interface(RX_B)
        );
        std::fs::write(&path, text).expect("writes");
        path
    }

    /// Interfaces of the receiving namespace that are members of a group, as the kernel lists them.
    fn members(&self, group: [u8; 4]) -> Vec<String> {
        let list = self.lab.rig.in_rx(|| std::fs::read_to_string("/proc/thread-self/net/igmp"));
        let wanted = format!("{:08X}", u32::from_ne_bytes(group));
        let mut interface = String::new();
        let mut members = Vec::new();
        for line in list.expect("Linux has it").lines() {
            // "2\teth0      :     1      V3", and below it a line for each group, indented.
            match line.split_once('\t') {
                Some((index, rest)) if !index.is_empty() => {
                    interface = rest.split_whitespace().next().unwrap_or_default().to_owned();
                }
                _ if line.split_whitespace().next() == Some(&wanted) => members.push(interface.clone()),
                _ => {}
            }
        }
        members
    }

    /// Senders that the receiving namespace asks for, in a group.
    fn asked_for(&self, group: [u8; 4]) -> Vec<String> {
        let list = self.lab.rig.in_rx(|| std::fs::read_to_string("/proc/thread-self/net/mcfilter"));
        let wanted = format!("0x{:08x}", u32::from_be_bytes(group));
        let list = list.expect("Linux has it");
        let words = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words
            .filter(|words| words.get(2) == Some(&wanted.as_str()))
            .map(|words| words[3].to_owned())
            .collect()
    }

    fn flap(&self, namespace: &str, end: &str, running: &mut Running) {
        run("ip", &format!("-n {namespace} link set {end} down"));
        run("ip", &format!("-n {namespace} link set {end} up"));
        running.wait_for(|line| line.contains("is up again: its multicast groups are joined again (1)"));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Not asserted: a second panic would hide the first one.
        let _ = std::process::Command::new("ip").args(["netns", "delete", &self.tx_b]).output();
    }
}

/// Hears what comes to an end of a line.
struct Wire(Socket);

impl Wire {
    fn at(namespace: &str) -> Wire {
        std::thread::scope(|scope| {
            let open = || {
                enter(namespace);
                let every_protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
                Socket::new(Domain::PACKET, Type::RAW, Some(every_protocol)).expect("root may")
            };
            let socket = scope.spawn(open).join().expect("no panic");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
            Wire(socket)
        })
    }

    /// Waits for a report (IGMPv3, RFC 3376) that somebody wants this group.
    fn wait_for_report(&mut self, group: [u8; 4]) {
        const IGMP: u8 = 2;
        const V3_REPORT: u8 = 0x22;
        let begun = Instant::now();
        let mut frame = [0; 2048];
        while begun.elapsed() < PATIENCE {
            let Ok(length) = self.0.read(&mut frame) else { continue };
            let Some(packet) = frame.get(14..length) else { continue };
            let header = usize::from(packet.first().map_or(0, |byte| byte & 0x0f)) * 4;
            let is_igmp = packet.get(9) == Some(&IGMP) && packet.get(header) == Some(&V3_REPORT);
            // Behind 8 bytes, records: type, lengths, and the group 4 bytes behind the record's begin.
            if is_igmp && packet.get(header + 8..).is_some_and(|rest| rest.get(4..8) == Some(&group)) {
                return;
            }
        }
        panic!("no report of {} on the wire", IpAddr::from(group));
    }
}

/// The capture's packets by the group that they were sent to, as two captures.
fn split(capture: &Path, lab: &Lab) -> [PathBuf; 2] {
    let mut packets = [Vec::new(), Vec::new()];
    let mut reader = CaptureReader::open(capture).expect("opens");
    while let Some(record) = reader.next_record().expect("reads") {
        let datagram = wire::link::parse(record.bytes, record.link).expect("only datagrams");
        let IpAddr::V4(group) = datagram.destination.ip() else { panic!("only IPv4") };
        let packet = Packet {
            time_ns: record.time_ns,
            destination: SocketAddrV4::new(group, datagram.destination.port),
            payload: datagram.payload.to_vec(),
        };
        packets[usize::from(group.octets() == GROUP_B)].push(packet);
    }
    assert_eq!(packets.each_ref().map(Vec::len), [5_000, 5_000]);
    let write = |line: usize| {
        let path = lab.path(["a.pcap", "b.pcap"][line]);
        std::fs::write(&path, pcap_bytes(&packets[line])).expect("writes");
        path
    };
    [0, 1].map(write)
}

#[test]
fn groups_are_joined_again_after_a_flap_and_left_at_the_end() {
    if !is_root("groups_are_joined_again_after_a_flap_and_left_at_the_end") {
        return;
    }
    let lines = Lines::new();
    let (rx, tx) =
        (lines.lab.rig.rx_namespace().to_owned(), lines.lab.rig.rx_namespace().replace("-rx", "-tx"));
    let mut wire = Wire::at(&tx);
    assert!(lines.members(GROUP_A).is_empty() && lines.members(GROUP_B).is_empty());
    let mut running = lines.lab.start(&lines.config(""), &[]);
    assert_eq!(
        (lines.members(GROUP_A), lines.members(GROUP_B)),
        (vec![RX.to_owned()], vec![RX_B.to_owned()])
    );
    let sender = format!("0x{:08x}", u32::from_be_bytes(SENDER));
    assert_eq!((lines.asked_for(GROUP_A), lines.asked_for(GROUP_B)), (vec![], vec![sender]));
    // The kernel tells of a new membership twice, by its robustness variable.
    wire.wait_for_report(GROUP_A);
    wire.wait_for_report(GROUP_A);
    // The other end goes: the kernel of this one sees its carrier go and come, and says nothing by itself.
    lines.flap(&tx, TX, &mut running);
    wire.wait_for_report(GROUP_A);
    lines.flap(&rx, RX, &mut running);
    wire.wait_for_report(GROUP_A);
    assert_eq!(
        (lines.members(GROUP_A), lines.members(GROUP_B)),
        (vec![RX.to_owned()], vec![RX_B.to_owned()])
    );
    running.signal("TERM");
    let report = running.end();
    assert!(lines.members(GROUP_A).is_empty() && lines.members(GROUP_B).is_empty());
    let told = report["memberships"].as_array().expect("an array");
    assert!(number(&told[0], "/rejoins") >= 2, "{told:#?}");
    let of_b = json!({ "interface": RX_B, "group": "224.0.32.64", "source": "192.0.2.1", "rejoins": 0 });
    assert_eq!((&told[0]["interface"], &told[0]["source"], &told[1]), (&json!(RX), &Value::Null, &of_b));
    let sources = report["sources"].to_string();
    for line in
        ["joined 224.0.31.64 on veth-rx (any source)", "joined 224.0.32.64 on veth-rx-b (source 192.0.2.1)"]
    {
        assert!(sources.contains(line), "no '{line}' in {sources}");
    }
}

#[test]
fn two_lines_on_two_interfaces_are_one_stream() {
    if !is_root("two_lines_on_two_interfaces_are_one_stream") {
        return;
    }
    let Some(cme) = capture("cme-mdp3-ab.pcapng") else { return };
    let lines = Lines::new();
    let [a, b] = split(&cme, &lines.lab);
    let mut running = lines.lab.start(&lines.config(""), &[]);
    let tx = lines.lab.rig.rx_namespace().replace("-rx", "-tx");
    // A flap in between takes nothing away: programs and rings stay.
    lines.flap(&tx, TX, &mut running);
    let pace = ["--pps", "4000"];
    std::thread::scope(|scope| {
        let of_b = scope.spawn(|| lines.lab.send_from(&lines.tx_b, TX_B, &b, &pace));
        assert_eq!(lines.lab.send(&a, &pace), 5_000);
        assert_eq!(of_b.join().expect("it is sent"), 5_000);
    });
    running.wait_for_frames(10_000);
    // What belongs to line A is not taken from line B's interface.
    assert_eq!(lines.lab.send_from(&lines.tx_b, TX_B, &a, &pace), 5_000);
    running.signal("TERM");
    let report = running.end();
    assert_eq!(number(&report, "/ledger/frames/received"), 10_000);
    assert_eq!(number(&report, "/ledger/kernel/passed/no_rule"), 5_000, "{:#}", report["ledger"]["kernel"]);
    let messages = &report["ledger"]["messages"];
    assert_eq!(
        (&messages["accepted"], &messages["duplicate"]),
        (&json!(10_273), &json!(10_273)),
        "{messages:#}"
    );
    let streams = report["streams"].as_array().expect("streams");
    for stream in streams {
        assert_eq!(number(stream, "/missing"), 0, "{stream:#}");
    }
    let of_line = |index: usize, key: &str| -> u64 {
        streams.iter().map(|stream| number(&stream["lines"][index], key)).sum()
    };
    assert_eq!([of_line(0, "/packets"), of_line(1, "/packets")], [5_000, 5_000]);
    assert_eq!(of_line(0, "/wins") + of_line(1, "/wins"), 5_000);
}

#[test]
fn what_is_not_to_be_joined_is_not_and_what_cannot_be_is_said() {
    if !is_root("what_is_not_to_be_joined_is_not_and_what_cannot_be_is_said") {
        return;
    }
    let lines = Lines::new();
    let running = lines.lab.start(&lines.config("join = false"), &[]);
    assert_eq!((lines.members(GROUP_A), lines.members(GROUP_B)), (vec![RX.to_owned()], vec![]));
    running.signal("TERM");
    assert_eq!(running.end()["memberships"].as_array().map(Vec::len), Some(1));
    let rx = lines.lab.rig.rx_namespace();
    run("ip", &format!("netns exec {rx} sysctl -qw net.ipv4.igmp_max_memberships=0"));
    let refused = lines.lab.at_rx(&["run", "--config", word(&lines.config(""))]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("`sysctl -w net.ipv4.igmp_max_memberships=2 net.ipv4.igmp_max_msf=1`"), "{told}");
}
