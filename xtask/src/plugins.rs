//! stub
/// a
#[derive(clap::Args)]
pub struct Arguments {}
/// r
pub fn run(_: &Arguments) -> Result<String, std::io::Error> {
    Ok(String::new())
}
