//! A proxy between clients and a server that loses, delays and cuts on demand.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::link::{self, Link};
use super::listen;

/// On which side of the forwarding a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server never gets the request.
    BeforeForwarding,
    /// The server gets the request and carries it out; its answer reaches nobody.
    AfterForwarding,
}

/// A TCP proxy on 127.0.0.1 in front of one server, controlled while it runs.
///
/// Without orders it passes on what it gets. It reads ZooKeeper's frames, so that it knows a write (a create, a
/// delete, a setData, a multi) from a ping; of a connection that speaks something else, such as TLS, it takes all
/// bytes for writes.
///
/// Orders hold for all connections, those to come included. A connection that has lost bytes goes on losing them even
/// when the order is taken back, until it is cut, since what comes after a gap has no meaning. Dropped, the proxy
/// closes all its connections.
///
/// A write that arrives after the client has connected anew and gone on:
///
/// ```no_run
/// # use fulmar_coordinator::zookeeper::testing::{self, Proxy};
/// # use std::time::Duration;
/// let proxy = Proxy::start(&testing::shared().address())?;
/// // ... a client connects to proxy.address() ...
/// proxy.hold_client_to_server(true);
/// // ... the client sends a write ...
/// testing::wait_until("the write is on its way", Duration::from_secs(5), || proxy.held_writes() > 0);
/// proxy.hold_client_to_server(false);
/// proxy.cut();
/// proxy.heal();
/// // ... the client connects anew, and sends the write again ...
/// proxy.release_held(); // the first one arrives
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

/// What the proxy's threads share with its owner.
#[derive(Debug)]
pub(super) struct Shared {
    ended: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) orders: Orders,
    pub(super) writes: u64,
    pub(super) cuts: u64,
    pub(super) swallowed: usize,
    pub(super) links: BTreeMap<u64, Arc<Link>>,
    accepted: u64,
}

/// What is to be done with the bytes that come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) refuse: bool,
    pub(super) hold: bool,
    pub(super) drop_to_server: bool,
    pub(super) drop_to_client: bool,
    pub(super) cut: Option<Cut>,
}

/// A cut that is ordered for a moment to come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    NextBytes(Moment),
    NextWrite(Moment),
    AfterBytes(usize),
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts a proxy in front of `server` (`host:port`), which need not run yet.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn start(server: &str) -> io::Result<Self> {
        let listener = listen()?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let (seen, server) = (Arc::clone(&shared), server.to_owned());
        let acceptor = thread::Builder::new()
            .name("proxy".into())
            .spawn(move || accept(&listener, &server, &seen))?;
        Ok(Self {
            shared,
            address,
            acceptor: Some(acceptor),
        })
    }

    /// `127.0.0.1:port`, where clients connect.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections, and closes every new one at once, until [`heal`](Self::heal). What had been passed on
    /// before reaches the server; what is held stays held.
    pub fn cut(&self) {
        let mut state = self.shared.state();
        state.orders.refuse = true;
        cut_all(&mut state);
    }

    /// Cuts all connections; clients may connect anew at once.
    pub fn cut_once(&self) {
        cut_all(&mut self.shared.state());
    }

    /// Lets clients connect again after [`cut`](Self::cut). Other orders stay.
    pub fn heal(&self) {
        self.shared.state().orders.refuse = false;
    }

    /// Swallows what clients send: the server hears nothing, and expires their sessions.
    pub fn drop_client_to_server(&self, on: bool) {
        self.shared.state().orders.drop_to_server = on;
    }

    /// Swallows what the server answers: a write is carried out, and its client never learns of it.
    pub fn drop_server_to_client(&self, on: bool) {
        self.shared.state().orders.drop_to_client = on;
    }

    /// Keeps what clients send, pings too, rather than deliver it. While a connection has something held, all that
    /// comes after it is held too, also when the order has been taken back, so that nothing overtakes.
    ///
    /// What is held survives its client: when the client's side is cut or closed, the server's side stays open.
    pub fn hold_client_to_server(&self, on: bool) {
        self.shared.state().orders.hold = on;
    }

    /// Delivers what was held, each on its own old connection to the server, and takes the order to hold back. Then
    /// the server's side of connections without a client is closed. Returns how many bytes were delivered; none for a
    /// connection that the server has closed.
    pub fn release_held(&self) -> usize {
        self.shared.state().orders.hold = false;
        self.links().iter().map(|link| link.release()).sum()
    }

    /// A link that is at work has what it holds first and the proxy's state then: whoever asks a link must have let go of the state.
    fn links(&self) -> Vec<Arc<Link>> {
        self.shared.state().links.values().cloned().collect()
    }

    /// How many writes are held.
    pub fn held_writes(&self) -> usize {
        self.links().iter().map(|link| link.held_writes()).sum()
    }

    /// Cuts the connection from which the next bytes come, a ping's too, before or after they are passed on. Happens
    /// once; other connections stay, and the client may connect anew at once.
    pub fn cut_at_next_bytes(&self, moment: Moment) {
        self.shared.state().orders.cut = Some(Cut::NextBytes(moment));
    }

    /// As [`cut_at_next_bytes`](Self::cut_at_next_bytes), at the next write; pings and reads before it pass.
    pub fn cut_at_next_write(&self, moment: Moment) {
        self.shared.state().orders.cut = Some(Cut::NextWrite(moment));
    }

    /// Cuts the connection in which the `bytes`-th byte from now comes, after exactly that many were passed on
    /// (counted over all connections): a request is torn apart. Happens once.
    pub fn cut_after_client_bytes(&self, bytes: usize) {
        self.shared.state().orders.cut = Some(Cut::AfterBytes(bytes));
    }

    /// How many connections were cut so far, by any order.
    pub fn cuts(&self) -> u64 {
        self.shared.state().cuts
    }

    /// How many bytes of answers no client was given so far.
    pub fn swallowed(&self) -> usize {
        self.shared.state().swallowed
    }

    /// How many writes have come from clients so far, whatever became of them.
    pub fn writes(&self) -> u64 {
        self.shared.state().writes
    }

    /// How many connections are open towards the server.
    pub fn connections(&self) -> usize {
        self.shared.state().links.len()
    }

    /// How many connections clients have opened so far, without those that were refused.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(5)).is_ok();
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
        self.shared
            .state()
            .links
            .values()
            .for_each(|link| link.close());
    }
}

fn cut_all(state: &mut State) {
    let cut = state.links.values().filter(|link| link.cut()).count();
    state.cuts += u64::try_from(cut).expect("connections are few");
}

fn accept(listener: &TcpListener, server: &str, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.state().orders.refuse {
            let _ = client.shutdown(Shutdown::Both);
            continue;
        }
        // A server that is not there is a client's connection closed.
        if let Ok(server) = TcpStream::connect(server) {
            let mut state = shared.state();
            // The order may have come while the server was called.
            if !state.orders.refuse {
                state.accepted += 1;
                let id = state.accepted;
                state
                    .links
                    .insert(id, link::start(id, client, server, Arc::clone(shared)));
            }
        }
    }
}
