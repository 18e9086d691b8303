//! The committer alone: how many appends a second are durable, by how many wait side by side.
//! `cargo bench --bench committer`

use std::time::Instant;

use caseworker::domain::ids::{Bits, CaseId, Entity};
use caseworker::domain::time::Timestamp;
use caseworker::store::commit_note::CommitNote;
use caseworker::store::journal::{Append, Appended, Journal};
use caseworker::store::record::{self, By, Header, SCHEMA};
use caseworker::store::{EngineFence, EngineJournal};

const APPENDS: usize = 40_000;

fn append(
    writer: usize,
    version: u64,
    fence: Option<EngineFence>,
) -> Append<EngineFence, CommitNote> {
    let mut bits = [0; 16];
    bits[..8].copy_from_slice(&(writer as u64).to_be_bytes());
    let entity = Entity::from(CaseId(Bits(bits)));
    let header = Header {
        schema: SCHEMA,
        entity,
        version,
        count: 1,
        at: Timestamp(0),
        previous: [0; 16],
        command: None,
        by: By::engine(),
    };
    let record = record::encode(&header, &[b' '; 200]).into();
    Append { entity, fence, first: version, record, note: None }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    println!("{:>8} {:>12} {:>10}", "writers", "appends/s", "each");
    for writers in [1, 8, 64, 512] {
        let folder = tempfile::tempdir().unwrap();
        let journal = EngineJournal::open(folder.path(), |error| panic!("{error}")).unwrap();
        let each = APPENDS.min(writers * 2000) / writers;
        let begun = Instant::now();
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for writer in 0..writers {
                let journal = journal.clone();
                tasks.spawn(async move {
                    let mut fence = None;
                    for version in 1..=each as u64 {
                        let appended = journal.append(append(writer, version, fence)).await;
                        let Appended::Committed(committed) = appended else {
                            panic!("{appended:?}")
                        };
                        fence = Some(committed);
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        });
        let took = begun.elapsed();
        let rate = (each * writers) as f64 / took.as_secs_f64();
        let latency = took.as_secs_f64() * 1e6 / each as f64;
        println!("{writers:>8} {rate:>12.0} {latency:>7.0} µs");
        runtime.block_on(journal.close());
    }
}
