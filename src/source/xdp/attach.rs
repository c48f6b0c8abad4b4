//! The steering program on an interface: attached in the best mode there is, and gone when its owner is.
//!
//! Invariant: at most one steering program is on the interface, and none once [`Steering`] is dropped or its process
//! has ended, however it ended.

use super::counters::{QueueCounters, QueueCounts, read_counts};
use super::drive::NapiThreads;
use super::interface::Interface;
use super::occupant::{attached, clear};
use super::program::{Program, QUEUES_MAX, share};
use super::{RuleSet, XdpError};
use crate::event::Destination;
use crate::ledger::KernelBook;
use libbpf_rs::{MapHandle, libbpf_sys};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

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
