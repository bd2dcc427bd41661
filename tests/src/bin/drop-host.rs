//! A program that starts a host over a directory, waits until it is ready, and ends without shutting it down.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(plugins), Some(store)) = (args.next(), args.next()) else {
        return Err("started by tests, with a plugin directory and a store".into());
    };
    let builder = extman::Host::builder().dir(plugins).store_dir(store);
    let host = builder.vetting(false).build().await?;
    host.wait_ready().await;
    let running = |view: &extman_model::PluginView| view.lifecycle == extman_model::Lifecycle::Running;
    println!(
        "{} running",
        host.plugins().iter().filter(|view| running(view)).count()
    );
    Ok(())
}
