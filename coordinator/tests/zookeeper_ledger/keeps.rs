//! What the ledger keeps: the contract, whatever form its writes take, restarts, races, and one transaction a write.

use std::sync::{Arc, Barrier};
use std::thread;

use fulmar_coordinator::WriterId;
use fulmar_coordinator::zookeeper::testing::{Ensemble, Server};

use super::*;

#[test]
fn the_ledger_on_zookeeper_keeps_the_contract() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    block_on(contract::check(async || {
        ZooKeeperLedger::open(&session, NAME).await
    }))
    .unwrap();
}

#[test]
fn it_keeps_the_contract_when_its_node_is_replaced_all_the_time() {
    for roll_at in [0, 1, 3] {
        let session = connect(&testing::shared_chroot());
        let open = async || {
            Ok(ZooKeeperLedger::open(&session, NAME)
                .await?
                .rolling_at(roll_at))
        };
        block_on(contract::check(open)).unwrap();
    }
}

#[test]
fn it_keeps_the_contract_when_positions_stand_in_nodes_of_their_own() {
    let to = testing::shared_chroot();
    // All but the record of nothing sealed are too large by some bytes; each of their parts is a few lines.
    let bytes = record(1).encode(Version(1)).len() - 10;
    let session = block_on(Session::connect(config(&to).node_bytes(bytes))).unwrap();
    block_on(contract::check(async || {
        ZooKeeperLedger::open(&session, NAME).await
    }))
    .unwrap();
    assert!(
        get(&to, LEDGER).0.contains("\npositions "),
        "some were written so"
    );
}

#[test]
fn every_session_finds_what_the_one_before_has_left() {
    let to = testing::shared_chroot();
    for version in 0..5_u64 {
        let session = connect(&to);
        let mut ledger = open(&session);
        let found = load(&mut ledger);
        assert_eq!(
            found,
            version
                .checked_sub(1)
                .map(|n| (record(n), Version(version)))
        );
        applied(&mut ledger, version);
    }
}

#[test]
fn a_person_reads_the_node_as_text() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    let mut ledger = open(&session);
    assert_eq!(get(&to, ROOT).0, "fulmar-topology 1 begun\n");
    fill(&mut ledger, 3);
    assert_eq!(get(&to, ROOT).0, "fulmar-topology 1\n");
    let (text, stat) = get(&to, LEDGER);
    assert_eq!(
        text.as_bytes(),
        record(2).encode(Version(3)),
        "as in a file"
    );
    assert!(text.contains("\nsealed 2@1.2\n"), "{text}");
    assert_eq!(
        stat.version, 2,
        "each write moves the node's version on by one"
    );
}

#[test]
fn a_server_that_is_killed_after_any_write_has_it() {
    let mut server = Server::start().unwrap();
    let session = connect(&server.address());
    let mut ledger = open(&session);
    for version in 0..6 {
        let (settled, _) = settle(&session, &mut ledger, &record(version), version);
        assert_eq!(settled, Settled::Applied(Version(version + 1)));
        server.kill();
        server.restart().unwrap();
        let mut other = open(&connect(&server.address()));
        assert_eq!(
            load(&mut other),
            Some((record(version), Version(version + 1)))
        );
    }
    assert_eq!(
        get(&server.address(), LEDGER).1.version,
        5,
        "and each was applied once"
    );
}

#[test]
fn an_ensemble_whose_leader_is_killed_has_every_write_once() {
    let mut ensemble = Ensemble::start(3).unwrap();
    let to = ensemble.connection_string();
    let session = connect(&to);
    let mut ledger = open(&session);
    for version in 0..9 {
        let killed = (version % 4 == 2).then(|| ensemble.leader().unwrap());
        if let Some(leader) = killed {
            ensemble.kill(leader);
        }
        let (settled, _) = settle(&session, &mut ledger, &record(version), version);
        assert_eq!(settled, Settled::Applied(Version(version + 1)));
        if let Some(leader) = killed {
            ensemble.restart(leader).unwrap();
            ensemble.wait_for_all();
        }
    }
    let mut other = open(&connect(&to));
    assert_eq!(load(&mut other), Some((record(8), Version(9))));
    assert_eq!(get(&to, LEDGER).1.version, 8);
}

#[test]
fn of_many_writers_for_one_version_exactly_one_is_applied() {
    const WRITERS: u128 = 4;
    const ROUNDS: u64 = 50;
    let to = testing::shared_chroot();
    let barrier = Arc::new(Barrier::new(WRITERS as usize));
    let writers: Vec<_> = (1..=WRITERS)
        .map(|writer| {
            let (to, barrier) = (to.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                let session = connect(&to);
                let mut ledger = open(&session).rolling_at(9);
                let mut won = Vec::new();
                for round in 0..ROUNDS {
                    barrier.wait();
                    let mine = contract::record(1, writer, round);
                    match write(&mut ledger, &mine, round) {
                        WriteOutcome::Applied(version) => {
                            assert_eq!(version, Version(round + 1));
                            won.push(round);
                        }
                        WriteOutcome::Refused {
                            current: Some(current),
                        } => {
                            let (found, version) = *current;
                            assert_eq!(version, Version(round + 1));
                            assert!(found.writer != WriterId(writer), "it is another's");
                        }
                        other => panic!("{other:?}"),
                    }
                    // The winner of this round is known to all before anybody writes in the next.
                    barrier.wait();
                }
                won
            })
        })
        .collect();
    let mut won: Vec<u64> = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap())
        .collect();
    won.sort_unstable();
    assert_eq!(won, (0..ROUNDS).collect::<Vec<_>>());
}

fn zxid(server: &Server) -> u64 {
    let srvr = server.four_letter("srvr");
    let zxid = srvr
        .lines()
        .find_map(|line| line.strip_prefix("Zxid: 0x"))
        .unwrap();
    u64::from_str_radix(zxid, 16).unwrap()
}

#[test]
fn a_write_is_one_transaction_at_the_server() {
    let server = Server::start().unwrap();
    let session = connect(&server.address());
    let mut ledger = open(&session).rolling_at(7);
    let before = zxid(&server);
    fill(&mut ledger, 20);
    assert_eq!(
        zxid(&server) - before,
        20,
        "the first, the ordinary and the one that replaces the node alike"
    );
    let (mut again, before) = (open(&session), zxid(&server));
    assert_eq!(load(&mut again), Some((record(19), Version(20))));
    assert_eq!(zxid(&server), before, "to read is none");
}

#[test]
fn a_session_that_ended_fails_and_the_next_one_fences() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    let mut ledger = open(&session);
    fill(&mut ledger, 3);
    block_on(session.expire()).unwrap();
    let error = failed(write(&mut ledger, &record(3), 3));
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");
    let error = block_on(ledger.load()).unwrap_err();
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");
    let error = block_on(ZooKeeperLedger::open(&session, NAME)).unwrap_err();
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");

    let next = connect(&to);
    let mut ledger = open(&next);
    let (mut fence, version) = load(&mut ledger).unwrap();
    assert_eq!((&fence, version), (&record(2), Version(3)));
    fence.epoch.0 += 1;
    fence.writer = WriterId(8);
    assert_eq!(
        write(&mut ledger, &fence, 3),
        WriteOutcome::Applied(Version(4))
    );
}
