//! The whole way of a SoupBinTCP session: `sluice replay --to soup` serves it, `sluice run` with a connector takes it.

use crate::program::{json_file, number, sluice, text, word};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

const MESSAGES: u64 = 20_000;

/// A program that was started, and its words.
struct Started {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Started {
    fn new(words: &[&str]) -> Started {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let errors = BufReader::new(child.stderr.take().expect("standard error"));
        Started { child, errors }
    }

    /// The first line that holds these words.
    fn line_with(&mut self, words: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.errors.read_line(&mut line).expect("a line") > 0, "{all}");
            if line.contains(words) {
                return line.trim().to_owned();
            }
            all += &line;
        }
    }

    fn end(mut self) {
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).expect("standard error");
        let output = self.child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{rest}{}", text(&output.stdout));
    }
}

/// What both ends read and write, in a folder of their own.
struct Files {
    file: PathBuf,
    served: PathBuf,
    taken: PathBuf,
    config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    /// Names for all, and a made-up session in `file`.
    fn new() -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (file, served, taken, config) =
            (path("itch.pcap"), path("served.json"), path("taken.json"), path("run.toml"));
        let made = sluice(&["generate", word(&file), "--messages", &MESSAGES.to_string()]);
        assert!(made.status.success());
        Files { file, served, taken, config, _folder: folder }
    }
}

fn serve(file: &Path, report: &Path, words: &[&str]) -> (Started, String) {
    let to = ["replay", word(file), "--to", "soup:127.0.0.1:0", "--report", word(report)];
    let mut server = Started::new(&[&to[..], words].concat());
    let line = server.line_with("serving SoupBinTCP session");
    let address = line.rsplit(' ').next().expect("an address").to_owned();
    (server, address)
}

#[test]
fn a_session_is_taken_whole_from_the_second_server_of_the_list() {
    let Files { file, served, taken, config, _folder } = Files::new();
    let secret = ["--soup-user", "reader", "--soup-password", "secret", "--speed", "max"];
    let (server, address) = serve(&file, &served, &secret);
    // Bound and not listening any more once it is dropped: nobody answers there.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let text = format!(
        "[[connect]]\nname = 'itch'\nservers = ['{nobody}', '{address}']\nprotocol = 'soupbintcp-itch50'\n\
         username = 'reader'\npassword = 'secret'\nreconnect_min_ms = 10\n[pool]\nhugepages = 'never'\n[network]\nhugepages = false\n"
    );
    std::fs::write(&config, text).expect("written");
    let mut run = Started::new(&["run", "--config", word(&config), "--report", word(&taken)]);
    run.line_with("running;");
    // It ends when a client has taken everything.
    server.end();
    kill(Pid::from_raw(run.child.id() as i32), Signal::SIGTERM).expect("it runs");
    run.end();
    let (served, taken) = (json_file(&served), json_file(&taken));
    assert_eq!(served["ledger"]["balanced"], true, "{served:#}");
    assert_eq!(taken["ledger"]["balanced"], true, "{taken:#}");
    let stream = &taken["streams"][0];
    assert_eq!(stream["protocol"], "soupbintcp-itch50");
    assert_eq!(stream["session"], "SLUICE0001");
    assert_eq!(number(stream, "/messages"), MESSAGES, "{stream:#}");
    assert_eq!((number(stream, "/gaps"), number(stream, "/missing")), (0, 0));
    assert_eq!(number(&taken, "/ledger/events/delivered"), MESSAGES);
    assert_eq!(number(&taken, "/ledger/connections/closed/end_of_session"), 1);
    assert_eq!(number(&taken, "/ledger/connections/opened"), 1);
}

#[test]
fn after_a_lost_connection_the_session_goes_on_where_it_was() {
    let Files { file, served, taken, config, _folder } = Files::new();
    // The first server is killed in the middle; the second one serves the same session on the same port.
    let (mut first, address) = serve(&file, &served, &["--pps", "2000"]);
    let text = format!(
        "[[connect]]\nname = 'itch'\nservers = ['{address}']\nprotocol = 'soupbintcp-itch50'\nreconnect_min_ms = 10\n\
         [pool]\nhugepages = 'never'\n[network]\nhugepages = false\n[report]\nstatus_interval_s = 1\n"
    );
    std::fs::write(&config, text).expect("written");
    let mut run = Started::new(&["run", "--config", word(&config), "--report", word(&taken)]);
    run.line_with("running;");
    // Some have come by then.
    run.line_with("events");
    first.child.kill().expect("it runs");
    first.child.wait().expect("killed");
    let to = format!("soup:{address}");
    let second =
        Started::new(&["replay", word(&file), "--to", &to, "--speed", "max", "--report", word(&served)]);
    second.end();
    kill(Pid::from_raw(run.child.id() as i32), Signal::SIGTERM).expect("it runs");
    run.end();
    let taken = json_file(&taken);
    assert_eq!(taken["ledger"]["balanced"], true, "{taken:#}");
    let stream = &taken["streams"][0];
    assert_eq!((number(stream, "/messages"), number(stream, "/duplicates")), (MESSAGES, 0), "{stream:#}");
    assert_eq!((number(stream, "/epochs"), number(stream, "/missing")), (1, 0));
    assert!(number(&taken, "/ledger/connections/opened") >= 2);
}
