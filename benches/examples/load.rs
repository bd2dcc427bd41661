use extman::runtime::loader::*;
use extman_benches::{fixture, plugins, raw};
use std::thread;
use std::time::*;
fn on<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(f).join().unwrap()
}
fn t<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let b = Instant::now();
    let v = f();
    (v, b.elapsed().as_nanos() as f64 / 1e3)
}
fn main() {
    let taken = plugins::take("bench-plugin");
    let mut v = vec![vec![]; 6];
    for _ in 0..400 {
        if std::env::args().len() < 2 {
            v[0].push(t(|| raw::open_and_close(&taken.path)).1);
        } else {
            v[0].push(0.)
        }
        let (s, a) = t(|| fixture::sealed(&taken));
        v[1].push(a);
        let (l, a) = on(move || t(|| Library::open(s, true)));
        v[2].push(a);
        let l = l.unwrap();
        let (c, a) = on(move || t(|| l.close(Duration::from_secs(2))));
        v[3].push(a);
        let c = c.map_err(|e| e.to_string()).unwrap();
        let (r, a) = on(move || t(|| c.verdict()));
        v[4].push(a);
        assert!(format!("{r:?}").contains("Unmapped"));
        if std::env::args().len() > 1 {
            v[5].push(0.);
            continue;
        }
        let s = fixture::sealed(&taken);
        v[5].push(on(move || {
            let x = t(|| {
                use std::os::fd::AsRawFd;
                let f = s.share().unwrap();
                raw::open_and_close(std::path::Path::new(&format!("/proc/self/fd/{}", f.as_raw_fd())))
            })
            .1;
            x
        }));
    }
    for (n, v) in ["raw", "copy+hash", "open", "close", "verdict", "raw memfd"]
        .iter()
        .zip(&mut v)
    {
        v.sort_by(f64::total_cmp);
        println!("{n}: p50 {:.1} min {:.1}", v[v.len() / 2], v[0]);
    }
}
