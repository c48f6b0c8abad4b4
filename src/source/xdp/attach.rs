//! The steering program on an interface: attached in the best mode there is, and gone when its owner is.
//!
//! Invariant: at most one steering program is on the interface, and none once [`Steering`] is dropped or its process
//! has ended, however it ended.

use super::counters::{QueueCounters, QueueCounts, read_counts};
use super::drive::NapiThreads;
use super::error::system_error;
use super::interface::Interface;
use super::program::{PROGRAM_NAMES, Program, QUEUES_MAX, share};
use super::{RuleSet, XdpError};
use crate::event::Destination;
use crate::ledger::KernelBook;
use libbpf_rs::query::{LinkInfoIter, LinkTypeInfo, ProgInfoIter};
use libbpf_rs::{MapHandle, Xdp, XdpFlags, libbpf_sys};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// A dying process's link is gone within a few milliseconds; a queue of a closed socket stays busy for 20 to 40 ms.
/// So 25 times 20 ms is ample for both.
pub(super) const RETRIES: u32 = 25;
/// The pause between two tries.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How the program is wanted.
#[derive(Clone, Debug)]
pub struct SteeringSettings {
    /// The interface.
    pub interface: String,
    /// Destinations that are ours from the start.
    pub rules: Vec<Destination>,
    /// Whether to read the NIC's clock where the driver offers it.
    pub hardware_time: bool,
    /// The modes to try.
    pub mode: AttachWish,
    /// Whether the kernel is to receive on threads of its own while the program is attached; lanes in drive mode
    /// `napi-thread` need it.
    pub napi_threads: bool,
}

/// Which modes to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachWish {
    /// Native, else generic, which is said in the report.
    #[default]
    NativeElseGeneric,
    /// Native or nothing.
    NativeOnly,
    /// Generic, to compare with or where the native mode misbehaves.
    GenericOnly,
}

/// Where in the kernel the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel has built anything of its own around the frame.
    Native,
    /// In the stack, after that: works with every driver, at a fraction of the speed.
    Generic,
}

/// The clock that the program can read; each frame says which one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampClock {
    /// The NIC's where it stamped the frame, else CLOCK_MONOTONIC.
    HardwareElseMonotonic,
    /// CLOCK_MONOTONIC, when the program runs.
    Monotonic,
}

/// What came of the attachment.
#[derive(Clone, Debug)]
pub struct SteeringReport {
    /// The interface.
    pub interface: String,
    /// Where the program runs.
    pub mode: AttachMode,
    /// The clock it can read.
    pub clock: StampClock,
    /// What was tried first, and the kernel's answers.
    pub fallbacks: Vec<String>,
    /// Id of a left-over program that was replaced.
    pub replaced: Option<u32>,
}

impl fmt::Display for SteeringReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
        };
        let clock = match self.clock {
            StampClock::HardwareElseMonotonic => "the NIC's clock, else the kernel's",
            StampClock::Monotonic => "the kernel's monotonic clock",
        };
        write!(f, "{}: XDP {mode} mode, wire time by {clock}", self.interface)?;
        if let Some(id) = self.replaced {
            write!(f, ", replaced the left-over program {id} of an earlier run")?;
        }
        self.fallbacks.iter().try_for_each(|fallback| write!(f, "; {fallback}"))
    }
}

/// The steering program on one interface. Dropping it detaches the program.
#[derive(Debug)]
pub struct Steering {
    interface: Interface,
    /// Before the link: the setting is put back while the program is still there.
    napi_threads: Option<NapiThreads>,
    /// Never looked at: closing it detaches the program.
    _link: OwnedFd,
    rules: RuleSet,
    sockets: MapHandle,
    counts: MapHandle,
    report: SteeringReport,
}

