//! What broken connections and killed servers do to an election.

use std::thread;
use std::time::{Duration, Instant};

use fulmar_coordinator::Error;
use fulmar_coordinator::zookeeper::testing::{Ensemble, Moment, Server, shared_chroot, wait_until};
use fulmar_coordinator::zookeeper::{Election, Lock, Membership, TopologyPaths};
use futures::FutureExt;
use futures::executor::block_on;
use zookeeper_client::CreateMode;

use super::hand::Hand;
use super::{DIR, SOON, TIMEOUT, by_proxy, connect, in_time, is_lost, join, who};

#[test]
fn a_leader_that_was_cut_off_knows_it_before_the_next_one_leads() {
    for silent in [false, true] {
        let at = shared_chroot();
        let (proxy, by) = by_proxy(&at);
        let (first, second) = (connect(&by, Duration::from_secs(2)), connect(&at, TIMEOUT));
        let leadership = block_on(join(&first, "a").elected()).unwrap();
        let candidate = join(&second, "b");
        // So that the lease runs from an ordinary heartbeat, not from the session's beginning.
        thread::sleep(Duration::from_millis(700));
        assert!(leadership.holds());
        let cut = Instant::now();
        if silent {
            proxy.drop_client_to_server(true);
        } else {
            proxy.cut();
        }
        let elected = thread::spawn(move || {
            let leadership = block_on(candidate.elected()).unwrap();
            assert!(leadership.holds());
            (Instant::now(), leadership)
        });
        wait_until("the first no longer holds", SOON, || !leadership.holds());
        let ended = Instant::now();
        let (elected, _leadership) = elected.join().unwrap();
        println!(
            "cut; holds no longer after {:?}; next elected after {:?}",
            ended - cut,
            elected - cut
        );
        assert!(
            ended < elected,
            "{:?} after {:?}",
            ended - cut,
            elected - cut
        );
        let error = in_time("the first hears of it", SOON, leadership.lost());
        assert!(is_lost(&error), "{error}");
        assert!(!leadership.holds());
    }
}

#[test]
fn a_connection_that_breaks_costs_nobody_the_place() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let sessions = [(); 3].map(|()| connect(&by, TIMEOUT));
    let mut leadership = block_on(join(&sessions[0], "a").elected()).unwrap();
    let candidates = [join(&sessions[1], "b"), join(&sessions[2], "c")];
    let hand = Hand::at(&at);
    let nodes = hand.list(DIR);
    for candidate in candidates {
        let accepted = proxy.accepted();
        proxy.cut_once();
        wait_until("all are connected again", SOON, || {
            proxy.accepted() >= accepted + 3
        });
        // It reads the queue anew, which it had no reason to while the one before it was the same.
        wait_until("it is next", SOON, || candidate.ahead().unwrap().count == 1);
        assert!(leadership.lost().now_or_never().is_none());
        block_on(leadership.resign()).unwrap();
        // The watch on the one before it is still there, or there again.
        leadership = in_time("the next leads", SOON, candidate.elected()).unwrap();
    }
    assert_eq!(hand.list(DIR), nodes[2..]);
    assert!(leadership.holds());
}

#[test]
fn a_leader_that_goes_while_the_next_is_cut_off_is_succeeded_when_that_comes_back() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let (first, second) = (connect(&at, TIMEOUT), connect(&by, TIMEOUT));
    let leadership = block_on(join(&first, "a").elected()).unwrap();
    let candidate = join(&second, "b");
    proxy.cut();
    block_on(leadership.resign()).unwrap();
    let mut elected = Box::pin(candidate.elected());
    thread::sleep(Duration::from_millis(500));
    assert!(elected.as_mut().now_or_never().is_none());
    proxy.heal();
    let leadership = in_time("the next leads", SOON, elected).unwrap();
    wait_until("it holds", SOON, || leadership.holds());
}

#[test]
fn a_creation_without_an_answer_makes_one_candidate() {
    for moment in [Moment::BeforeForwarding, Moment::AfterForwarding] {
        let at = shared_chroot();
        let (proxy, by) = by_proxy(&at);
        let (hand, session) = (Hand::at(&at), connect(&by, TIMEOUT));
        let first = join(&session, "a");
        proxy.cut_at_next_write(moment);
        let second = join(&session, "b");
        assert_eq!(proxy.cuts(), 1);
        let nodes = hand.list(DIR);
        assert_eq!(nodes.len(), 2, "{moment:?}: {nodes:?}");
        assert_eq!(second.ahead().unwrap().first, who("a"));
        block_on(first.leave()).unwrap();
        block_on(
            in_time("the second leads", SOON, second.elected())
                .unwrap()
                .resign(),
        )
        .unwrap();
        assert_eq!(hand.list(DIR), [""; 0]);
    }
}

#[test]
fn a_creation_that_is_held_on_its_way_makes_one_candidate() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let (hand, session) = (Hand::at(&at), connect(&by, TIMEOUT));
    let first = join(&session, "a");
    proxy.hold_client_to_server(true);
    let joining = thread::spawn({
        let session = session.clone();
        move || join(&session, "b")
    });
    wait_until("the creation is on its way", SOON, || {
        proxy.held_writes() > 0
    });
    proxy.hold_client_to_server(false);
    proxy.cut();
    proxy.heal();
    let second = joining.join().unwrap();
    proxy.release_held();
    assert_eq!(second.ahead().unwrap().count, 1);
    assert_eq!(hand.list(DIR).len(), 2);
    block_on(first.leave()).unwrap();
    assert!(
        in_time("the second leads", SOON, second.elected())
            .unwrap()
            .holds()
    );
}

