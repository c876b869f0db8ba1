//! The helpers that other tests stand on, against real servers: they start, elect, die and come back; the proxy does to a
//! write what it is told to. The client here is a few frames of ZooKeeper's protocol by hand, so that nothing is sent
//! again behind the test's back.
#![cfg(all(feature = "zookeeper", feature = "testing"))]
#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use fulmar_coordinator::zookeeper::testing::{self, Ensemble, Moment, Proxy, Server, wait_until};

const SOON: Duration = Duration::from_secs(20);
const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const NODE_EXISTS: i32 = -110;
const BAD_VERSION: i32 = -103;

/// A session of 20 s on one connection.
struct Client(TcpStream);

impl Client {
    fn connect(address: &str) -> io::Result<Self> {
        let mut client = Self(TcpStream::connect(address)?);
        client.0.set_read_timeout(Some(SOON))?;
        // Protocol version 0, last zxid 0, timeout, no session, no password.
        let mut hello = vec![0; 12];
        hello.extend(20_000_i32.to_be_bytes());
        hello.extend([0; 8]);
        hello.extend(string(&[0; 16]));
        client.send_frame(&hello)?;
        client.frame()?;
        Ok(client)
    }

    fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let length = i32::try_from(body.len()).expect("frames here are short");
        self.0
            .write_all(&[&length.to_be_bytes()[..], body].concat())
    }

    fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("not negative")];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    fn send(&mut self, operation: i32, body: &[u8]) -> io::Result<()> {
        self.send_frame(&[&1_i32.to_be_bytes()[..], &operation.to_be_bytes(), body].concat())
    }

    /// The error code of the next answer, 0 for none, and what comes after it.
    fn answer(&mut self) -> io::Result<(i32, Vec<u8>)> {
        let frame = self.frame()?;
        // The number of the request, a zxid, the code.
        Ok((
            i32::from_be_bytes(frame[12..16].try_into().expect("four bytes")),
            frame[16..].to_vec(),
        ))
    }

    fn create(&mut self, path: &str) -> i32 {
        // An ACL of one entry: all permissions for the world.
        let acl = [
            &1_i32.to_be_bytes()[..],
            &31_i32.to_be_bytes(),
            &string(b"world"),
            &string(b"anyone"),
        ]
        .concat();
        let flags = 0_i32.to_be_bytes();
        self.send(
            CREATE,
            &[
                &string(path.as_bytes())[..],
                &string(b"first"),
                &acl,
                &flags,
            ]
            .concat(),
        )
        .unwrap();
        self.answer().unwrap().0
    }

    fn send_set(&mut self, path: &str, data: &str, version: i32) {
        let body = [
            &string(path.as_bytes())[..],
            &string(data.as_bytes()),
            &version.to_be_bytes(),
        ]
        .concat();
        self.send(SET_DATA, &body).unwrap();
    }

    fn set(&mut self, path: &str, data: &str, version: i32) -> i32 {
        self.send_set(path, data, version);
        self.answer().unwrap().0
    }

    fn get(&mut self, path: &str) -> String {
        self.send(GET_DATA, &[&string(path.as_bytes())[..], &[0]].concat())
            .unwrap();
        let (code, body) = self.answer().unwrap();
        assert_eq!(code, 0);
        let length = usize::try_from(i32::from_be_bytes(body[..4].try_into().unwrap())).unwrap();
        String::from_utf8(body[4..4 + length].to_vec()).unwrap()
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).expect("strings here are short");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A proxy before the shared server, a client through it and another beside it, and a node of their own.
fn through_a_proxy() -> (Proxy, Client, Client, String) {
    let chroot = testing::shared_chroot();
    let (address, path) = chroot.split_at(chroot.find('/').unwrap());
    let proxy = Proxy::start(address).unwrap();
    let mut through = Client::connect(&proxy.address()).unwrap();
    let beside = Client::connect(address).unwrap();
    assert_eq!(through.create(path), 0);
    (proxy, through, beside, path.to_owned())
}

fn is_alive(pid: u32) -> bool {
    Command::new("sh")
        .args(["-c", "kill -0 \"$0\" 2>/dev/null", &pid.to_string()])
        .status()
        .unwrap()
        .success()
}

