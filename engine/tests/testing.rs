//! Contract of the tests that users write: a trial shows what each batch does, an ordeal finds what faults would, and both say what is
//! asked wrongly.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fulmar::aggregate::{Count, First, ReducerAggregator, Sum};
use fulmar::sink::Sink;
use fulmar::spout::{Collection, Spout};
use fulmar::testing::{Ordeal, Rig, survives};
use fulmar::{StateHandle, Topology};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: u64,
}

fn order(customer: &str, cents: u64) -> Order {
    let customer = customer.to_string();
    Order { customer, cents }
}

fn some_orders(count: u64) -> impl Iterator<Item = Order> {
    let customers = ["ann", "bob", "cid"];
    (0..count).map(move |n| order(customers[(n % 3) as usize], 100 + n))
}

fn orders(
    orders: impl Spout<Record = Order>,
    news: impl Sink<(String, u64)>,
) -> (Topology, StateHandle<String, u64>) {
    let topology = Topology::new("orders");
    let totals = topology
        .spout("orders", orders)
        .group_by(|order| order.customer.clone())
        .persistent_aggregate("totals", Sum::by(|order: &Order| order.cents));
    totals.new_values().sink("news", news);
    (topology, totals)
}

/// What a test panics with.
fn complaint(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it does not complain");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap()
}

#[test]
fn a_trial_shows_what_each_batch_does() {
    let rig = Rig::new();
    let (topology, totals) = orders(rig.spout(), rig.sink());
    let mut trial = rig.trial(topology).unwrap();
    assert_eq!(trial.sealed().0, 0);
    trial.feed("orders", [order("ann", 300), order("ann", 200)]);
    let first = trial.advance();
    assert_eq!(trial.get(&totals, &"ann".into()), Some(500));
    assert_eq!(trial.get(&totals, &"bob".into()), None);
    trial.feed("orders", [order("bob", 1), order("ann", 1)]);
    let second = trial.advance();
    let (ann, bob) = (("ann".to_string(), 501), ("bob".to_string(), 1));
    assert_eq!(trial.entries(&totals), [ann.clone(), bob.clone()]);
    let mut published = trial.published_by::<(String, u64)>(second, "news");
    published.sort();
    assert_eq!(published, [ann, bob]);
    assert_eq!(
        trial.published_by::<(String, u64)>(first, "news"),
        [("ann".to_string(), 500)]
    );
    assert_eq!(trial.published::<(String, u64)>("news").len(), 3);
    let third = trial.advance();
    assert_eq!((first.0, second.0, third.0), (1, 2, 3));
    assert!(
        trial
            .published_by::<(String, u64)>(third, "news")
            .is_empty()
    );
}

#[test]
fn a_trial_makes_dead_letters_of_what_fails() {
    let rig = Rig::new();
    let topology = Topology::new("numbers");
    let texts = rig
        .spout()
        .records(["1", "two", "3", "boom"].map(String::from));
    let numbers = topology
        .spout("texts", texts)
        .try_each(|text: String, out| {
            assert!(text != "boom", "boom");
            out.emit(text.parse::<u64>()?);
            Ok::<(), std::num::ParseIntError>(())
        });
    numbers.sink("numbers", rig.sink());
    let mut trial = rig.trial(topology).unwrap();
    let txid = trial.advance();
    assert_eq!(trial.published::<u64>("numbers"), [1, 3]);
    let dead = trial.dead_letters();
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|(by, _)| *by == txid));
    assert!(
        dead[0].1.cause.contains("record 1 of partition 0"),
        "{dead:?}"
    );
    assert!(dead[1].1.cause.contains("boom"), "{dead:?}");
}

#[test]
fn a_trial_has_its_own_time() {
    let rig = Rig::new();
    let topology = Topology::new("times");
    let ticks = topology.spout("ticks", rig.spout::<u64>());
    ticks
        .each(|tick: u64, out| out.emit((tick, out.batch().time_ms)))
        .sink("times", rig.sink());
    let mut trial = rig.trial(topology).unwrap();
    for tick in 0..3u64 {
        trial.feed("ticks", [tick]);
        trial.advance();
        trial.pass(Duration::from_secs(59 * tick));
    }
    let times = trial.published::<(u64, u64)>("times");
    let first = 1_700_000_000_000;
    assert_eq!(times, [(0, first), (1, first + 1_000), (2, first + 61_000)]);
}

