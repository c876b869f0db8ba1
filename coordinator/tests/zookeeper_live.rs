//! Live settings by contract, on a real server: seen by all, refused as a whole, never missed for good. People's hands are
//! played by a second client that knows nothing of this crate.
#![cfg(all(feature = "zookeeper", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use fulmar_coordinator::zookeeper::testing::{Moment, Proxy, shared, shared_chroot, wait_until};
use fulmar_coordinator::zookeeper::{Change, LiveConfig, Session, TopologyPaths, ZooKeeperConfig};
use fulmar_coordinator::{Error, LiveSettings, WriterId};
use futures::executor::block_on;
use futures::future::{Either, select};
use zookeeper_client as zk;

const SOON: Duration = Duration::from_secs(30);
const ME: WriterId = WriterId(7);

fn paths() -> TopologyPaths {
    TopologyPaths::new("word count")
}

fn open(to: &str) -> Session {
    let config = ZooKeeperConfig::parse(to).unwrap();
    block_on(Session::connect(
        config.session_timeout(Duration::from_secs(4)),
    ))
    .unwrap()
}

fn watch(session: &Session, id: WriterId) -> LiveConfig {
    block_on(LiveConfig::watch(session.clone(), paths(), id)).unwrap()
}

/// What `future` comes to, which is soon.
fn soon<T>(session: &Session, future: impl Future<Output = T>) -> T {
    match block_on(select(pin!(future), pin!(session.pause(SOON)))) {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("waited {SOON:?} in vain"),
    }
}

fn next(session: &Session, config: &mut LiveConfig) -> Change {
    soon(session, config.next()).unwrap()
}

/// Reads until the settings are these, which are the last that were set.
fn next_until(session: &Session, config: &mut LiveConfig, text: &str) -> Change {
    loop {
        let change = next(session, config);
        if change
            .outcome
            .as_ref()
            .is_ok_and(|live| live.to_string() == text)
        {
            return change;
        }
    }
}

fn set(session: &Session, text: &str) -> i32 {
    soon(session, LiveConfig::set(session, &paths(), text)).unwrap()
}

/// Does something by another hand, in the same chroot.
fn by_hand<T, F: Future<Output = T>>(to: &str, what: impl FnOnce(zk::Client) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { what(zk::Client::connect(to).await.unwrap()).await })
}

fn data(to: &str, path: &str) -> Option<String> {
    by_hand(to, async |client| match client.get_data(path).await {
        Ok((data, _)) => Some(String::from_utf8(data).unwrap()),
        Err(zk::Error::NoNode) => None,
        Err(error) => panic!("{error}"),
    })
}

fn write_by_hand(to: &str, path: &str, text: &[u8]) -> i32 {
    by_hand(to, async |client| {
        client.set_data(path, text, None).await.unwrap().version
    })
}

/// `deleteall`.
fn delete_by_hand(to: &str) {
    let config = paths().config();
    by_hand(to, async |client| {
        for child in client.list_children(&config).await.unwrap() {
            client
                .delete(&format!("{config}/{child}"), None)
                .await
                .unwrap();
        }
        client.delete(&config, None).await.unwrap();
    });
}

#[test]
fn a_change_is_seen_by_all_and_a_bad_one_is_refused_by_all_and_changes_nothing() {
    let to = shared_chroot();
    let sessions = [open(&to), open(&to)];
    let ids = [WriterId(1), WriterId(2)];
    let mut configs = [watch(&sessions[0], ids[0]), watch(&sessions[1], ids[1])];
    for (session, config) in sessions.iter().zip(&mut configs) {
        let first = next(session, config);
        assert_eq!(
            (first.version, first.outcome),
            (0, Ok(LiveSettings::default()))
        );
        assert_eq!(block_on(config.last_applied()).unwrap(), None);
    }

    let version = set(&sessions[0], "max_pending=2 # a while");
    let live = LiveSettings::parse("max_pending=2").unwrap();
    for (session, config) in sessions.iter().zip(&mut configs) {
        let change = next(session, config);
        assert_eq!(
            (change.version, &change.outcome),
            (version, &Ok(live.clone()))
        );
        block_on(config.acknowledge(change.version, "applied")).unwrap();
    }
    block_on(configs[0].record_applied(version, &live)).unwrap();

    let bad = write_by_hand(&to, &paths().config(), b"max_pending=3 max_pendign=4");
    for ((session, config), id) in sessions.iter().zip(&mut configs).zip(ids) {
        let change = next(session, config);
        let mistake = change.outcome.unwrap_err();
        assert!(mistake.contains("is max_pending meant?"), "{mistake}");
        assert_eq!(data(&to, &paths().config_ack(id)).unwrap(), "1 applied");
        block_on(config.acknowledge(change.version, &format!("refused: {mistake}"))).unwrap();
        let answer = data(&to, &paths().config_ack(id)).unwrap();
        assert!(
            answer.starts_with(&format!("{bad} refused: line 1: ")),
            "{answer}"
        );
        // What a process that starts now goes on with.
        assert_eq!(
            block_on(config.last_applied()).unwrap(),
            Some((version, live.clone()))
        );
    }
    write_by_hand(&to, &paths().config(), b"\xff");
    let odd = next(&sessions[0], &mut configs[0]).outcome.unwrap_err();
    assert!(odd.contains("no text"), "{odd}");
}

