use super::*;
use serde_json::{Value, json};

fn config() -> Value {
    let mut labels: Vec<String> = (0..LABELS).map(|n| format!("l{n}")).collect();
    labels[0] = "python".to_owned();
    labels[1] = "png".to_owned();
    labels[2] = "randomtxt".to_owned();
    labels[3] = "txt".to_owned();
    json!({
        "beg_size": 1024, "mid_size": 0, "end_size": 1024, "use_inputs_at_offsets": false, "block_size": 4096,
        "medium_confidence_threshold": 0.5, "min_file_size_for_dl": 8, "padding_token": 256,
        "target_labels_space": labels, "thresholds": {"python": 0.9}, "overwrite_map": {"randomtxt": "txt"},
        "version_major": 3,
    })
}

fn knowledge() -> Value {
    let mut known = serde_json::Map::new();
    for label in config()["target_labels_space"].as_array().unwrap() {
        known.insert(label.as_str().unwrap().to_owned(), described(false));
    }
    for label in ["python", "randomtxt", "txt"] {
        known.insert(label.to_owned(), described(true));
    }
    known.insert("empty".to_owned(), described(false));
    known.insert("unknown".to_owned(), described(false));
    Value::Object(known)
}

fn described(is_text: bool) -> Value {
    json!({"mime_type": null, "group": null, "description": null, "extensions": [], "is_text": is_text})
}

fn read(config: &Value, knowledge: &Value) -> Result<Rules, RulesError> {
    Rules::read(config.to_string().as_bytes(), knowledge.to_string().as_bytes())
}

#[test]
fn thresholds_and_the_overwrite_map_decide() {
    let rules = read(&config(), &knowledge()).unwrap();
    for (label, score, mode, expected, reason) in [
        ("python", 0.9, Mode::HighConfidence, "python", None),
        (
            "python",
            0.89,
            Mode::HighConfidence,
            "txt",
            Some(Reason::LowConfidence),
        ),
        ("python", 0.89, Mode::MediumConfidence, "python", None),
        ("python", 0.01, Mode::BestGuess, "python", None),
        ("png", 0.5, Mode::HighConfidence, "png", None),
        (
            "png",
            0.49,
            Mode::HighConfidence,
            "unknown",
            Some(Reason::LowConfidence),
        ),
        (
            "randomtxt",
            0.9,
            Mode::HighConfidence,
            "txt",
            Some(Reason::OverwriteMap),
        ),
        (
            "randomtxt",
            0.1,
            Mode::HighConfidence,
            "txt",
            Some(Reason::LowConfidence),
        ),
        (
            "randomtxt",
            0.1,
            Mode::BestGuess,
            "txt",
            Some(Reason::OverwriteMap),
        ),
        ("txt", 0.1, Mode::HighConfidence, "txt", None),
    ] {
        assert_eq!(
            rules.decide(label, score, mode),
            (expected, reason),
            "{label} {score} {mode:?}"
        );
    }
}

#[test]
fn few_bytes_are_told_apart_by_their_encoding() {
    let rules = read(&config(), &knowledge()).unwrap();
    assert_eq!(rules.of_few_bytes(b""), "empty");
    assert_eq!(rules.of_few_bytes("ä".as_bytes()), "txt");
    assert_eq!(rules.of_few_bytes(b"\xe4"), "unknown");
}

#[test]
fn what_is_not_said_of_a_label_has_a_default() {
    let rules = read(&config(), &knowledge()).unwrap();
    let text = rules.describe("python").unwrap();
    assert_eq!(
        (
            text.mime_type.as_str(),
            text.group.as_str(),
            text.description.as_str()
        ),
        ("text/plain", "unknown", "python")
    );
    assert_eq!(
        rules.describe("png").unwrap().mime_type,
        "application/octet-stream"
    );
}

#[test]
fn the_first_of_equal_scores_wins() {
    let rules = read(&config(), &knowledge()).unwrap();
    let mut scores = vec![0.0; LABELS];
    scores[1] = 0.5;
    scores[3] = 0.5;
    assert_eq!(rules.best(&scores), ("png", 0.5));
}

#[test]
fn files_of_another_network_are_refused() {
    for (key, value, expected) in [
        ("version_major", json!(2), "major version"),
        ("end_size", json!(512), "2048 tokens"),
        ("mid_size", json!(1), "beginning and end"),
        ("block_size", json!(1024), "block is smaller"),
        ("block_size", json!(1u64 << 40), "larger than 1 MiB"),
        ("min_file_size_for_dl", json!(0), "smallest file"),
        ("target_labels_space", json!(["png"]), "214 labels"),
    ] {
        let mut other = config();
        other[key] = value;
        let error = read(&other, &knowledge()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut less = knowledge();
    less.as_object_mut().unwrap().remove("png");
    let error = read(&config(), &less).unwrap_err().to_string();
    assert!(
        error.contains("\"png\" of the network is not in the knowledge base"),
        "{error}"
    );
}
