//! `[[requires]]` and `[[conflicts]]`: what a plugin says of other plugins, by id or by capability.

use super::at_compile_time::is_id;
use super::schema::{Manifest, ManifestError, is_capability_name};
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most `[[requires]]`, and most `[[conflicts]]`, of one manifest.
pub const RELATIONS_MAX: usize = 64;

/// Whom a requirement or a conflict means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The plugin with this id.
    Plugin(String),
    /// Every other plugin that offers this capability.
    Capability(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Plugin(id) => f.write_str(id),
            Target::Capability(name) => write!(f, "the capability {name}"),
        }
    }
}

/// `[[requires]]`: another plugin that has to be there, by its id (`plugin`) or by what it offers (`capability`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Requirement {
    /// `plugin = "…"` or `capability = "…"`: one of the two.
    pub target: Target,
    /// Versions that fit: of the plugin, or of the capability's contract. Default: any. A pre-release fits only where this names
    /// it, as `>=2.0.0-rc.1` does.
    pub version: VersionReq,
    /// Whether the plugin does without. One that is optional is started later than what it names, and changes no choice of a
    /// version. Default: false.
    pub optional: bool,
}

/// `[[conflicts]]`: a plugin that must not be in the same host, by its id (`plugin`) or by what it offers (`capability`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Conflict {
    /// `plugin = "…"` or `capability = "…"`: one of the two.
    pub target: Target,
    /// Versions that are meant. Default: any.
    pub version: VersionReq,
}

/// Both, as they are written.
#[derive(Serialize, Deserialize)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<String>,
    #[serde(default)]
    version: VersionReq,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<bool>,
}

impl Fields {
    fn target(&mut self) -> Result<Target, String> {
        match (self.plugin.take(), self.capability.take()) {
            (Some(id), None) if is_id(&id) => Ok(Target::Plugin(id)),
            (Some(id), None) => Err(format!(
                "plugin = {id:?} is no plugin's id: 1 to 64 lowercase letters, digits and '-', starting with a letter"
            )),
            (None, Some(name)) if is_capability_name(&name) => Ok(Target::Capability(name)),
            (None, Some(name)) => Err(format!(
                "capability = {name:?} must be lowercase words joined by dots, such as \"text.embed\""
            )),
            _ => Err("give one of plugin = \"ID\" and capability = \"NAME\"".to_owned()),
        }
    }

    fn of(target: Target, version: VersionReq, optional: Option<bool>) -> Self {
        let (plugin, capability) = match target {
            Target::Plugin(id) => (Some(id), None),
            Target::Capability(name) => (None, Some(name)),
        };
        Fields {
            plugin,
            capability,
            version,
            optional,
        }
    }
}

impl TryFrom<Fields> for Requirement {
    type Error = String;

    fn try_from(mut fields: Fields) -> Result<Self, String> {
        Ok(Requirement {
            target: fields.target()?,
            version: fields.version,
            optional: fields.optional.unwrap_or(false),
        })
    }
}

impl TryFrom<Fields> for Conflict {
    type Error = String;

    fn try_from(mut fields: Fields) -> Result<Self, String> {
        if fields.optional.is_some() {
            return Err("a [[conflicts]] can't be optional; remove that line".to_owned());
        }
        Ok(Conflict {
            target: fields.target()?,
            version: fields.version,
        })
    }
}

impl From<Requirement> for Fields {
    fn from(requirement: Requirement) -> Self {
        let optional = requirement.optional.then_some(true);
        Fields::of(requirement.target, requirement.version, optional)
    }
}

impl From<Conflict> for Fields {
    fn from(conflict: Conflict) -> Self {
        Fields::of(conflict.target, conflict.version, None)
    }
}

impl fmt::Display for Requirement {
    /// `embedder ^1.2`, `the capability text.embed, optional`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        versioned(f, &self.target, &self.version)?;
        f.write_str(if self.optional { ", optional" } else { "" })
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        versioned(f, &self.target, &self.version)
    }
}

fn versioned(f: &mut fmt::Formatter<'_>, target: &Target, version: &VersionReq) -> fmt::Result {
    match version.comparators.is_empty() {
        true => write!(f, "{target}"),
        false => write!(f, "{target} {version}"),
    }
}

/// What can't be seen in one `[[requires]]` or `[[conflicts]]` alone.
pub(super) fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    let refuse = |text: String| Err(ManifestError(text));
    for (list, number) in [
        ("requires", manifest.requires.len()),
        ("conflicts", manifest.conflicts.len()),
    ] {
        if number > RELATIONS_MAX {
            return refuse(format!(
                "there are {number} [[{list}]]; {RELATIONS_MAX} at most are allowed"
            ));
        }
    }
    let own = Target::Plugin(manifest.plugin.id.clone());
    if manifest.requires.iter().any(|required| required.target == own) {
        return refuse(format!(
            "[[requires]] names the plugin itself, {own}; remove it, or name another plugin"
        ));
    }
    if manifest.conflicts.iter().any(|conflict| conflict.target == own) {
        return refuse(format!(
            "[[conflicts]] names the plugin itself, {own}; of several versions a host uses one anyway; remove it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str =
        "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";

    fn read(rest: &str) -> Result<Manifest, String> {
        format!("{PLUGIN}{rest}")
            .parse()
            .map_err(|e: ManifestError| e.to_string())
    }

    #[test]
    fn a_requirement_names_a_plugin_or_a_capability() {
        let manifest = read(
            "[[requires]]\nplugin = \"embedder\"\nversion = \"^1.2\"\n[[requires]]\ncapability = \"text.embed\"\n\
             optional = true\n[[conflicts]]\nplugin = \"old\"\nversion = \"<2\"\n",
        )
        .unwrap();
        let texts: Vec<_> = manifest.requires.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["embedder ^1.2", "the capability text.embed, optional"]);
        assert_eq!(manifest.conflicts[0].to_string(), "old <2");
        assert!(manifest.unknown.is_empty(), "{:?}", manifest.unknown);
        let json = serde_json::to_value(&manifest.requires).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"capability": "text.embed", "version": "*", "optional": true})
        );
        let back: Vec<Requirement> = serde_json::from_value(json).unwrap();
        assert_eq!(back, manifest.requires);
    }

    #[test]
    fn an_unknown_field_of_a_requirement_is_kept() {
        let manifest = read("[[requires]]\nplugin = \"y\"\nverison = \"1\"\n").unwrap();
        assert_eq!(manifest.unknown["requires.0.verison"], serde_json::json!("1"));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let many = "[[requires]]\nplugin = \"y\"\n".repeat(RELATIONS_MAX + 1);
        for (rest, expected) in [
            ("[[requires]]\nversion = \"1\"\n", "one of plugin"),
            (
                "[[requires]]\nplugin = \"y\"\ncapability = \"a.c\"\n",
                "one of plugin",
            ),
            ("[[requires]]\nplugin = \"Y\"\n", "\"Y\" is no plugin's id"),
            ("[[requires]]\ncapability = \"A\"\n", "\"A\" must be lowercase"),
            ("[[requires]]\nplugin = \"y\"\nversion = \"one\"\n", "line 9"),
            ("[[requires]]\nplugin = \"x\"\n", "names the plugin itself"),
            ("[[conflicts]]\nplugin = \"x\"\n", "names the plugin itself"),
            (
                "[[conflicts]]\nplugin = \"y\"\noptional = true\n",
                "can't be optional",
            ),
            (&many, "64 at most"),
        ] {
            let error = read(rest).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
