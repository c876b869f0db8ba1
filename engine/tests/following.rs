//! A stream that is quiet for longer than an attempt may be without progress. Method: one run over a file that grows.

use std::io::Write;
use std::time::Duration;

use fulmar::aggregate::Count;
use fulmar::spout::TextFiles;
use fulmar::{Config, Line, Topology, Word};

#[tokio::test(flavor = "current_thread")]
async fn a_batch_may_wait_longer_for_its_records_than_for_its_progress() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "a b a").unwrap();
    let topology = Topology::new("patience");
    let counts = topology
        .spout("lines", TextFiles::new([file.path()]).unwrap().follow())
        .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    let config = Config::in_memory()
        .batch_time(Duration::from_millis(1500))
        .timeout(Duration::from_millis(200));
    let running = topology.build().unwrap().start(config).await.unwrap();
    let mut progress = running.watch();
    progress
        .wait_for(|progress| progress.sealed.0 > 0 || progress.ended.is_some())
        .await
        .unwrap();
    assert_eq!(
        running.get(&counts, &Word::from("a")).await.unwrap(),
        Some(2)
    );
    assert_eq!(running.progress().replays, 0);
    running.stop().await.unwrap();
}
