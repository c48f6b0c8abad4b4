//! The steering program, run by the kernel's BPF_PROG_TEST_RUN: a table of packets, and for each the verdict and the
//! one counter that it must raise.

use super::LaneSettings;
use super::counters::{NOTED, PASSED, QueueCounts, read_counts};
use super::interface::Interface;
use super::rules::key;
use super::skeleton::{SteerSkelBuilder, types::steer_counter};
use super::socket::{Way, bind};
use crate::event::Destination;
use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options, PacketBuilder};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, ProgramInput};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::process::Command;

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
const GROUP: [u8; 4] = [239, 1, 2, 3];
const GROUP_V6: [u8; 16] = [0xff, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const PORT: u16 = 26_477;
const ANY_ADDRESS_PORT: u16 = 5_000;
const PAYLOAD: &[u8] = b"sixteen payload.";

/// True if the test can run; else says why not.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen to be skipped")]
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} (needs root to load a BPF program)");
    }
    root
}

fn udp(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], GROUP, 9)
        .udp(7, port)
        .write(&mut packet, PAYLOAD)
        .expect("writing to a vector");
    packet
}

fn udp_v6() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6([1; 16], GROUP_V6, 9)
        .udp(7, PORT)
        .write(&mut packet, PAYLOAD)
        .expect("writing to a vector");
    packet
}

/// A packet with these header changes.
fn ipv4(change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let mut header =
        Ipv4Header::new(0, 9, IpNumber::UDP, [10, 0, 0, 1], GROUP).expect("payload length 0 fits");
    change(&mut header);
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        .udp(7, PORT)
        .write(&mut packet, PAYLOAD)
        .expect("writing to a vector");
    packet
}

/// The packet with VLAN tags of these types between its Ethernet header and the rest, outermost first.
fn tagged(packet: &[u8], types: &[u16]) -> Vec<u8> {
    let mut tagged = packet[..12].to_vec();
    for tag in types {
        tagged.extend_from_slice(&tag.to_be_bytes());
        tagged.extend_from_slice(&[0, 42]);
    }
    tagged.extend_from_slice(&packet[12..]);
    tagged
}

fn with_byte(mut packet: Vec<u8>, index: usize, value: u8) -> Vec<u8> {
    packet[index] = value;
    packet
}

fn cut(packet: &[u8], bytes: usize) -> Vec<u8> {
    packet[..bytes].to_vec()
}

/// Name, packet, exit.
type Case = (&'static str, Vec<u8>, steer_counter);

fn redirected_cases() -> Vec<Case> {
    let out = steer_counter::STEER_REDIRECTED;
    let options = |bytes: usize| {
        ipv4(|header| header.options = Ipv4Options::try_from(&[1; 40][..bytes]).expect("multiple of four"))
    };
    vec![
        ("IPv4", udp(PORT), out),
        ("IPv6", udp_v6(), out),
        ("802.1Q", tagged(&udp(PORT), &[0x8100]), out),
        ("802.1ad and 802.1Q", tagged(&udp(PORT), &[0x88a8, 0x8100]), out),
        ("two 802.1Q tags", tagged(&udp(PORT), &[0x8100, 0x8100]), out),
        ("IPv6 in two tags", tagged(&udp_v6(), &[0x88a8, 0x8100]), out),
        ("IPv4 with 4 bytes of options", options(4), out),
        ("IPv4 with 40 bytes of options", options(40), out),
        ("do not fragment", ipv4(|header| header.dont_fragment = true), out),
        ("a rule for any address", udp(ANY_ADDRESS_PORT), out),
    ]
}

fn passed_cases() -> Vec<Case> {
    type C = steer_counter;
    let plain = udp(PORT);
    let v6 = udp_v6();
    let ip_at = 14;
    vec![
        ("another port", udp(PORT + 1), C::STEER_PASSED_NO_RULE),
        ("another address", ipv4(|header| header.destination = [239, 1, 2, 4]), C::STEER_PASSED_NO_RULE),
        ("three tags", tagged(&plain, &[0x88a8, 0x8100, 0x8100]), C::STEER_PASSED_VLAN_TOO_DEEP),
        ("ARP", with_byte(plain.clone(), 13, 6), C::STEER_PASSED_NOT_IP),
        ("TCP", with_byte(plain.clone(), ip_at + 9, 6), C::STEER_PASSED_NOT_UDP),
        ("TCP over IPv6", with_byte(v6.clone(), ip_at + 6, 6), C::STEER_PASSED_NOT_UDP),
        ("first fragment", ipv4(|header| header.more_fragments = true), C::STEER_PASSED_FRAGMENT),
        (
            "later fragment",
            ipv4(|header| header.fragment_offset = IpFragOffset::try_new(185).expect("13 bits")),
            C::STEER_PASSED_FRAGMENT,
        ),
        ("IPv6 fragment", with_byte(v6.clone(), ip_at + 6, 44), C::STEER_PASSED_FRAGMENT),
        ("hop-by-hop options", with_byte(v6.clone(), ip_at + 6, 0), C::STEER_PASSED_IPV6_EXTENSION),
        ("routing header", with_byte(v6.clone(), ip_at + 6, 43), C::STEER_PASSED_IPV6_EXTENSION),
        ("IPv4 EtherType, version 6", with_byte(plain.clone(), ip_at, 0x65), C::STEER_PASSED_MALFORMED),
        ("IPv4 header of 16 bytes", with_byte(plain.clone(), ip_at, 0x44), C::STEER_PASSED_MALFORMED),
        ("IPv6 EtherType, version 4", with_byte(v6.clone(), ip_at, 0x40), C::STEER_PASSED_MALFORMED),
        ("Ethernet header only", cut(&plain, 14), C::STEER_PASSED_TRUNCATED),
        ("tag cut", cut(&tagged(&plain, &[0x8100]), 16), C::STEER_PASSED_TRUNCATED),
        ("IPv4 header cut", cut(&plain, 33), C::STEER_PASSED_TRUNCATED),
        ("options beyond the frame", with_byte(cut(&plain, 42), ip_at, 0x4f), C::STEER_PASSED_TRUNCATED),
        ("UDP header cut", cut(&plain, 41), C::STEER_PASSED_TRUNCATED),
        ("IPv6 header cut", cut(&v6, 53), C::STEER_PASSED_TRUNCATED),
    ]
}

/// The counters that differ, with by how much.
fn raised(before: &QueueCounts, after: &QueueCounts) -> Vec<(&'static str, u64)> {
    [("redirected", steer_counter::STEER_REDIRECTED)]
        .iter()
        .chain(&PASSED)
        .chain(&NOTED)
        .map(|(name, counter)| (*name, after.get(*counter) - before.get(*counter)))
        .filter(|(_, difference)| *difference > 0)
        .collect()
}

fn name_of(exit: steer_counter) -> &'static str {
    PASSED.iter().find(|(_, counter)| *counter == exit).map_or("redirected", |(name, _)| *name)
}

