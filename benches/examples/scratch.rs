use extman::clock;
use extman::runtime::lanes::Attached;
use extman::runtime::loader::*;
use extman_benches::{fixture, plugins, raw::Raw};
use std::hint::black_box;
use std::time::*;
fn main() {
    let taken = plugins::take("bench-plugin");
    let one = fixture::runtime();
    let raw = Raw::open(&taken.path);
    let bound = fixture::bound(&taken);
    let inst = one.block_on(fixture::instance(&taken));
    let attached = Attached::new().unwrap();
    let slot = Slot::acquire().unwrap();
    let only = std::env::args().nth(1);
    for cap in ["bench.small", "bench.json"] {
        let mut best = [f64::MAX; 3];
        if only.is_some() {
            for _ in 0..30_000_000 {
                black_box(inst.invoke_attached(&attached, black_box(cap), b"{}").unwrap());
            }
            return;
        }
        for _ in 0..6000 {
            let t = Instant::now();
            for _ in 0..300 {
                let mut o = Vec::new();
                raw.invoke(black_box(cap), b"{\"text\":\"Bonjour tout le monde\"}", &mut o);
                black_box(o);
            }
            best[0] = best[0].min(t.elapsed().as_nanos() as f64 / 300.);
            let t = Instant::now();
            for _ in 0..300 {
                let d = clock::monotonic().after(Duration::from_secs(30));
                let tok = slot.open(Some(d), None, OutputLimits::default());
                let r = bound.invoke(
                    tok,
                    Input {
                        capability: black_box(cap),
                        content_type: "application/json",
                        body: b"{\"text\":\"Bonjour tout le monde\"}",
                        stream: false,
                    },
                );
                black_box(r.result.is_ok());
                black_box(slot.close().body);
            }
            best[1] = best[1].min(t.elapsed().as_nanos() as f64 / 300.);
            let t = Instant::now();
            for _ in 0..300 {
                black_box(
                    inst.invoke_attached(&attached, black_box(cap), b"{\"text\":\"Bonjour tout le monde\"}")
                        .unwrap(),
                );
            }
            best[2] = best[2].min(t.elapsed().as_nanos() as f64 / 300.);
        }
        println!(
            "{cap}: bare {:.1} checked {:.1} attached {:.1} (+{:.1})",
            best[0],
            best[1],
            best[2],
            best[2] - best[0]
        );
    }
}
