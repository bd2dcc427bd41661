//! `${field}` in `[permissions]`: what it may name.

use super::schema::{Config, ManifestError, Permissions};

/// Each must name a field that `[config]` has.
pub(super) fn check(permissions: &Permissions, config: &Config) -> Result<(), ManifestError> {
    let Permissions {
        network,
        read,
        write,
        environment,
        execute,
    } = permissions;
    let lists = [
        ("network", network),
        ("read", read),
        ("write", write),
        ("environment", environment),
        ("execute", execute),
    ];
    for (list, texts) in lists {
        let strange = texts.iter().find(|text| !all_known(text, config));
        if let Some(text) = strange {
            return Err(ManifestError(format!(
                "[permissions] {list} has {text:?}, where ${{…}} names no field of [config]; name one of its schema's \
                 properties, its defaults or its required keys"
            )));
        }
    }
    Ok(())
}

fn all_known(text: &str, config: &Config) -> bool {
    let field = |after: &str| after.split_once('}').map(|(field, _)| field.to_owned());
    text.split("${")
        .skip(1)
        .all(|after| field(after).is_some_and(|field| has(config, &field)))
}

fn has(config: &Config, field: &str) -> bool {
    let properties = config.schema.as_ref().and_then(|schema| schema.get("properties"));
    properties.is_some_and(|properties| properties.get(field).is_some())
        || config.defaults.contains_key(field)
        || config.required.iter().any(|required| required == field)
}

#[cfg(test)]
mod tests {
    use crate::manifest::schema::Manifest;

    #[test]
    fn placeholders_name_fields_of_the_configuration() {
        let with = |read: &str| {
            format!(
                "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n\
                 [config]\nrequired = [\"a\"]\ndefaults = {{ b = 1 }}\n[config.schema.properties.c]\ntype = \"string\"\n\
                 [permissions]\nread = [{read:?}]\n"
            )
        };
        for good in ["/proc", "${a}", "${b}/x/${c}", "$a"] {
            with(good).parse::<Manifest>().unwrap();
        }
        for bad in ["${d}", "${a}/${d}", "${a", "${}"] {
            let error = with(bad).parse::<Manifest>().unwrap_err().to_string();
            assert!(
                error.contains(bad) && error.contains("[permissions] read"),
                "{error}"
            );
        }
    }
}
