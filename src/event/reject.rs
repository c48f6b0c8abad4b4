//! Why a frame or a message was refused: every reason has a name, and exactly one counter.

/// Declares a fieldless enum of counted reasons with names, so that a counter array can be indexed by it.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All reasons, in the order of their discriminants.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in reports and metrics.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    /// Why a whole frame was refused, before any of its messages was decoded.
    FrameReject {
        /// The capture kept fewer bytes than the headers need, or a header runs past the end of the frame.
        Truncated => "truncated",
        /// An EtherType that is neither IPv4 nor IPv6 (ARP, LLDP …).
        NotIp => "not_ip",
        /// An IP protocol that is not UDP.
        NotUdp => "not_udp",
        /// More VLAN tags than are stripped.
        VlanTooDeep => "vlan_too_deep",
        /// A fragment of an IP packet.
        Fragment => "fragment",
        /// IPv6 extension headers that are not walked.
        Ipv6Extension => "ipv6_extension",
        /// An IP or UDP header whose lengths contradict each other.
        BadLength => "bad_length",
        /// A link type of a capture that is not Ethernet or raw IP.
        LinkType => "link_type",
        /// No rule and no protocol for this destination address and port.
        UnknownDestination => "unknown_destination",
        /// The stream or line table is full.
        TableFull => "table_full",
        /// The packet is shorter than the protocol's packet header.
        PacketTooShort => "packet_too_short",
        /// The packet header names a version or protocol id that is not known.
        PacketVersion => "packet_version",
        /// The packet header is inconsistent with the packet (lengths, counts, flags).
        PacketHeader => "packet_header",
    }
}

reasons! {
    /// Why a message inside a good packet was refused.
    MessageReject {
        /// The message runs past the end of its packet; what follows can't be framed.
        Truncated => "truncated",
        /// A length field smaller than the message's own header; what follows can't be framed.
        BadLength => "bad_length",
        /// Shorter than its type demands; the framing goes on behind it.
        TooShort => "too_short",
        /// A field with a value that its protocol forbids (native priority over 4, empty topic).
        BadField => "bad_field",
        /// Bytes behind the last announced message.
        TrailingBytes => "trailing_bytes",
        /// No free slot in the event pool, from a source that can't wait.
        PoolExhausted => "pool_exhausted",
        /// Larger than the largest slot.
        TooLarge => "too_large",
    }
}

reasons! {
    /// Why an accepted event was given up instead of being processed.
    ShedReason {
        /// The realtime queue was full and the source could not wait.
        RealtimeQueueFull => "realtime_queue_full",
        /// The transactional queue was full and the source could not wait.
        TransactionalQueueFull => "transactional_queue_full",
        /// The batch queue was full and the source could not wait.
        BatchQueueFull => "batch_queue_full",
    }
}