#[test]
fn what_a_trial_is_asked_wrongly_it_says() {
    let rig = Rig::new();
    let (topology, _) = orders(rig.spout(), rig.sink());
    let mut trial = rig.trial(topology).unwrap();
    let text = complaint(|| trial.feed("oders", [order("ann", 1)]));
    assert!(
        text.contains("no spout \"oders\"; it has [\"orders\"]"),
        "{text}"
    );
    let text = complaint(|| trial.feed("orders", [1u64]));
    assert!(text.contains("Order, not u64"), "{text}");
    let text = complaint(|| drop(trial.published::<u64>("olds")));
    assert!(
        text.contains("no sink \"olds\"; it has [\"news\"]"),
        "{text}"
    );
    let text = complaint(|| drop(trial.published::<u64>("news")));
    assert!(text.contains("not u64"), "{text}");
    let rig = Rig::new();
    let real = Collection::of([order("ann", 1)]);
    let error = rig.trial(orders(real, Rig::new().sink()).0).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("spout \"orders\" is not one of this test")
    );
    let rig = Rig::new();
    let real = fulmar::sink::Callback::new(|_, _: Vec<(String, u64)>| {});
    let error = rig.trial(orders(rig.spout(), real).0);
    assert!(error.is_err());
}

#[test]
fn what_adds_up_survives() {
    let figures = Ordeal::of(|rig| orders(rig.spout().records(some_orders(60)), rig.sink()))
        .then(|end, totals| {
            let sum: u64 = end.entries(totals).iter().map(|(_, cents)| cents).sum();
            assert_eq!(sum, some_orders(60).map(|order| order.cents).sum());
        })
        .run();
    println!("{figures}");
    assert!(figures.crashes > figures.worlds && figures.replays > figures.worlds);
    assert!(figures.sealed > 8 * figures.worlds);
}

/// The last order of each customer, as one reads them: what comes last matters.
struct Last;

impl ReducerAggregator<Order> for Last {
    type Value = u64;

    fn reduce(&self, _: Option<u64>, order: &Order) -> u64 {
        order.cents
    }
}

#[test]
fn two_spouts_a_query_and_an_order_of_records_survive() {
    survives(|rig| {
        let topology = Topology::new("shop");
        let web = rig.spout().records(some_orders(50)).partitions(3);
        let shop = rig.spout().records(some_orders(20)).opaque();
        let web = topology.spout("web", web);
        let all = web.merge(&topology.spout("shop", shop));
        let by_customer = |order: &Order| order.customer.clone();
        let totals = all
            .group_by(by_customer)
            .persistent_aggregate("totals", (Count, Sum::by(|order: &Order| order.cents)));
        let lasts = all
            .group_by(by_customer)
            .persistent_aggregate("lasts", Last);
        lasts.new_values().sink("lasts", rig.sink());
        all.group_by(by_customer)
            .persistent_aggregate("firsts", First);
        web.state_query(&totals, by_customer, |order, totals, out| {
            out.emit((order, totals));
        })
        .sink("seen", rig.sink());
        web.shuffle()
            .filter(|order| order.cents % 2 == 0)
            .sink("even", rig.sink());
        topology
    });
}

#[test]
fn records_that_fail_survive_as_dead_letters() {
    let figures = Ordeal::of(|rig| {
        let topology = Topology::new("numbers");
        let texts = (0..40).map(|n| match n {
            7 | 30 => "poison".to_string(),
            n => n.to_string(),
        });
        let numbers = topology
            .spout("texts", rig.spout().records(texts))
            .try_each(|text: String, out| {
                out.emit(text.parse::<u64>()?);
                Ok::<(), std::num::ParseIntError>(())
            });
        numbers.sink("numbers", rig.sink());
        let sums = numbers
            .group_by(|number| number % 2)
            .persistent_aggregate("sums", Sum::by(|number: &u64| *number));
        (topology, sums)
    })
    .then(|end, sums| {
        assert_eq!(end.dead_letters().len(), 2);
        assert_eq!(
            end.get(sums, &1),
            Some((0..40).filter(|n| n % 2 == 1 && *n != 7).sum())
        );
    })
    .run();
    assert_eq!(figures.dead, 2 * figures.worlds);
}

#[test]
fn panics_and_omissions_survive_together() {
    let figures = survives(|rig| {
        let topology = Topology::new("numbers");
        let numbers = rig.spout().records(0..50u64).partitions(2).opaque();
        let numbers = topology.spout("numbers", numbers).each(|number: u64, out| {
            assert!(number != 20, "twenty");
            out.emit(number);
        });
        numbers.sink("numbers", rig.sink());
        numbers
            .group_by(|number| number % 5)
            .persistent_aggregate("counts", Count)
            .new_values()
            .sink("counts", rig.sink());
        topology
    });
    assert!(figures.dead > 0 && figures.dead <= figures.worlds);
}

