//! What is already attached to an interface: ours from a crashed run is removed, another's is left alone and named.
//!
//! Invariant: only programs of our names are ever removed, and never one whose process lives.

use super::XdpError;
use super::error::system_error;
use super::interface::Interface;
use super::program::PROGRAM_NAMES;
use libbpf_rs::query::{LinkInfoIter, LinkTypeInfo, ProgInfoIter};
use libbpf_rs::{Xdp, XdpFlags};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

/// A dying process's link is gone within a few milliseconds; a queue of a closed socket stays busy for 20 to 40 ms.
/// So 25 times 20 ms is ample for both.
pub(super) const RETRIES: u32 = 25;
/// The pause between two tries.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Makes room on the interface: removes a left-over of ours and returns its id.
pub(super) fn clear(interface: &Interface) -> Result<Option<u32>, XdpError> {
    let mut removed = None;
    for _ in 0..RETRIES {
        let Some((id, flags)) = attached(interface)?.into_iter().next() else { return Ok(removed) };
        match program_name(id).as_deref() {
            None => {} // It went away between the two questions: ask again.
            // By a link: its process is alive, or is dying and takes the link with it.
            Some(ours) if PROGRAM_NAMES.contains(&ours) && is_held_by_link(interface, id) => {}
            Some(ours) if PROGRAM_NAMES.contains(&ours) => {
                remove(interface, id, flags)?;
                removed = Some(id);
                continue;
            }
            Some(foreign) => {
                let (interface, name) = (interface.name.clone(), foreign.to_owned());
                return Err(XdpError::ForeignProgram { interface, name, id });
            }
        }
        thread::sleep(RETRY_PAUSE);
    }
    match attached(interface)?.first() {
        None => Ok(removed),
        Some((id, _)) if program_name(*id).is_some() => {
            Err(XdpError::InUse { interface: interface.name.clone(), id: *id })
        }
        // Without CAP_SYS_ADMIN names can't be read, so it can't be told whose it is.
        Some((id, _)) => Err(XdpError::ForeignProgram {
            interface: interface.name.clone(),
            name: "(unreadable)".to_owned(),
            id: *id,
        }),
    }
}

/// Programs on the interface, with the flags that name where they are attached.
pub(super) fn attached(interface: &Interface) -> Result<Vec<(u32, XdpFlags)>, XdpError> {
    let failed = |error: libbpf_rs::Error| XdpError::Query {
        operation: "asking for attached XDP programs",
        interface: interface.name.clone(),
        source: system_error(&error),
    };
    // The descriptor is not looked at when asking; any open one does.
    let any = std::fs::File::open("/dev/null").map_err(libbpf_rs::Error::from).map_err(failed)?;
    let answer = Xdp::new(any.as_fd()).query(interface.index as i32, XdpFlags::NONE).map_err(failed)?;
    let mut programs = vec![
        (answer.drv_prog_id, XdpFlags::DRV_MODE),
        (answer.skb_prog_id, XdpFlags::SKB_MODE),
        (answer.hw_prog_id, XdpFlags::HW_MODE),
    ];
    programs.retain(|(id, _)| *id != 0);
    if programs.is_empty() && answer.prog_id != 0 {
        programs.push((answer.prog_id, XdpFlags::NONE));
    }
    Ok(programs)
}

fn program_name(id: u32) -> Option<String> {
    ProgInfoIter::default()
        .find(|program| program.id == id)
        .map(|program| program.name.to_string_lossy().into_owned())
}

fn is_held_by_link(interface: &Interface, program: u32) -> bool {
    LinkInfoIter::default().any(|link| {
        link.prog_id == program
            && matches!(link.info, LinkTypeInfo::Xdp(ref xdp) if xdp.ifindex == interface.index)
    })
}

fn remove(interface: &Interface, id: u32, flags: XdpFlags) -> Result<(), XdpError> {
    let failed = |error: libbpf_rs::Error| XdpError::Query {
        operation: "removing a left-over XDP program",
        interface: interface.name.clone(),
        source: system_error(&error),
    };
    let program = libbpf_rs::Program::fd_from_id(id).map_err(failed)?;
    Xdp::new(program.as_fd()).detach(interface.index as i32, flags).map_err(failed)
}
