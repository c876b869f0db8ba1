//! TLS to real servers: with the right certificates, with wrong ones, and where one side does not speak it.
#![cfg(all(feature = "zookeeper-tls", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long an answer takes"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing::{Server, shared};
use fulmar_coordinator::zookeeper::{LiveConfig, Session, Tls, TopologyPaths, ZooKeeperConfig};
use fulmar_coordinator::{Error, WriterId};
use futures::executor::block_on;
use tempfile::TempDir;
use zookeeper_client as zk;

const TIMEOUT: Duration = Duration::from_millis(2500);
/// For who shall get in: a server's first handshakes take long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client's key and its certificate, signed by itself and valid from 2020 to 2120, for these tests alone.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaFP9wcJZxVf6Q72Y
izHx+xLPEhOMi3Pfdp0JMaOIK2mhRANCAATKknGfTV8dhigU6iK31vSBMl7WO7xP
t6QQ/HYCzb8HKsBTTSRAmzvj1r770LGSfuoPZq3PZCZZEd1oGfjKZtSh
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBPzCB5aADAgECAgEBMAoGCCqGSM49BAMCMBExDzANBgNVBAMMBmNsaWVudDAg
Fw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowETEPMA0GA1UEAwwGY2xp
ZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEypJxn01fHYYoFOoit9b0gTJe
1ju8T7ekEPx2As2/ByrAU00kQJs749a++9Cxkn7qD2atz2QmWRHdaBn4ymbUoaMs
MCowCQYDVR0TBAIwADAdBgNVHQ4EFgQU8yA9O7Mcjk+Ho8nL6NTC4t3ox/IwCgYI
KoZIzj0EAwIDSQAwRgIhAPELTQTYcPNWwkcFa0QR15VepKc/ZDO4fVf6Yf+7lbaA
AiEAttIjvML/z0l/po6BrCym+BJXzkjJeoLFaIHIsVNJAGg=
-----END CERTIFICATE-----
";

/// The client's two files, in a directory of their own.
fn identity() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("client.pem"),
        folder.path().join("client.key"),
    );
    fs::write(&certificate, CERTIFICATE).unwrap();
    fs::write(&key, KEY).unwrap();
    (folder, certificate, key)
}

/// A server that asks for the client's certificate, and trusts only that.
fn asking_server(trusted: &Path) -> Server {
    let settings = Server::builder()
        .tls_self_signed()
        .config("ssl.clientAuth=need");
    let settings = settings.config(format!("ssl.trustStore.location={}", trusted.display()));
    settings.config("ssl.trustStore.type=PEM").start().unwrap()
}

fn config(to: &str) -> ZooKeeperConfig {
    ZooKeeperConfig::parse(to).unwrap().session_timeout(TIMEOUT)
}

/// For a server that shall be reached.
fn patient(to: &str) -> ZooKeeperConfig {
    ZooKeeperConfig::parse(to)
        .unwrap()
        .session_timeout(PATIENCE)
}

/// Connects, so that the server has shaken hands once.
fn warm_up(server: &Server) {
    let config = patient(&server.secure_address()).tls(Tls::new(server.certificate()));
    drop(block_on(Session::connect(config.unwrap())).unwrap());
}

