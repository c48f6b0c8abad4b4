//! How the program comes onto an interface and goes away again, and what is said when it can't.

use crate::rig::{RX, Rig, TX, enter, is_root, run};
use crate::setup::*;
use libbpf_rs::{MapCore as _, ObjectBuilder, Program, Xdp, XdpFlags};
use sluice::event::Destination;
use sluice::source::xdp::{
    AttachMode, AttachWish, DriveMode, LaneSettings, PageFallback, Steering, SteeringSettings, TxLane,
    XdpError, XdpSource,
};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// Set for the process that [`a_killed_process_leaves_nothing_behind`] starts and kills.
const CHILD_NAMESPACE: &str = "SLUICE_TEST_CHILD_NAMESPACE";

fn index_of(interface: &str) -> i32 {
    nix::net::if_::if_nametoindex(interface).expect("it exists") as i32
}

fn id_on(interface: &str) -> u32 {
    let any = std::fs::File::open("/dev/null").expect("it exists");
    Xdp::new(any.as_fd()).query_id(index_of(interface), XdpFlags::NONE).expect("the kernel answers")
}

#[test]
fn dropping_the_steering_detaches_the_program() {
    if !is_root("dropping_the_steering_detaches_the_program") {
        return;
    }
    Rig::new(1).in_rx(|| {
        assert_eq!(id_on(RX), 0);
        let steering = Steering::attach(&steering(&[])).expect("attaches");
        assert_ne!(id_on(RX), 0);
        assert!(steering.is_attached());
        drop(steering);
        assert_eq!(id_on(RX), 0);
    });
}

#[test]
fn a_queue_is_free_again_soon_after_its_socket_is_closed() {
    if !is_root("a_queue_is_free_again_soon_after_its_socket_is_closed") {
        return;
    }
    Rig::new(1).in_rx(|| {
        let steering = Steering::attach(&steering(&[])).expect("attaches");
        for _ in 0..5 {
            drop(XdpSource::open(&steering, &lane(0)).expect("the queue is free, or becomes so"));
        }
        let _held = XdpSource::open(&steering, &lane(0)).expect("opens");
        let busy = XdpSource::open(&steering, &lane(0)).expect_err("it is held");
        assert!(matches!(busy, XdpError::QueueBusy { queue: 0, .. }), "{busy}");
        let absent = XdpSource::open(&steering, &lane(1)).expect_err("there is one queue");
        assert!(matches!(absent, XdpError::NoQueue { queue: 1, .. }), "{absent}");
        assert!(absent.machine_lacks());
    });
}

/// Not a test of its own: what the killed process does until it is killed.
#[test]
#[expect(clippy::print_stdout, reason = "the parent process waits for this line")]
fn the_process_that_is_killed() {
    let Ok(namespace) = std::env::var(CHILD_NAMESPACE) else { return };
    enter(&namespace);
    let steering = Steering::attach(&steering(&[Destination::v4(GROUP, PORT)])).expect("attaches");
    let _source = XdpSource::open(&steering, &lane(0)).expect("opens");
    println!("attached");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    if !is_root("a_killed_process_leaves_nothing_behind") {
        return;
    }
    let rig = Rig::new(1);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "attachment::the_process_that_is_killed", "--nocapture"])
        .env(CHILD_NAMESPACE, rig.rx_namespace())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let attached = lines.map(|line| line.expect("text")).any(|line| line.ends_with("attached"));
    assert!(attached, "the child ended before it was attached");
    let refused = rig.in_rx(|| Steering::attach(&steering(&[]))).expect_err("the child lives");
    assert!(matches!(refused, XdpError::InUse { .. }), "{refused}");
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    rig.in_rx(|| {
        let steering = Steering::attach(&steering(&[])).expect("the kernel detached the program");
        assert_eq!(steering.report().replaced, None);
        assert_eq!(steering.report().mode, AttachMode::Native);
        XdpSource::open(&steering, &lane(0)).expect("the kernel closed the socket");
    });
}

