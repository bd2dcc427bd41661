//! Tokens and embeddings are those of an independent reference, and make sense.

mod common;

use serde::Deserialize;
use std::io::Write;
use std::process::{Command, Stdio};

const DIFFERENCE_MAX: f64 = 1e-5;

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    embedding: Vec<f64>,
}

#[test]
fn agrees_with_the_reference() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = reference(&texts);
    assert_eq!(expected.len(), texts.len());
    let plugin = common::instance(2, 4);
    plugin.load().unwrap();
    let embedder = plugin.embedder().unwrap();
    for (text, expected) in texts.iter().zip(&expected) {
        assert_eq!(embedder.tokens(text), expected.tokens, "{text:?}");
    }
    let together = embedder.embed(&texts, &|| false).unwrap();
    assert_eq!(
        together.tokens,
        expected.iter().map(|e| e.tokens.len()).sum::<usize>()
    );
    assert!(
        expected.iter().any(|e| e.tokens.len() == 256),
        "no text reaches the limit"
    );
    let mut most: f64 = 0.0;
    for ((text, expected), found) in texts.iter().zip(&expected).zip(&together.embeddings) {
        let alone = embedder.embed(&[text], &|| false).unwrap().embeddings.remove(0);
        for found in [found, &alone] {
            assert_eq!(found.len(), 384);
            let difference = found
                .iter()
                .zip(&expected.embedding)
                .map(|(a, b)| (f64::from(*a) - b).abs())
                .fold(0.0, f64::max);
            assert!(difference < DIFFERENCE_MAX, "{difference:e} for {text:?}");
            most = most.max(difference);
        }
    }
    println!("largest difference over {} texts: {most:e}", texts.len());
}

#[test]
fn like_texts_are_near_and_others_far() {
    let plugin = common::instance(2, 8);
    plugin.load().unwrap();
    let texts = [
        "A man is playing the guitar on stage.",
        "Somebody performs music with a guitar.",
        "How do I reset my password?",
        "I forgot my login credentials, what now?",
        "The stock market fell sharply on Monday.",
    ];
    let found = plugin
        .embedder()
        .unwrap()
        .embed(&texts, &|| false)
        .unwrap()
        .embeddings;
    let near = |a: usize, b: usize| found[a].iter().zip(&found[b]).map(|(a, b)| a * b).sum::<f32>();
    assert!(near(0, 1) > 0.6, "{}", near(0, 1));
    assert!(near(2, 3) > 0.5, "{}", near(2, 3));
    for (a, b) in [(0, 2), (0, 4), (1, 3), (2, 4), (3, 4)] {
        assert!(near(a, b) < 0.3, "{a} and {b}: {}", near(a, b));
    }
    for vector in &found {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
}

#[test]
fn calls_at_once_do_not_disturb_each_other() {
    let plugin = common::instance(3, 2);
    plugin.load().unwrap();
    let embedder = plugin.embedder().unwrap();
    let texts: Vec<String> = (1..6)
        .map(|n| format!("text number {n} ").repeat(n * 12))
        .collect();
    let alone: Vec<_> = texts
        .iter()
        .map(|text| embedder.embed(&[text], &|| false).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for begin in 0..6 {
            let (embedder, texts, alone) = (&embedder, &texts, &alone);
            scope.spawn(move || {
                for at in (0..texts.len()).map(|n| (n + begin) % texts.len()) {
                    let found = embedder.embed(&[&texts[at]], &|| false).unwrap();
                    let pairs = found.embeddings[0].iter().zip(&alone[at].embeddings[0]);
                    assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "text {at}");
                    assert_eq!(found.tokens, alone[at].tokens);
                }
            });
        }
    });
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "Hello, world!",
        "The quick brown fox jumps over the lazy dog.",
        "a",
        "Ünïcödé, naïve café, Ångström, İstanbul, Straße, ŒUVRE",
        "中文字符 and 日本語のテキスト, 한국어 텍스트",
        "emoji 😀👍🏽 and symbols ∑∞≠ € £ ™",
        "don't stop-me now: #hashtag @user http://example.org/a?b=c&d=%20 1,234.56 3.14e-10",
        "tabs\tand\nnewlines\r\nand\u{a0}no-break\u{2003}em\u{200b}zero\u{feff}width \u{0}nul \u{fffd}",
        "Привет, мир! Γειά σου Κόσμε ΣΑΣ. مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก",
        "“Quotes” — dashes – and… «guillemets» ¿que? ¡si!",
        "[CLS] marks [MASK] in a text [SEP] and [PAD], [UNK], [cls] too",
        "fn main() { println!(\"{}\", x << 2 | 0xff); } // code_with_underscores camelCase",
        "pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
        "e\u{301}\u{323} combining \u{1e9b}\u{323} ﬁ ligature ² ½ Ⅷ 豈 \u{2f800}",
        "x\u{e000}private \u{ad}soft\u{ad}hyphen \u{202e}reversed",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(100));
    texts.push("x".repeat(101));
    texts.push("é".repeat(60));
    texts.push("words without any end ".repeat(80));
    texts.push("one sentence about the weather in spring, ".repeat(6));
    texts
}

fn reference(texts: &[&str]) -> Vec<Expected> {
    let models = common::models();
    let mut python = Command::new(models.join("venv/bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference.py"))
        .arg(models.join("all-minilm-l6-v2"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(texts).unwrap();
    python.stdin.take().unwrap().write_all(&input).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
