//! How each hazard is done. Which one, and when, is decided elsewhere.

mod crash;
mod flood;
mod memory;
mod signal;
mod threads;
mod wait;

use crate::catalogue::Hazard;
use crate::order::Order;
use extman_plugin_api::prelude::*;
pub use memory::Held;
use std::time::Duration;

/// Where a hazard happens, and what it can reach there.
pub struct Scene<'a, 'b> {
    host: &'a Host,
    held: &'a Held,
    inside: Inside<'a, 'b>,
}

enum Inside<'a, 'b> {
    Step(&'a Step),
    Call(&'a mut Call<'b>),
    Check(&'a mut Probe<'b>),
}

impl<'a, 'b> Scene<'a, 'b> {
    pub fn in_step(host: &'a Host, held: &'a Held, step: &'a Step) -> Self {
        let inside = Inside::Step(step);
        Scene { host, held, inside }
    }

    pub fn in_call(host: &'a Host, held: &'a Held, call: &'a mut Call<'b>) -> Self {
        let inside = Inside::Call(call);
        Scene { host, held, inside }
    }

    pub fn in_check(host: &'a Host, held: &'a Held, probe: &'a mut Probe<'b>) -> Self {
        let inside = Inside::Check(probe);
        Scene { host, held, inside }
    }

    fn cancelled(&self) -> bool {
        match &self.inside {
            Inside::Step(step) => step.cancelled(),
            Inside::Call(call) => call.cancelled(),
            Inside::Check(probe) => probe.cancelled(),
        }
    }

    fn call(&mut self) -> Result<&mut Call<'b>> {
        match &mut self.inside {
            Inside::Call(call) => Ok(call),
            _ => Err(Error::internal("this hazard happens only inside a call")),
        }
    }

    fn probe(&mut self) -> Result<&mut Probe<'b>> {
        match &mut self.inside {
            Inside::Check(probe) => Ok(probe),
            _ => Err(Error::internal("this hazard happens only inside a check")),
        }
    }
}

/// Does it.
pub fn perform(order: &Order, scene: &mut Scene<'_, '_>) -> Result<()> {
    make_marker(order)?;
    let bytes = order.bytes.unwrap_or(1 << 20) as usize;
    let count = order.count.unwrap_or(10_000);
    match order.hazard {
        Hazard::Panic => crash::panic(),
        Hazard::PanicInPayload => crash::panic_in_payload(),
        Hazard::Segfault => crash::segfault(),
        Hazard::Abort => std::process::abort(),
        Hazard::Exit => std::process::exit(3),
        Hazard::HangUntilCancelled => {
            wait::until_cancelled(scene);
            return Err(Error::cancelled());
        }
        Hazard::Hang => wait::for_release(order.release.as_deref()),
        Hazard::Slow => std::thread::sleep(Duration::from_millis(order.ms.unwrap_or(100))),
        Hazard::InvalidInput => return fail(order, ErrorKind::InvalidInput),
        Hazard::Unavailable => return fail(order, ErrorKind::Unavailable),
        Hazard::RateLimited => return fail(order, ErrorKind::RateLimited),
        Hazard::Misconfigured => return fail(order, ErrorKind::Configuration),
        Hazard::Internal | Hazard::UpButFailing => return fail(order, ErrorKind::Internal),
        Hazard::Cancelled => return fail(order, ErrorKind::Cancelled),
        Hazard::DeadlineExceeded => return fail(order, ErrorKind::DeadlineExceeded),
        Hazard::Unsupported => return fail(order, ErrorKind::Unimplemented),
        Hazard::Exhausted => return fail(order, ErrorKind::ResourceExhausted),
        Hazard::DownButServing | Hazard::DegradedButServing | Hazard::Flap => {}
        Hazard::FloodParts => flood::parts(scene.probe()?, count),
        Hazard::FloodLog => flood::log(scene.host, count),
        Hazard::FloodSink => return flood::sink(scene.call()?, bytes, order.writes.unwrap_or(1_000)),
        Hazard::Leak => memory::leak(bytes),
        Hazard::HoldMemory => return scene.held.add(bytes, order.limit_bytes),
        Hazard::HeapLimit => {
            let limit = order.limit_bytes.unwrap_or(memory::LIMIT_BYTES_DEFAULT);
            scene.probe()?.heap_limit(limit);
        }
        Hazard::ThreadAlive => return threads::alive(order.release.clone()),
        Hazard::Spin => return threads::spin(order),
        Hazard::ThreadLocal => threads::local(),
        Hazard::ThreadCurrent => drop(std::thread::current()),
        Hazard::TokioCurrentThread => return threads::tokio_current_thread(),
        Hazard::TokioMultiThread => return threads::tokio_multi_thread(),
        Hazard::StaticTokio => return threads::static_tokio(),
        Hazard::RayonGlobal => threads::rayon_global(),
        Hazard::SignalHandler => return signal::leave_handler(),
        Hazard::Usage => scene.call()?.usage(Usage {
            tokens_in: order.tokens_in,
            tokens_out: order.tokens_out,
            ..Usage::default()
        }),
        Hazard::WriteAfterReturn => return threads::write_after_return(order, scene.call()?.sink()),
        Hazard::PushAfterDestroy => return threads::push_after_destroy(order, scene.host.clone()),
    }
    Ok(())
}

/// The file by which a test sees that the hazard's place was reached.
fn make_marker(order: &Order) -> Result<()> {
    let Some(marker) = &order.marker else {
        return Ok(());
    };
    std::fs::write(marker, b"").map_err(|e| {
        Error::internal(format_args!(
            "{}: can't make the marker: {e}; name a file that can be written",
            marker.display()
        ))
    })
}

fn fail(order: &Order, kind: ErrorKind) -> Result<()> {
    let mut error = Error::new(kind, format_args!("as told: {}", order.hazard.name()));
    if let Some(retryable) = order.retryable {
        error = error.retryable(retryable);
    }
    if let Some(ms) = order.retry_after_ms {
        error = error.retry_after(Duration::from_millis(ms));
    }
    Err(error)
}
