//! Which language a text is in.

use extman_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

struct LangDetect;

impl Plugin for LangDetect {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(LangDetect)
    }

    fn check(&self, _: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Up)
    }
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct Answer {
    language: &'static str,
    name: &'static str,
    script: String,
    confidence: f64,
    reliable: bool,
}

struct DetectLanguage;

impl Capability for DetectLanguage {
    type Plugin = LangDetect;
    const NAME: &'static str = "text.detect-language";

    fn invoke(_: &LangDetect, call: &mut Call<'_>) -> Result<()> {
        let input: Input<'_> = call.json()?;
        let found = whatlang::detect(&input.text)
            .ok_or_else(|| Error::invalid_input("no language can be told from this text; give some words"))?;
        call.reply_json(&Answer {
            language: found.lang().code(),
            name: found.lang().eng_name(),
            script: found.script().to_string(),
            confidence: found.confidence(),
            reliable: found.is_reliable(),
        })
    }
}

export_plugin!(LangDetect, capabilities: [DetectLanguage]);
