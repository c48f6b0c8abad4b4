//! Facts about a network interface, as the kernel shows them to this thread's network namespace. It changes nothing.
#![expect(unsafe_code, reason = "the driver's name of a virtual interface is behind an ioctl")]

use super::{OsError, error};
use nix::net::if_::{if_nameindex, if_nametoindex};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in this network namespace.
    pub index: u32,
    /// Largest IP packet it carries, in bytes (without the Ethernet header).
    pub mtu: u32,
    /// Its Ethernet address; `None` for interfaces without one.
    pub mac: Option<[u8; 6]>,
    /// Receive queues there are (which may be more than are in use: see `ethtool -l`).
    pub rx_queues: u32,
    /// Transmit queues there are.
    pub tx_queues: u32,
    /// Its driver, such as `ice` or `veth`; `None` where no driver says (loopback).
    pub driver: Option<String>,
    /// The NUMA node its device is attached to; `None` if the machine doesn't say or has only one.
    pub numa_node: Option<u32>,
    /// Its state as sysfs spells it: `up`, `down`, `lowerlayerdown`, `unknown` (loopback says so while up).
    pub operstate: String,
}

impl Interface {
    /// The interface of that name.
    ///
    /// # Errors
    /// [`OsError::NoInterface`], which lists those there are; [`OsError::OtherNamespace`] if /sys belongs to another
    /// network namespace; [`OsError::Read`] if /sys isn't mounted.
    pub fn find(name: &str) -> Result<Interface, OsError> {
        let Ok(index) = if_nametoindex(name) else {
            return Err(OsError::NoInterface { name: name.to_owned(), present: interfaces() });
        };
        let folder = PathBuf::from("/sys/class/net").join(name);
        // /sys shows the namespace that it was mounted in, whatever namespace this thread has moved to since.
        if Path::new("/sys/class/net").exists() && read_number(&folder.join("ifindex")) != Some(index) {
            return Err(OsError::OtherNamespace { name: name.to_owned() });
        }
        let device = fs::canonicalize(folder.join("device")).ok();
        Ok(Interface {
            name: name.to_owned(),
            index,
            mtu: number(&folder.join("mtu"))?,
            mac: parse_mac(&text(&folder.join("address"))?).filter(|mac| *mac != [0; 6]),
            rx_queues: count_queues(&folder, "rx-"),
            tx_queues: count_queues(&folder, "tx-"),
            driver: device.as_deref().and_then(driver_of_device).or_else(|| driver_by_ioctl(name)),
            numa_node: device.as_deref().and_then(numa_node),
            operstate: text(&folder.join("operstate"))?,
        })
    }
}

/// What tells whether a link is the one that was seen before, without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The interface's number: another one when it was removed and made again.
    pub index: u32,
    /// Whether it is up and has a carrier.
    pub is_up: bool,
    /// How often its carrier came or went since it was made.
    pub carrier_changes: u64,
}

/// The state of an interface's link; `None` while there is none of that name.
pub fn link_state(name: &str) -> Option<LinkState> {
    let index = if_nametoindex(name).ok()?;
    let folder = PathBuf::from("/sys/class/net").join(name);
    // The kernel refuses to read the carrier of an interface that is down.
    let is_up = read_number(&folder.join("carrier")) == Some(1);
    let carrier_changes = read_number(&folder.join("carrier_changes")).map_or(0, u64::from);
    Some(LinkState { index, is_up, carrier_changes })
}

