// What the cases share: a plugin and one capability.
use extman_plugin_api::prelude::*;

pub struct Shout;

impl Plugin for Shout {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(Shout)
    }
}

pub struct TextShout;

impl Capability for TextShout {
    type Plugin = Shout;
    const NAME: &'static str = "text.shout";

    fn invoke(_: &Shout, _: &mut Call<'_>) -> Result<()> {
        Ok(())
    }
}