fn no_server(config: ZooKeeperConfig) -> String {
    let before = Instant::now();
    let error = block_on(Session::connect(config)).unwrap_err();
    let took = before.elapsed();
    assert!(took < TIMEOUT + Duration::from_secs(3), "{took:?}: {error}");
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_session_by_tls_works_and_one_that_trusts_another_server_says_why_not() {
    let (server, other) = (
        Server::builder().tls_self_signed().start().unwrap(),
        Server::builder().tls_self_signed().start().unwrap(),
    );
    let secure = server.secure_address();
    let right = patient(&format!("{secure}/x"))
        .tls(Tls::new(server.certificate()))
        .unwrap();
    let session = block_on(Session::connect(right.clone())).unwrap();
    assert_eq!(
        block_on(LiveConfig::set(
            &session,
            &TopologyPaths::new("t"),
            "paused=true"
        ))
        .unwrap(),
        1
    );
    assert!(
        !right.is_authenticated(),
        "without a certificate of its own it is nobody"
    );
    // Signed in by another way, over TLS; and one server by TLS where another is not.
    drop(block_on(Session::connect(right.digest("app", "secret").unwrap())).unwrap());
    let mixed = format!("{secure},tcp://{}", server.address());
    drop(
        block_on(Session::connect(
            patient(&mixed).tls(Tls::new(server.certificate())).unwrap(),
        ))
        .unwrap(),
    );

    let wrong = config(&secure).tls(Tls::new(other.certificate())).unwrap();
    let said = no_server(wrong);
    assert!(
        said.contains(&format!("{secure}: TLS: ")) && said.contains("certificate"),
        "{said}"
    );
    // The address is in the certificate, the name is not that of another host.
    let (_, port) = secure.split_once(':').unwrap();
    let named = patient(&format!("localhost:{port}"))
        .tls(Tls::new(server.certificate()))
        .unwrap();
    drop(block_on(Session::connect(named)).unwrap());
}

#[test]
fn a_side_that_speaks_no_tls_is_named() {
    let server = Server::builder().tls_self_signed().start().unwrap();
    warm_up(&server);
    let said = no_server(config(&server.secure_address()));
    assert!(
        said.contains("it speaks TLS") && said.contains("FULMAR_ZOOKEEPER_TLS_CA"),
        "{said}"
    );
    for plain in [server.address(), shared().address()] {
        let said = no_server(config(&plain).tls(Tls::new(server.certificate())).unwrap());
        assert!(
            said.contains(&format!("{plain}: it does not speak TLS")),
            "{said}"
        );
    }
    let error = block_on(Session::connect(config("tcp+tls://127.0.0.1:1"))).unwrap_err();
    assert!(error.to_string().contains("no CA is given"), "{error}");
}

#[test]
fn nodes_belong_to_who_shows_a_certificate_and_nobody_gets_in_without() {
    let (_folder, certificate, key) = identity();
    let server = asking_server(&certificate);
    let tls = Tls::new(server.certificate());
    let owner = patient(&server.secure_address())
        .tls(tls.clone().identity(&certificate, &key))
        .unwrap();
    assert!(owner.is_authenticated());
    let session = block_on(Session::connect(owner)).unwrap();
    let paths = TopologyPaths::new("t");
    let mut live = block_on(LiveConfig::watch(
        session.clone(),
        paths.clone(),
        WriterId(1),
    ))
    .unwrap();
    block_on(live.next()).unwrap();

    let secure = server.secure_address();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (acls, _) = runtime.block_on(async {
        let options =
            zk::TlsOptions::new().with_pem_ca(&fs::read_to_string(server.certificate()).unwrap());
        let options = options
            .unwrap()
            .with_pem_identity(CERTIFICATE, KEY)
            .unwrap();
        let client = zk::Client::connector()
            .with_tls(options)
            .secure_connect(&secure);
        client
            .await
            .unwrap()
            .get_acl(&paths.config())
            .await
            .unwrap()
    });
    assert_eq!(
        (acls[0].scheme(), acls[0].id(), acls.len()),
        ("x509", "CN=client", 1)
    );
    // By the port without TLS the same nodes are another's.
    let stranger = block_on(Session::connect(patient(&server.address()))).unwrap();
    let mut live = block_on(LiveConfig::watch(stranger, paths, WriterId(2))).unwrap();
    let error = block_on(live.next()).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");

    let said = no_server(config(&server.secure_address()).tls(tls).unwrap());
    assert!(
        said.contains("TLS: ") && said.to_lowercase().contains("certificate"),
        "{said}"
    );
}

#[test]
fn a_certificate_that_the_server_does_not_ask_for_makes_no_open_nodes() {
    let (_folder, certificate, key) = identity();
    let server = Server::builder().tls_self_signed().start().unwrap();
    let tls = Tls::new(server.certificate()).identity(&certificate, &key);
    let error = block_on(Session::connect(
        patient(&server.secure_address()).tls(tls).unwrap(),
    ))
    .unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(error.to_string().contains("client certificates"), "{error}");
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_is_sent() {
    let (folder, certificate, key) = identity();
    let refused = |tls: Tls| {
        let error = config("127.0.0.1:1").tls(tls).unwrap_err().to_string();
        assert!(!KEY.lines().any(|line| error.contains(line)), "{error}");
        error
    };
    let said = refused(Tls::new(&certificate).identity(&certificate, &certificate));
    assert!(said.contains("there is no private key in it"), "{said}");
    let said = refused(Tls::new(&key));
    assert!(said.contains("there is no certificate in it"), "{said}");
    let broken = folder.path().join("broken.key");
    fs::write(&broken, KEY.replace("MIGH", "MIGI")).unwrap();
    let said = refused(Tls::new(&certificate).identity(&certificate, &broken));
    assert!(said.contains("cannot be used for TLS"), "{said}");
    // What becomes unusable later is said when the next session is opened.
    let tls = Tls::new(&certificate).identity(&certificate, &key);
    let config = config("127.0.0.1:1").tls(tls).unwrap();
    fs::remove_file(&key).unwrap();
    let error = block_on(Session::connect(config)).unwrap_err();
    assert!(
        matches!(error, Error::Io { .. }) && error.to_string().contains("client.key"),
        "{error}"
    );
}