#[test]
fn a_server_keeps_its_address_and_data_over_a_kill() {
    let mut server = Server::start().unwrap();
    assert_eq!(server.four_letter("ruok"), "imok");
    let address = server.address();
    assert!(address.starts_with("127.0.0.1:"));
    assert_eq!(Client::connect(&address).unwrap().create("/kept"), 0);
    let killed = server.pid();
    server.kill();
    assert!(!is_alive(killed));
    assert_eq!(server.four_letter("ruok"), "");
    server.restart().unwrap();
    assert_eq!(server.address(), address);
    assert_ne!(server.pid(), killed);
    let mut client = Client::connect(&address).unwrap();
    assert_eq!(client.create("/kept"), NODE_EXISTS);
    assert_eq!(server.clients(), 1);
    assert!(server.data_dir().join("version-2").is_dir());
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_directory() {
    let server = Server::start().unwrap();
    let (pid, directory) = (server.pid(), server.data_dir());
    assert!(is_alive(pid) && directory.is_dir());
    drop(server);
    assert!(!is_alive(pid));
    assert!(!directory.parent().unwrap().exists());
}

#[test]
fn a_stopped_server_answers_again_when_it_goes_on() {
    let server = Server::start().unwrap();
    let mut client = Client::connect(&server.address()).unwrap();
    server.stop_process();
    client
        .0
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    client.send_set("/", "held", 0);
    assert!(client.frame().is_err());
    server.continue_process();
    client.0.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(client.answer().unwrap().0, 0);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Server::builder()
        .config("tickTime=none")
        .start()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ended before it serves") && error.contains("none"),
        "{error}"
    );
}

/// Connects as users do, for what is too much to do by hand.
fn connects(
    connect: impl Future<Output = Result<zookeeper_client::Client, zookeeper_client::Error>>,
) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { connect.await?.list_children("/").await })
        .is_ok()
}

#[test]
fn a_server_knows_its_users_by_sasl() {
    let server = Server::builder()
        .sasl_digest("ada", "right")
        .sasl_digest("bob", "left")
        .start()
        .unwrap();
    let sign_in = |user: &'static str, password: &'static str| {
        let sasl = zookeeper_client::SaslOptions::digest_md5(user, password);
        let connector = zookeeper_client::Client::connector()
            .with_sasl(sasl)
            .with_fail_eagerly();
        let address = server.address();
        connects(async move { connector.connect(&address).await })
    };
    assert!(sign_in("ada", "right"));
    assert!(sign_in("bob", "left"));
    assert!(!sign_in("ada", "left"));
}

#[cfg(feature = "zookeeper-tls")]
#[test]
fn a_server_is_trusted_by_its_certificate_only() {
    use zookeeper_client::{Client, TlsOptions};
    let servers = [(); 2].map(|()| Server::builder().tls_self_signed().start().unwrap());
    let trusting = |server: &Server| {
        let certificate = fs::read_to_string(server.certificate()).unwrap();
        let options = TlsOptions::new().with_pem_ca(&certificate).unwrap();
        let connector = Client::connector().with_tls(options).with_fail_eagerly();
        let address = servers[0].secure_address();
        connects(async move { connector.secure_connect(&address).await })
    };
    assert!(trusting(&servers[0]));
    assert!(!trusting(&servers[1]));
}

#[test]
fn each_shared_chroot_is_new() {
    let chroots = [testing::shared_chroot(), testing::shared_chroot()];
    assert_ne!(chroots[0], chroots[1]);
    assert!(
        chroots
            .iter()
            .all(|chroot| chroot.starts_with(&format!("{}/t", testing::shared().address())))
    );
}

#[test]
fn an_ensemble_goes_on_without_its_leader_and_takes_it_back() {
    let mut ensemble = Ensemble::start(3).unwrap();
    let first = ensemble.leader().unwrap();
    let other = (first + 1) % 3;
    let mut client = Client::connect(&ensemble.server(first).address()).unwrap();
    assert_eq!(client.create("/node"), 0);
    ensemble.kill(first);
    let second = ensemble.wait_for_leader();
    assert_ne!(second, first);
    let mut client = Client::connect(&ensemble.server(other).address()).unwrap();
    assert_eq!(client.set("/node", "second", 0), 0);
    ensemble.restart(first).unwrap();
    ensemble.wait_for_all();
    let mut client = Client::connect(&ensemble.server(first).address()).unwrap();
    assert_eq!(client.set("/node", "third", 1), 0);
    assert_eq!(
        ensemble.connection_string().split(',').count(),
        ensemble.len()
    );
}

#[test]
fn an_ensemble_that_lost_its_quorum_serves_again_when_it_is_back() {
    let mut ensemble = Ensemble::start(3).unwrap();
    ensemble.kill(0);
    ensemble.kill(1);
    wait_until("the last server serves nobody", SOON, || {
        ensemble.server(2).mode().is_none()
    });
    ensemble.restart(0).unwrap();
    ensemble.wait_for_leader();
    assert_eq!(
        Client::connect(&ensemble.server(2).address())
            .unwrap()
            .create("/node"),
        0
    );
}

#[test]
fn a_cut_proxy_refuses_until_it_is_healed() {
    let (proxy, mut through, _, path) = through_a_proxy();
    assert_eq!(through.get(&path), "first");
    proxy.cut();
    assert!(through.frame().is_err());
    assert!(Client::connect(&proxy.address()).is_err());
    assert_eq!((proxy.cuts(), proxy.accepted()), (1, 1));
    proxy.heal();
    assert_eq!(
        Client::connect(&proxy.address()).unwrap().get(&path),
        "first"
    );
}

