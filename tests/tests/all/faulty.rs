//! An instance of `faults` in a host of its own.

use extman_model::{ErrorKind, Verdict};
use extman_runtime::instance::{Call, Instance, InstanceSettings};
use extman_runtime::lanes::PoolLimits;
use extman_runtime::module::{Module, ModuleBudgets};
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An instance of the plugin that misbehaves as it is told to.
pub struct Faulty {
    pub bench: Bench,
    pub module: Arc<Module>,
    pub instance: Arc<Instance>,
}

impl Faulty {
    pub async fn new(settings: InstanceSettings) -> Self {
        Self::with(settings, PoolLimits::default()).await
    }

    pub async fn with(settings: InstanceSettings, limits: PoolLimits) -> Self {
        let bench = Bench::new();
        let plugin = bench.verified(&build::plugin("faults"));
        let module = bench.load(plugin, limits, ModuleBudgets::default()).await;
        let instance = Arc::new(bench.started(&module, "{}", settings).await);
        Faulty {
            bench,
            module,
            instance,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }

    /// A call that waits for the file `release` and makes the file `begun` first.
    pub fn hang(&self, release: &Path, begun: &Path) -> Call {
        let order = serde_json::json!({"hazard": "hang", "release": release, "marker": begun});
        call("fault.run", order.to_string())
    }

    pub async fn echo(&self, text: &str) -> Result<String, ErrorKind> {
        match self.instance.invoke(call("fault.echo", text), None).await {
            Ok(reply) => Ok(String::from_utf8(reply.body).unwrap()),
            Err(error) => Err(error.kind),
        }
    }

    pub async fn fails(&self, call: Call) -> ErrorKind {
        self.instance.invoke(call, None).await.unwrap_err().kind
    }

    /// Waits until nothing is inside, destroys and unloads.
    pub async fn unloaded(self) -> Verdict {
        let give_up = tokio::time::Instant::now() + LIMIT;
        while let Err(error) = self.instance.destroy().await {
            assert!(tokio::time::Instant::now() < give_up, "{error}");
        }
        drop(self.instance);
        self.module.unload(ModuleBudgets::default()).await
    }
}
