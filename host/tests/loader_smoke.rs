//! smoke
use extman::model::*;
use extman::runtime::loader::*;
use std::sync::Arc;
struct L;
impl Listener for L {
    fn log(&self, _: LogLevel, _: &str, t: &str, _: &str) {
        println!("log {t}")
    }
    fn health(&self, _: Report) {}
}
#[test]
fn smoke() {
    println!("{:?}", interposition());
    let n: usize = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    for i in 0..n {
        let bytes = std::fs::read("../target/debug/liblang_detect.so").unwrap();
        use sha2::Digest as _;
        let d = Digest::new(sha2::Sha256::digest(&bytes).into());
        let v = std::thread::spawn(move || {
            let sealed = SealedImage::copy(&bytes[..], "x", d).unwrap();
            let lib = Arc::new(
                Library::open(sealed, true)
                    .map_err(|e| {
                        println!("{e}");
                        e
                    })
                    .unwrap(),
            );
            let b = Bound::create(lib, "x", "{}", Arc::new(L)).unwrap();
            b.step(Step::Start).unwrap();
            let slot = Slot::acquire().unwrap();
            let t = slot.open(None, None, OutputLimits::default());
            let r = b.invoke(
                t,
                Input {
                    capability: "text.detect-language",
                    content_type: "application/json",
                    body: br#"{"text":"Bonjour tout le monde, comment allez-vous"}"#,
                    stream: false,
                },
            );
            let out = slot.close();
            if i == 0 {
                println!("{r:?} {}", String::from_utf8_lossy(&out.body));
            }
            assert!(r.result.is_ok());
            let t = slot.open(None, None, OutputLimits::default());
            let rep = b.check(slot, t, CheckKind::Readiness);
            if i == 0 {
                println!("{rep:?}");
            }
            slot.release();
            b.destroy().unwrap();
            let lib = b.library().clone();
            drop(b);
            std::thread::spawn(move || {
                Arc::into_inner(lib)
                    .unwrap()
                    .close(std::time::Duration::from_secs(2))
                    .map_err(|v| v.to_string())
            })
            .join()
            .unwrap()
        })
        .join()
        .unwrap();
        let v = match v {
            Ok(c) => c.verdict().to_string(),
            Err(e) => e,
        };
        if i < 3 || v != "unmapped" {
            println!("{i} {v}");
        }
        assert_eq!(v, "unmapped");
    }
}
