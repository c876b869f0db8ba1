//! One connection through the proxy: two sockets, a thread for each direction.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::proxy::{Cut, Moment, Shared};

/// Operations that change something: create, delete, setData, setACL, multi, create2, createContainer,
/// deleteContainer, createTTL.
const WRITES: [i32; 9] = [1, 2, 5, 7, 14, 15, 19, 20, 21];

/// A connection of one client to the server.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
    /// Kept in the order of arrival: whoever writes to the server holds this lock.
    held: Mutex<Held>,
}

/// What waits to be delivered to the server.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    writes: usize,
    /// Nothing more will come from the client.
    ended: bool,
    /// Bytes were lost: what comes after them has no meaning.
    torn: bool,
}

/// What comes from a client at once.
struct Request {
    bytes: Vec<u8>,
    is_write: bool,
}

/// Runs a connection until one of its ends closes it.
pub(super) fn start(
    id: u64,
    client: TcpStream,
    server: TcpStream,
    shared: Arc<Shared>,
) -> Arc<Link> {
    for stream in [&client, &server] {
        stream
            .set_nodelay(true)
            .expect("a connected socket has this option");
    }
    let link = Arc::new(Link {
        client,
        server,
        cut: AtomicBool::new(false),
        held: Mutex::default(),
    });
    let (up, down, seen) = (Arc::clone(&link), Arc::clone(&link), Arc::clone(&shared));
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    spawn("proxy to server", Box::new(move || up.run_to_server(&seen)))
        .expect("a thread can be started");
    let run = move || {
        down.run_to_client(&shared);
        shared.state().links.remove(&id);
    };
    spawn("proxy to client", Box::new(run)).expect("a thread can be started");
    link
}

impl Link {
    /// Closes the client's side at once, and the server's side after what was passed on. Says whether it was not cut
    /// before.
    pub(super) fn cut(&self) -> bool {
        let first = !self.cut.swap(true, Ordering::SeqCst);
        // The thread that reads from the client sees the end and closes the server's side, if nothing is held. It is not
        // closed for reading: answers that nobody reads would make the system throw away what the server has not read yet.
        let _ = self.client.shutdown(Shutdown::Both);
        first
    }

    /// Closes both sides.
    pub(super) fn close(&self) {
        self.cut();
        let _ = self.server.shutdown(Shutdown::Both);
    }

    pub(super) fn held_writes(&self) -> usize {
        self.held().writes
    }

    /// Delivers what is held, and says how many bytes.
    pub(super) fn release(&self) -> usize {
        let mut held = self.held();
        let bytes = std::mem::take(&mut held.bytes);
        held.writes = 0;
        let delivered = (&self.server).write_all(&bytes).is_ok();
        if held.ended {
            let _ = self.server.shutdown(Shutdown::Write);
        }
        if delivered { bytes.len() } else { 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_to_server(&self, shared: &Shared) {
        let mut requests = Requests::default();
        while let Ok(request) = requests.next(&self.client) {
            if self.on_request(request, shared).is_break() {
                break;
            }
        }
        let mut held = self.held();
        held.ended = true;
        if held.bytes.is_empty() {
            let _ = self.server.shutdown(Shutdown::Write);
        }
    }

    fn on_request(&self, mut request: Request, shared: &Shared) -> ControlFlow<()> {
        let mut held = self.held();
        if self.cut.load(Ordering::SeqCst) {
            // It had come before the cut, and was not read.
            return ControlFlow::Break(());
        }
        let mut state = shared.state();
        let orders = state.orders;
        state.writes += u64::from(request.is_write);
        let mut cut = None;
        match orders.cut {
            Some(Cut::NextBytes(moment)) => cut = Some(moment),
            Some(Cut::NextWrite(moment)) if request.is_write => cut = Some(moment),
            Some(Cut::AfterBytes(left)) if left <= request.bytes.len() => {
                request.bytes.truncate(left);
                cut = Some(Moment::AfterForwarding);
            }
            Some(Cut::AfterBytes(left)) => {
                state.orders.cut = Some(Cut::AfterBytes(left - request.bytes.len()))
            }
            Some(Cut::NextWrite(_)) | None => {}
        }
        if cut.is_some() {
            state.orders.cut = None;
        }
        drop(state);
        if cut != Some(Moment::BeforeForwarding) {
            held.torn |= orders.drop_to_server;
            if !held.torn && (orders.hold || !held.bytes.is_empty()) {
                held.bytes.extend_from_slice(&request.bytes);
                held.writes += usize::from(request.is_write);
            } else if !held.torn && (&self.server).write_all(&request.bytes).is_err() {
                return ControlFlow::Break(());
            }
        }
        if cut.is_some() {
            // After the bytes are out, so that whoever waits for the cut knows it.
            let first = self.cut();
            shared.state().cuts += u64::from(first);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn run_to_client(&self, shared: &Shared) {
        let mut buffer = vec![0; 64 * 1024];
        let mut torn = false;
        while let Ok(count @ 1..) = (&self.server).read(&mut buffer) {
            torn |= self.cut.load(Ordering::SeqCst) || shared.state().orders.drop_to_client;
            torn = torn || (&self.client).write_all(&buffer[..count]).is_err();
            if torn {
                shared.state().swallowed += count;
            }
        }
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

/// Cuts a client's bytes into requests.
#[derive(Debug, Default)]
struct Requests {
    /// Has the first frame, which opens the session and has no operation, been read?
    greeted: bool,
    /// It is not ZooKeeper's protocol but TLS or a four-letter command.
    opaque: bool,
}

impl Requests {
    /// The next request; an error at the connection's end.
    fn next(&mut self, mut client: &TcpStream) -> io::Result<Request> {
        let mut bytes = vec![0; 4];
        if !self.opaque {
            client.read_exact(&mut bytes)?;
            // Frames are far below 16 MB, so they begin with a zero; nothing else does.
            self.opaque = bytes[0] != 0;
            if self.opaque {
                return Ok(Request {
                    bytes,
                    is_write: true,
                });
            }
        }
        if self.opaque {
            bytes.resize(64 * 1024, 0);
            let count = client.read(&mut bytes)?;
            bytes.truncate(count);
            let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
            return if count == 0 {
                Err(ended)
            } else {
                Ok(Request {
                    bytes,
                    is_write: true,
                })
            };
        }
        let word = |at: &[u8]| {
            at.first_chunk()
                .map_or(-1, |four| i32::from_be_bytes(*four))
        };
        let length = usize::try_from(word(&bytes)).expect("the first byte is zero");
        bytes.resize(4 + length, 0);
        client.read_exact(&mut bytes[4..])?;
        // Length, number of the request, operation.
        let is_write = self.greeted
            && bytes
                .get(8..)
                .is_some_and(|rest| WRITES.contains(&word(rest)));
        self.greeted = true;
        Ok(Request { bytes, is_write })
    }
}
