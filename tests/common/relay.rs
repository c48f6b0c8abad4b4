//! A line that loses datagrams: it takes what is sent to an address or a group, and sends it on, but for a share that is
//! decided by a seed.
//!
//! Invariant: the n-th datagram has the same fate in every run with the same seed and share.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A relay that runs.
pub(crate) struct Relay {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Relayed>,
}

/// What became of the datagrams.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) passed: u64,
    pub(crate) dropped: u64,
}

/// Splitmix64 of the n-th number.
fn random(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Relay {
    /// Relays what comes to `from` (a multicast group is joined on loopback) to `to`, dropping `loss` (0 to 1) of it.
    pub(crate) fn start(from: SocketAddr, to: SocketAddr, loss: f64, seed: u64) -> Relay {
        let socket = UdpSocket::bind(from).expect("a free port");
        if let IpAddr::V4(group) = from.ip()
            && group.is_multicast()
        {
            socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("loopback carries multicast");
        }
        let wish = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        wish.expect("the kernel takes a size");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        let out = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut relayed = Relayed::default();
            let mut datagram = [0; 1 << 16];
            while !seen.load(Ordering::Relaxed) {
                let bytes = match socket.recv(&mut datagram) {
                    Ok(bytes) => bytes,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                let n = relayed.passed + relayed.dropped;
                if (random(seed, n) as f64 / u64::MAX as f64) < loss {
                    relayed.dropped += 1;
                    continue;
                }
                // Whoever is to receive it may not be there yet, or any more.
                let _ = out.send_to(&datagram[..bytes], to);
                relayed.passed += 1;
            }
            relayed
        });
        Relay { stop, thread }
    }

    /// Ends it.
    pub(crate) fn end(self) -> Relayed {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}