#[test]
fn each_packet_raises_its_counter_and_no_other() {
    if is_root("each_packet_raises_its_counter_and_no_other") {
        in_namespace(run_all_packets);
    }
}

fn run_all_packets() {
    let mut object = MaybeUninit::uninit();
    let mut open = SteerSkelBuilder::default().open(&mut object).expect("the object opens");
    open.progs.steer_hw.set_autoload(false);
    let steer = open.load().expect("the verifier takes the program");
    for rule in [
        Destination::v4(GROUP, PORT),
        Destination { address: GROUP_V6, port: PORT },
        Destination::v4([0, 0, 0, 0], ANY_ADDRESS_PORT),
    ] {
        steer
            .maps
            .steer_rules
            .update(&key(rule), &1u32.to_ne_bytes(), MapFlags::ANY)
            .expect("a rule is added");
    }
    let run = |packet: &[u8]| {
        let before = read_counts(&steer.maps.steer_counts, 0).expect("counters");
        let mut out = [0; 2_048];
        let input =
            ProgramInput { data_in: Some(packet), data_out: Some(&mut out), ..ProgramInput::default() };
        let output = steer.progs.steer.test_run(input).expect("the program runs");
        let after = read_counts(&steer.maps.steer_counts, 0).expect("counters");
        assert_eq!(after.seen(), before.seen() + 1, "one exit per frame");
        (output.return_value, raised(&before, &after), out[..16].to_vec())
    };

    for (name, packet, exit) in passed_cases() {
        assert_eq!(run(&packet), (XDP_PASS, vec![(name_of(exit), 1)], cut(&padded(&packet), 16)), "{name}");
    }
    for (name, packet, _) in redirected_cases() {
        let (verdict, counters, _) = run(&packet);
        assert_eq!((verdict, counters), (XDP_PASS, vec![("no_socket", 1)]), "{name} without a socket");
    }

    let device = Interface::find("lo").expect("every namespace has lo");
    let settings =
        LaneSettings { chunks: 64, ring_entries: 64, huge_pages: false, ..LaneSettings::of_queue(0) };
    let socket = bind(&device, &settings, Way::Rx).expect("a socket binds to lo");
    let fd = socket.rx.fd().as_raw_fd();
    steer
        .maps
        .steer_sockets
        .update(&0u32.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)
        .expect("registered");
    for (name, packet, _) in redirected_cases() {
        let (verdict, counters, meta) = run(&packet);
        let expected = vec![("redirected", 1), ("wire_time_monotonic", 1)];
        assert_eq!((verdict, counters), (XDP_REDIRECT, expected), "{name}");
        assert_ne!(meta[..8], [0; 8], "{name}: the wire time is set");
        assert_eq!(meta[8..12], 1u32.to_ne_bytes(), "{name}: by the monotonic clock");
        assert_eq!(&meta[12..], b"SLCE", "{name}");
    }
}

/// Packets shorter than 16 bytes, as they lie in the output buffer.
fn padded(packet: &[u8]) -> Vec<u8> {
    let mut padded = packet.to_vec();
    padded.resize(packet.len().max(16), 0);
    padded
}

/// Runs in a network namespace of its own, with `lo` up and an MTU that fits a chunk.
fn in_namespace(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may make a namespace");
            let up = Command::new("ip").args(["link", "set", "lo", "up", "mtu", "1500"]).status();
            assert!(up.expect("ip is there").success());
            body();
        });
    });
}
