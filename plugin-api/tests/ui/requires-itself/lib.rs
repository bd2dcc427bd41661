include!("../plugin.rs");

export_plugin!(Shout, capabilities: [TextShout]);
