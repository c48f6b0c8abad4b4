//! Points in time, and which clock they were read from.

/// Nanoseconds on some clock; which one, the [`ClockKind`] beside it says. 0 means "not known".
pub type Nanos = u64;

/// The clock that stamped a frame's wire time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClockKind {
    /// No wire time came with the frame.
    None = 0,
    /// CLOCK_MONOTONIC, read by the XDP program (`bpf_ktime_get_ns`) or by the replay pacer: comparable to the
    /// receive and publish times of an event.
    Monotonic = 1,
    /// The NIC's hardware clock (PTP time base): comparable between frames of the NIC only.
    Hardware = 2,
    /// The timestamp in a capture file: comparable between frames of the capture only.
    Capture = 3,
}

impl ClockKind {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            ClockKind::None => "none",
            ClockKind::Monotonic => "monotonic",
            ClockKind::Hardware => "hardware",
            ClockKind::Capture => "capture",
        }
    }

    /// The clock with this discriminant; unknown ones are `None`.
    pub const fn from_u8(value: u8) -> ClockKind {
        match value {
            1 => ClockKind::Monotonic,
            2 => ClockKind::Hardware,
            3 => ClockKind::Capture,
            _ => ClockKind::None,
        }
    }
}
