//! Resolving a thousand plugins in ten versions each, beside reading as many manifests.

use criterion::{Criterion, criterion_group, criterion_main};
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_intake::{Candidate, Request, resolve};
use extman_model::Digest;
use extman_plugin_api::manifest::schema::Manifest;
use std::path::Path;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES / 2).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = resolving
}
criterion_main!(benches);

const PLUGINS: usize = 1000;
const VERSIONS: usize = 10;

/// Each plugin requires two of those before it, by id, and a capability that ten of them offer: all have to do with all.
fn manifest(plugin: usize, version: usize) -> String {
    let mut toml = format!(
        "[plugin]\nid = \"p{plugin:04}\"\nversion = \"1.{version}.0\"\nkind = \"general\"\n\
         [[capability]]\nname = \"own.p{plugin:04}\"\n[[capability]]\nname = \"text.c{}\"\nversion = \"1.{version}.0\"\n",
        plugin / 10
    );
    for required in [plugin / 2, plugin / 3] {
        if required != plugin {
            toml += &format!(
                "[[requires]]\nplugin = \"p{required:04}\"\nversion = \"^1.{}\"\n",
                version / 2
            );
        }
    }
    if plugin >= 10 {
        toml += &format!(
            "[[requires]]\ncapability = \"text.c{}\"\nversion = \">=1.1, <2\"\n",
            plugin / 20
        );
    }
    toml
}

fn resolving(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve, 1,000 plugins in 10 versions");
    let texts: Vec<String> = (0..PLUGINS)
        .flat_map(|plugin| (0..VERSIONS).map(move |version| manifest(plugin, version)))
        .collect();
    let read = |text: &String| text.parse::<Manifest>().expect("a manifest");
    group.bench_function("read 1,000 of their manifests", |b| {
        b.iter(|| texts.iter().step_by(VERSIONS).map(read).collect::<Vec<_>>());
    });
    let manifests: Vec<Manifest> = texts.iter().map(read).collect();
    let candidate = |manifest| Candidate {
        manifest,
        digest: Digest::new([0; 32]),
        origin: Path::new("/p/plugin.so"),
    };
    let request = Request {
        candidates: manifests.iter().map(candidate).collect(),
        ..Request::default()
    };
    let resolved = resolve(&request);
    assert_eq!((resolved.plugins.len(), resolved.left_out.len()), (PLUGINS, 0));
    group.bench_function("resolve them all", |b| b.iter(|| resolve(&request)));
}
