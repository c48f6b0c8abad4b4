//! XDP and AF_XDP on a real veth pair: what is sent at one end arrives at the other, and the ledger balances.

#[path = "common/rig.rs"]
mod rig;

use etherparse::PacketBuilder;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};
use rig::{RX, Rig, TX, is_root, run};
use sluice::event::{ClockKind, Destination};
use sluice::ledger::{KernelBook, Ledger};
use sluice::source::xdp::{
    AttachMode, AttachWish, DriveMode, LaneSettings, PageFallback, Steering, SteeringSettings, TxFull, TxLane,
    XdpError, XdpSource,
};
use sluice::source::{Budget, FrameSource};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::yield_now;

const GROUP: [u8; 4] = [239, 9, 9, 9];
const PORT: u16 = 26_477;
const BUDGET: Budget = Budget { frames: 64, bytes: usize::MAX };

fn steering(rules: &[Destination]) -> SteeringSettings {
    SteeringSettings {
        interface: RX.to_owned(),
        rules: rules.to_vec(),
        hardware_time: false,
        mode: AttachWish::NativeElseGeneric,
    }
}

/// Small rings on ordinary pages, so that tests can run side by side.
fn lane(queue: u32) -> LaneSettings {
    LaneSettings { ring_entries: 4_096, chunks: 4_096, huge_pages: false, ..LaneSettings::of_queue(queue) }
}

/// A UDP packet to the group with a number as payload.
fn numbered(number: u64, port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [0xff; 6])
        .ipv4([10, 9, 0, 1], GROUP, 4)
        .udp(9, port)
        .write(&mut packet, &number.to_be_bytes())
        .expect("writing to a vector");
    packet
}

fn number_of(frame: &[u8]) -> u64 {
    let payload = frame.last_chunk::<8>().expect("the payload is 8 bytes");
    u64::from_be_bytes(*payload)
}

fn send_all(tx: &mut TxLane, packets: &[Vec<u8>]) {
    for packet in packets {
        while tx.send(packet) == Err(TxFull::Full) {
            tx.flush().expect("the interface is up");
        }
    }
    tx.flush().expect("the interface is up");
}

/// An AF_PACKET socket on the interface, for sending.
fn packet_socket(interface: &str) -> OwnedFd {
    let address: LinkAddr = nix::ifaddrs::getifaddrs()
        .expect("interfaces")
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address.and_then(|address| address.as_link_addr().copied()))
        .expect("the interface has a link address");
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("root");
    bind(fd.as_raw_fd(), &address).expect("binds");
    fd
}

/// Polls until the program has seen `seen` frames, and then until nothing is left; returns the numbers received.
fn receive(steering: &Steering, source: &mut XdpSource, seen: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let complete = steering.program_book().expect("counters").xdp_seen >= seen;
        let count = source.poll(0, BUDGET, &mut |frame| {
            assert_eq!(frame.clock, ClockKind::Monotonic);
            assert_ne!(frame.wire_ns, 0);
            numbers.push(number_of(frame.bytes));
        });
        if complete && count == 0 {
            return numbers;
        }
        if count == 0 {
            yield_now();
        }
    }
}

/// Stops a source, drains it, and returns its book, which must balance, and how many frames the draining brought.
fn close(source: &mut XdpSource) -> (KernelBook, u64) {
    source.stop();
    let mut drained = 0;
    while !source.exhausted() {
        drained += source.poll(0, BUDGET, &mut |_| {}) as u64;
    }
    let book = source.kernel_book().expect("an XDP source has one");
    let mut ledger = Ledger { kernel: Some(book.clone()), ..Ledger::default() };
    ledger.frames.received = book.received;
    ledger.frames.decoded = book.received;
    assert_eq!(ledger.imbalances(), [], "{book:?}");
    (book, drained)
}

fn named(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}

#[test]
fn frames_of_af_xdp_and_af_packet_arrive_in_order() {
    if !is_root("frames_of_af_xdp_and_af_packet_arrive_in_order") {
        return;
    }
    const EACH: u64 = 2_000;
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    assert_eq!(steering.report().mode, AttachMode::Native, "{}", steering.report());
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    assert!(!source.report().zero_copy, "veth has none: {}", source.report());
    let packets: Vec<_> = (0..2 * EACH).map(|n| numbered(n, PORT)).collect();
    let (first, second) = packets.split_at(EACH as usize);

    let sent = rig.in_tx(|| {
        let mut tx = TxLane::open(TX, &lane(0)).expect("opens without a program on the interface");
        send_all(&mut tx, first);
        (tx.sent(), tx.dropped())
    });
    assert_eq!(sent, (EACH, 0));
    assert_eq!(receive(&steering, &mut source, EACH), (0..EACH).collect::<Vec<_>>());

    rig.in_tx(|| {
        let fd = packet_socket(TX);
        for packet in second {
            assert_eq!(send(fd.as_raw_fd(), packet, MsgFlags::empty()), Ok(packet.len()));
        }
    });
    assert_eq!(receive(&steering, &mut source, 2 * EACH), (EACH..2 * EACH).collect::<Vec<_>>());

    let (book, drained) = close(&mut source);
    assert_eq!((book.redirected, book.received, drained), (2 * EACH, 2 * EACH, 0));
    assert_eq!(named(&book.notes, "wire_time_monotonic"), 2 * EACH);
}

/// The packet with VLAN tags of these types, outermost first.
fn tagged(packet: &[u8], types: &[u16]) -> Vec<u8> {
    let tags = types.iter().flat_map(|kind| [(kind >> 8) as u8, *kind as u8, 0, 42]);
    packet[..12].iter().copied().chain(tags).chain(packet[12..].iter().copied()).collect()
}

