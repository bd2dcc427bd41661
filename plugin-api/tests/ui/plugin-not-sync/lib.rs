use extman_plugin_api::prelude::*;

pub struct Counts(std::cell::Cell<u32>);

impl Plugin for Counts {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(Counts(std::cell::Cell::new(0)))
    }
}