#[test]
fn a_left_over_program_of_ours_is_replaced() {
    if !is_root("a_left_over_program_of_ours_is_replaced") {
        return;
    }
    let rig = Rig::new(1);
    // One is attached to the other end, and its program also to ours by netlink, which no process's end undoes.
    let on_tx = rig.in_tx(|| {
        let settings = SteeringSettings { interface: TX.to_owned(), ..steering(&[]) };
        Steering::attach(&settings).map(|steering| (id_on(TX), steering))
    });
    let (id, other) = on_tx.expect("attaches");
    rig.in_rx(|| {
        let program = Program::fd_from_id(id).expect("it is loaded");
        Xdp::new(program.as_fd()).attach(index_of(RX), XdpFlags::SKB_MODE).expect("attaches by netlink");
        drop((program, other));
        assert_eq!(id_on(RX), id, "it outlives its owner");
        let steering = Steering::attach(&steering(&[])).expect("replaces it");
        assert_eq!(steering.report().replaced, Some(id), "{}", steering.report());
        assert_eq!(steering.report().mode, AttachMode::Native);
        drop(steering);
        assert_eq!(id_on(RX), 0);
    });
}

#[test]
fn a_foreign_program_is_left_alone_and_named() {
    if !is_root("a_foreign_program_is_left_alone_and_named") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (source, object) = (folder.path().join("foreign.c"), folder.path().join("foreign.o"));
    std::fs::write(
        &source,
        "struct xdp_md;\n__attribute__((section(\"xdp\"), used)) int foreign(struct xdp_md *frame) { return 2; }\n\
         char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n",
    )
    .expect("written");
    run("clang", &format!("-g -O2 -target bpf -c {} -o {}", source.display(), object.display()));
    Rig::new(1).in_rx(|| {
        let loaded = ObjectBuilder::default().open_file(&object).expect("opens").load().expect("loads");
        assert_eq!(loaded.maps().filter(|map| map.name() == "steer_rules").count(), 0);
        let program = loaded.progs_mut().next().expect("there is one");
        let link = program.attach_xdp(index_of(RX)).expect("attaches");
        let refused = Steering::attach(&steering(&[])).expect_err("the interface is taken");
        let text = refused.to_string();
        assert!(matches!(refused, XdpError::ForeignProgram { .. }), "{text}");
        assert!(
            text.contains("`foreign`") && text.contains(&format!("ip link set dev {RX} xdp off")),
            "{text}"
        );
        assert_ne!(id_on(RX), 0, "it is still there");
        drop(link);
        Steering::attach(&steering(&[])).expect("the interface is free");
    });
}

#[test]
fn generic_mode_is_fallen_back_to_and_told() {
    if !is_root("generic_mode_is_fallen_back_to_and_told") {
        return;
    }
    let rig = Rig::new(1);
    // Above 3,506 a veth refuses native programs without multi-buffer support.
    rig.in_rx(|| run("ip", &format!("link set {RX} mtu 3700")));
    rig.in_tx(|| run("ip", &format!("link set {TX} mtu 3700")));
    let rules = [Destination::v4(GROUP, PORT)];
    rig.in_rx(|| {
        let native = SteeringSettings { mode: AttachWish::NativeOnly, ..steering(&rules) };
        let refused = Steering::attach(&native).expect_err("the driver refuses");
        assert!(matches!(refused, XdpError::NoNativeXdp { .. }), "{refused}");
        assert!(refused.machine_lacks());
    });
    let steering = rig.in_rx(|| Steering::attach(&steering(&rules))).expect("attaches");
    assert_eq!(steering.report().mode, AttachMode::Generic);
    assert!(steering.report().to_string().contains("generic mode"), "{}", steering.report());
    assert!(
        steering.report().fallbacks.iter().any(|why| why.starts_with("native mode")),
        "{}",
        steering.report()
    );
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    assert_eq!(source.report().chunk_bytes, 4_096, "a frame of that MTU fits");
    let packets: Vec<_> = (0..100).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    assert_eq!(receive(&steering, &mut source, 100), (0..100).collect::<Vec<_>>());
    close(&mut source);
}

