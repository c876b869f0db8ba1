//! Nanoseconds per key of everything on a batch's way: `cargo bench -p fulmar-state`. Prints; asserts nothing.
#![allow(
    clippy::unwrap_used,
    reason = "a bench ends where something unexpected happens"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fulmar_state::{
    AnyShard, Attempt, ByteMap, Entry, FoldPart, Generation, MemoryStorage, Partition, Rewind,
    Shard, StateFamily, StateId, StateSchema, Storage, Store, StoreIdentity, hash_key,
    partition_of,
};

const COUNTS: StateId = StateId(0);
const PARTITIONS: u16 = 64;
const WORDS: usize = 100_000;
const DISTINCT: usize = 100_000;
const BATCHES: usize = 100;

type Add = fn(&mut u64, u64);

fn add(into: &mut u64, delta: u64) {
    *into += delta;
}

/// A small generator with a fixed seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Words by a Zipf law of exponent 1.
struct Zipf {
    cumulated: Vec<f64>,
    random: Random,
}

impl Zipf {
    fn new() -> Zipf {
        let mut sum = 0.0;
        let add = |rank: usize| {
            sum += 1.0 / rank as f64;
            sum
        };
        Zipf {
            cumulated: (1..=DISTINCT).map(add).collect(),
            random: Random(42),
        }
    }

    fn word(&mut self) -> u64 {
        let point = self.random.unit() * self.cumulated[DISTINCT - 1];
        self.cumulated.partition_point(|sum| *sum < point) as u64
    }
}

struct Clock {
    name: &'static str,
    spent: Duration,
    units: usize,
}

impl Clock {
    fn new(name: &'static str) -> Clock {
        Clock {
            name,
            spent: Duration::ZERO,
            units: 0,
        }
    }

    fn run<T>(&mut self, units: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.spent += start.elapsed();
        self.units += units;
        result
    }

    fn print(&self, unit: &str) {
        let each = self.spent.as_nanos() as f64 / self.units.max(1) as f64;
        println!(
            "{:<44} {each:>9.1} ns per {unit:<8} ({} {unit}s, {:?})",
            self.name, self.units, self.spent
        );
    }
}

fn family() -> StateFamily {
    let schema = StateSchema {
        name: "counts".to_owned(),
        partitions: PARTITIONS,
        key_type: "text".to_owned(),
        key_version: 1,
        value_type: "count".to_owned(),
        value_version: 1,
        ..StateSchema::default()
    };
    StateFamily::combined::<u64, Add>(schema, add)
}

fn identity() -> StoreIdentity {
    StoreIdentity {
        topology: "bench".to_owned(),
        worker: "w0".to_owned(),
    }
}

fn schemas() -> [StateSchema; 1] {
    [family().schema().clone()]
}

fn all() -> Vec<Partition> {
    (0..PARTITIONS).map(Partition).collect()
}

fn upserts(words: &[Vec<u8>]) {
    let mut fresh = Clock::new("upsert, 100 k words into a new table");
    let mut hot = Clock::new("upsert, the 1000 hottest words");
    let mut whole = Clock::new("hash, route, upsert into 64 tables");
    for words in words.chunks(WORDS) {
        let hashes: Vec<u64> = words.iter().map(|word| hash_key(word)).collect();
        let mut map = ByteMap::with_capacity(32 << 10, 256 << 10);
        fresh.run(words.len(), || {
            for (hash, word) in hashes.iter().zip(words) {
                map.upsert(*hash, word, 1_u64, add);
            }
        });
        let mut map: ByteMap<u64> = ByteMap::new();
        hot.run(words.len(), || {
            for (hash, word) in hashes[..1000].iter().zip(words).cycle().take(words.len()) {
                map.upsert(*hash, word, 1, add);
            }
        });
        black_box(&map);
        black_box(whole.run(words.len(), || aggregate(words)));
    }
    fresh.print("word");
    hot.print("word");
    whole.print("word");
}

fn aggregate(words: &[Vec<u8>]) -> Vec<ByteMap<u64>> {
    let mut maps: Vec<ByteMap<u64>> = (0..PARTITIONS)
        .map(|_| ByteMap::with_capacity(512, 4096))
        .collect();
    for word in words {
        let hash = hash_key(word);
        maps[usize::from(partition_of(hash, PARTITIONS).0)].upsert(hash, word, 1, add);
    }
    maps
}

