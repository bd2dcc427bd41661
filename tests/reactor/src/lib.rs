//! A plugin with a tokio runtime of its own, for tests of the host: its calls are answered by tasks, on threads that the runtime made. The runtime
//! lives from `create` to `destroy`, which waits for its threads: so the library can be unmapped.

use extman_plugin_api::prelude::*;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What is answered. A test makes another version of the library of it by its bytes.
const ANSWER: &[u8] = b"{\"answered_by\": \"1.0.0\"}";

struct Reactor {
    runtime: Runtime,
}

impl Plugin for Reactor {
    fn create(_: &Create<'_>) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()?;
        Ok(Reactor { runtime })
    }

    fn check(&self, _: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Up)
    }

    fn destroy(self, _: &Step) -> Result<()> {
        // Joins its threads.
        drop(self.runtime);
        Ok(())
    }
}

struct Version;

impl AsyncCapability for Version {
    type Plugin = Reactor;
    const NAME: &'static str = "reactor.version";

    fn submit(reactor: &Reactor, call: Submitted) {
        reactor.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_micros(100)).await;
            let written = call.sink().begin("application/json");
            let written = written.and_then(|()| call.sink().write(ANSWER));
            call.complete(written);
        });
    }
}

export_plugin!(Reactor, capabilities: [], asynchronous: [Version]);
