//! A host inside another program: `cargo run -p extman --example embed -- PLUGIN_DIR`.
//!
//! Waits until the plugins in the directory are up, lists them, calls one that detects languages if there is one, and
//! unloads everything.

use serde_json::{Value, json};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: embed PLUGIN_DIR")?;
    let store = std::env::temp_dir().join(format!("extman-embed-{}", std::process::id()));
    let host = extman::Host::builder().dir(dir).store_dir(&store).build().await?;
    host.wait_ready().await;

    for plugin in host.plugins() {
        let cause = plugin.cause.unwrap_or_default();
        println!(
            "{} {} is {} {cause}",
            plugin.name,
            plugin.version,
            plugin.lifecycle.as_str()
        );
    }
    for refused in host.status().refused {
        println!("{} was refused: {}", refused.path.display(), refused.reason);
    }

    let capability = "text.detect-language";
    if host.snapshot().offering(capability).next().is_none() {
        println!("nobody offers {capability} here");
    } else {
        let answer: Value = host
            .call(capability, &json!({ "text": "Où est la bibliothèque ?" }))
            .await?;
        println!("{capability}: {answer}");
    }

    for (plugin, verdict) in host.shutdown().await {
        println!("{plugin}: {verdict}");
    }
    std::fs::remove_dir_all(store)?;
    Ok(())
}
