//! What is sent arrives, in order and stamped, and what is not ours is counted by reason.

use crate::rig::{Rig, TX, is_root, run};
use crate::setup::*;
use etherparse::PacketBuilder;
use nix::sys::socket::{MsgFlags, send};
use sluice::event::Destination;
use sluice::sink::{FrameSink, SendOutcome, XdpSink};
use sluice::source::xdp::{AttachMode, DriveMode, LaneSettings, Steering, TxLane, XdpSource};
use sluice::source::{FrameSource, LinkType};
use std::os::fd::AsRawFd;

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

#[test]
fn each_queue_has_its_own_lane_and_book() {
    if !is_root("each_queue_has_its_own_lane_and_book") {
        return;
    }
    const QUEUES: u32 = 4;
    const EACH: u64 = 500;
    let rig = Rig::new(QUEUES);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let sources: Vec<XdpSource> = (0..QUEUES)
        .map(|queue| rig.in_rx(|| XdpSource::open(&steering, &lane(queue))).expect("opens"))
        .collect();
    for queue in 0..QUEUES {
        let first = u64::from(queue) * EACH;
        let packets: Vec<_> = (first..first + EACH).map(|n| numbered(n, PORT)).collect();
        rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(queue)).expect("opens"), &packets));
    }
    // Two shards, each a thread with two lanes that it polls in turn.
    let mut shards: Vec<Vec<XdpSource>> = vec![Vec::new(), Vec::new()];
    for (index, source) in sources.into_iter().enumerate() {
        shards[index / 2].push(source);
    }
    let received: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            shards.into_iter().map(|shard| scope.spawn(|| run_shard(shard, EACH))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a shard ends")).collect()
    });
    assert_eq!(received, (0..u64::from(QUEUES) * EACH).collect::<Vec<_>>());
    let program = steering.program_book().expect("counters");
    assert_eq!(program.redirected, u64::from(QUEUES) * EACH);
}

/// Polls the lanes of a shard in turn until each has received `each`, closes them, and returns all numbers.
fn run_shard(mut lanes: Vec<XdpSource>, each: u64) -> Vec<u64> {
    let mut numbers = vec![Vec::new(); lanes.len()];
    while numbers.iter().any(|of_lane| (of_lane.len() as u64) < each) {
        for (source, of_lane) in lanes.iter_mut().zip(&mut numbers) {
            source.poll(0, BUDGET, &mut |frame| of_lane.push(number_of(frame.bytes)));
        }
    }
    for source in &mut lanes {
        let (book, drained) = close(source);
        assert_eq!((book.received, book.redirected, drained), (each, each, 0));
    }
    numbers.concat()
}

#[test]
fn busy_polling_makes_one_call_per_turn_and_receives() {
    if !is_root("busy_polling_makes_one_call_per_turn_and_receives") {
        return;
    }
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let settings = LaneSettings { drive: DriveMode::BusyPoll, ..lane(0) };
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &settings)).expect("opens");
    let before = source.doorbells();
    for _ in 0..10 {
        source.poll(0, BUDGET, &mut |_| {});
    }
    assert!(source.doorbells() >= before + 10);
    let packets: Vec<_> = (0..100).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    assert_eq!(receive(&steering, &mut source, 100), (0..100).collect::<Vec<_>>());
    close(&mut source);
}

#[test]
fn spinning_on_the_ring_makes_no_system_call() {
    if !is_root("spinning_on_the_ring_makes_no_system_call") {
        return;
    }
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    let packets: Vec<_> = (0..100).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    receive(&steering, &mut source, 100);
    assert_eq!(source.doorbells(), 0);
}

#[test]
fn a_consumer_that_panics_loses_one_frame_and_no_chunk() {
    if !is_root("a_consumer_that_panics_loses_one_frame_and_no_chunk") {
        return;
    }
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let settings = LaneSettings { ring_entries: 64, chunks: 64, ..lane(0) };
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &settings)).expect("opens");
    let mut tx = rig.in_tx(|| TxLane::open(TX, &lane(0))).expect("opens");
    // More rounds than there are chunks: a chunk lost per round would show as frames lost.
    for round in 0..100 {
        let first = round * 4;
        send_all(&mut tx, &(first..first + 4).map(|n| numbered(n, PORT)).collect::<Vec<_>>());
        while steering.program_book().expect("counters").redirected < first + 4 {
            std::thread::yield_now();
        }
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            source.poll(0, BUDGET, &mut |frame| assert_ne!(number_of(frame.bytes), first + 1, "as intended"));
        }));
        assert!(panicked.is_err());
        assert_eq!(receive(&steering, &mut source, first + 4), [first + 2, first + 3]);
    }
    let (book, _) = close(&mut source);
    assert_eq!((book.received, book.redirected), (400, 400));
}

#[test]
fn the_sink_sends_ethernet_frames_and_refuses_others_by_name() {
    if !is_root("the_sink_sends_ethernet_frames_and_refuses_others_by_name") {
        return;
    }
    let rig = Rig::new(2);
    let rules = [Destination::v4(GROUP, PORT)];
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(1))).expect("opens");
    // Fewer chunks than frames: `Full` is met, and `flush` makes room.
    let settings = LaneSettings { ring_entries: 128, chunks: 128, ..lane(1) };
    let mut sink = rig.in_tx(|| XdpSink::open(TX, &settings)).expect("opens");
    assert_eq!(sink.describe(), format!("af_xdp copy {TX} queue 1"));
    assert_eq!(sink.send(&[0; 2_000], LinkType::Ethernet), SendOutcome::TooLong);
    assert_eq!(sink.send(&[0; 13], LinkType::Ethernet), SendOutcome::LinkType);
    assert_eq!(sink.send(&numbered(0, PORT), LinkType::RawIp), SendOutcome::LinkType);
    let mut full = 0;
    for number in 0..1_000 {
        while sink.send(&numbered(number, PORT), LinkType::Ethernet) == SendOutcome::Full {
            full += 1;
            sink.flush().expect("the interface is up");
        }
    }
    sink.flush().expect("the interface is up");
    assert!(full > 0);
    assert_eq!((sink.sent(), sink.dropped()), (1_000, 0));
    assert!(sink.doorbells() >= 1_000 / 32);
    assert_eq!(receive(&steering, &mut source, 1_000), (0..1_000).collect::<Vec<_>>());
    let (book, _) = close(&mut source);
    assert_eq!(book.redirected, 1_000);

    rig.in_tx(|| run("ip", &format!("link set {TX} down")));
    assert_eq!(sink.send(&numbered(0, PORT), LinkType::Ethernet), SendOutcome::Queued);
    let refused = sink.flush().expect_err("the interface is down").to_string();
    assert!(refused.contains(TX) && refused.contains("link set"), "{refused}");
}
