//! Who gets in, on real servers: by the right credentials, by wrong ones, by none; and what is said when no server answers.
//! Secrets are looked for in everything that is shown or logged on the way.
#![cfg(all(feature = "zookeeper", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long an answer takes"
)]

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing::{Ensemble, Server, shared_chroot};
use fulmar_coordinator::zookeeper::{LiveConfig, Session, TopologyPaths, ZooKeeperConfig};
use fulmar_coordinator::{Error, WriterId};
use futures::executor::block_on;
use zookeeper_client as zk;

const PASSWORD: &str = "s3cret-of-ours";
const OTHER: &str = "0ther-s3cret";
const TIMEOUT: Duration = Duration::from_millis(1500);

fn config(to: &str) -> ZooKeeperConfig {
    ZooKeeperConfig::parse(to).unwrap().session_timeout(TIMEOUT)
}

/// Connects and reads the settings, which are made if need be: what a process does first that needs rights.
fn enter(config: ZooKeeperConfig, topology: &str) -> Result<Session, Error> {
    block_on(async {
        let session = Session::connect(config).await?;
        let paths = TopologyPaths::new(topology);
        let mut live = LiveConfig::watch(session.clone(), paths, WriterId(1)).await?;
        live.next().await?;
        live.acknowledge(0, "applied").await?;
        Ok(session)
    })
}

/// Why it does not get in; at once, and with advice that holds no secret.
fn denied(config: ZooKeeperConfig, topology: &str) -> String {
    let before = Instant::now();
    let error = enter(config, topology).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Denied { .. }), "{said}");
    assert!(
        said.contains("check the credentials") && said.contains("getAcl"),
        "{said}"
    );
    assert!(before.elapsed() < 2 * TIMEOUT, "{:?}", before.elapsed());
    said
}

/// Who may do what with a node, as `getAcl` shows it.
fn acl(to: &str, connector: zk::Connector, path: &str) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (acls, _) = runtime.block_on(async {
        let client = connector.connect(to).await.unwrap();
        client.get_acl(path).await.unwrap()
    });
    let all = |acl: &zk::Acl| acl.permission() == zk::Permission::ALL;
    assert!(acls.iter().all(all), "{acls:?}");
    acls.iter()
        .map(|acl| (acl.scheme().to_owned(), acl.id().to_owned()))
        .collect()
}

/// Everything that this process logs, at the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nodes_belong_to_who_made_them_and_no_other_gets_at_them() {
    let to = shared_chroot();
    let owner = config(&to).digest("app", PASSWORD).unwrap();
    let session = enter(owner.clone(), "t").unwrap();
    for path in [
        "/fulmar",
        "/fulmar/t",
        "/fulmar/t/config",
        "/fulmar/t/config/ack-00000000000000000000000000000001",
    ] {
        let credentials = format!("app:{PASSWORD}");
        let connector = zk::Client::connector().with_auth("digest", credentials.as_bytes());
        let owners = acl(&to, connector, path);
        assert!(
            matches!(&owners[..], [(scheme, id)] if scheme == "digest" && id.starts_with("app:")),
            "{path}: {owners:?}"
        );
    }
    drop(session);
    drop(enter(owner, "t").expect("the same user gets in again"));

    for stranger in [
        config(&to),
        config(&to).digest("app", OTHER).unwrap(),
        config(&to).digest("other", PASSWORD).unwrap(),
    ] {
        let said = denied(stranger.clone(), "t");
        assert!(said.contains("/fulmar/t/config"), "{said}");
        let said = denied(stranger, "another");
        assert!(
            said.contains("creating") && said.contains("/fulmar/another"),
            "{said}"
        );
    }
}

#[test]
fn nodes_of_nobody_in_particular_are_everybodys() {
    let to = shared_chroot();
    drop(enter(config(&to), "t").unwrap());
    let owners = acl(&to, zk::Client::connector(), "/fulmar/t/config");
    assert_eq!(owners, [("world".to_owned(), "anyone".to_owned())]);
    drop(enter(config(&to).digest("app", PASSWORD).unwrap(), "t").unwrap());
}

#[test]
fn sasl_lets_in_whom_the_server_knows() {
    let server = Server::builder()
        .sasl_digest("app", PASSWORD)
        .sasl_digest("other", OTHER)
        .start()
        .unwrap();
    let to = format!("{}/x", server.address());
    drop(enter(config(&to).sasl("app", PASSWORD).unwrap(), "t").unwrap());
    let connector =
        || zk::Client::connector().with_sasl(zk::SaslOptions::digest_md5("app", PASSWORD));
    for path in ["/", "/fulmar/t/config"] {
        let owners = acl(&to, connector(), path);
        assert_eq!(owners, [("sasl".to_owned(), "app".to_owned())], "{path}");
    }
    let said = denied(config(&to).sasl("app", OTHER).unwrap(), "t");
    assert!(
        said.contains("do not accept the credentials") && said.contains("\"app\""),
        "{said}"
    );
    // A server of version 3.8 would let a stranger in who knew the password of whoever signed in last; not to the nodes.
    let said = denied(config(&to).sasl("stranger", "nobody's").unwrap(), "t");
    assert!(said.contains("do not accept the credentials"), "{said}");
    let said = denied(config(&to).sasl("other", OTHER).unwrap(), "t");
    assert!(said.contains("/fulmar/t/config"), "{said}");
    let said = denied(config(&to), "t");
    assert!(said.contains("/fulmar/t/config"), "{said}");
}

