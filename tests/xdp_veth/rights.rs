//! What happens to a process that has not all of root's rights: it works with the few that it needs, and says which
//! one is missing.

use crate::rig::{RX, Rig, is_root};
use crate::setup::*;
use sluice::event::Destination;
use sluice::source::xdp::{LaneSettings, Steering, TxLane, XdpError, XdpSource};
use std::process::Command;

/// Set for the processes that the tests start with fewer rights.
const CHILD: &str = "SLUICE_TEST_CHILD_RIGHTS";

/// Runs a test of this file in a process of its own, in the receiving namespace, with these capabilities only.
fn run_with(capabilities: &str, memlock_bytes: &str, test: &str) {
    let rig = Rig::new(1);
    let output = Command::new("ip")
        .args(["netns", "exec", rig.rx_namespace(), "prlimit"])
        .args([
            &format!("--memlock={memlock_bytes}"),
            "setpriv",
            &format!("--bounding-set=-all{capabilities}"),
        ])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", &format!("rights::{test}"), "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("ip, prlimit and setpriv are there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn without_rights_the_missing_ones_are_named() {
    if is_root("without_rights_the_missing_ones_are_named") && !is_child() {
        run_with("", "8388608", "a_process_without_rights");
    }
}

#[test]
fn a_process_without_rights() {
    if !is_child() {
        return;
    }
    let refused = Steering::attach(&steering(&[])).expect_err("not allowed");
    assert!(matches!(refused, XdpError::MissingCapability { .. }), "{refused}");
    assert!(
        refused.to_string().contains("CAP_BPF and CAP_NET_ADMIN") && refused.machine_lacks(),
        "{refused}"
    );
    let refused = TxLane::open(RX, &lane(0)).expect_err("not allowed");
    assert!(matches!(refused, XdpError::MissingCapability { capability: "CAP_NET_RAW", .. }), "{refused}");
}

#[test]
fn four_capabilities_suffice() {
    if is_root("four_capabilities_suffice") && !is_child() {
        run_with(",+bpf,+net_admin,+net_raw,+ipc_lock", "65536", "a_process_with_four_capabilities");
    }
}

#[test]
fn a_process_with_four_capabilities() {
    if !is_child() {
        return;
    }
    let rules = [Destination::v4(GROUP, PORT)];
    let mut steering = Steering::attach(&steering(&rules)).expect("attaches");
    let mut source = XdpSource::open(&steering, &lane(0)).expect("opens");
    steering.rules().add(Destination::v4(GROUP, PORT + 1)).expect("rules can be changed");
    close(&mut source);
}

#[test]
fn the_locked_memory_limit_is_named() {
    if is_root("the_locked_memory_limit_is_named") && !is_child() {
        run_with(",+bpf,+net_admin,+net_raw", "65536", "a_process_that_may_lock_64_kib");
    }
}

#[test]
fn a_process_that_may_lock_64_kib() {
    if !is_child() {
        return;
    }
    let refused =
        TxLane::open(RX, &LaneSettings { huge_pages: false, ..lane(0) }).expect_err("8 MiB are too much");
    assert!(matches!(refused, XdpError::MemlockTooLow { bytes: 0x80_0000 }), "{refused}");
    assert!(refused.to_string().contains("LimitMEMLOCK"), "{refused}");
}