#[test]
fn a_program_cannot_set_what_would_be_refused() {
    let to = shared_chroot();
    let session = open(&to);
    let before = set(&session, "paused=true");
    let error = block_on(LiveConfig::set(&session, &paths(), "paused=1 x=2")).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Settings { .. }), "{said}");
    assert!(
        said.contains("paused=\"1\"") && said.contains("\"x\""),
        "{said}"
    );
    assert_eq!(data(&to, &paths().config()).unwrap(), "paused=true");
    assert_eq!(
        set(&session, "paused=true"),
        before,
        "what holds already is not written again"
    );
}

#[test]
fn a_change_made_while_the_connection_is_down_is_seen_when_it_is_back() {
    let to = shared_chroot();
    let proxy = Proxy::start(&shared().address()).unwrap();
    let (_, chroot) = to.split_once('/').unwrap();
    let session = open(&format!("{}/{chroot}", proxy.address()));
    let mut config = watch(&session, ME);
    next(&session, &mut config);
    for round in 1..=5 {
        proxy.cut();
        wait_until("nobody is connected", SOON, || proxy.connections() == 0);
        write_by_hand(
            &to,
            &paths().config(),
            format!("max_pending={round}").as_bytes(),
        );
        proxy.heal();
        let change = next(&session, &mut config);
        assert_eq!(change.outcome.unwrap().max_pending, Some(round));
    }
}

#[test]
fn a_change_whose_notice_is_lost_with_the_connection_is_seen_all_the_same() {
    let to = shared_chroot();
    let proxy = Proxy::start(&shared().address()).unwrap();
    let (_, chroot) = to.split_once('/').unwrap();
    let session = open(&format!("{}/{chroot}", proxy.address()));
    let mut config = watch(&session, ME);
    next(&session, &mut config);
    // The server believes that it has told of the change, and forgets the watch.
    proxy.drop_server_to_client(true);
    write_by_hand(&to, &paths().config(), b"max_pending=9");
    wait_until("the notice is swallowed", SOON, || proxy.swallowed() > 0);
    proxy.drop_server_to_client(false);
    proxy.cut_once();
    let change = next(&session, &mut config);
    assert_eq!(change.outcome.unwrap().max_pending, Some(9));
}

#[test]
fn of_many_quick_changes_the_last_is_seen_also_by_who_stops_waiting_all_the_time() {
    let to = shared_chroot();
    let session = open(&to);
    let writer = {
        let to = to.clone();
        let mut config = watch(&session, ME);
        next(&session, &mut config);
        std::thread::Builder::new().spawn(move || {
            let session = open(&to);
            for number in 1..=100 {
                set(&session, &format!("batch_records={number}"));
            }
        })
    };
    let mut patient = watch(&session, WriterId(1));
    let last = next_until(&session, &mut patient, "batch_records=100");
    assert_eq!(last.version, 100);
    writer.unwrap().join().unwrap();

    let mut impatient = watch(&session, WriterId(2));
    for number in 101..=130_u64 {
        set(&session, &format!("batch_records={number}"));
        let seen = (0..10_000).find_map(|_| {
            let waiting = pin!(impatient.next());
            match block_on(select(
                waiting,
                pin!(session.pause(Duration::from_micros(200))),
            )) {
                Either::Left((change, _)) => change.unwrap().outcome.unwrap().batch_records,
                Either::Right(_) => None,
            }
        });
        assert_eq!(seen, Some(number));
    }
}

#[test]
fn a_node_deleted_by_hand_is_made_again_and_sets_nothing() {
    let to = shared_chroot();
    let session = open(&to);
    let mut config = watch(&session, ME);
    set(&session, "max_pending=2");
    let before = next(&session, &mut config);
    block_on(config.acknowledge(before.version, "applied")).unwrap();
    block_on(config.record_applied(before.version, &before.outcome.clone().unwrap())).unwrap();
    delete_by_hand(&to);
    let gone = next_until(&session, &mut config, "");
    assert_eq!(gone.version, 0);
    assert!(gone.zxid > before.zxid);
    block_on(config.acknowledge(gone.version, "applied")).unwrap();
    block_on(config.record_applied(gone.version, &LiveSettings::default())).unwrap();
    assert_eq!(data(&to, &paths().config_ack(ME)).unwrap(), "0 applied");
    assert_eq!(
        block_on(config.last_applied()).unwrap(),
        Some((0, LiveSettings::default()))
    );

    // Made again by hand at once, with the same version as before.
    let path = paths().config();
    delete_by_hand(&to);
    by_hand(&to, async |client| {
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        match client.create(&path, b"max_pending=3", &options).await {
            Ok(_) => {}
            // The process was faster.
            Err(zk::Error::NodeExists) => drop(
                client
                    .set_data(&path, b"max_pending=3", None)
                    .await
                    .unwrap(),
            ),
            Err(error) => panic!("{error}"),
        }
    });
    next_until(&session, &mut config, "max_pending=3");

    delete_by_hand(&to);
    assert_eq!(
        set(&session, "max_pending=4"),
        1,
        "made by whoever sets first, then set"
    );
    next_until(&session, &mut config, "max_pending=4");
}

