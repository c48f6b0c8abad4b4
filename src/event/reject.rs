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
        /// The sender's address is in none of the listener's prefixes, or not the one that its line names.
        SourceNotAllowed => "source_not_allowed",
        /// The stream or line table is full.
        TableFull => "table_full",
        /// A TCP segment of a capture's flow that can't be framed any more, behind a gap or behind damage.
        FlowGivenUp => "flow_given_up",
        /// The packet is shorter than the protocol's packet header.
        PacketTooShort => "packet_too_short",
        /// The packet header names a version or protocol id that is not known.
        PacketVersion => "packet_version",
        /// The packet header is inconsistent with the packet (lengths, counts, flags).
        PacketHeader => "packet_header",
        /// A re-request server's answer that holds nothing that was asked for: another session, or numbers that the feed
        /// has not reached.
        NotAskedFor => "not_asked_for",
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
        /// Larger than the largest slot, or than the listener's limit for a frame.
        TooLarge => "too_large",
        /// Its checksum is not that of its bytes.
        Checksum => "checksum",
        /// A frame of another encoding among the messages, passed over by its own length (the compressed and binary ones
        /// that some brokers send in their FIX sessions).
        ForeignFrame => "foreign_frame",
        /// So far ahead of a gap that is being recovered that it can't be held back; it will be asked for, too.
        BeyondWindow => "beyond_window",
        /// So far ahead of its in-order stream that a damaged number is likelier, until a second packet says the same.
        ImplausibleSequence => "implausible_sequence",
        /// Of a unit that the feed is not configured to have.
        UnknownUnit => "unknown_unit",
    }
}

reasons! {
    /// Why an accepted event was given up before it was queued.
    ShedReason {
        /// The realtime queue was full and the source could not wait.
        RealtimeQueueFull => "realtime_queue_full",
        /// The transactional queue was full and the source could not wait.
        TransactionalQueueFull => "transactional_queue_full",
        /// The batch queue was full and the source could not wait.
        BatchQueueFull => "batch_queue_full",
        /// The pressure was critical, and batch events were kept out.
        PressureBatch => "pressure_batch",
        /// The pressure was an emergency, and transactional events were kept out, too.
        PressureTransactional => "pressure_transactional",
    }
}

reasons! {
    /// Why an event that had been queued was not processed.
    DeadReason {
        /// Its queue was full and a newer event took its place.
        DroppedOldest => "dropped_oldest",
        /// It gave its place or slot to an event of a more urgent class.
        Evicted => "evicted",
        /// A newer event of the same symbol or topic took its place.
        Conflated => "conflated",
        /// Its handler refused it as often as it may be tried.
        HandlerFailed => "handler_failed",
        /// Its handler panicked.
        HandlerPanicked => "handler_panicked",
        /// It would have had to wait for another attempt, and as many events as may were waiting.
        RetryFull => "retry_full",
        /// It came when the window of its time was closed.
        Late => "late",
        /// No further key could be told apart for its window.
        WindowsFull => "windows_full",
        /// The appliance stopped before its next attempt.
        Stopped => "stopped",
    }
}

reasons! {
    /// Why a request to a server could not be sent, or its socket could not be read.
    RequestFailure {
        /// Nobody listens at the server's address.
        Refused => "connection_refused",
        /// There is no way to the server's network or host.
        Unreachable => "unreachable",
        /// The socket or the kernel has no room.
        NoRoom => "no_room",
        /// A firewall or a rule of this machine forbids it.
        NotPermitted => "not_permitted",
        /// The appliance stopped before it was sent.
        Stopped => "stopped",
        /// The kernel reported another error.
        IoError => "io_error",
    }
}

reasons! {
    /// Why a connection ended: each one ends for exactly one reason.
    CloseReason {
        /// The peer closed it, between two frames.
        PeerClosed => "peer_closed",
        /// The peer closed it in the middle of a frame, whose bytes are lost.
        PeerClosedInFrame => "peer_closed_in_frame",
        /// The peer reset it.
        PeerReset => "peer_reset",
        /// The kernel reported another error.
        IoError => "io_error",
        /// Its bytes can't be framed.
        BadFrame => "bad_frame",
        /// A frame announced more bytes than its protocol allows.
        FrameTooLarge => "frame_too_large",
        /// Nothing came for the listener's idle time.
        Idle => "idle",
        /// The peer did not say in time who it is.
        HandshakeTimeout => "handshake_timeout",
        /// A frame was begun and not finished in time.
        UnfinishedFrame => "unfinished_frame",
        /// The listener has as many connections as it may have.
        ListenerFull => "listener_full",
        /// The peer's address has as many connections as one address may have.
        SourceFull => "source_full",
        /// The peer's address is in none of the listener's prefixes.
        SourceNotAllowed => "source_not_allowed",
        /// There are as many producers as there may be.
        ProducersFull => "producers_full",
        /// The producer is connected already, and its newer connection goes on; of a capture's flow, another one between the
        /// same endpoints begins.
        Superseded => "superseded",
        /// A session's frames came out of sequence, or a frame that its state forbids.
        SessionViolation => "session_violation",
        /// The peer asked for a promise that can't be kept (durable acknowledgements without a journal).
        NotOffered => "not_offered",
        /// The server refused the login.
        LoginRefused => "login_refused",
        /// The peer of a session was silent for longer than its protocol allows.
        PeerSilent => "peer_silent",
        /// The peer does not take what it is sent.
        SlowReader => "slow_reader",
        /// The peer's session has ended.
        EndOfSession => "end_of_session",
        /// The appliance stops.
        Stopped => "stopped",
        /// Bytes of a capture's flow are missing in the capture, and its protocol gives no way to begin anew behind them.
        Gap => "gap",
        /// The capture ended, and with it what it shows of a flow.
        CaptureEnded => "capture_ended",
        /// All that was lost has come, and we leave the server that brought it.
        Recovered => "recovered",
    }
}
