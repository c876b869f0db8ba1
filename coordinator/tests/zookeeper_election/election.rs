//! Who leads, while nothing is broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing::{Server, shared_chroot, wait_until};
use fulmar_coordinator::zookeeper::{Candidate, Election, Membership, TopologyPaths};
use fulmar_coordinator::{Error, WriterId};
use futures::FutureExt;
use futures::executor::block_on;

use super::hand::Hand;
use super::members::member;
use super::{
    DIR, SOON, TIMEOUT, by_proxy, connect, in_time, is_lost, join, requests, watches, who,
};

#[test]
fn the_first_to_join_leads_and_says_who_it_is() {
    let session = connect(&shared_chroot(), TIMEOUT);
    assert_eq!(block_on(Election::leader(&session, DIR)), Ok(None));
    let first = join(&session, "a");
    let second = join(&session, "b");
    assert_eq!(first.ahead(), None);
    let ahead = second.ahead().unwrap();
    assert_eq!(
        (ahead.first, ahead.before, ahead.count),
        (who("a"), who("a"), 1)
    );
    let leadership = block_on(first.elected()).unwrap();
    assert!(leadership.holds());
    assert_eq!(
        block_on(Election::leader(&session, DIR)),
        Ok(Some(who("a")))
    );
}

#[test]
fn five_candidates_lead_in_the_order_of_joining_and_one_at_a_time() {
    let at = shared_chroot();
    let (leading, led) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let lead = |name: usize, candidate: Candidate| {
        let leadership = block_on(candidate.elected()).unwrap();
        assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0);
        led.lock().unwrap().push((name, leadership.fence()));
        thread::sleep(Duration::from_millis(50));
        assert!(leadership.holds());
        assert_eq!(leading.fetch_sub(1, Ordering::SeqCst), 1);
        block_on(leadership.resign()).unwrap();
    };
    let sessions: Vec<_> = (0..5).map(|_| connect(&at, TIMEOUT)).collect();
    let candidates: Vec<_> = sessions
        .iter()
        .enumerate()
        .map(|(name, session)| join(session, &name.to_string()))
        .collect();
    thread::scope(|scope| {
        // The last is the first to wait.
        for (name, candidate) in candidates.into_iter().enumerate().rev() {
            scope.spawn(move || lead(name, candidate));
        }
    });
    let led = led.into_inner().unwrap();
    assert_eq!(
        led.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    assert!(led.windows(2).all(|pair| pair[0].1 < pair[1].1), "{led:?}");
}

#[test]
fn when_the_leader_goes_only_the_next_one_is_woken() {
    let server = Server::start().unwrap();
    let at = format!("{}/herd", server.address());
    // With so long a timeout there is a heartbeat in ten seconds.
    let sessions: Vec<_> = (0..6)
        .map(|_| connect(&at, Duration::from_secs(60)))
        .collect();
    let mut candidates: Vec<_> = sessions.iter().map(|session| join(session, "x")).collect();
    let watched = watches(&server);
    assert_eq!(watched.len(), 6, "{watched:?}");
    let mut watchers: Vec<usize> = watched.values().map(Vec::len).collect();
    watchers.sort_unstable();
    assert_eq!(
        watchers,
        [1, 2, 2, 2, 2, 2],
        "each its own node and that before it: {watched:?}"
    );

    let before = requests(&server);
    let second = candidates.remove(1);
    block_on(block_on(candidates.remove(0).elected()).unwrap().resign()).unwrap();
    let leadership = in_time("the second leads", SOON, second.elected()).unwrap();
    // Whoever else was woken had to read, and would have by now.
    thread::sleep(Duration::from_millis(300));
    let after = requests(&server);
    let asked: Vec<u64> = sessions
        .iter()
        .map(|session| after[&session.id()] - before[&session.id()])
        .collect();
    assert!(asked[1] >= 3, "{asked:?}");
    assert!(asked[2..].iter().all(|&asked| asked < 3), "{asked:?}");

    // From the middle of the queue somebody goes: the one behind closes up and is not elected.
    block_on(candidates.remove(1).leave()).unwrap();
    wait_until("the one behind closed up", SOON, || {
        candidates[1].ahead().unwrap().count == 2
    });
    assert!(leadership.holds());
    let watched = watches(&server);
    assert_eq!(
        watched.values().map(Vec::len).sum::<usize>(),
        4 + 3,
        "{watched:?}"
    );
}

#[test]
fn the_next_leads_at_once_after_a_resignation_a_drop_or_the_end_of_the_session() {
    let at = shared_chroot();
    // Whoever waits for such a session to expire has not heard of the end.
    let long = 2 * SOON;
    let mut sessions: Vec<_> = (0..4).map(|_| connect(&at, long)).collect();
    let mut candidates: Vec<_> = sessions
        .iter()
        .map(|session| Some(join(session, "x")))
        .collect();
    let mut leadership = block_on(candidates[0].take().unwrap().elected()).unwrap();
    for (next, way) in ["resigned", "dropped", "closed"].into_iter().enumerate() {
        let start = Instant::now();
        match way {
            "resigned" => block_on(leadership.resign()).unwrap(),
            "dropped" => drop(leadership),
            _ => {
                let session = sessions.remove(next);
                drop((leadership, session));
                sessions.insert(next, connect(&at, long));
            }
        }
        leadership = in_time(way, SOON, candidates[next + 1].take().unwrap().elected()).unwrap();
        println!("{way}: the next leads after {:?}", start.elapsed());
    }
}