#[test]
fn what_was_applied_survives_every_process() {
    let to = shared_chroot();
    let live = LiveSettings::parse("batch_time_ms=50 log=fulmar=debug,info paused=false").unwrap();
    let session = open(&to);
    block_on(watch(&session, ME).record_applied(41, &LiveSettings::default())).unwrap();
    block_on(watch(&session, ME).record_applied(42, &live)).unwrap();
    drop(session);

    let session = open(&to);
    let config = watch(&session, WriterId(8));
    assert_eq!(block_on(config.last_applied()).unwrap(), Some((42, live)));
    let applied = data(&to, &paths().applied()).unwrap();
    assert_eq!(
        applied,
        "version 42\nbatch_time_ms=50 paused=false log=fulmar=debug,info\n"
    );
    for text in [
        "",
        "version x\n",
        "version 1",
        "version 1\nx=1",
        "max_pending=1",
    ] {
        write_by_hand(&to, &paths().applied(), text.as_bytes());
        let error = block_on(config.last_applied()).unwrap_err();
        assert!(
            matches!(error, Error::ChangedByHand { .. }),
            "{text:?}: {error}"
        );
        assert!(error.to_string().contains("config/applied"), "{error}");
    }
}

#[test]
fn a_change_whose_answer_is_lost_is_made_once() {
    let to = shared_chroot();
    let proxy = Proxy::start(&shared().address()).unwrap();
    let (_, chroot) = to.split_once('/').unwrap();
    let session = open(&format!("{}/{chroot}", proxy.address()));
    assert_eq!(set(&session, "max_pending=1"), 1);
    for (moment, number) in [(Moment::BeforeForwarding, 2), (Moment::AfterForwarding, 3)] {
        let cuts = proxy.cuts();
        proxy.cut_at_next_write(moment);
        assert_eq!(set(&session, &format!("max_pending={number}")), number);
        assert!(proxy.cuts() > cuts, "{moment:?}");
    }
    // Answers and what was applied are written through such cuts too.
    let config = watch(&session, ME);
    for moment in [Moment::BeforeForwarding, Moment::AfterForwarding] {
        for version in [5, 6] {
            proxy.cut_at_next_write(moment);
            soon(&session, config.acknowledge(version, "applied")).unwrap();
            proxy.cut_at_next_write(moment);
            soon(
                &session,
                config.record_applied(version, &LiveSettings::default()),
            )
            .unwrap();
            let answer = data(&to, &paths().config_ack(ME)).unwrap();
            assert_eq!(answer, format!("{version} applied"));
            assert_eq!(
                soon(&session, config.last_applied()).unwrap().unwrap().0,
                version
            );
        }
        let (ack, applied) = (paths().config_ack(ME), paths().applied());
        by_hand(&to, async |client| {
            client.delete(&ack, None).await.unwrap();
            client.delete(&applied, None).await.unwrap();
        });
    }
}

#[test]
fn answers_go_with_the_session_and_no_later_one_with_an_earlier_session() {
    let to = shared_chroot();
    let (first, second, other) = (open(&to), open(&to), open(&to));
    let old = watch(&first, ME);
    block_on(old.acknowledge(1, "applied")).unwrap();
    block_on(watch(&other, WriterId(8)).acknowledge(1, "applied")).unwrap();
    // The same process after its session was lost, while the servers still keep that one.
    let new = watch(&second, ME);
    block_on(new.acknowledge(2, &"ä".repeat(10_000))).unwrap();
    drop((old, first));
    let answer = data(&to, &paths().config_ack(ME)).expect("it belongs to the second session");
    assert!(answer.starts_with("2 ä") && answer.chars().count() == 4096);
    drop((new, second));
    wait_until("the answer is gone", SOON, || {
        data(&to, &paths().config_ack(ME)).is_none()
    });
    assert_eq!(
        data(&to, &paths().config_ack(WriterId(8))).unwrap(),
        "1 applied"
    );
}

#[test]
fn who_waits_for_a_change_hears_of_the_sessions_end() {
    let proxy = Proxy::start(&shared().address()).unwrap();
    let to = shared_chroot();
    let (_, chroot) = to.split_once('/').unwrap();
    let config = ZooKeeperConfig::parse(&format!("{}/{chroot}", proxy.address())).unwrap();
    let session = Session::connect(config.session_timeout(Duration::from_millis(500)));
    let session = block_on(session).unwrap();
    let mut config = watch(&session, ME);
    next(&session, &mut config);
    proxy.cut();
    let error = soon(&session, config.next()).unwrap_err();
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");
    let again = soon(&session, config.next()).unwrap_err();
    assert!(matches!(again, Error::SessionLost { .. }), "{again}");
    let ack = soon(&session, config.acknowledge(1, "applied")).unwrap_err();
    assert!(matches!(ack, Error::SessionLost { .. }), "{ack}");
}