/// Names of all interfaces of this thread's network namespace, sorted.
pub fn interfaces() -> Vec<String> {
    let Ok(list) = if_nameindex() else { return Vec::new() };
    let mut names: Vec<String> = list.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> Result<String, OsError> {
    error::read(&path.to_string_lossy()).map(|text| text.trim().to_owned())
}

fn read_number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn number(path: &Path) -> Result<u32, OsError> {
    let text = text(path)?;
    text.parse().map_err(|_| OsError::Read {
        path: path.to_string_lossy().into_owned(),
        source: io::Error::other(format!("it says {text:?}, which is no number")),
    })
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

fn count_queues(folder: &Path, prefix: &str) -> u32 {
    let Ok(entries) = fs::read_dir(folder.join("queues")) else { return 0 };
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count() as u32
}

fn driver_of_device(device: &Path) -> Option<String> {
    let driver = fs::canonicalize(device.join("driver")).ok()?;
    driver.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The node of the device, or of the PCI function that it hangs on (virtio); -1 stands for "not known".
fn numa_node(device: &Path) -> Option<u32> {
    let own = read_number(&device.join("numa_node"));
    own.or_else(|| read_number(&device.parent()?.join("numa_node")))
}

/// Asks the interface itself (ETHTOOL_GDRVINFO): virtual interfaces have no device in /sys.
fn driver_by_ioctl(name: &str) -> Option<String> {
    const SIOCETHTOOL: u32 = 0x8946;
    const GDRVINFO: u32 = 3;
    const NAME_BYTES: usize = 32;
    // struct ethtool_drvinfo: the command, five names of 32 bytes, 12 bytes of reserve, five numbers: 196 bytes.
    let mut answer = [0u32; 49];
    answer[0] = GDRVINFO;
    // SAFETY: ifreq is plain data, for which zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = answer.as_mut_ptr().cast();
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // SAFETY: the request names the interface and points at a buffer as large as the answer to this command; both
    // outlive the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &mut request) };
    if status != 0 {
        return None;
    }
    let bytes: Vec<u8> = answer[1..=NAME_BYTES / 4].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let driver = std::ffi::CStr::from_bytes_until_nul(&bytes).ok()?.to_string_lossy().into_owned();
    (!driver.is_empty()).then_some(driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_as_expected() {
        let lo = Interface::find("lo").expect("every namespace has a loopback");
        assert_eq!((lo.name.as_str(), lo.index, lo.mac, lo.numa_node), ("lo", 1, None, None));
        assert!(lo.mtu >= 1_280 && lo.rx_queues >= 1 && lo.tx_queues >= 1, "{lo:?}");
        assert!(!lo.operstate.is_empty() && !lo.operstate.ends_with('\n'));
    }

    #[test]
    fn a_link_is_up_or_not_there() {
        let lo = link_state("lo").expect("every namespace has a loopback");
        assert_eq!(lo.index, 1);
        assert_eq!(link_state("lo"), Some(lo), "nothing happened in between");
        assert_eq!(link_state("nosuch0"), None);
    }

    #[test]
    fn every_interface_that_is_listed_is_found() {
        let names = interfaces();
        assert!(names.contains(&"lo".to_owned()));
        for name in names {
            let found = Interface::find(&name).expect("just listed");
            assert!(found.index > 0 && found.name == name, "{found:?}");
        }
    }

    #[test]
    fn an_absent_interface_is_named_with_those_there_are() {
        for name in ["nosuch0", "", "a-name-longer-than-any-interface-has", "../lo"] {
            let text = Interface::find(name).expect_err("absent").to_string();
            assert!(text.starts_with(&format!("no such interface: {name}; there are: ")), "{text}");
            assert!(text.contains("lo"), "{text}");
        }
    }

    #[test]
    fn addresses_are_parsed_whole_or_not_at_all() {
        assert_eq!(parse_mac("02:00:0a:ff:1B:7f"), Some([2, 0, 10, 255, 27, 127]));
        for bad in ["", "02:00:0a:ff:1b", "02:00:0a:ff:1b:7f:00", "02:00:0a:ff:1b:zz", "10.0.0.1"] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }

    /// In a namespace of its thread's own, which goes when the thread ends.
    #[test]
    fn a_virtual_interface_has_a_driver_and_a_foreign_sysfs_is_noticed() {
        let outcome = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
            let veth = ["link", "add", "sluice-t0", "type", "veth", "peer", "name", "sluice-t1"];
            let made =
                std::process::Command::new("ip").args(veth).status().map_err(|error| error.to_string())?;
            if !made.success() {
                return Err("no veth pair can be made".to_owned());
            }
            Ok((interfaces(), driver_by_ioctl("sluice-t0"), Interface::find("sluice-t0")))
        });
        match outcome.join().expect("no panic") {
            Ok((names, driver, found)) => {
                assert_eq!(names, ["lo", "sluice-t0", "sluice-t1"]);
                assert_eq!(driver.as_deref(), Some("veth"));
                assert!(matches!(found, Err(OsError::OtherNamespace { .. })), "{found:?}");
            }
            Err(why) => {
                use std::io::Write;
                writeln!(io::stderr(), "skipped: no network namespace of its own ({why})").expect("stderr");
            }
        }
    }
}
