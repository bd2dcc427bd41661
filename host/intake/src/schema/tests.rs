use super::*;
use serde_json::json;

fn manifest(schema: Value) -> Manifest {
    let text =
        "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";
    let mut manifest: Manifest = text.parse().unwrap();
    manifest.config.schema = Some(schema);
    manifest
}

fn misfit(schema: Value, config: Value) -> Option<ConfigMisfit> {
    check_config(&manifest(schema), config.as_object().unwrap()).err()
}

#[test]
fn what_does_not_fit_is_told_by_its_path_without_its_value() {
    let schema = json!({
        "type": "object", "required": ["model_dir"], "additionalProperties": false,
        "properties": {
            "model_dir": {"type": "string"},
            "batch_size": {"$ref": "#/$defs/size"},
            "key": {"type": "integer"},
            "hosts": {"type": "array", "items": {"type": "object", "properties": {"a/b": {"pattern": "^[a-z]+$"}}}},
        },
        "$defs": {"size": {"type": "integer", "minimum": 1}},
    });
    let good = json!({"model_dir": "/m", "batch_size": 3, "hosts": [{"a/b": "x"}]});
    assert_eq!(misfit(schema.clone(), good), None);
    let bad = json!({"batch_size": 0, "key": "s3cret", "modle_dir": "", "hosts": [{}, {"a/b": "7"}]});
    let text = misfit(schema, bad).unwrap().to_string();
    for part in [
        "config: \"model_dir\" is a required property",
        "config.batch_size: value is less than the minimum of 1",
        "config.key: value is not of type \"integer\"",
        "config.hosts[1].a/b: ",
        "modle_dir",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn complaints_are_bounded() {
    let names: Vec<String> = (0..100).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    let misfit = misfit(json!({"required": names}), json!({})).unwrap();
    assert_eq!((misfit.faults.len(), misfit.left_out), (100, 0));
    assert!(misfit.to_string().ends_with("; and 92 more"), "{misfit}");
    assert!(misfit.to_string().len() < 4096 && misfit.to_string().ends_with("; and 92 more"));
}

#[test]
fn a_schema_that_is_none_is_refused_with_its_place() {
    let error = check_schema(&json!({"properties": {"a": {"type": "strnig"}}})).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("at /properties/a/type: ") && text.contains("strnig"),
        "{text}"
    );
    for schema in [
        json!(3),
        json!({"pattern": "("}),
        json!({"pattern": "(\\w{1000}){1000}"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"$schema": "http://example.com/of-my-own"}),
    ] {
        let error = check_schema(&schema).unwrap_err();
        let told = ["it goes", "it has", "with its references"];
        let is_limit = told.iter().any(|limit| error.to_string().starts_with(limit));
        assert!(!is_limit, "{schema}: {error}");
    }
}

#[test]
fn nothing_outside_is_followed() {
    for schema in [
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "#name"}),
        json!({"$dynamicRef": "#/a"}),
        json!({"allOf": [{"$id": "https://example.com/a"}]}),
        json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
    ] {
        let error = check_schema(&schema).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("only $ref to a part of the same schema"),
            "{schema}: {error}"
        );
    }
    // Names of fields, not keywords.
    check_schema(&json!({"properties": {"$ref": {"type": "string"}, "$id": {}}})).unwrap();
}

#[test]
fn a_hostile_schema_is_refused_before_it_costs_anything() {
    let told = |schema: &Value| check_schema(schema).unwrap_err().to_string();
    let large = json!({"enum": (0..5000).collect::<Vec<_>>()});
    assert!(told(&large).contains("more than 4096 values"));
    let deep = (0..200).fold(json!({}), |inner, _| json!({ "not": inner }));
    assert!(told(&deep).contains("64 levels deep"));
    for circle in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
            "b": {"$ref": "#/$defs/a"}}}),
    ] {
        assert!(told(&circle).contains("refers to itself"), "{circle}");
    }
    // Each level comes to four times the one below.
    let mut levels: Map<String, Value> = (0..9)
        .map(|n| {
            let below = json!({"$ref": format!("#/$defs/l{}", n + 1)});
            (format!("l{n}"), json!({"allOf": [below, below, below, below]}))
        })
        .collect();
    levels.insert("l9".to_owned(), json!({}));
    let bomb = json!({"$ref": "#/$defs/l0", "$defs": levels});
    assert!(told(&bomb).contains("with its references followed"));
    let patterns: Map<String, Value> = (0..100).map(|n| (format!("p{n}"), json!({}))).collect();
    assert!(told(&json!({ "patternProperties": patterns })).contains("64 patterns"));
}
