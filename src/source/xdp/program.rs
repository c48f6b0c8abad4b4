//! Loading of the steering program, with or without the NIC's clock.
//!
//! Invariant: what is loaded is held by file descriptors only, so dropping a [`Program`] leaves nothing behind.

#![expect(
    unsafe_code,
    reason = "libbpf's raw link call: libbpf-rs can't choose between native and generic mode"
)]

use super::XdpError;
use super::error::system_error;
use super::skeleton::{SteerSkelBuilder, types::steer_limit};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, PrintLevel, libbpf_sys};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Capabilities that loading and attaching need.
const CAPABILITIES: &str = "CAP_BPF and CAP_NET_ADMIN";

/// Names of the programs, as `bpftool prog` shows them and by which a left-over is known.
pub(super) const PROGRAM_NAMES: [&str; 2] = ["steer", "steer_hw"];

/// A loaded steering program and its maps.
#[derive(Debug)]
pub(super) struct Program {
    program: OwnedFd,
    /// Destinations that are ours.
    pub(super) rules: MapHandle,
    /// Sockets by queue.
    pub(super) sockets: MapHandle,
    /// Counters by queue.
    pub(super) counts: MapHandle,
}

impl Program {
    /// Loads the program. With `bind_to` it is bound to that interface and may read the NIC's clock; it can then be
    /// attached there only, in native mode only.
    ///
    /// # Errors
    /// [`XdpError::MissingCapability`], [`XdpError::KernelLacks`] without BTF, else [`XdpError::Load`].
    pub(super) fn load(bind_to: Option<u32>) -> Result<Program, XdpError> {
        libbpf_rs::set_print(Some((
            PrintLevel::Debug,
            |_, text| tracing::debug!(target: "libbpf", "{}", text.trim_end()),
        )));
        let name = PROGRAM_NAMES[usize::from(bind_to.is_some())];
        let refused = |error: libbpf_rs::Error| refusal(name, system_error(&error));
        let mut object = MaybeUninit::uninit();
        let mut open = SteerSkelBuilder::default().open(&mut object).map_err(refused)?;
        open.progs.steer.set_autoload(bind_to.is_none());
        open.progs.steer_hw.set_autoload(bind_to.is_some());
        if let Some(index) = bind_to {
            open.progs.steer_hw.set_ifindex(index);
            open.progs.steer_hw.set_flags(libbpf_sys::BPF_F_XDP_DEV_BOUND_ONLY);
        }
        let loaded = open.load().map_err(refused)?;
        let program = if bind_to.is_some() { &loaded.progs.steer_hw } else { &loaded.progs.steer };
        Ok(Program {
            program: program
                .as_fd()
                .try_clone_to_owned()
                .map_err(|source| XdpError::Load { program: name, source })?,
            rules: MapHandle::try_from(&loaded.maps.steer_rules).map_err(refused)?,
            sockets: MapHandle::try_from(&loaded.maps.steer_sockets).map_err(refused)?,
            counts: MapHandle::try_from(&loaded.maps.steer_counts).map_err(refused)?,
        })
    }

    /// Attaches the program; closing what is returned detaches it, and the kernel closes it when the process ends,
    /// however it ends.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(super) fn attach(&self, interface_index: u32, flags: u32) -> io::Result<OwnedFd> {
        let mut options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        options.flags = flags;
        let target = i32::try_from(interface_index).map_err(io::Error::other)?;
        // SAFETY: the program's descriptor is open for the time of the call, and `options` is a whole, initialised
        // structure that names its own size.
        let link = unsafe {
            libbpf_sys::bpf_link_create(
                self.program.as_raw_fd(),
                target,
                libbpf_sys::BPF_XDP,
                &raw const options,
            )
        };
        if link < 0 {
            return Err(io::Error::from_raw_os_error(-link));
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(link) })
    }
}

/// Puts a socket into the map by which its queue's frames find it.
pub(super) fn register_socket(sockets: &MapHandle, queue: u32, socket: i32) -> Result<(), XdpError> {
    sockets.update(&queue.to_ne_bytes(), &socket.to_ne_bytes(), MapFlags::ANY).map_err(|error| {
        XdpError::Map {
            operation: format!("handing queue {queue} to its socket"),
            source: system_error(&error),
        }
    })
}

/// Takes a socket out of the map: from now on its queue's frames go to the kernel.
pub(super) fn withdraw_socket(sockets: &MapHandle, queue: u32) -> Result<(), XdpError> {
    sockets.delete(&queue.to_ne_bytes()).map_err(|error| XdpError::Map {
        operation: format!("taking queue {queue} from its socket"),
        source: system_error(&error),
    })
}

/// A further handle of a map.
pub(super) fn share(map: &MapHandle) -> Result<MapHandle, XdpError> {
    MapHandle::try_from(map)
        .map_err(|error| XdpError::Map { operation: "sharing a map".into(), source: system_error(&error) })
}

/// Highest queue that the maps have room for, and one.
pub(super) const QUEUES_MAX: u32 = steer_limit::STEER_QUEUES_MAX.0;

fn refusal(program: &'static str, source: io::Error) -> XdpError {
    let has_btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if !may_load() => {
            XdpError::MissingCapability { operation: "loading the XDP program", capability: CAPABILITIES }
        }
        Some(libc::ENOSYS) => XdpError::KernelLacks { feature: "BPF", option: "CONFIG_BPF_SYSCALL=y" },
        Some(libc::ESRCH | libc::ENOENT) if !has_btf => {
            XdpError::KernelLacks { feature: "type information", option: "CONFIG_DEBUG_INFO_BTF=y" }
        }
        _ => XdpError::Load { program, source },
    }
}

/// Whether a map can be made at all: tells a missing capability from a program that the verifier refuses.
fn may_load() -> bool {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(libbpf_rs::MapType::Xskmap, Some("sluice_probe"), 4, 4, 1, &options).is_ok()
}

/// Waits until every frame that the program had redirected before this call is in a ring or counted as lost.
pub(super) fn settle() {
    // Frames are processed within one RCU read-side section, and this call waits for the end of all such sections.
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer != 0 {
        // Kernels with NO_HZ_FULL cores refuse it. A NAPI round takes at most some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
