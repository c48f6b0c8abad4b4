//! Two namespaces joined by a single-queue veth pair, made for the bench and removed when it ends.

use std::process::Command;

/// Addresses and names of the rig. Nothing outside its namespaces is touched.
pub(crate) struct Rig {
    /// Namespace of the sender.
    pub(crate) tx_namespace: String,
    /// Namespace of the receiver.
    pub(crate) rx_namespace: String,
}

/// Interface in the sender's namespace.
pub(crate) const TX_INTERFACE: &str = "bench-tx0";
/// Interface in the receiver's namespace.
pub(crate) const RX_INTERFACE: &str = "bench-rx0";
/// MAC address of the receiver's interface.
pub(crate) const RX_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 2];
/// MAC address of the sender's interface.
pub(crate) const TX_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// Address of the receiver.
pub(crate) const RX_ADDRESS: [u8; 4] = [10, 99, 0, 2];
/// Address of the sender.
pub(crate) const TX_ADDRESS: [u8; 4] = [10, 99, 0, 1];
/// The port that all receivers take.
pub(crate) const PORT: u16 = 9_001;

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|e| format!("ip is missing ({e}): run scripts/setup"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Rig {
    /// Makes the rig.
    pub(crate) fn up() -> Result<Rig, String> {
        let id = std::process::id();
        let rig = Rig { tx_namespace: format!("sluice-bt-{id}"), rx_namespace: format!("sluice-br-{id}") };
        let (tx, rx) = (&rig.tx_namespace, &rig.rx_namespace);
        ip(&format!("netns add {tx}"))?;
        ip(&format!("netns add {rx}"))?;
        ip(&format!(
            "link add {TX_INTERFACE} netns {tx} address 02:00:00:00:00:01 numtxqueues 1 numrxqueues 1 type veth \
             peer name {RX_INTERFACE} netns {rx} address 02:00:00:00:00:02 numtxqueues 1 numrxqueues 1"
        ))?;
        for (namespace, interface, address) in
            [(tx, TX_INTERFACE, "10.99.0.1/24"), (rx, RX_INTERFACE, "10.99.0.2/24")]
        {
            ip(&format!("-n {namespace} address add {address} dev {interface}"))?;
            // GRO on makes veth run NAPI on that side, which frames sent by XDP need.
            let _ = Command::new("ip")
                .args(["netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off", "gro", "on"])
                .output();
            ip(&format!("-n {namespace} link set {interface} up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(rig)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for namespace in [&self.tx_namespace, &self.rx_namespace] {
            if let Err(error) = ip(&format!("netns del {namespace}")) {
                eprintln!("receive: {error}");
            }
        }
    }
}
