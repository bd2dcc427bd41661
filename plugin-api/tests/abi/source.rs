//! What the ABI crate's source declares, by parsing it.

use quote::ToTokens;
use std::path::Path;
use syn::{Item, Visibility};

/// Names and types, in the source's order.
pub struct Declared {
    pub constants: Vec<(String, String)>,
    pub aliases: Vec<(String, String)>,
    pub structs: Vec<(String, Vec<(String, String)>)>,
}

/// Reads every file of the crate.
pub fn read() -> Declared {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi/src");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the ABI's sources are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    let mut declared = Declared {
        constants: Vec::new(),
        aliases: Vec::new(),
        structs: Vec::new(),
    };
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        for item in syn::parse_file(&text).expect("sources that compile").items {
            add(&mut declared, item);
        }
    }
    declared
}

fn add(to: &mut Declared, item: Item) {
    match item {
        Item::Const(item) if public(&item.vis) => {
            to.constants.push((item.ident.to_string(), plain(&item.ty)))
        }
        Item::Type(item) if public(&item.vis) => to.aliases.push((item.ident.to_string(), plain(&item.ty))),
        Item::Struct(item) if public(&item.vis) => {
            let name = item.ident.to_string();
            let fields = item.fields.iter().map(|field| {
                let field_name = field.ident.as_ref().expect("named fields");
                assert!(
                    public(&field.vis),
                    "{name}.{field_name} is private; C could see it all the same"
                );
                (field_name.to_string(), plain(&field.ty))
            });
            to.structs.push((item.ident.to_string(), fields.collect()));
        }
        Item::Enum(item) => panic!("enum {}: the ABI has no enums, only u32 constants", item.ident),
        Item::Union(item) => panic!("union {}: the ABI has no unions", item.ident),
        _ => {}
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// A type as one writes it, without the spaces between its tokens.
fn plain(ty: &syn::Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    let mut out = String::new();
    let mut gap = false;
    for c in spaced.chars() {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        let wordlike = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
        let last = out.chars().last().unwrap_or(' ');
        let after_sign = last == ',' || last == ':' && !out.ends_with("::");
        if gap && (wordlike(last) && wordlike(c) || after_sign && c != ':') {
            out.push(' ');
        }
        if matches!(c, ')' | '>') && out.trim_end().ends_with(',') {
            out.truncate(out.trim_end().len() - 1);
        }
        out.push(c);
        gap = false;
    }
    out.replace("->", " -> ")
}