impl Steering {
    /// Loads the program, sets its rules and attaches it, replacing what a crashed run left behind.
    ///
    /// # Errors
    /// Any [`XdpError`] but those of sockets.
    pub fn attach(settings: &SteeringSettings) -> Result<Steering, XdpError> {
        let interface = Interface::find(&settings.interface)?;
        let replaced = clear(&interface)?;
        let mut fallbacks = Vec::new();
        let mut last_refusal = None;
        for (mode, clock) in attempts(settings) {
            let bind_to = (clock == StampClock::HardwareElseMonotonic).then_some(interface.index);
            let program = match Program::load(bind_to) {
                Ok(program) => program,
                Err(error @ XdpError::Load { .. }) if bind_to.is_some() => {
                    tracing::debug!("{}: no hardware time: {error}", interface.name);
                    fallbacks.push("the driver offers no hardware time to XDP".to_owned());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut rules = RuleSet::new(share(&program.rules)?);
            rules.replace(&settings.rules)?;
            match program.attach(interface.index, flags(mode)) {
                Ok(link) => {
                    let report = SteeringReport {
                        interface: interface.name.clone(),
                        mode,
                        clock,
                        fallbacks,
                        replaced,
                    };
                    let (sockets, counts) = (program.sockets, program.counts);
                    // After attaching: some drivers offer threads only then.
                    let napi_threads =
                        settings.napi_threads.then(|| NapiThreads::enable(&interface)).transpose()?;
                    return Ok(Steering {
                        interface,
                        napi_threads,
                        _link: link,
                        rules,
                        sockets,
                        counts,
                        report,
                    });
                }
                Err(error) => {
                    fallbacks.push(refusal(mode, clock, &error));
                    last_refusal = Some((mode, error));
                }
            }
        }
        Err(hopeless(interface, last_refusal, &fallbacks))
    }

    /// What came of the attachment.
    pub fn report(&self) -> &SteeringReport {
        &self.report
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// The rules, to be changed while frames flow.
    pub fn rules(&mut self) -> &mut RuleSet {
        &mut self.rules
    }

    /// The program's counters summed over all queues, also those without a lane. `received`, `lost` and what the
    /// sockets count are not in it: they are the lanes' own.
    ///
    /// # Errors
    /// [`XdpError::Map`].
    pub fn program_book(&self) -> Result<KernelBook, XdpError> {
        let mut book = KernelBook::default();
        for queue in 0..QUEUES_MAX {
            let counts = read_counts(&self.counts, queue)?;
            if counts != QueueCounts::default() {
                let mut of_queue = KernelBook::default();
                counts.write(&mut of_queue);
                book.absorb(&of_queue);
            }
        }
        Ok(book)
    }

    /// Whether the program is still where it was attached: someone may have removed the interface.
    pub fn is_attached(&self) -> bool {
        Interface::find(&self.interface.name).is_ok_and(|found| found.index == self.interface.index)
            && attached(&self.interface).is_ok_and(|programs| !programs.is_empty())
    }

    /// Whether the kernel receives on threads of its own.
    pub fn has_napi_threads(&self) -> bool {
        self.napi_threads.is_some()
    }

    pub(super) fn device(&self) -> &Interface {
        &self.interface
    }

    pub(super) fn sockets(&self) -> Result<MapHandle, XdpError> {
        share(&self.sockets)
    }

    pub(super) fn counters(&self, queue: u32) -> Result<QueueCounters, XdpError> {
        Ok(QueueCounters::new(share(&self.counts)?, queue))
    }

    /// Detaches the program now; what dropping does, by name.
    pub fn detach(self) {
        drop(self);
    }
}

/// Modes to try, best first.
fn attempts(settings: &SteeringSettings) -> Vec<(AttachMode, StampClock)> {
    let mut attempts = Vec::new();
    if settings.mode != AttachWish::GenericOnly {
        if settings.hardware_time {
            attempts.push((AttachMode::Native, StampClock::HardwareElseMonotonic));
        }
        attempts.push((AttachMode::Native, StampClock::Monotonic));
    }
    if settings.mode != AttachWish::NativeOnly {
        attempts.push((AttachMode::Generic, StampClock::Monotonic));
    }
    attempts
}

fn flags(mode: AttachMode) -> u32 {
    match mode {
        AttachMode::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
        AttachMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
    }
}

fn refusal(mode: AttachMode, clock: StampClock, error: &io::Error) -> String {
    match (mode, clock) {
        (AttachMode::Native, StampClock::HardwareElseMonotonic) => {
            format!("native mode with hardware time: {error}")
        }
        (AttachMode::Native, StampClock::Monotonic) => format!("native mode: {error}"),
        (AttachMode::Generic, _) => format!("generic mode: {error}"),
    }
}

fn hopeless(interface: Interface, last: Option<(AttachMode, io::Error)>, reasons: &[String]) -> XdpError {
    match last {
        Some((_, error)) if error.raw_os_error() == Some(libc::EPERM) => XdpError::MissingCapability {
            operation: "attaching the XDP program",
            capability: "CAP_BPF and CAP_NET_ADMIN",
        },
        Some((AttachMode::Native, source)) => XdpError::NoNativeXdp { interface: interface.name, source },
        _ => XdpError::Attach { interface: interface.name, reasons: reasons.join("; ") },
    }
}

/// Makes room on the interface: removes a left-over of ours and returns its id.
fn clear(interface: &Interface) -> Result<Option<u32>, XdpError> {
    let mut removed = None;
    for _ in 0..RETRIES {
        let Some((id, flags)) = attached(interface)?.into_iter().next() else { return Ok(removed) };
        let name = program_name(id);
        match name.as_deref() {
            None => {} // It went away between the two questions: ask again.
            Some(ours) if PROGRAM_NAMES.contains(&ours) => {
                // By a link: its process is alive, or is dying and takes the link with it. Else it is a left-over.
                if !is_held_by_link(interface, id) {
                    remove(interface, id, flags)?;
                    removed = Some(id);
                    continue;
                }
            }
            Some(foreign) => {
                return Err(XdpError::ForeignProgram {
                    interface: interface.name.clone(),
                    name: foreign.to_owned(),
                    id,
                });
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
fn attached(interface: &Interface) -> Result<Vec<(u32, XdpFlags)>, XdpError> {
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
