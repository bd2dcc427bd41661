//! The ABI's declarations for Python's `ctypes`, from what the source declares.

use crate::abi::Abi;
use std::fmt::Write;
use syn::{GenericArgument, PathArguments, ReturnType, Type};

/// A module of Python with every constant and struct, which checks sizes and offsets when it is imported.
pub fn declarations(abi: &Abi) -> String {
    let mut out = String::from("from ctypes import *\n\n");
    // Writing to a String does not fail.
    for constant in &abi.constants {
        let _ = match constant.ty.as_str() {
            "&str" => writeln!(out, "{} = b{:?}", constant.name, constant.value),
            _ => writeln!(out, "{} = {}", constant.name, constant.value),
        };
    }
    let mut structs: Vec<_> = abi.structs.iter().collect();
    // What others hold by value comes first.
    structs.sort_by_key(|s| !matches!(s.name.as_str(), "Bytes" | "TextBuffer"));
    for s in structs {
        let _ = writeln!(out, "\nclass {}(Structure):\n    _fields_ = [", s.name);
        for field in &s.fields {
            let ty: Type = syn::parse_str(&field.ty).expect("a type");
            let _ = writeln!(out, "        ({:?}, {}),", field.name, python(abi, &ty));
        }
        let _ = writeln!(
            out,
            "    ]\n\nassert (sizeof({0}), alignment({0})) == ({1}, {2})",
            s.name, s.size, s.align
        );
        for field in &s.fields {
            let (of, name) = (&s.name, &field.name);
            let _ = writeln!(
                out,
                "assert ({of}.{name}.offset, {of}.{name}.size) == ({}, {})",
                field.offset, field.size
            );
        }
    }
    out
}

fn python(abi: &Abi, ty: &Type) -> String {
    match ty {
        // A pointer is an address: what it points to is read with `from_address`.
        Type::Ptr(_) => "c_void_p".to_owned(),
        Type::FnPtr(function) => {
            let arguments = function.inputs.iter().map(|argument| python(abi, &argument.ty));
            let returned = match &function.output {
                ReturnType::Default => "None".to_owned(),
                ReturnType::Type(_, ty) => python(abi, ty),
            };
            let all: Vec<String> = std::iter::once(returned).chain(arguments).collect();
            format!("CFUNCTYPE({})", all.join(", "))
        }
        Type::Path(path) => {
            let last = path.path.segments.last().expect("a name");
            if let PathArguments::AngleBracketed(inner) = &last.arguments {
                let Some(GenericArgument::Type(inner)) = inner.args.first() else {
                    panic!("{} has no type inside", last.ident);
                };
                return python(abi, inner);
            }
            named(abi, &last.ident.to_string())
        }
        other => panic!("ctypes has no {}", quote::quote!(#other)),
    }
}

fn named(abi: &Abi, name: &str) -> String {
    if let Some(alias) = abi.aliases.iter().find(|alias| alias.name == name) {
        let of: Type = syn::parse_str(&alias.of).expect("a type");
        return python(abi, &of);
    }
    match name {
        "u32" => "c_uint32".to_owned(),
        "u64" => "c_uint64".to_owned(),
        "usize" => "c_size_t".to_owned(),
        "f64" => "c_double".to_owned(),
        name => name.to_owned(),
    }
}