/// A process that ends does not wait for threads: what is not at the servers by then, they find out by the session's timeout.
#[test]
fn a_session_that_is_let_go_is_closed_by_then_whatever_its_background_does() {
    let at = shared_chroot();
    let hand = Hand::at(&at);
    for round in 0..300 {
        let session = connect(&at, TIMEOUT);
        let (paths, member) = (TopologyPaths::new("let-go"), member("x"));
        let published = Membership::publish(&session, &paths, WriterId::random(), &member);
        let published = block_on(published).unwrap();
        let leadership = block_on(join(&session, "x").elected()).unwrap();
        // They leave in the background, which is at one call or another of theirs when the session goes.
        drop((leadership, published));
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(round % 100 * 10) {}
        drop(session);
        assert_eq!(hand.list(DIR), [""; 0], "round {round}");
    }
}

#[test]
fn a_dropped_future_leaves_no_candidate() {
    let at = shared_chroot();
    let (hand, sessions) = (Hand::at(&at), [(); 2].map(|()| connect(&at, TIMEOUT)));
    let leadership = block_on(join(&sessions[0], "a").elected()).unwrap();
    for waits in 0..30 {
        // Dropped while it joins, at one moment or another, and while it waits.
        let mut joining = Box::pin(async {
            Election::join(&sessions[1], DIR, &who("b"))
                .await
                .unwrap()
                .elected()
                .await
        });
        assert!(joining.as_mut().now_or_never().is_none());
        thread::sleep(Duration::from_micros(waits * 200));
        assert!(joining.now_or_never().is_none());
    }
    wait_until("only the leader is there", SOON, || {
        hand.list(DIR).len() == 1
    });
    assert!(leadership.holds());
    block_on(leadership.resign()).unwrap();
    assert_eq!(hand.list(DIR), [""; 0]);
}

#[test]
fn a_node_deleted_by_hand_deposes_and_the_next_takes_over() {
    let at = shared_chroot();
    let (hand, sessions) = (Hand::at(&at), [(); 3].map(|()| connect(&at, TIMEOUT)));
    let leadership = block_on(join(&sessions[0], "a").elected()).unwrap();
    let (second, third) = (join(&sessions[1], "b"), join(&sessions[2], "c"));
    let nodes = hand.list(DIR);
    hand.delete(&format!("{DIR}/{}", nodes[1]));
    let error = in_time("the candidate hears of it", SOON, second.elected()).unwrap_err();
    assert!(
        matches!(&error, Error::Deposed { what } if what.contains("another hand")),
        "{error}"
    );
    assert_eq!(third.ahead().unwrap().first, who("a"));
    hand.delete(&format!("{DIR}/{}", nodes[0]));
    let error = in_time("the leader hears of it", SOON, leadership.lost()).to_string();
    assert!(
        error.contains("leadership is lost") && error.contains(DIR),
        "{error}"
    );
    assert!(!leadership.holds());
    assert!(
        in_time("the third leads", SOON, third.elected())
            .unwrap()
            .holds()
    );
    // Whoever was deposed may stand again.
    drop(leadership);
    wait_until("all have gone", SOON, || hand.list(DIR).is_empty());
    assert!(
        in_time("elected again", SOON, join(&sessions[0], "a").elected())
            .unwrap()
            .holds()
    );
}

#[test]
fn a_session_ended_by_force_ends_leadership_and_the_next_takes_over() {
    let at = shared_chroot();
    let (first, second) = (connect(&at, TIMEOUT), connect(&at, TIMEOUT));
    let leadership = block_on(join(&first, "a").elected()).unwrap();
    let candidate = join(&second, "b");
    let how = in_time("the session ends", SOON, first.expire()).unwrap();
    assert!(is_lost(&how), "{how}");
    assert_eq!(
        in_time("the leader hears of it", SOON, leadership.lost()),
        how
    );
    assert!(!leadership.holds());
    assert!(
        in_time("the second leads", SOON, candidate.elected())
            .unwrap()
            .holds()
    );
    assert_eq!(
        block_on(Election::join(&first, DIR, &who("a"))).map(drop),
        Err(how)
    );
}

#[test]
fn nodes_of_other_programs_and_other_hands_in_the_queue_disturb_nobody() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let (hand, sessions) = (Hand::at(&at), [(); 2].map(|()| connect(&by, TIMEOUT)));
    let leadership = block_on(join(&sessions[0], "a").elected()).unwrap();
    let second = join(&sessions[1], "b");
    let writer = "0".repeat(32);
    // The last has a lower number than the leader.
    for name in [
        "lock",
        "x-0000000000",
        &format!("{writer}-x"),
        &format!("{writer}--000000001"),
    ] {
        let path = format!("{DIR}/{name}");
        hand.create(&path, "?", zookeeper_client::CreateMode::Persistent);
    }
    proxy.cut_once();
    wait_until("all read the queue anew", SOON, || {
        second.ahead().unwrap().count == 2
    });
    thread::sleep(Duration::from_millis(300));
    assert_eq!(second.ahead().unwrap().before, who("a"));
    assert!(leadership.holds(), "who leads stays it");
}
