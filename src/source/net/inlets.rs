//! Hot path: what inlets bring beside bytes: datagrams, and the requests that keep them open.
//!
//! Invariant: each datagram is shown or refused for one counted reason.

use super::connector::Route;
use super::limits::{Senders, Visitors};
use super::port::NetPort;
use super::requests::failure;
use super::settings::InletKind;
use super::sockets::ListeningSocket;
use super::{GivenStream, NetError};
use crate::config::Listener;
use crate::event::{FrameReject, InletIndex, Nanos};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::os::uring::{Completion, Operation, Token};
use crate::source::StreamHandler;

/// How an inlet lives.
pub(super) enum Inlet {
    /// It accepts.
    Listener { settings: Box<Listener>, socket: ListeningSocket, visitors: Visitors, accepting: bool },
    /// It takes datagrams.
    Datagrams { senders: Senders, bytes_max: usize, socket: ListeningSocket, receiving: bool, quiet: bool },
    /// It connects.
    Connector { route: Route },
    /// It was there.
    Given { stream: Option<GivenStream> },
}

impl NetPort {
    pub(super) fn datagram(&mut self, completion: Completion, now: Nanos, handler: &mut dyn StreamHandler) {
        let index = completion.token.index;
        let Inlet::Datagrams { senders, bytes_max, receiving, quiet, .. } = &mut self.inlets[index as usize]
        else {
            return;
        };
        *receiving &= completion.more;
        let inlet = InletIndex(index as u16);
        let Some(chunk) = completion.chunk else {
            // Without a buffer it is asked for again; only inlets that ask servers are told of more.
            if completion.result < 0 && completion.result != -libc::ENOBUFS && senders.are_servers() {
                handler.request_failed(inlet, failure(-completion.result));
            }
            return;
        };
        *quiet = false;
        match self.ring.datagram(&chunk) {
            Some(found) if !senders.include(found.source) => {
                handler.refuse_datagram(FrameReject::SourceNotAllowed);
            }
            Some(found) if found.truncated || found.payload.len() > *bytes_max => {
                handler.refuse_datagram(FrameReject::Truncated);
            }
            Some(found) => match found.source.filter(|_| senders.are_servers()) {
                Some(server) => handler.answer(inlet, server, found.payload, now),
                None => handler.datagram(inlet, found.payload, now),
            },
            None => handler.refuse_datagram(FrameReject::Truncated),
        }
        self.ring.release(chunk);
    }

    /// Asks for what inlets bring, wherever it is not asked for.
    pub(super) fn arm_inlets(&mut self) {
        for (index, inlet) in self.inlets.iter_mut().enumerate() {
            let index = index as u32;
            let token = |operation| Token { operation, index, generation: 0 };
            match inlet {
                // In ticks only: a table of files that is full may not be so then.
                Inlet::Listener { accepting, .. }
                    if !*accepting && !self.stopping && self.now >= self.next_tick =>
                {
                    *accepting = true;
                    self.ring.accept(index, token(Operation::Accept));
                }
                Inlet::Datagrams { receiving, .. } if !*receiving => {
                    *receiving = true;
                    self.ring.receive_datagrams(index, self.datagrams, token(Operation::ReceiveDatagrams));
                }
                _ => {}
            }
        }
    }
}

/// Opens what an inlet needs, and says in `lines` what it is.
pub(super) fn open_inlet(kind: InletKind, lines: &mut Vec<String>) -> Result<Inlet, NetError> {
    Ok(match kind {
        InletKind::Listener(settings) => {
            let socket = super::sockets::listen(&settings)?;
            lines.push([&settings.name, " on ", &socket.place].concat());
            if settings.connections_max > 0 {
                Inlet::Listener { settings, socket, visitors: Visitors::default(), accepting: false }
            } else {
                let (senders, bytes_max) = (Senders::Prefixes(settings.allow), settings.frame_bytes_max);
                Inlet::Datagrams { senders, bytes_max, socket, receiving: false, quiet: false }
            }
        }
        InletKind::Requester(settings) => {
            let socket = super::sockets::request_socket(&settings)?;
            let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
            lines.push([&settings.name, " by ", &socket.place, " from ", &servers.join(", ")].concat());
            let (senders, bytes_max) = (Senders::Servers(settings.servers), PAYLOAD_BYTES_MAX);
            Inlet::Datagrams { senders, bytes_max, socket, receiving: false, quiet: false }
        }
        InletKind::Connector(settings) => {
            let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
            lines.push([&settings.name, " to ", &servers.join(", ")].concat());
            Inlet::Connector { route: Route::new(&settings) }
        }
        InletKind::Replay(settings) => {
            let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
            lines.push([&settings.name, " from ", &servers.join(", ")].concat());
            Inlet::Connector { route: Route::on_demand(&settings) }
        }
        InletKind::Given(stream) => Inlet::Given { stream: Some(stream) },
    })
}
