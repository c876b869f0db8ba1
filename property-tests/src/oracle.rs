//! What the scripted topology must have come to, evaluated plainly from what each sealed batch held.

use std::collections::{BTreeMap, BTreeSet};

use crate::scripted::{Found, is_poison, padding};

/// The states and outputs after all batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// Records by their remainder.
    pub counts: BTreeMap<u64, u64>,
    /// The number, the sum and the padding of the greatest record, by remainder.
    pub bulk: BTreeMap<u64, (u64, u64, String)>,
    /// Sums of new counts, by their remainder: they depend on how records were cut into batches.
    pub sums: BTreeMap<u64, u64>,
    /// The new counts of each batch.
    pub news: BTreeMap<u64, Vec<(u64, u64)>>,
    /// What each record of each batch saw in the counts: the value after the batch before.
    pub seen: BTreeMap<u64, Vec<(u64, u64)>>,
}

/// Evaluates the topology over these batches.
#[must_use]
pub fn evaluate(batches: &BTreeMap<u64, Vec<u64>>) -> Evaluated {
    let mut all = Evaluated::default();
    for (txid, records) in batches {
        let before = all.counts.clone();
        let mut touched = BTreeSet::new();
        for id in records {
            *all.counts.entry(id % 13).or_default() += 1;
            touched.insert(id % 13);
            let bulk = all.bulk.entry(id % 5).or_default();
            let greatest = bulk
                .2
                .split(':')
                .next()
                .and_then(|id| id.parse::<u64>().ok());
            if greatest.is_none_or(|greatest| *id > greatest) {
                bulk.2 = padding(*id);
            }
            (bulk.0, bulk.1) = (bulk.0 + 1, bulk.1 + id);
            let seen = before.get(&(id % 13)).copied().unwrap_or_default();
            all.seen.entry(*txid).or_default().push((*id, seen));
        }
        for key in touched {
            *all.sums.entry(key % 3).or_default() += all.counts[&key];
            all.news
                .entry(*txid)
                .or_default()
                .push((key, all.counts[&key]));
        }
    }
    all
}

/// Compares what a topology came to with the plain evaluation of what it sealed, and that with its input.
///
/// # Panics
///
/// They differ: with `what` was run.
pub fn judge(input: &[u64], mut found: Found, what: &str) {
    assert_eq!(
        found.complaints,
        Vec::<String>::new(),
        "{what}: complaints of the sinks"
    );
    let mut records: Vec<u64> = found.batches.values().flatten().copied().collect();
    records.extend(found.dead.values().flatten());
    assert!(
        found.dead.values().flatten().all(|id| is_poison(*id)),
        "{what}: dead letters {:?}",
        found.dead
    );
    records.sort_unstable();
    let mut wanted = input.to_vec();
    wanted.sort_unstable();
    assert_eq!(
        records, wanted,
        "{what}: each record is in one sealed batch or is one dead letter"
    );
    let mut expected = evaluate(&found.batches);
    for outputs in [
        &mut found.states.news,
        &mut found.states.seen,
        &mut expected.news,
        &mut expected.seen,
    ] {
        outputs
            .values_mut()
            .for_each(|records| records.sort_unstable());
    }
    let (found, expected) = (&found.states, &expected);
    assert_eq!(found.counts, expected.counts, "{what}: counts");
    assert!(
        found.bulk == expected.bulk,
        "{what}: bulk {:?}, expected {:?}",
        short(&found.bulk),
        short(&expected.bulk)
    );
    assert_eq!(found.sums, expected.sums, "{what}: sums of new counts");
    assert_eq!(found.news, expected.news, "{what}: new counts by batch");
    assert_eq!(
        found.seen, expected.seen,
        "{what}: what queries saw, by batch"
    );
}

fn short(bulk: &BTreeMap<u64, (u64, u64, String)>) -> Vec<(u64, u64, u64, &str, usize)> {
    let short =
        |(key, (count, sum, text)): (&u64, &(u64, u64, String))| (*key, *count, *sum, text.len());
    let texts = bulk
        .values()
        .map(|(.., text)| text.split(':').next().unwrap_or_default());
    bulk.iter()
        .map(short)
        .zip(texts)
        .map(|((key, count, sum, len), text)| (key, count, sum, text, len))
        .collect()
}
