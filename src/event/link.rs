//! How the first bytes of a frame are read: what a source knows of its link, and what the link decoder needs.

/// What the first bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// An IPv4 or IPv6 header (pcap link types RAW, IPV4, IPV6).
    RawIp,
    /// Something that is not decoded; the frame is counted and refused.
    Unsupported,
}
