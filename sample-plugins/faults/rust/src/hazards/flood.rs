//! More than a host should take.

use extman_plugin_api::prelude::*;

/// Log records.
pub fn log(host: &Host, count: u64) {
    for i in 0..count {
        host.log(Level::Info, "faults", &format!("flood {i} of {count}"));
    }
}

/// Parts of a check, until one is refused.
pub fn parts(probe: &mut Probe<'_>, count: u64) {
    for i in 0..count {
        if probe.part(&format!("part {i}"), Health::Up, "as told").is_err() {
            return;
        }
    }
}

/// Output, until a write is refused.
pub fn sink(call: &mut Call<'_>, bytes: usize, writes: u64) -> Result<()> {
    let block = vec![b'x'; bytes];
    for _ in 0..writes {
        call.write(&block)?;
    }
    Ok(())
}
