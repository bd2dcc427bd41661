//! Reading a library without running it.

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use extman_benches::plugins;
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_intake::{inspect_bytes, inspect_file};
use sha2::{Digest, Sha256};
use std::path::Path;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = reading
}
criterion_main!(benches);

/// Largest library that is read, in bytes.
const LARGEST: u64 = 1 << 30;

fn reading(criterion: &mut Criterion) {
    let library = plugins::build("lang-detect");
    let mut bytes = std::fs::read(&library).expect("the library");
    read(
        &mut criterion.benchmark_group("read a library, lang-detect"),
        &library,
        &bytes,
    );
    // What follows the last section belongs to nothing, so a library may be lengthened at will.
    bytes.resize(bytes.len().max(1 << 20), 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let padded = folder.path().join("padded.so");
    std::fs::write(&padded, &bytes).expect("a copy");
    read(
        &mut criterion.benchmark_group("read a library, padded to 1 MiB"),
        &padded,
        &bytes,
    );
}

fn read(group: &mut BenchmarkGroup<'_, WallTime>, path: &Path, bytes: &[u8]) {
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("SHA-256 of its bytes", |b| b.iter(|| Sha256::digest(bytes)));
    group.bench_function("inspect its bytes, hash included", |b| {
        b.iter(|| inspect_bytes(bytes).expect("a library"));
    });
    group.bench_function("inspect the file, hash included", |b| {
        b.iter(|| inspect_file(path, LARGEST).expect("a library"));
    });
}
