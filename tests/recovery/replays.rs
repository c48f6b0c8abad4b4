//! SoupBinTCP replay as the way back of what a UDP line lost: on demand, from the first lost message to the last.

use crate::program::number;
use crate::server::{Config, listener};
use crate::venue::{COUNT, LINE, SESSION, assert_whole, body, send_line, stream, udp};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// How a server takes a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// Replays all that there is from the number on that was asked for, and stays.
    Replays,
    /// Replays that many, and closes.
    Breaks(u64),
    /// Refuses it.
    Refuses,
    /// Accepts it and brings nothing.
    BringsNothing,
}

/// A server on a thread of its own; told is the number that each login asked for, and 0 for a logout.
fn serve(temper: Temper) -> (SocketAddr, Receiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // A client that breaks off is none of the server's business.
            let _ = session(client.expect("a connection"), temper, &tell);
        }
    });
    (address, told)
}

fn session(mut client: TcpStream, temper: Temper, tell: &Sender<u64>) -> std::io::Result<()> {
    let mut login = [0; 49];
    client.read_exact(&mut login)?;
    assert_eq!(
        (&login[..3], &login[3..9], &login[9..19]),
        (&b"\0\x2fL"[..], &b"reader"[..], &b"secret    "[..])
    );
    assert_eq!(&login[19..29], SESSION, "the session of the line");
    let first: u64 = std::str::from_utf8(&login[29..]).expect("text").trim().parse().expect("a number");
    let _ = tell.send(first);
    if temper == Temper::Refuses {
        client.write_all(b"\0\x02JA")?;
        return Ok(());
    }
    let mut said = [&b"\0\x1fA"[..], &SESSION[..], format!("{first:>20}").as_bytes()].concat();
    let end = match temper {
        Temper::Breaks(count) => (first + count).min(COUNT + 1),
        Temper::BringsNothing => first,
        _ => COUNT + 1,
    };
    for number in first..end {
        let body = body(number);
        said.extend_from_slice(&(1 + body.len() as u16).to_be_bytes());
        said.push(b'S');
        said.extend_from_slice(&body);
    }
    client.write_all(&said)?;
    if let Temper::Breaks(_) = temper {
        return Ok(());
    }
    let mut packet = [0; 3];
    while client.read_exact(&mut packet).is_ok() {
        if packet[2] == b'O' {
            let _ = tell.send(0);
        }
    }
    Ok(())
}

fn feed(servers: &[SocketAddr]) -> Config {
    let addresses: Vec<String> = servers.iter().map(|server| format!("'{server}'")).collect();
    let recovery = format!(
        "[listen.recovery]\nprotocol = 'soupbintcp'\nservers = [{}]\nusername = 'reader'\npassword = 'secret'\n\
         backoff_max_ms = 100\n",
        addresses.join(", ")
    );
    Config::new(&(listener("itch", "udp", LINE) + &recovery))
}

fn lost() -> BTreeSet<u64> {
    [40, 41, 90].into_iter().chain(300..370).collect()
}

#[test]
fn a_replay_brings_back_what_a_line_lost() {
    let (server, told) = serve(Temper::Replays);
    let config = feed(&[server]);
    let run = config.start();
    send_line(udp(&run.at("itch")), COUNT, &lost());
    assert_eq!(told.recv().expect("a login"), 40, "from the first lost one on");
    while told.recv().expect("it serves") != 0 {}
    // Nothing is wanted of it until more is lost.
    let report = run.stop();
    assert_whole(&report);
    let recovery = &report["recovery"][0];
    assert_eq!(number(recovery, "/timeouts"), 0, "{recovery:#}");
    assert!((1..4).contains(&number(recovery, "/requests")), "{recovery:#}");
    assert!(number(recovery, "/replies") >= lost().len() as u64, "{recovery:#}");
    let closed = &report["ledger"]["connections"]["closed"];
    assert_eq!(number(closed, "/recovered"), number(recovery, "/requests"), "{closed:#}");
    assert_eq!(number(stream(&report), "/missing"), 0);
}

#[test]
fn servers_that_refuse_break_or_bring_nothing_are_left_for_the_next() {
    let nobody =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    for temper in [Temper::Refuses, Temper::Breaks(5), Temper::BringsNothing] {
        let (first, _kept) = serve(temper);
        let (alive, told) = serve(Temper::Replays);
        let config = feed(&[nobody, first, alive]);
        let run = config.start();
        send_line(udp(&run.at("itch")), COUNT, &lost());
        while told.recv().expect("it serves") != 0 {}
        let report = run.stop();
        assert_whole(&report);
        assert!(number(&report, "/recovery/0/timeouts") > 0, "{temper:?}: {:#}", report["recovery"]);
    }
}