#[test]
fn a_ghost_of_the_own_candidate_is_removed() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let (hand, first, second) = (Hand::at(&at), connect(&at, TIMEOUT), connect(&by, TIMEOUT));
    let leader = join(&first, "a");
    let candidate = join(&second, "b");
    let nodes = hand.list(DIR);
    let ghost = format!("{DIR}/{}-", nodes[1].split_once('-').unwrap().0);
    // What a creation would leave that the servers carry out late.
    hand.create(&ghost, "host late\n", CreateMode::EphemeralSequential);
    assert_eq!(hand.list(DIR).len(), 3);
    proxy.cut_once();
    wait_until("the ghost is gone", SOON, || hand.list(DIR) == nodes);
    assert_eq!(candidate.ahead().unwrap().count, 1);
    // The same for one that goes.
    hand.create(&ghost, "host late\n", CreateMode::EphemeralSequential);
    block_on(candidate.leave()).unwrap();
    assert_eq!(hand.list(DIR), nodes[..1]);
    assert!(leader.ahead().is_none());
}

#[test]
fn a_ghost_that_appears_after_its_candidate_has_gone_is_removed_too() {
    let at = shared_chroot();
    let (proxy, by) = by_proxy(&at);
    let (hand, session) = (Hand::at(&at), connect(&by, TIMEOUT));
    proxy.cut_at_next_write(Moment::AfterForwarding);
    // The directory's own creation may be what is cut; then the candidate's has an answer.
    let _first = join(&session, "a");
    proxy.cut_at_next_write(Moment::AfterForwarding);
    let candidate = join(&session, "b");
    let nodes = hand.list(DIR);
    let ghost = format!("{DIR}/{}-", nodes[1].split_once('-').unwrap().0);
    block_on(candidate.leave()).unwrap();
    assert_eq!(hand.list(DIR), nodes[..1]);
    hand.create(&ghost, "host late\n", CreateMode::EphemeralSequential);
    wait_until("the ghost is gone", SOON, || hand.list(DIR) == nodes[..1]);
}

#[test]
fn without_a_connection_every_call_ends_within_its_deadline() {
    let (proxy, by) = by_proxy(&shared_chroot());
    let (session, paths) = (connect(&by, TIMEOUT), TopologyPaths::new("t"));
    let leadership = block_on(join(&session, "a").elected()).unwrap();
    let me = who("x");
    proxy.drop_client_to_server(true);
    let start = Instant::now();
    let (joined, leader, tried, listed, resigned) = block_on(async {
        futures::join!(
            Election::join(&session, DIR, &me),
            Election::leader(&session, DIR),
            Lock::try_acquire(&session, "/lock", &me),
            Membership::members(&session, &paths),
            leadership.resign(),
        )
    });
    let took = start.elapsed();
    println!("all ended after {took:?}");
    assert!(took < 2 * TIMEOUT, "{took:?}");
    for error in [
        joined.map(drop),
        leader.map(drop),
        tried.map(drop),
        listed.map(drop),
        resigned,
    ] {
        assert!(matches!(error, Err(Error::Unreachable { .. })), "{error:?}");
    }
}

#[test]
fn candidates_keep_their_places_when_the_server_is_killed_and_comes_back() {
    let mut server = Server::start().unwrap();
    let at = format!("{}/kept", server.address());
    let sessions = [(); 3].map(|()| connect(&at, Duration::from_secs(6)));
    let mut candidates: Vec<_> = sessions.iter().map(|session| join(session, "x")).collect();
    let leadership = block_on(candidates.remove(0).elected()).unwrap();
    server.kill();
    server.restart().unwrap();
    let mut fences = vec![leadership.fence()];
    assert!(leadership.lost().now_or_never().is_none());
    wait_until("the leader holds", SOON, || leadership.holds());
    assert_eq!(
        candidates
            .iter()
            .map(|candidate| candidate.ahead().unwrap().count)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    block_on(leadership.resign()).unwrap();
    for candidate in candidates {
        let leadership = in_time("the next leads", SOON, candidate.elected()).unwrap();
        fences.push(leadership.fence());
        block_on(leadership.resign()).unwrap();
    }
    assert!(fences.is_sorted(), "{fences:?}");
}

#[test]
fn candidates_keep_their_places_when_the_ensembles_leader_is_killed() {
    let mut ensemble = Ensemble::start(3).unwrap();
    let at = format!("{}/kept", ensemble.connection_string());
    let sessions = [(); 3].map(|()| connect(&at, Duration::from_secs(6)));
    let mut candidates: Vec<_> = sessions.iter().map(|session| join(session, "x")).collect();
    let mut leadership = block_on(candidates.remove(0).elected()).unwrap();
    for candidate in candidates {
        let leader = ensemble.wait_for_leader();
        ensemble.kill(leader);
        ensemble.wait_for_leader();
        assert!(leadership.lost().now_or_never().is_none());
        wait_until("it is next", SOON, || candidate.ahead().unwrap().count == 1);
        wait_until("the leader holds", SOON, || leadership.holds());
        block_on(leadership.resign()).unwrap();
        leadership = in_time("the next leads", SOON, candidate.elected()).unwrap();
        ensemble.restart(leader).unwrap();
        ensemble.wait_for_all();
    }
}
