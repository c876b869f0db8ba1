//! The ledger on a real ZooKeeper server, each writer with a session of its own by way of a proxy that breaks it.

use std::thread;
use std::time::Duration;

use fulmar_coordinator::zookeeper::testing::{self, Moment, Proxy, wait_until};
use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig, ZooKeeperLedger};
use fulmar_coordinator::{Ledger as _, LedgerRecord, Version, WriteOutcome};
use futures::executor::block_on;

use crate::step::{Fault, WRITERS};
use crate::tested::{Heard, Held, Medium};

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(30);

struct Writer {
    ledger: ZooKeeperLedger,
    _session: Session,
    proxy: Proxy,
}

pub(crate) struct ZooKeeper {
    /// The part of the connection string behind the server's address.
    chroot: String,
    writers: [Option<Writer>; WRITERS],
    /// Proxies that hold writes back.
    late: Vec<Proxy>,
}

impl ZooKeeper {
    fn writer(&mut self, writer: usize) -> &mut Writer {
        let chroot = &self.chroot;
        self.writers[writer].get_or_insert_with(|| {
            let proxy = Proxy::start(&testing::shared().address()).unwrap();
            let config = ZooKeeperConfig::parse(&format!("{}{chroot}", proxy.address())).unwrap();
            // A large record has its positions in nodes of their own.
            let config = config
                .session_timeout(Duration::from_secs(20))
                .node_bytes(4096);
            let session = block_on(Session::connect(config)).unwrap();
            // The node is replaced again and again.
            let ledger = block_on(ZooKeeperLedger::open(&session, "a topology"))
                .unwrap()
                .rolling_at(2);
            Writer {
                ledger,
                _session: session,
                proxy,
            }
        })
    }

    /// The write is on its way when its writer is gone.
    fn hold(&mut self, at: usize, record: &LedgerRecord, expected: Version) -> Heard {
        let writer = self.writer(at);
        let current = block_on(writer.ledger.load()).unwrap();
        if current.map_or(Version::ABSENT, |(_, version)| version) != expected {
            // It would read before it writes.
            return Heard::Answer(block_on(writer.ledger.write(record, expected)));
        }
        let Writer { ledger, proxy, .. } = writer;
        proxy.hold_client_to_server(true);
        let outcome = thread::scope(|scope| {
            let sending = scope.spawn(|| block_on(ledger.write(record, expected)));
            wait_until("the write is on its way", LONG, || proxy.held_writes() > 0);
            proxy.cut();
            sending.join().unwrap()
        });
        assert!(matches!(outcome, WriteOutcome::Unknown(_)), "{outcome:?}");
        let gone = self.writers[at].take().expect("it has just written");
        self.late.push(gone.proxy);
        Heard::Answer(outcome)
    }
}

impl Medium for ZooKeeper {
    const LOOKS_MAY_BE_STALE: bool = true;

    fn make(_: usize) -> ZooKeeper {
        let to = testing::shared_chroot();
        let chroot = to[to.find('/').unwrap()..].to_owned();
        ZooKeeper {
            chroot,
            writers: [const { None }; WRITERS],
            late: Vec::new(),
        }
    }

    fn load(&mut self, writer: usize) -> Held {
        block_on(self.writer(writer).ledger.load()).unwrap()
    }

    fn write(
        &mut self,
        writer: usize,
        record: &LedgerRecord,
        expected: Version,
        fault: Option<Fault>,
    ) -> Heard {
        let moment = match fault {
            Some(Fault::Late) => return self.hold(writer, record, expected),
            Some(Fault::Before(_)) => Some(Moment::BeforeForwarding),
            Some(Fault::After(_)) => Some(Moment::AfterForwarding),
            None | Some(Fault::Refused) => None,
        };
        let Writer { ledger, proxy, .. } = self.writer(writer);
        if let Some(moment) = moment {
            proxy.cut_at_next_write(moment);
        }
        Heard::Answer(block_on(ledger.write(record, expected)))
    }

    fn arrive(&mut self) -> Vec<(LedgerRecord, Version, WriteOutcome)> {
        for proxy in self.late.drain(..) {
            assert!(proxy.release_held() > 0, "the write arrives");
            wait_until("the server has closed the old connection", LONG, || {
                proxy.connections() == 0
            });
        }
        Vec::new()
    }

    fn restart(&mut self, writer: usize) {
        self.writers[writer] = None;
    }
}
