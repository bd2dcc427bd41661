//! The ABI as data: what its source declares, joined with what this compiler makes of it.

mod measured;
mod source;

/// Everything that the ABI crate declares.
pub struct Abi {
    pub constants: Vec<Constant>,
    pub aliases: Vec<Alias>,
    pub structs: Vec<Struct>,
}

pub struct Constant {
    pub name: String,
    pub ty: String,
    /// Decimal, or the text of a `&str`.
    pub value: String,
}

pub struct Alias {
    pub name: String,
    pub of: String,
}

pub struct Struct {
    pub name: String,
    pub size: usize,
    pub align: usize,
    pub fields: Vec<Field>,
}

pub struct Field {
    pub name: String,
    pub ty: String,
    pub size: usize,
    pub offset: usize,
}

/// The ABI of this build. Panics if the source declares something that `measured.rs` does not list: then a test would
/// silently not see it.
pub fn current() -> Abi {
    let declared = source::read();
    let structs = declared.structs.into_iter().map(|(name, fields)| {
        let sizes = measured::structs()
            .into_iter()
            .find(|known| known.name == name)
            .unwrap_or_else(|| panic!("struct {name} is new: list it in plugin-api/tests/abi/measured.rs"));
        let fields = fields.into_iter().map(|(field, ty)| {
            let (_, size, offset) = *sizes
                .fields
                .iter()
                .find(|known| known.0 == field)
                .unwrap_or_else(|| panic!("{name}.{field} is not in plugin-api/tests/abi/measured.rs"));
            Field {
                name: field,
                ty,
                size,
                offset,
            }
        });
        Struct {
            fields: fields.collect(),
            size: sizes.size,
            align: sizes.align,
            name,
        }
    });
    let constants = declared.constants.into_iter().map(|(name, ty)| {
        let value = measured::constants()
            .into_iter()
            .find(|known| known.0 == name)
            .unwrap_or_else(|| panic!("constant {name} is new: list it in plugin-api/tests/abi/measured.rs"))
            .1;
        Constant { name, ty, value }
    });
    Abi {
        structs: structs.collect(),
        constants: constants.collect(),
        aliases: declared
            .aliases
            .into_iter()
            .map(|(name, of)| Alias { name, of })
            .collect(),
    }
}
