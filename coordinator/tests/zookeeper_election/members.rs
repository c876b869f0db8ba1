//! Membership.

use std::time::{Duration, Instant};

use fulmar_coordinator::WriterId;
use fulmar_coordinator::zookeeper::testing::{shared_chroot, wait_until};
use fulmar_coordinator::zookeeper::{Member, Membership, Session, TopologyPaths};
use futures::executor::block_on;
use zookeeper_client::CreateMode;

use super::hand::Hand;
use super::{SOON, TIMEOUT, by_proxy, connect, in_time, who};

pub(crate) fn member(version: &str) -> Member {
    Member {
        who: who(version),
        address: None,
        capabilities: vec!["work".into()],
    }
}

fn list(session: &Session, paths: &TopologyPaths) -> Vec<(WriterId, Member)> {
    block_on(Membership::members(session, paths)).unwrap()
}

#[test]
fn a_member_is_listed_until_it_withdraws_or_its_session_ends() {
    let at = shared_chroot();
    let paths = TopologyPaths::new("t");
    let [looker, first, second, third] = [(); 4].map(|()| connect(&at, TIMEOUT));
    assert_eq!(list(&looker, &paths), []);
    let publish = |session: &Session, id: u128| {
        let id = WriterId(id);
        block_on(Membership::publish(
            session,
            &paths,
            id,
            &member(&id.to_string()),
        ))
        .unwrap()
    };
    let ids = || {
        list(&looker, &paths)
            .iter()
            .map(|(id, _)| id.0)
            .collect::<Vec<_>>()
    };
    let (one, two, _three) = (
        publish(&first, 1),
        publish(&second, 2),
        publish(&third, u128::MAX),
    );
    assert_eq!(ids(), [1, 2, u128::MAX]);
    assert_eq!(list(&looker, &paths)[1].1, member(&WriterId(2).to_string()));
    block_on(one.withdraw()).unwrap();
    assert_eq!(ids(), [2, u128::MAX]);
    drop(two);
    wait_until("the second is gone", SOON, || ids() == [u128::MAX]);
    in_time("the session ends", SOON, third.expire()).unwrap();
    wait_until("the third is gone", SOON, || ids().is_empty());
}

#[test]
fn a_member_that_a_person_deleted_or_changed_is_put_back() {
    let at = shared_chroot();
    let (paths, id) = (TopologyPaths::new("t"), WriterId(7));
    let (proxy, by) = by_proxy(&at);
    let (hand, session) = (Hand::at(&at), connect(&by, TIMEOUT));
    let path = paths.worker(id);
    let membership = block_on(Membership::publish(&session, &paths, id, &member("1"))).unwrap();
    let text = member("1").encode();
    for round in 0..4 {
        // The second time on a connection that is not the one on which the watch was set.
        if round == 1 {
            let accepted = proxy.accepted();
            proxy.cut_once();
            wait_until("it is connected again", SOON, || {
                proxy.accepted() > accepted
            });
        }
        if round == 2 {
            hand.write(&path, "something else");
        } else {
            hand.delete(&path);
        }
        wait_until("it is put back", SOON, || {
            hand.is_there(&path) && hand.data(&path) == text
        });
    }
    block_on(membership.withdraw()).unwrap();
    assert!(!hand.is_there(&path));
}

#[test]
fn what_an_older_session_left_is_waited_for_and_replaced() {
    let at = shared_chroot();
    let (paths, id) = (TopologyPaths::new("t"), WriterId(7));
    let (proxy, by) = by_proxy(&at);
    let (old, new) = (connect(&by, TIMEOUT), connect(&at, TIMEOUT));
    let _left = block_on(Membership::publish(&old, &paths, id, &member("old"))).unwrap();
    proxy.cut();
    let start = Instant::now();
    let _membership = in_time(
        "it is published",
        SOON,
        Membership::publish(&new, &paths, id, &member("new")),
    )
    .unwrap();
    assert!(
        start.elapsed() > TIMEOUT / 2,
        "the old session was still there"
    );
    assert_eq!(list(&new, &paths), [(id, member("new"))]);
    drop(old);
    assert_eq!(list(&new, &paths), [(id, member("new"))]);
}

#[test]
fn an_id_that_another_living_session_has_is_an_error_in_time() {
    let at = shared_chroot();
    let (paths, id) = (TopologyPaths::new("t"), WriterId(7));
    let (first, second) = (connect(&at, TIMEOUT), connect(&at, Duration::from_secs(1)));
    let _membership = block_on(Membership::publish(&first, &paths, id, &member("1"))).unwrap();
    let error = block_on(Membership::publish(&second, &paths, id, &member("2")))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another session") && error.contains(&paths.worker(id)),
        "{error}"
    );
    assert_eq!(list(&second, &paths), [(id, member("1"))]);
}

#[test]
fn what_no_member_has_written_is_passed_over() {
    let at = shared_chroot();
    let (paths, id) = (TopologyPaths::new("t"), WriterId(7));
    let (hand, session) = (Hand::at(&at), connect(&at, TIMEOUT));
    let _membership = block_on(Membership::publish(&session, &paths, id, &member("1"))).unwrap();
    for (name, text) in [
        ("notes", member("1").encode()),
        (
            "00000000000000000000000000000008",
            "fulmar-worker 9\n".into(),
        ),
        ("00000000000000000000000000000009", "x".repeat(100_000)),
    ] {
        hand.create(
            &format!("{}/{name}", paths.workers()),
            &text,
            CreateMode::Persistent,
        );
    }
    assert_eq!(list(&session, &paths), [(id, member("1"))]);
}
