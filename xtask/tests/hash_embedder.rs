//! The sample plugin `hash-embedder`, its C sources run under a host in miniature.

mod driver;

use driver::{Answer, Driver};
use extman_plugin_api::abi;
use serde_json::{Value, json};
use std::sync::LazyLock;

static DRIVER: LazyLock<Driver> = LazyLock::new(|| Driver::new("sample-plugins/hash-embedder/src"));

fn invoke(input: &[u8]) -> Answer {
    DRIVER.answer(&["invoke", "text.embed"], input)
}

fn embed(texts: &[&str]) -> Vec<Vec<f64>> {
    let answer = invoke(json!({ "texts": texts }).to_string().as_bytes());
    assert_eq!((answer.status, answer.error.as_str()), (abi::STATUS_OK, ""));
    let value: Value = serde_json::from_slice(&answer.output).expect("the answer is JSON");
    serde_json::from_value(value["embeddings"].clone()).expect("rows of numbers")
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_answer_has_its_form() {
    let answer = invoke(br#"{"text": "hello"}"#);
    assert_eq!(answer.status, abi::STATUS_OK);
    assert_eq!(answer.content_type, "application/json");
    let value: Value = serde_json::from_slice(&answer.output).unwrap();
    assert_eq!(value["model"], "hash-embedder-384");
    assert_eq!(value["dimensions"], 384);
    assert_eq!(value["embeddings"].as_array().unwrap().len(), 1);
    assert_eq!(value["embeddings"][0].as_array().unwrap().len(), 384);
    assert_eq!(invoke(br#"{"texts": ["hello"]}"#), answer);
}

#[test]
fn vectors_have_length_one() {
    let long = "word ".repeat(5_000);
    for vector in embed(&["a", "!", "hello world", "日本語のテキスト", "\0", &long]) {
        let length = cosine(&vector, &vector).sqrt();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }
}

#[test]
fn numbers_read_back_as_the_same_floats() {
    for number in embed(&["The quick brown fox jumps over the lazy dog"]).concat() {
        let float = number as f32;
        // Nine digits are this near to the float that they were printed from; fewer are not, and may read back as another.
        assert!((number - f64::from(float)).abs() <= f64::from(float.abs()) * 1e-8);
    }
}

#[test]
fn like_is_nearer_than_unlike() {
    for (text, near, far) in [
        (
            "the cat sat on the mat",
            "a cat sat on a mat",
            "quarterly revenue fell by nine percent",
        ),
        (
            "restart the payment service",
            "how to restart payment services",
            "sunny weather in Lisbon",
        ),
        (
            "Müller wohnt in Köln",
            "Frau Müller wohnt bei Köln",
            "the train is late",
        ),
        ("東京都の天気予報", "東京都の天気", "料理の作り方"),
    ] {
        let vectors = embed(&[text, near, far]);
        let (near, far) = (cosine(&vectors[0], &vectors[1]), cosine(&vectors[0], &vectors[2]));
        assert!(near > far + 0.2, "{text:?}: {near} and {far}");
    }
}

#[test]
fn case_and_white_space_do_not_count_and_order_does() {
    let vectors = embed(&[
        "Hello  World",
        "\thello world\n",
        "world hello",
        "HÉLLO",
        "hÉllo",
        "héllo",
    ]);
    assert_eq!(vectors[0], vectors[1]);
    assert_ne!(vectors[0], vectors[2]);
    assert_eq!(vectors[3], vectors[4], "ASCII letters are lowercased");
    assert_ne!(vectors[4], vectors[5], "others are left as they are");
}

#[test]
fn vectors_are_the_same_on_every_run_and_machine() {
    let input = br#"{"texts": ["The quick brown fox", "jumps over the lazy dog"]}"#;
    let answer = invoke(input);
    assert_eq!(invoke(input), answer);
    // FNV-1a of the whole answer: stored vectors must stay comparable, so a change here is a new model name.
    let hash = answer
        .output
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
    assert_eq!(hash, 0x26a3_e618_3e7e_55a1, "{hash:#x}");
}

#[test]
fn json_is_read_as_the_standard_has_it() {
    let escaped = br#" { "other" : [ {"a": [1, -0.5e+3, true, false, null, "\n"]} ], "text" : "\u00e9\ud83d\ude00 \"\\\/\t" } "#;
    let plain = json!({ "text": "é😀 \"\\/\t" }).to_string();
    assert_eq!(invoke(escaped), invoke(plain.as_bytes()));
    assert_eq!(invoke(escaped).status, abi::STATUS_OK);
    assert_eq!(invoke(br#"{"te\u0078t": "a"}"#), invoke(br#"{"text": "a"}"#));
}

#[test]
fn what_is_malformed_is_refused_with_a_reason() {
    let deep = format!(
        "{{\"x\": {}1{}, \"text\": \"a\"}}",
        "[".repeat(40),
        "]".repeat(40)
    );
    let many = json!({ "texts": vec!["a"; 257] }).to_string();
    let long = json!({ "texts": ["a", "b".repeat((1 << 20) + 1)] }).to_string();
    let cases: [(&[u8], &str); 29] = [
        (b"", "expected {\"text\""),
        (b"[]", "expected {\"text\""),
        (b"{", "at byte 1: expected a string"),
        (b"{}", "neither \"text\" nor \"texts\""),
        (b"{\"other\": 1}", "neither \"text\" nor \"texts\""),
        (b"{\"text\"}", "at byte 7: expected ':'"),
        (b"{\"text\": 1}", "text 0 is not a string"),
        (b"{\"text\": \"a\"} x", "at byte 14: something follows"),
        (b"{\"text\": \"a\",}", "at byte 13: expected a string"),
        (b"{\"text\": \"a\" \"b\": 1}", "expected ',' or '}'"),
        (b"{\"text\": \"a\", \"texts\": [\"b\"]}", "only once"),
        (b"{\"text\": \"a\", \"text\": \"b\"}", "only once"),
        (b"{\"text\": \"\"}", "text 0 is blank"),
        (b"{\"texts\": [\"a\", \" \\n\"]}", "text 1 is blank"),
        (b"{\"texts\": []}", "\"texts\" is empty"),
        (b"{\"texts\": \"a\"}", "\"texts\" is not an array"),
        (b"{\"texts\": [\"a\" \"b\"]}", "expected ',' or ']'"),
        (b"{\"text\": \"a", "the string does not end"),
        (b"{\"text\": \"\\q\"}", "an unknown escape"),
        (b"{\"text\": \"\\u12g4\"}", "four hexadecimal digits"),
        (b"{\"text\": \"\\ud83d\"}", "half of a surrogate pair"),
        (b"{\"text\": \"\\ude00\"}", "half of a surrogate pair"),
        (b"{\"text\": \"a\nb\"}", "a control character"),
        (b"{\"text\": \"\xff\"}", "not UTF-8"),
        (b"{\"text\": \"\xc0\xaf\"}", "not UTF-8"),
        (b"{\"x\": 01, \"text\": \"a\"}", "a malformed number"),
        (deep.as_bytes(), "nested too deeply"),
        (many.as_bytes(), "more than 256 texts"),
        (long.as_bytes(), "text 1 is longer than 1 MiB"),
    ];
    for (input, expected) in cases {
        let answer = invoke(input);
        let shown = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
        assert_eq!(answer.status, abi::STATUS_INVALID_INPUT, "{shown}");
        assert!(answer.error.contains(expected), "{shown}: {}", answer.error);
        assert!(answer.output.is_empty(), "{shown}");
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    assert_eq!(embed(&["a"; 256]).len(), 256);
    assert_eq!(embed(&[&"b".repeat(1 << 20)]).len(), 1);
}

#[test]
fn damaged_input_does_no_harm() {
    let input = r#"{"x":[{"y":-1.5e3}],"texts":["aé\u00e9\ud83d\ude00\n","b"]}"#;
    let said = String::from_utf8(DRIVER.run(&["damage", "text.embed"], input.as_bytes())).unwrap();
    let (served, refused) = said.trim().split_once(" served, ").expect("the driver's words");
    assert!(served.parse::<usize>().unwrap() > 0, "{said}");
    assert!(refused.starts_with(|c: char| ('1'..='9').contains(&c)), "{said}");
}

#[test]
fn a_cancelled_call_ends_between_texts() {
    let input = json!({ "texts": ["a", "b", "c"] }).to_string();
    let answer = DRIVER.answer(&["cancel", "text.embed", "1"], input.as_bytes());
    assert_eq!(answer.status, abi::STATUS_CANCELLED);
    assert_eq!(
        String::from_utf8(answer.output).unwrap().matches("[").count(),
        2,
        "one of three vectors"
    );
}

#[test]
fn a_sink_that_is_full_ends_the_call() {
    let answer = DRIVER.answer(&["refuse", "text.embed", "1"], br#"{"texts": ["a", "b"]}"#);
    assert_eq!(answer.status, abi::STATUS_RESOURCE_EXHAUSTED);
}

#[test]
fn calls_may_overlap() {
    let input = json!({ "texts": ["one text", "another text"] }).to_string();
    assert_eq!(
        DRIVER.run(&["threads", "text.embed"], input.as_bytes()),
        b"same\n"
    );
}

#[test]
fn it_says_that_it_is_up() {
    for kind in [abi::CHECK_LIVENESS, abi::CHECK_READINESS, abi::CHECK_DEEP] {
        let said = String::from_utf8(DRIVER.run(&["check", &kind.to_string()], b"")).unwrap();
        assert_eq!(said, format!("{} {}\n", abi::STATUS_OK, abi::HEALTH_UP));
    }
    let said = String::from_utf8(DRIVER.run(&["check", "99"], b"")).unwrap();
    assert_eq!(
        said,
        format!("{} {}\n", abi::STATUS_UNIMPLEMENTED, abi::HEALTH_UNKNOWN)
    );
}

#[test]
fn it_has_no_other_capability() {
    let answer = DRIVER.answer(&["invoke", "text.other"], br#"{"text": "a"}"#);
    assert_eq!(answer.status, abi::STATUS_UNIMPLEMENTED);
}