#[test]
fn a_held_write_arrives_after_its_client_has_connected_anew() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.hold_client_to_server(true);
    through.send_set(&path, "late", -1);
    wait_until("the write is held", SOON, || proxy.held_writes() == 1);
    proxy.hold_client_to_server(false);
    proxy.cut_once();
    assert!(through.frame().is_err());
    let mut anew = Client::connect(&proxy.address()).unwrap();
    assert_eq!(anew.set(&path, "second", 0), 0);
    assert!(proxy.release_held() > 0);
    wait_until("the late write is applied", SOON, || {
        beside.get(&path) == "late"
    });
    assert_eq!(anew.set(&path, "third", 1), BAD_VERSION);
    wait_until("the old connection is closed", SOON, || {
        proxy.connections() == 1
    });
}

#[test]
fn a_write_cut_before_it_is_passed_on_is_not_applied() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.cut_at_next_write(Moment::BeforeForwarding);
    assert_eq!(through.get(&path), "first");
    through.send_set(&path, "second", 0);
    assert!(through.frame().is_err());
    wait_until("the server has seen the connection's end", SOON, || {
        proxy.connections() == 0
    });
    assert_eq!(beside.get(&path), "first");
    assert_eq!((proxy.cuts(), proxy.writes()), (1, 2));
}

#[test]
fn a_write_cut_after_it_is_passed_on_is_applied_without_an_answer() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.cut_at_next_bytes(Moment::AfterForwarding);
    through.send_set(&path, "second", 0);
    assert!(through.frame().is_err());
    wait_until("the write is applied", SOON, || {
        beside.get(&path) == "second"
    });
    // It was ordered once.
    assert_eq!(
        Client::connect(&proxy.address())
            .unwrap()
            .set(&path, "third", 1),
        0
    );
}

#[test]
fn a_write_torn_apart_is_not_applied() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.cut_after_client_bytes(10);
    through.send_set(&path, "second", 0);
    assert!(through.frame().is_err());
    wait_until("the server has seen the connection's end", SOON, || {
        proxy.connections() == 0
    });
    assert_eq!(beside.get(&path), "first");
}

#[test]
fn swallowed_answers_leave_the_write_applied() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.drop_server_to_client(true);
    through.send_set(&path, "second", 0);
    wait_until("the write is applied", SOON, || {
        beside.get(&path) == "second"
    });
    wait_until("its answer is swallowed", SOON, || proxy.swallowed() > 0);
    proxy.drop_server_to_client(false);
    // The connection has a gap and stays silent; a new one is whole.
    through
        .0
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(through.frame().is_err());
    assert_eq!(
        Client::connect(&proxy.address()).unwrap().get(&path),
        "second"
    );
}

#[test]
fn swallowed_requests_never_reach_the_server() {
    let (proxy, mut through, mut beside, path) = through_a_proxy();
    proxy.drop_client_to_server(true);
    through.send_set(&path, "second", 0);
    wait_until("the proxy has it", SOON, || proxy.writes() == 2);
    proxy.drop_client_to_server(false);
    assert_eq!(
        Client::connect(&proxy.address())
            .unwrap()
            .set(&path, "third", 0),
        0
    );
    assert_eq!(beside.get(&path), "third");
}

#[test]
fn a_proxy_outlives_its_servers_restart() {
    let mut server = Server::start().unwrap();
    let proxy = Proxy::start(&server.address()).unwrap();
    assert_eq!(
        Client::connect(&proxy.address()).unwrap().create("/node"),
        0
    );
    server.kill();
    assert!(Client::connect(&proxy.address()).is_err());
    server.restart().unwrap();
    assert_eq!(
        Client::connect(&proxy.address()).unwrap().get("/node"),
        "first"
    );
}

const OWNER: &str = "FULMAR_TEST_OWNS_A_SERVER";

/// Runs twice: as the test, and in a process of its own as the owner that is killed.
#[test]
fn a_server_ends_with_an_owner_that_is_killed() {
    if env::var_os(OWNER).is_some() {
        let server = Server::start().unwrap();
        println!("\nserver {} {}", server.pid(), server.data_dir().display());
        loop {
            thread::park();
        }
    }
    let name = "a_server_ends_with_an_owner_that_is_killed";
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = lines
        .into_iter()
        .find(|line| line.starts_with("server "))
        .expect("the owner starts a server");
    let words: Vec<&str> = line.split(' ').collect();
    let (pid, directory) = (
        words[1].parse().unwrap(),
        Path::new(words[2]).parent().unwrap(),
    );
    assert!(is_alive(pid) && fs::exists(directory).unwrap());
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the server is gone", SOON, || !is_alive(pid));
    wait_until("its directory is gone", SOON, || !directory.exists());
}
