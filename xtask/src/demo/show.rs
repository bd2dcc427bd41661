//! What the demo prints: plugins, calls with their answers, heaps, and what became of each library.

use super::DemoError;
use super::client::Client;
use crate::root;
use serde_json::{Value, json};
use std::fmt::Write as _;

const NEAR: [&str; 2] = [
    "How do I reset my password?",
    "I forgot my password and want to set a new one.",
];
const FAR: [&str; 2] = [
    "How do I reset my password?",
    "The glacier retreated forty metres last summer.",
];

/// A table of the plugins. One that was found and is not running is an error, with its cause.
pub(super) fn plugins(client: &Client) -> Result<String, DemoError> {
    let plugins = client.get("/api/v1/plugins")?;
    let mut text = format!(
        "\n{:<15} {:<8} {:<8} {:<20} {:<9} capabilities\n",
        "plugin", "version", "kind", "task", "state"
    );
    for plugin in array(&plugins) {
        let names = array(&plugin["capabilities"])
            .iter()
            .map(|c| word(&c["name"]))
            .collect::<Vec<_>>();
        let _ = writeln!(
            text,
            "{:<15} {:<8} {:<8} {:<20} {:<9} {}",
            word(&plugin["name"]),
            word(&plugin["version"]),
            word(&plugin["kind"]),
            word(&plugin["task"]),
            word(&plugin["lifecycle"]),
            names.join(", ")
        );
    }
    let down = array(&plugins)
        .iter()
        .find(|plugin| plugin["lifecycle"] != "running");
    match down {
        Some(plugin) => Err(DemoError::Call(format!(
            "{} is {}: {}",
            word(&plugin["name"]),
            word(&plugin["lifecycle"]),
            word(&plugin["cause"])
        ))),
        None => Ok(text),
    }
}

/// Real calls with their answers.
pub(super) fn calls(client: &Client, with_models: bool) -> Result<String, DemoError> {
    let mut text = String::new();
    for sentence in [
        "Où se trouve la gare la plus proche ?",
        "最寄りの駅はどこですか。",
    ] {
        let answer = ask(client, "text.detect-language", None, &json!({ "text": sentence }))?;
        let _ = writeln!(
            text,
            "{sentence}  →  {} ({})",
            word(&answer["name"]),
            word(&answer["language"])
        );
    }
    let load = ask(client, "system.load", None, &json!({}))?;
    let _ = writeln!(text, "system.load  →  {load}");
    for embedder in ["hash-embedder", "embedder"] {
        if embedder == "hash-embedder" || with_models {
            let near = cosine(client, embedder, NEAR)?;
            let far = cosine(client, embedder, FAR)?;
            let _ = writeln!(
                text,
                "{embedder:<13}  →  cosine {near:.3} of two near sentences, {far:.3} of two far ones"
            );
        }
    }
    if with_models {
        for file in [
            "Cargo.toml",
            "host/src/lib.rs",
            "plugin-api/include/extman_plugin.h",
        ] {
            let bytes = std::fs::read(root().join(file)).map_err(|e| DemoError::File(file.into(), e))?;
            let answer = client
                .call("content.detect-type", None, "application/octet-stream", &bytes)?
                .body;
            let _ = writeln!(
                text,
                "{file}  →  {} ({}), score {}",
                word(&answer["label"]),
                word(&answer["mime_type"]),
                answer["score"]
            );
        }
    }
    Ok(text)
}

/// Each plugin's heap as it was counted inside it.
pub(super) fn heaps(client: &Client) -> Result<String, DemoError> {
    let mut text = String::from("\nheap in use, counted by the SDK inside each plugin\n");
    for plugin in array(&client.get("/api/v1/plugins")?) {
        let name = word(&plugin["name"]);
        // The calls above may have come before the first check.
        let heap = wait_for_check(client, &name)?["outcome"]["report"]["heap_bytes"].take();
        let heap = heap
            .as_u64()
            .map_or("not measured (no counting allocator)".to_owned(), |n| {
                format!("{n} bytes")
            });
        let _ = writeln!(text, "  {name:<15} {heap}");
    }
    Ok(text)
}

/// Unloads every plugin and says what became of its library.
pub(super) fn unloads(client: &Client) -> Result<String, DemoError> {
    let mut text = String::from("unloaded, and looked whether it is gone\n");
    for plugin in array(&client.get("/api/v1/plugins")?) {
        let name = word(&plugin["name"]);
        let after = client.change(&format!("/api/v1/plugins/{name}/unload"))?;
        let unload = &after["unload"];
        let verdict = match unload["verdict"].as_str() {
            Some("unmapped") => "unmapped".to_owned(),
            _ => format!("resident: {}", unload),
        };
        let _ = writeln!(text, "  {name:<15} {verdict}");
    }
    Ok(text)
}

fn wait_for_check(client: &Client, name: &str) -> Result<Value, DemoError> {
    for _ in 0..200 {
        let plugin = client.get(&format!("/api/v1/plugins/{name}"))?;
        if plugin["check"]["outcome"]["result"] == "answered" {
            return Ok(plugin["check"].clone());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(DemoError::Call(format!(
        "{name} was not asked how it is within 20 s"
    )))
}

fn cosine(client: &Client, embedder: &str, texts: [&str; 2]) -> Result<f64, DemoError> {
    let answer = ask(client, "text.embed", Some(embedder), &json!({ "texts": texts }))?;
    let vector = |i: usize| {
        array(&answer["embeddings"][i])
            .iter()
            .filter_map(Value::as_f64)
            .collect::<Vec<_>>()
    };
    let (a, b) = (vector(0), vector(1));
    if a.len() != 384 || b.len() != 384 {
        return Err(DemoError::Call(format!(
            "{embedder} answered with {} and {} numbers",
            a.len(),
            b.len()
        )));
    }
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    Ok(dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt())
}

fn ask(client: &Client, capability: &str, instance: Option<&str>, input: &Value) -> Result<Value, DemoError> {
    let answer = client.call(
        capability,
        instance,
        "application/json",
        input.to_string().as_bytes(),
    )?;
    match instance {
        Some(name) if answer.served_by != name => Err(DemoError::Call(format!(
            "{capability} was asked of {name} and served by {}",
            answer.served_by
        ))),
        _ => Ok(answer.body),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), str::to_owned)
}