#[test]
fn what_is_not_ours_goes_to_the_kernel_with_its_reason() {
    if !is_root("what_is_not_ours_goes_to_the_kernel_with_its_reason") {
        return;
    }
    let group_v6 = [0xff, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let mut v6 = Vec::new();
    PacketBuilder::ethernet2([2; 6], [0xff; 6])
        .ipv6([1; 16], group_v6, 4)
        .udp(9, PORT)
        .write(&mut v6, &3u64.to_be_bytes())
        .expect("writing to a vector");
    let plain = numbered(0, PORT);
    let mut fragment = plain.clone();
    fragment[14 + 6] = 0x20;
    let mut tcp = plain.clone();
    tcp[14 + 9] = 6;
    let mut extension = v6.clone();
    extension[14 + 6] = 60;
    let packets = [
        plain.clone(),
        tagged(&numbered(1, PORT), &[0x8100]),
        tagged(&numbered(2, PORT), &[0x88a8, 0x8100]),
        v6,
        fragment,
        tcp,
        extension,
        tagged(&plain, &[0x88a8, 0x8100, 0x8100]),
        numbered(4, PORT + 1),
    ];

    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT), Destination { address: group_v6, port: PORT }];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    assert_eq!(receive(&steering, &mut source, packets.len() as u64), [0, 1, 2, 3]);
    let (book, _) = close(&mut source);
    assert_eq!(book.xdp_seen, packets.len() as u64);
    for reason in ["fragment", "not_udp", "ipv6_extension", "vlan_too_deep", "no_rule"] {
        assert_eq!(named(&book.passed, reason), 1, "{reason}");
    }
}

#[test]
fn rules_change_while_frames_flow() {
    if !is_root("rules_change_while_frames_flow") {
        return;
    }
    let rig = Rig::new(1);
    let mut steering = rig.in_rx(|| Steering::attach(&steering(&[]))).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    let mut tx = rig.in_tx(|| TxLane::open(TX, &lane(0))).expect("opens");
    let (ours, other) = (Destination::v4(GROUP, PORT), Destination::v4(GROUP, PORT + 1));

    send_all(&mut tx, &[numbered(1, PORT), numbered(2, PORT + 1)]);
    assert_eq!(receive(&steering, &mut source, 2), Vec::<u64>::new());
    assert!(steering.rules().add(ours).expect("added"));
    assert!(!steering.rules().add(ours).expect("there already"));
    send_all(&mut tx, &[numbered(3, PORT), numbered(4, PORT + 1)]);
    assert_eq!(receive(&steering, &mut source, 4), [3]);
    assert_eq!(steering.rules().replace(&[other]).expect("replaced"), (1, 1));
    send_all(&mut tx, &[numbered(5, PORT), numbered(6, PORT + 1)]);
    assert_eq!(receive(&steering, &mut source, 6), [6]);
    assert_eq!(steering.rules().replace(&[Destination::v4([0; 4], PORT)]).expect("any address"), (1, 1));
    send_all(&mut tx, &[numbered(7, PORT), numbered(8, PORT + 1)]);
    assert_eq!(receive(&steering, &mut source, 8), [7]);
    assert!(steering.rules().remove(Destination::v4([0; 4], PORT)).expect("removed"));
    assert!(steering.rules().is_empty());
    let (book, _) = close(&mut source);
    assert_eq!((book.redirected, named(&book.passed, "no_rule")), (3, 5));
}

/// Floods a source that is not polled, and returns its balanced book.
fn flood(settings: &LaneSettings, mode: AttachWish, frames: u64) -> KernelBook {
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let wish = SteeringSettings { mode, ..steering(&rules) };
    let steering = rig.in_rx(|| Steering::attach(&wish)).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, settings)).expect("opens");
    let packets: Vec<_> = (0..frames).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    while steering.program_book().expect("counters").xdp_seen < frames {
        yield_now();
    }
    let (book, drained) = close(&mut source);
    assert_eq!(book.redirected, frames);
    assert_eq!(book.received, drained);
    book
}

#[test]
fn a_full_rx_ring_loses_frames_by_that_name_only() {
    if !is_root("a_full_rx_ring_loses_frames_by_that_name_only") {
        return;
    }
    for mode in [AttachWish::NativeOnly, AttachWish::GenericOnly] {
        let book = flood(&LaneSettings { ring_entries: 64, chunks: 256, ..lane(0) }, mode, 1_000);
        assert_eq!(book.received, 64);
        assert_eq!(book.lost, [("rx_dropped", 0), ("rx_ring_full", 936)], "{mode:?}");
        assert_eq!(named(&book.notes, "fill_ring_empty"), 0, "{mode:?}");
    }
}

#[test]
fn an_empty_fill_ring_loses_frames_once_in_the_ledger() {
    if !is_root("an_empty_fill_ring_loses_frames_once_in_the_ledger") {
        return;
    }
    for mode in [AttachWish::NativeOnly, AttachWish::GenericOnly] {
        let book = flood(&LaneSettings { ring_entries: 256, chunks: 64, ..lane(0) }, mode, 1_000);
        assert_eq!(book.received, 64);
        assert_eq!(book.lost, [("rx_dropped", 936), ("rx_ring_full", 0)], "{mode:?}");
        assert!(named(&book.notes, "fill_ring_empty") >= 936, "{mode:?}: the same loss again, so it is a note");
    }
}
