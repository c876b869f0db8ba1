//! The lock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fulmar_coordinator::zookeeper::Lock;
use fulmar_coordinator::zookeeper::testing::{shared_chroot, wait_until};
use futures::executor::block_on;

use super::hand::Hand;
use super::{SOON, TIMEOUT, connect, in_time, is_lost, who};

const PATH: &str = "/locks/one";

#[test]
fn of_four_threads_one_has_the_lock_at_a_time_and_its_tokens_grow() {
    let at = shared_chroot();
    // Two threads share a session, for that must be no way around.
    let sessions = [(); 2].map(|()| connect(&at, TIMEOUT));
    let (taken, tokens) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (session, taken, tokens) = (&sessions[thread % 2], &taken, &tokens);
            scope.spawn(move || {
                for _ in 0..25 {
                    let guard = block_on(Lock::acquire(session, PATH, &who("x"))).unwrap();
                    assert!(!taken.swap(true, Ordering::SeqCst), "two have the lock");
                    assert!(guard.holds());
                    tokens.lock().unwrap().push(guard.fence());
                    thread::sleep(Duration::from_micros(200));
                    assert!(taken.swap(false, Ordering::SeqCst));
                    // In both ways.
                    if thread < 2 {
                        block_on(guard.release()).unwrap();
                    }
                }
            });
        }
    });
    let tokens = tokens.into_inner().unwrap();
    assert_eq!(tokens.len(), 100);
    assert!(
        tokens.windows(2).all(|pair| pair[0] < pair[1]),
        "{tokens:?}"
    );
    let hand = Hand::at(&at);
    wait_until("nobody is left in the queue", SOON, || {
        hand.list(PATH).is_empty()
    });
}

#[test]
fn a_lock_that_somebody_has_cannot_be_taken_by_trying() {
    let at = shared_chroot();
    let (hand, sessions) = (Hand::at(&at), [(); 2].map(|()| connect(&at, TIMEOUT)));
    let attempt = || block_on(Lock::try_acquire(&sessions[1], PATH, &who("b"))).unwrap();
    let guard = block_on(Lock::try_acquire(&sessions[0], PATH, &who("a")))
        .unwrap()
        .unwrap();
    assert!(attempt().is_none());
    assert_eq!(hand.list(PATH).len(), 1);
    block_on(guard.release()).unwrap();
    let guard = attempt().unwrap();
    assert!(attempt().is_none());
    drop(guard);
    wait_until("it is free again", SOON, || attempt().is_some());
}

#[test]
fn of_many_that_try_at_once_exactly_one_gets_the_lock() {
    let session = connect(&shared_chroot(), TIMEOUT);
    for round in 0..10 {
        let path = format!("/locks/{round}");
        let got: Vec<_> = thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| block_on(Lock::try_acquire(&session, &path, &who("x"))).unwrap())
                })
                .collect();
            tries
                .into_iter()
                .map(|attempt| attempt.join().unwrap())
                .collect()
        });
        assert_eq!(got.iter().flatten().count(), 1);
    }
}

#[test]
fn a_lock_goes_with_its_session_and_the_guard_knows() {
    let at = shared_chroot();
    let sessions = [(); 2].map(|()| connect(&at, TIMEOUT));
    let guard = block_on(Lock::acquire(&sessions[0], PATH, &who("a"))).unwrap();
    let me = who("b");
    let waiting = Lock::acquire(&sessions[1], PATH, &me);
    in_time("the session ends", SOON, sessions[0].expire()).unwrap();
    let error = in_time("the guard hears of it", SOON, guard.lost());
    assert!(is_lost(&error), "{error}");
    assert!(!guard.holds());
    let next = in_time("the next has it", SOON, waiting).unwrap();
    assert!(next.fence() > guard.fence());
}
