include!("../plugin.rs");

pub struct TextWhisper;

impl Capability for TextWhisper {
    type Plugin = Shout;
    const NAME: &'static str = "text.whisper";

    fn invoke(_: &Shout, _: &mut Call<'_>) -> Result<()> {
        Ok(())
    }
}

export_plugin!(Shout, capabilities: [TextShout, TextWhisper]);
