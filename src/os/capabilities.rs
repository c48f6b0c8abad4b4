//! Which capabilities this process has. It only reads them; whoever lacks one is told its name and what it is for.

use super::{OsError, error};

/// A capability that some part of the appliance needs. The discriminant is the kernel's bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[repr(u8)]
pub enum Capability {
    /// Attaching programs, multicast and interface settings.
    NetAdmin = 12,
    /// AF_XDP and packet sockets.
    NetRaw = 13,
    /// Locking memory and hugetlb pages beyond the limit.
    IpcLock = 14,
    /// Whatever older kernels want for BPF.
    SysAdmin = 21,
    /// SCHED_FIFO and moving threads.
    SysNice = 23,
    /// BPF programs that look at packets with performance helpers.
    Perfmon = 38,
    /// Loading BPF programs and maps.
    Bpf = 39,
}

impl Capability {
    /// All of them, in the kernel's order.
    pub const ALL: [Capability; 7] = [
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::IpcLock,
        Capability::SysAdmin,
        Capability::SysNice,
        Capability::Perfmon,
        Capability::Bpf,
    ];

    /// Its name, as `setcap` and systemd's AmbientCapabilities= take it.
    pub const fn name(self) -> &'static str {
        match self {
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::IpcLock => "CAP_IPC_LOCK",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::SysNice => "CAP_SYS_NICE",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
        }
    }

    /// What the appliance needs it for.
    pub const fn purpose(self) -> &'static str {
        match self {
            Capability::NetAdmin => "attaching the XDP program",
            Capability::NetRaw => "AF_XDP sockets",
            Capability::IpcLock => "locked memory beyond the limit",
            Capability::SysAdmin => "BPF on kernels before 5.8",
            Capability::SysNice => "SCHED_FIFO threads",
            Capability::Perfmon => "BPF programs that read clocks",
            Capability::Bpf => "loading the XDP program",
        }
    }
}

/// The effective capabilities of a thread, as read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    mask: u64,
}

impl Capabilities {
    /// Those of the calling process.
    ///
    /// # Errors
    /// [`OsError::Read`] if /proc/self/status can't be read or has no line CapEff.
    pub fn effective() -> Result<Capabilities, OsError> {
        let path = "/proc/self/status";
        Capabilities::parse(&error::read(path)?).ok_or_else(|| OsError::Read {
            path: path.to_owned(),
            source: std::io::Error::other("it has no line CapEff"),
        })
    }

    fn parse(status: &str) -> Option<Capabilities> {
        let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(digits.trim(), 16).ok().map(|mask| Capabilities { mask })
    }

    /// Whether it is there.
    pub const fn has(self, capability: Capability) -> bool {
        self.mask & (1 << capability as u8) != 0
    }

    /// Those of `needed` that aren't there. CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON, as in the kernel.
    pub fn missing(self, needed: &[Capability]) -> Vec<Capability> {
        let stands_in = |capability| {
            matches!(capability, Capability::Bpf | Capability::Perfmon) && self.has(Capability::SysAdmin)
        };
        needed.iter().copied().filter(|&one| !self.has(one) && !stands_in(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_what_the_mask_lacks() {
        let parse = |digits: &str| Capabilities::parse(&format!("Name:\tx\nCapEff:\t{digits}\nCapBnd:\t0\n"));
        let (net, bpf) = (Capability::NetAdmin, Capability::Bpf);
        let table: [(&str, &[Capability], &[Capability]); 5] = [
            ("0000000000000000", &[net, bpf], &[net, bpf]),
            ("0000000000001000", &[net, bpf], &[bpf]),
            ("0000008000000000", &[net, bpf], &[net]),
            ("0000000000200000", &[net, bpf], &[net]),
            ("000001ffffffffff", &Capability::ALL, &[]),
        ];
        for (digits, needed, missing) in table {
            assert_eq!(parse(digits).expect("well formed").missing(needed), missing, "{digits}");
        }
        assert_eq!(Capabilities::parse("Name:\tx\n"), None);
        assert_eq!(parse("xyz"), None);
    }

    #[test]
    fn the_kernel_tells_the_same_as_status() {
        let here = Capabilities::effective().expect("/proc is mounted");
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let line = status.lines().find(|line| line.starts_with("CapEff")).expect("a line CapEff");
        assert!(line.ends_with(&format!("{:016x}", here.mask)));
    }
}