fn batches(name: &str, open: &dyn Fn() -> Arc<dyn Storage>, words: &[Vec<u8>]) {
    println!("\n{name}");
    let storage = open();
    let identity = StoreIdentity {
        topology: "bench".to_owned(),
        worker: "w0".to_owned(),
    };
    let schemas = [family().schema().clone()];
    let mut store = Store::open(Arc::clone(&storage), &identity, &schemas).unwrap();
    let generation = Generation::new(1, 0);
    let _ = store
        .rewind(Rewind {
            generation,
            sealed: None,
        })
        .unwrap();
    let mut shard: Shard<u64, Add> =
        Shard::new(COUNTS, all(), PARTITIONS, add, store.base().unwrap());
    let mut absorb = Clock::new("absorb");
    let mut encode = Clock::new("encode");
    let mut seal = Clock::new("seal");
    let mut append = Clock::new("append to the log, one synced write");
    let (mut distinct, mut base) = (0, None);
    for words in words.chunks(WORDS) {
        let maps = aggregate(words);
        let keys = maps.iter().map(ByteMap::len).sum();
        distinct += keys;
        let txid = shard.newest().next();
        absorb.run(keys, || {
            shard.begin(txid);
            for (partition, map) in (0..).map(Partition).zip(maps) {
                shard.absorb(txid, partition, map);
            }
        });
        let mut part = Vec::new();
        encode.run(keys, || shard.encode(txid, &mut part).unwrap());
        let attempt = Attempt::new(txid, generation);
        let entry = Entry {
            attempt,
            base,
            time_ms: 1,
            parts: vec![part],
            ..Entry::default()
        };
        append.run(keys, || store.append(&[entry]).unwrap());
        let _ = store.seal(attempt);
        seal.run(keys, || shard.seal(txid));
        base = Some(attempt);
    }
    [absorb, encode, seal, append]
        .iter()
        .for_each(|clock| clock.print("key"));
    let megabytes = store.unfolded_bytes() as f64 / (1 << 20) as f64;
    println!(
        "{distinct} keys in {BATCHES} batches, {megabytes:.1} MiB of log, {:?}",
        shard.memory()
    );
    drop((store, shard, storage));
    let (mut store, mut shard) = recover(open, base, distinct);
    fold(&mut store, &mut shard);
}

/// What a process does that was killed before any fold.
fn recover(
    open: &dyn Fn() -> Arc<dyn Storage>,
    sealed: Option<Attempt>,
    distinct: usize,
) -> (Store, Shard<u64, Add>) {
    let mut opening = Clock::new("open the storage and verify the log");
    let mut store = opening.run(distinct, || {
        Store::open(open(), &identity(), &schemas()).unwrap()
    });
    let _ = store
        .rewind(Rewind {
            generation: Generation::new(2, 0),
            sealed,
        })
        .unwrap();
    let mut restore = Clock::new("reload the log");
    let mut shard: Shard<u64, Add> =
        Shard::new(COUNTS, all(), PARTITIONS, add, store.base().unwrap());
    restore.run(distinct, || {
        store
            .restore(&mut |txid, _, partition, section| shard.restore(txid, partition, section))
            .unwrap();
    });
    [opening, restore]
        .iter()
        .for_each(|clock| clock.print("key"));
    (store, shard)
}

fn fold(store: &mut Store, shard: &mut Shard<u64, Add>) {
    let upto = shard.sealed();
    let part: Arc<dyn FoldPart> = shard.fold_part();
    let job = store.fold(upto, &[(COUNTS, vec![part])]).unwrap();
    let mut clock = Clock::new("fold");
    let done = clock.run(0, || job.run(&**store.storage()).unwrap());
    clock.units = done.records as usize;
    clock.print("key");
    store.finish_fold(done).unwrap();
    shard.folded(upto, store.base().unwrap());
    let mut scan = Clock::new("scan everything");
    let view = fulmar_state::StateView::<u64, u64, Add>::new(vec![shard.view()]).unwrap();
    scan.units = scan.run(0, || view.count().unwrap()) as usize;
    scan.print("key");
}

fn main() {
    let mut zipf = Zipf::new();
    let zipf: Vec<Vec<u8>> = (0..BATCHES * WORDS)
        .map(|_| format!("{:08}", zipf.word()).into_bytes())
        .collect();
    let mut random = Random(7);
    let uniform: Vec<Vec<u8>> = (0..BATCHES * WORDS)
        .map(|_| format!("{:08}", random.next() % 10_000_000).into_bytes())
        .collect();
    upserts(&zipf);
    for (law, words) in [
        ("Zipf over 100 k words", &zipf),
        ("uniform over 10 M words", &uniform),
    ] {
        let memory = MemoryStorage::new(&[family()]);
        batches(
            &format!("{law}, in memory"),
            &|| Arc::new(memory.clone()),
            words,
        );
        drop(memory);
        #[cfg(feature = "rocksdb")]
        {
            use fulmar_state::{RocksOptions, RocksStorage};
            let dir = tempfile::tempdir().unwrap();
            let options = RocksOptions::within(256 << 20);
            let open = || -> Arc<dyn Storage> {
                Arc::new(RocksStorage::open(&dir.path().join("db"), &[family()], options).unwrap())
            };
            batches(&format!("{law}, on RocksDB with fsync"), &open, words);
        }
    }
}