#[test]
fn what_remembers_failed_attempts_is_found() {
    let text = complaint(|| {
        survives(|rig| {
            let topology = Topology::new("numbered");
            let seen = Mutex::new(BTreeSet::new());
            topology
                .spout("orders", rig.spout().records(some_orders(40)))
                // Wrong: what an attempt that failed has seen was not sealed, and is not let through again.
                .filter(move |order| seen.lock().unwrap().insert(order.cents))
                .group_by(|order| order.customer.clone())
                .persistent_aggregate("orders", Count);
            topology
        });
    });
    println!("{text}");
    assert!(text.starts_with("seed "), "{text}");
    assert!(
        text.contains("state \"orders\"") && text.contains("without faults"),
        "{text}"
    );
    assert!(text.contains("FULMAR_SEED="), "{text}");
}

#[test]
fn a_wrong_end_names_its_seed() {
    let text = complaint(|| {
        let ordeal = Ordeal::of(|rig| orders(rig.spout().records(some_orders(10)), rig.sink()));
        let ordeal = ordeal.seeds(5..7).then(|end, totals| {
            assert_eq!(end.get(totals, &"ann".into()), Some(1), "not that");
        });
        ordeal.run();
    });
    assert!(
        text.starts_with("seed 5") && text.contains("not that"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_put_to_the_test_is_refused() {
    let text = complaint(|| {
        survives(|rig| orders(rig.spout(), rig.sink()));
    });
    assert!(text.contains("nothing to read"), "{text}");
    let text = complaint(|| {
        survives(|rig| orders(Collection::of(some_orders(3)), rig.sink()));
    });
    assert!(
        text.contains("spout \"orders\" is not one of this test"),
        "{text}"
    );
    let text = complaint(|| {
        let ordeal = Ordeal::of(|rig| orders(rig.spout().records(some_orders(3)), rig.sink()));
        ordeal.seeds(7..7).run();
    });
    assert_eq!(text, "there is no seed in 7..7");
    let text = complaint(|| {
        survives(|_| -> Topology { panic!("no such file") });
    });
    assert!(
        text.contains("the closure that makes the topology panicked: no such file"),
        "{text}"
    );
    let text = complaint(|| {
        survives(|rig| {
            let (topology, _) = orders(rig.spout().records(some_orders(3)), rig.sink());
            topology.spout("orders", rig.spout::<u64>());
            topology
        });
    });
    assert!(text.contains("two spouts are named \"orders\""), "{text}");
    let text = complaint(|| {
        survives(|rig| {
            let (topology, totals) = orders(rig.spout().records(some_orders(8)), rig.sink());
            totals.new_values().peek(|_| panic!("it never works"));
            topology
        });
    });
    assert!(
        text.contains(
            "without any fault, batch 1 cannot be processed, and no single record is to blame"
        ) && text.contains("it never works"),
        "{text}"
    );
}

#[test]
fn what_is_not_the_same_each_time_is_refused() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    static SPOUTS: AtomicU64 = AtomicU64::new(0);
    let text = complaint(|| {
        survives(|rig| {
            let count = 5 + CALLS.fetch_add(1, Relaxed);
            orders(rig.spout().records(some_orders(count)), rig.sink())
        });
    });
    assert!(text.contains("another input each time"), "{text}");
    let text = complaint(|| {
        survives(|rig| {
            let (topology, _) = orders(rig.spout().records(some_orders(5)), rig.sink());
            // The two runs without faults know nothing of it.
            if SPOUTS.fetch_add(1, Relaxed) >= 2 {
                topology.spout("more", rig.spout::<u64>());
            }
            topology
        });
    });
    assert!(
        text.contains("spout 2 of the rig was not there")
            && text.contains("make the same one each time"),
        "{text}"
    );
    let text = complaint(|| {
        survives(|rig| {
            let topology = Topology::new("chance");
            topology
                .spout("orders", rig.spout().records(some_orders(8)))
                .map(|order| order.cents + CALLS.fetch_add(1, Relaxed))
                .sink("out", rig.sink());
            topology
        });
    });
    assert!(
        text.contains("topology \"chance\" is not deterministic") && text.contains("sink \"out\""),
        "{text}"
    );
}
