//! Ends a session by force, for tests.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use zookeeper_client as zk;

use super::{Session, gone};
use crate::error::{Error, Result};

const ATTEMPTS: usize = 10;
/// How long a server may take to answer, and this process to learn of it, before it is tried again.
const PATIENCE: Duration = Duration::from_millis(500);
/// The request to close a session: its length, number 1, operation -11.
const CLOSE: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5];

impl Session {
    /// Lets the servers end this session as if it had expired, by closing it on a second connection. Returns how it has ended. Only for tests, and
    /// not by TLS.
    ///
    /// # Errors
    ///
    /// When no server can be reached.
    pub async fn expire(&self) -> Result<Error> {
        let failed = |error: io::Error| Error::Unreachable {
            what: format!("closing the session: {error}"),
        };
        let servers = self.config().servers().to_owned();
        let hello = self.hello().await?;
        for _ in 0..ATTEMPTS {
            let (servers, hello) = (servers.clone(), hello.clone());
            let closing = self
                .handle()
                .spawn_blocking(move || close(&servers, &hello));
            closing.await.map_err(|_| gone())?.map_err(failed)?;
            tokio::select! {
                how = self.ended() => return Ok(how),
                // Its own client may have taken it back in that moment.
                () = self.pause(PATIENCE) => {}
            }
        }
        Err(failed(io::ErrorKind::TimedOut.into()))
    }

    /// The request that connects anew with this session. The client shows nobody its secret, except to a server.
    async fn hello(&self) -> Result<Vec<u8>> {
        let failed = |error: io::Error| Error::Unreachable {
            what: format!("listening for the own client: {error}"),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let here = listener.local_addr().map_err(failed)?.to_string();
        let heard = self
            .handle()
            .spawn_blocking(move || -> io::Result<Vec<u8>> {
                let (mut client, _) = listener.accept()?;
                client.set_read_timeout(Some(PATIENCE))?;
                let mut hello = vec![0; 4];
                client.read_exact(&mut hello)?;
                let length = u32::from_be_bytes([hello[0], hello[1], hello[2], hello[3]]);
                hello.resize(4 + (length as usize).min(1 << 10), 0);
                client.read_exact(&mut hello[4..])?;
                Ok(hello)
            });
        let (connector, info) = (zk::Client::connector(), self.client().session().clone());
        let connecting = self
            .handle()
            .spawn(async move { connector.with_session(info).connect(&here).await });
        let heard = heard.await;
        connecting.abort();
        heard.map_err(|_| gone())?.map_err(failed)
    }
}

/// Connects to the first server that there is, and closes the session in the same breath, so that nobody comes in between.
fn close(servers: &str, hello: &[u8]) -> io::Result<()> {
    let mut connected = Err(io::ErrorKind::NotConnected.into());
    for server in servers.split(',') {
        connected = TcpStream::connect(server);
        if connected.is_ok() {
            break;
        }
    }
    let mut server = connected?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(&[hello, &CLOSE].concat())?;
    // Its end is the answer; if there is none, it is tried again.
    let _ = server.read_to_end(&mut Vec::new());
    Ok(())
}
