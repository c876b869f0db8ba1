//! What people do with ZooKeeper's shell: each is a clear error, and no seal is lost unnoticed.

use super::*;

/// A ledger of three sealed batches, version 4, and how it is reached.
fn filled() -> (String, Session, ZooKeeperLedger) {
    let to = testing::shared_chroot();
    let session = connect(&to);
    let mut ledger = open(&session);
    fill(&mut ledger, 4);
    (to, session, ledger)
}

/// The path as a person sees it.
fn shown(to: &str, path: &str) -> String {
    format!("{}{path}", &to[to.find('/').unwrap()..])
}

fn load_error(session: &Session) -> Error {
    block_on(open(session).load()).unwrap_err()
}

#[test]
fn a_text_that_is_no_record_is_an_error_for_who_writes_and_who_loads() {
    let damaged = |flip: usize| {
        let mut text = record(3).encode(Version(4));
        text[flip] ^= 1;
        String::from_utf8(text).unwrap()
    };
    for text in ["hello\n", "", &damaged(40), &damaged(200)] {
        let (to, session, mut ledger) = filled();
        set(&to, LEDGER, text);
        for error in [
            failed(write(&mut ledger, &record(4), 4)),
            load_error(&session),
        ] {
            assert!(
                matches!(error, Error::Corrupt { .. } | Error::OtherProgram { .. }),
                "{error}"
            );
            assert!(error.to_string().contains(&shown(&to, LEDGER)), "{error}");
        }
        assert_eq!(get(&to, LEDGER).0, text, "it is left as it is");
    }
}

#[test]
fn a_text_that_was_put_there_by_hand_is_noticed_even_if_it_is_a_record() {
    // Older ones, the same again, and one from the future. Only the next version is what the program itself would leave.
    for (sealed, version) in [(0, 1), (2, 3), (3, 4), (9, 10)] {
        let (to, session, mut ledger) = filled();
        set(
            &to,
            LEDGER,
            &String::from_utf8(record(sealed).encode(Version(version))).unwrap(),
        );
        let errors = [
            failed(write(&mut ledger, &record(4), 4)),
            load_error(&session),
            load_error(&connect(&to)),
        ];
        for error in &errors {
            assert!(matches!(error, Error::ChangedByHand { .. }), "{error}");
        }
        // The error says how to go on with what is there.
        let said = errors[2].to_string();
        let (_, command) = said
            .split_once(&format!("set {} \"", shown(&to, ROOT)))
            .expect("a command");
        set(&to, ROOT, command.split('"').next().unwrap());
        let mut ledger = open(&session).rolling_at(6);
        assert_eq!(load(&mut ledger), Some((record(sealed), Version(version))));
        for next in version..version + 9 {
            let outcome = write(&mut ledger, &record(sealed + 1 + next - version), next);
            assert_eq!(outcome, WriteOutcome::Applied(Version(next + 1)));
        }
    }
}

#[test]
fn a_ledger_that_is_deleted_under_its_writer_is_gone() {
    let (to, session, mut ledger) = filled();
    delete(&to, LEDGER);
    let outcome = write(&mut ledger, &record(4), 4);
    assert_eq!(outcome, WriteOutcome::Refused { current: None });
    assert_eq!(outcome.settle(&record(4), Version(4)), Settled::Gone);
    delete(&to, ROOT);
    let outcome = write(&mut ledger, &record(4), 4);
    assert_eq!(outcome.settle(&record(4), Version(4)), Settled::Gone);
    let error = block_on(ledger.load()).unwrap_err();
    assert!(matches!(error, Error::ChangedByHand { .. }), "{error}");
    let error = failed(write(&mut ledger, &record(0), 0));
    assert!(
        matches!(error, Error::ChangedByHand { .. }),
        "not begun anew by a ledger that knew another: {error}"
    );
    assert_eq!(load(&mut open(&session)), None, "but by the next");
}

#[test]
fn a_ledger_that_is_missing_is_not_taken_for_one_that_never_was() {
    let (to, _, ledger) = filled();
    drop(ledger);
    delete(&to, LEDGER);
    let session = connect(&to);
    let mut ledger = open(&session);
    for error in [
        block_on(ledger.load()).unwrap_err(),
        failed(write(&mut ledger, &record(0), 0)),
    ] {
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&shown(&to, LEDGER)), "{error}");
    }
    assert_eq!(children(&to, ROOT), [""; 0]);
}

#[test]
fn a_node_of_another_program_or_format_is_refused_and_left_as_it_is() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    create(&to, ROOT, "");
    for text in [
        "{\"some\": \"json\"}",
        "fulmar-topology 2\n",
        "fulmar-topology 1 x\n",
    ] {
        set(&to, ROOT, text);
        let error = block_on(ZooKeeperLedger::open(&session, NAME)).unwrap_err();
        match error {
            Error::OtherProgram { .. } => assert!(text.starts_with('{')),
            Error::OtherFormat { found: 2, .. } => assert!(text.contains('2')),
            Error::ChangedByHand { .. } => assert!(text.contains('x')),
            _ => panic!("{error}"),
        }
        assert!(error.to_string().contains(&shown(&to, ROOT)), "{error}");
        assert_eq!(get(&to, ROOT).0, text);
    }
}

#[test]
fn a_node_that_was_made_on_the_way_to_another_is_taken() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    create(&to, ROOT, "");
    create(&to, &format!("{ROOT}/workers"), "");
    fill(&mut open(&session), 2);
    assert_eq!(get(&to, ROOT).0, "fulmar-topology 1\n");
    // Emptied, it does not tell any more what there was.
    set(&to, ROOT, "");
    let error = load_error(&session);
    assert!(matches!(error, Error::ChangedByHand { .. }), "{error}");
}

#[test]
fn a_node_that_may_not_be_written_is_an_error_that_says_so() {
    let (to, _session, mut ledger) = filled();
    by_hand(&to, async |client| {
        let acls = [zk::Acl::new(zk::Permission::READ, zk::AuthId::anyone())];
        client.set_acl(LEDGER, &acls, None).await
    });
    let error = failed(write(&mut ledger, &record(4), 4));
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(error.to_string().contains(&shown(&to, LEDGER)), "{error}");
}

#[test]
fn a_topology_under_anothers_name_is_told_the_difference() {
    use fulmar_coordinator::{Fingerprint, Retry, Term, WriterId, open_term};
    use futures::FutureExt as _;
    let (_, _session, mut ledger) = filled();
    let fingerprint = Fingerprint::new().line("spout lines", "kafka");
    let term = Term {
        topology: "a topology/with ünicode".into(),
        fingerprint,
        writer: WriterId(1),
    };
    let mut retry = |_: u32, _: &str| futures::future::ready(Retry::GiveUp).boxed();
    let error = block_on(open_term(&mut ledger, &term, &mut retry)).unwrap_err();
    assert!(
        matches!(error, Error::Fingerprint { .. }) && error.to_string().contains("kafka"),
        "{error}"
    );
    applied(&mut ledger, 4);
}