#[test]
fn a_server_that_wants_sasl_lets_nobody_in_without() {
    let server = Server::builder()
        .sasl_digest("app", PASSWORD)
        .config("sessionRequireClientSASLAuth=true");
    let server = server.start().unwrap();
    drop(
        enter(
            config(&server.address()).sasl("app", PASSWORD).unwrap(),
            "t",
        )
        .unwrap(),
    );
    let said = denied(config(&server.address()), "t");
    assert!(
        said.contains("the servers want credentials, and none are given"),
        "{said}"
    );
    let said = denied(config(&server.address()).sasl("app", OTHER).unwrap(), "t");
    assert!(said.contains("do not accept the credentials"), "{said}");
}

#[test]
fn sasl_with_a_server_that_knows_no_sasl_is_refused_and_makes_no_open_nodes() {
    let said = denied(config(&shared_chroot()).sasl("app", PASSWORD).unwrap(), "t");
    assert!(said.contains("do they know the scheme (SASL"), "{said}");
}

#[test]
fn no_secret_is_shown_or_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    subscriber
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let server = Server::builder()
        .sasl_digest("app", PASSWORD)
        .start()
        .unwrap();
    let both = config(&server.address())
        .sasl("app", PASSWORD)
        .unwrap()
        .digest("me", OTHER)
        .unwrap();
    let session = enter(both.clone(), "t").unwrap();
    let wrong = config(&server.address()).sasl("app", OTHER).unwrap();
    let errors = [
        denied(wrong, "t"),
        denied(
            config(&server.address()).digest("me", PASSWORD).unwrap(),
            "t",
        ),
    ];
    let shown = format!(
        "{both:?} {both:#?} {session:?} {errors:?} {}",
        both.connect_string()
    );
    drop(session);
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("sending connect request"),
        "the client's own log is in it"
    );
    for secret in [PASSWORD, OTHER] {
        // Also as the bytes that a request would be logged as.
        let bytes = format!("{:?}", secret.as_bytes());
        for text in [&shown, &logged] {
            assert!(
                !text.contains(secret) && !text.contains(bytes.trim_matches(['[', ']'])),
                "{secret}"
            );
        }
    }
}

/// What is said when no server opens a session; no later than promised.
fn no_server(to: &str) -> String {
    let before = Instant::now();
    let error = block_on(Session::connect(config(to))).unwrap_err();
    let took = before.elapsed();
    assert!(took < TIMEOUT + Duration::from_secs(3), "{took:?}: {error}");
    assert!(
        matches!(
            error,
            Error::NoServer {
                within_ms: 1500,
                ..
            }
        ),
        "{error}"
    );
    error.to_string()
}

#[test]
fn servers_that_are_not_there_are_named_each_with_its_reason_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at = silent.local_addr().unwrap().to_string();
    let closed_at = closed.local_addr().unwrap().to_string();
    drop(closed);
    let unknown_at = "no-such-host.invalid:2181";

    let said = no_server(&closed_at);
    assert!(
        said.contains(&format!("{closed_at}: Connection refused")),
        "{said}"
    );
    let said = no_server(unknown_at);
    assert!(said.contains("check the addresses"), "{said}");
    let said = no_server(&silent_at);
    assert!(
        said.contains(&format!(
            "{silent_at}: it takes connections, but answers nothing"
        )),
        "{said}"
    );

    let all = [&closed_at, unknown_at, &silent_at, &silent_at, &silent_at];
    let said = no_server(&format!("{}/x", all.join(",")));
    for address in all {
        assert!(
            said.contains(&format!("{address}: ")),
            "{address} is named in: {said}"
        );
    }
}

#[test]
fn an_ensemble_without_a_quorum_is_told_from_one_that_is_not_there() {
    let mut ensemble = Ensemble::start(3).unwrap();
    ensemble.kill(0);
    ensemble.kill(1);
    let said = no_server(&ensemble.connection_string());
    let lonely = ensemble.server(2).address();
    assert!(
        said.contains(&format!(
            "{lonely}: it runs, but its ensemble has no quorum"
        )),
        "{said}"
    );
    let dead = ensemble.server(0).address();
    assert!(
        said.contains(&format!("{dead}: Connection refused")),
        "{said}"
    );
}
