//! A plugin that does nearly nothing, so that what remains is the host's part.
#![allow(unsafe_code)]

use extman_plugin_api::prelude::*;

/// What `bench.small` answers.
const SMALL: &[u8; 8] = b"12345678";
/// What `bench.json` answers.
const JSON: &[u8; 200] = include_bytes!("../answer.json");

/// What `bench.stamp` answers; one that is no longer `well` fails. A bench makes other versions of the library of it by its bytes.
static STAMP: &[u8; 21] = b"stamped by 1.0.0 well";

/// The same eight bytes by a plain C function, for comparison.
#[unsafe(no_mangle)]
pub extern "C" fn bench_small() -> u64 {
    u64::from_le_bytes(*SMALL)
}

struct Constants;

impl Plugin for Constants {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(Constants)
    }

    fn check(&self, _: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Up)
    }
}

struct Small;

impl Capability for Small {
    type Plugin = Constants;
    const NAME: &'static str = "bench.small";

    fn invoke(_: &Constants, call: &mut Call<'_>) -> Result<()> {
        call.write(SMALL)
    }
}

struct Json;

impl Capability for Json {
    type Plugin = Constants;
    const NAME: &'static str = "bench.json";

    fn invoke(_: &Constants, call: &mut Call<'_>) -> Result<()> {
        call.begin("application/json")?;
        call.write(JSON)
    }
}

struct Stamp;

impl Capability for Stamp {
    type Plugin = Constants;
    const NAME: &'static str = "bench.stamp";

    fn invoke(_: &Constants, call: &mut Call<'_>) -> Result<()> {
        let stamp = std::hint::black_box(STAMP);
        if !stamp.ends_with(b"well") {
            return Err(Error::internal("as its stamp says"));
        }
        call.write(stamp)
    }
}

export_plugin!(Constants, capabilities: [Small, Json, Stamp]);