#[test]
fn hardware_time_is_tried_and_frames_are_stamped_without_it() {
    if !is_root("hardware_time_is_tried_and_frames_are_stamped_without_it") {
        return;
    }
    let rig = Rig::new(1);
    let rules = [Destination::v4(GROUP, PORT)];
    let wish = SteeringSettings { hardware_time: true, ..steering(&rules) };
    let steering = rig.in_rx(|| Steering::attach(&wish)).expect("attaches");
    assert_eq!(steering.report().mode, AttachMode::Native, "{}", steering.report());
    let mut source = rig.in_rx(|| XdpSource::open(&steering, &lane(0))).expect("opens");
    let packets: Vec<_> = (0..10).map(|n| numbered(n, PORT)).collect();
    rig.in_tx(|| send_all(&mut TxLane::open(TX, &lane(0)).expect("opens"), &packets));
    // A veth has the kernel function, but no time: `receive` asserts that each frame has the monotonic one.
    assert_eq!(receive(&steering, &mut source, 10), (0..10).collect::<Vec<_>>());
    close(&mut source);
}

#[test]
fn an_mtu_beyond_a_chunk_is_refused_with_the_command() {
    if !is_root("an_mtu_beyond_a_chunk_is_refused_with_the_command") {
        return;
    }
    Rig::new(1).in_rx(|| {
        let steering = Steering::attach(&steering(&[])).expect("attaches");
        run("ip", "link set lo mtu 9000");
        run("ip", &format!("link set {RX} mtu 3000"));
        let source = XdpSource::open(&steering, &lane(0)).expect("opens");
        assert_eq!(source.report().chunk_bytes, 4_096);
        let refused = TxLane::open("lo", &lane(0)).expect_err("9,000 bytes fit no chunk");
        assert!(refused.to_string().contains("`ip link set dev lo mtu 3818`"), "{refused}");
        assert!(refused.machine_lacks());
    });
}

#[test]
fn threads_of_the_kernel_are_refused_with_the_reason() {
    if !is_root("threads_of_the_kernel_are_refused_with_the_reason") {
        return;
    }
    Rig::new(1).in_rx(|| {
        // /sys still shows the namespace that the test was started in.
        let refused = Steering::attach(&SteeringSettings { napi_threads: true, ..steering(&[]) });
        let refused = refused.expect_err("the setting is out of reach");
        assert!(matches!(refused, XdpError::Drive { mode: DriveMode::NapiThread, .. }), "{refused}");
        assert_eq!(id_on(RX), 0, "nothing stays attached");
        let steering = Steering::attach(&steering(&[])).expect("attaches");
        let settings = LaneSettings { drive: DriveMode::NapiThread, ..lane(0) };
        let refused = XdpSource::open(&steering, &settings).expect_err("there are no threads");
        assert!(matches!(refused, XdpError::Drive { .. }), "{refused}");
    });
}

/// Free huge pages of 2 MiB.
fn huge_pages_free() -> usize {
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    std::fs::read_to_string(path).map_or(0, |text| text.trim().parse().expect("a number"))
}

#[test]
fn packet_memory_is_on_huge_pages_or_the_report_says_why_not() {
    if !is_root("packet_memory_is_on_huge_pages_or_the_report_says_why_not") {
        return;
    }
    Rig::new(1).in_rx(|| {
        let steering = Steering::attach(&steering(&[])).expect("attaches");
        let small = LaneSettings { huge_pages: true, chunks: 64, ring_entries: 64, ..lane(0) };
        if huge_pages_free() > 0 {
            let source = XdpSource::open(&steering, &small).expect("opens");
            assert_eq!(source.report().pages, PageFallback::None);
            assert_eq!(source.report().memory_bytes, 2 << 20, "rounded up to a huge page");
            assert!(source.report().to_string().ends_with("huge pages"), "{}", source.report());
        }
        // 256 MiB: more than a machine of this size sets aside, unless it was set up for it.
        run("ip", &format!("link set {RX} mtu 3000"));
        let large = LaneSettings { huge_pages: true, chunks: 65_536, ..lane(0) };
        let free_before = huge_pages_free();
        let source = XdpSource::open(&steering, &large).expect("opens on whatever pages");
        match &source.report().pages {
            PageFallback::None => assert!(free_before >= 128),
            PageFallback::Refused(why) => {
                assert!(free_before < 128);
                let text = source.report().to_string();
                assert!(text.contains(why) && text.contains("vm.nr_hugepages"), "{text}");
            }
            PageFallback::NotWished => panic!("they were wished for"),
        }
    });
}
