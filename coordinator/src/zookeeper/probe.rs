//! Why a server opens no session: it is asked by hand, by its own questions and by TLS.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::config::ZooKeeperConfig;

/// ZooKeeper's question that every server answers unless told not to.
const QUESTION: &[u8] = b"srvr";
/// The head of a TLS record with a greeting that says nothing: whoever speaks TLS answers with an alert.
const EMPTY_HELLO: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];
const ALERT: u8 = 0x15;
/// So much of an answer is read.
const ANSWER: u64 = 4 << 10;

/// What is wrong with each address, as `ADDRESS: …; ADDRESS: …`, found out within `limit`.
pub(super) async fn what_is_wrong(config: ZooKeeperConfig, limit: Duration) -> String {
    let until = now() + limit;
    let probes = config.servers().split(',').map(|server| {
        let (config, at) = (config.clone(), server.to_owned());
        let probe = tokio::task::spawn_blocking(move || probe(&config, &at, until));
        async move {
            // A name may take the system long to look up.
            let said = match tokio::time::timeout(limit, probe).await {
                Ok(Ok(said)) => said,
                _ => "it does not answer".to_owned(),
            };
            format!("{server}: {said}")
        }
    });
    futures::future::join_all(probes).await.join("; ")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a session's start is a shell: its patience is real time"
)]
fn now() -> Instant {
    Instant::now()
}

fn probe(config: &ZooKeeperConfig, server: &str, until: Instant) -> String {
    let address = server.rsplit("//").next().unwrap_or(server);
    #[cfg(feature = "zookeeper-tls")]
    if let Some(tls) = config.tls_settings()
        && !server.starts_with("tcp://")
    {
        return secure::probe(tls, address, until);
    }
    let _ = config;
    let stream = match connect(address, until) {
        Ok(stream) => stream,
        Err(error) => return said(&error),
    };
    // Whoever waits for more of a TLS record answers as little as one who is dead.
    match ask(stream, QUESTION, until) {
        Ok(answer) if !answer.is_empty() => serving(&answer),
        _ if speaks_tls(address, until) => {
            "it speaks TLS, and no CA is given; set FULMAR_ZOOKEEPER_TLS_CA".to_owned()
        }
        Ok(_) => "it closes connections at once; is it a ZooKeeper server?".to_owned(),
        Err(error) => said(&error),
    }
}

fn speaks_tls(address: &str, until: Instant) -> bool {
    let answer = connect(address, until).and_then(|stream| ask(stream, EMPTY_HELLO, until));
    answer.is_ok_and(|answer| answer.first() == Some(&ALERT))
}

/// What the answer to [`QUESTION`] says about a server that opened no session.
fn serving(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    if answer.contains("not currently serving requests") {
        "it runs, but its ensemble has no quorum".to_owned()
    } else if answer.contains("Zookeeper version") {
        "it serves, but opened no session in time".to_owned()
    } else {
        "it takes connections, but opened no session; has its ensemble a quorum?".to_owned()
    }
}

/// What an error of a socket means here.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "it takes connections, but answers nothing".to_owned()
        }
        _ => error.to_string(),
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn connect(address: &str, until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        let error = match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        last = match error.kind() {
            io::ErrorKind::TimedOut => io::Error::other("it takes no connections (no answer)"),
            _ => error,
        };
    }
    Err(last)
}

/// All that comes until the other end closes, or stops in the middle.
fn ask(mut stream: TcpStream, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    // Half of what is left, so that another question can follow.
    stream.set_read_timeout(Some(left(until)? / 2))?;
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(question)?;
    let mut answer = Vec::new();
    let end = stream.take(ANSWER).read_to_end(&mut answer);
    match end {
        Err(error) if answer.is_empty() && error.kind() != io::ErrorKind::ConnectionReset => {
            Err(error)
        }
        _ => Ok(answer),
    }
}

#[cfg(feature = "zookeeper-tls")]
mod secure {
    use super::super::tls::{Tls, host};
    use super::*;

    /// Shakes hands as the client did, and says what it does not.
    pub(super) fn probe(tls: &Tls, address: &str, until: Instant) -> String {
        let stream = match connect(address, until) {
            Ok(stream) => stream,
            Err(error) => return said(&error),
        };
        match shake_hands(tls, address, stream, until) {
            Ok(answer) if answer.is_empty() => {
                "it closes TLS connections at once; does it ask for a client certificate?"
                    .to_owned()
            }
            Ok(answer) => serving(&answer),
            Err(error) => {
                let plain = connect(address, until).and_then(|stream| ask(stream, QUESTION, until));
                if plain.is_ok_and(|answer| !answer.is_empty()) {
                    return "it does not speak TLS; name its secure port".to_owned();
                }
                match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => said(&error),
                    _ => format!("TLS: {error}"),
                }
            }
        }
    }

    fn shake_hands(
        tls: &Tls,
        address: &str,
        mut stream: TcpStream,
        until: Instant,
    ) -> io::Result<Vec<u8>> {
        let config = tls.client().map_err(io::Error::other)?;
        let name = rustls::pki_types::ServerName::try_from(host(address).to_owned());
        let name = name.map_err(io::Error::other)?;
        let mut connection =
            rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(left(until)? / 2))?;
        stream.set_write_timeout(Some(left(until)?))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        // A server says only now that it does not like the client's certificate.
        let mut secure = rustls::Stream::new(&mut connection, &mut stream);
        secure.write_all(QUESTION)?;
        let mut answer = Vec::new();
        match secure.take(ANSWER).read_to_end(&mut answer) {
            Err(error) if answer.is_empty() && error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(error)
            }
            _ => Ok(answer),
        }
    }
}
