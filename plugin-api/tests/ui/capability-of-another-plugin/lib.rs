include!("../plugin.rs");

pub struct Whisper;

impl Plugin for Whisper {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(Whisper)
    }
}

export_plugin!(Whisper, capabilities: [TextShout]);
