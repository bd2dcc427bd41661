include!("../plugin.rs");

pub struct Whisper;

export_plugin!(Whisper, capabilities: [TextShout]);
