include!("../plugin.rs");

pub struct TextWhisper;

export_plugin!(Shout, capabilities: [TextWhisper]);
