//! Which language a text is in.

use extman_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

struct LangDetect;

impl Plugin for LangDetect {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(LangDetect)
    }

    fn check(&self, probe: &mut Probe<'_>) -> Result<Health> {
        match probe.kind() {
            CheckKind::Liveness | CheckKind::Readiness => Ok(Health::Up),
            CheckKind::Deep => recognise(probe),
        }
    }
}

/// Given to the detector by deep checks.
const KNOWN: [(&str, whatlang::Lang); 3] = [
    (
        "Bonjour tout le monde, comment allez-vous aujourd'hui ? Il fait beau.",
        whatlang::Lang::Fra,
    ),
    (
        "Guten Morgen, wie geht es Ihnen heute? Das Wetter ist schön.",
        whatlang::Lang::Deu,
    ),
    (
        "Доброе утро, как у вас сегодня дела? Погода хорошая.",
        whatlang::Lang::Rus,
    ),
];

/// Whether texts whose languages are known are taken for those.
fn recognise(probe: &mut Probe<'_>) -> Result<Health> {
    let mut health = Health::Up;
    for (text, lang) in KNOWN {
        let found = whatlang::detect_lang(text);
        let code = found.map_or("none", |found| found.code());
        let is_right = found == Some(lang);
        let part = if is_right { Health::Up } else { Health::Down };
        probe.part(
            lang.eng_name(),
            part,
            &format!("a known text is taken for {code}"),
        )?;
        if !is_right {
            probe.explain(format_args!(
                "a known {} text is taken for {code}",
                lang.eng_name()
            ));
            health = Health::Down;
        }
    }
    Ok(health)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deep_checks_show_is_recognised() {
        for (text, lang) in KNOWN {
            assert_eq!(whatlang::detect_lang(text), Some(lang), "{text}");
        }
    }
}
