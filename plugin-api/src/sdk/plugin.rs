//! The two traits that an author implements.

use super::{Call, Create, Error, Health, Probe, Result};

/// One configured instance of a plugin.
///
/// Everything takes `&self`: calls may overlap as the manifest's `threads.model` says, and `configure` and `drain` may
/// overlap calls. Threads that the plugin starts must be joined when it is dropped, or its library can't be unloaded.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// Makes an instance from its configuration. Does not connect or load yet.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn create(create: &Create<'_>) -> Result<Self>;

    /// Gets ready to serve: connect, load the model, warm up.
    ///
    /// # Errors
    /// It can't serve.
    fn start(&self) -> Result<()> {
        Ok(())
    }

    /// Takes a new configuration (a JSON object), whole, or refuses it and goes on with the old one.
    ///
    /// # Errors
    /// By default: not supported, and the host makes a new instance instead.
    fn configure(&self, _config: &str) -> Result<()> {
        Err(Error::unsupported(
            "this plugin takes a new configuration only when it is made anew",
        ))
    }

    /// Says how it is. By default nothing is said, and the host goes by what it measures itself.
    ///
    /// # Errors
    /// The question could not be answered. "I can't serve" is an answer: [`Health::Down`].
    fn check(&self, _probe: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Unknown)
    }

    /// No new calls will come: finish or flush what is under way.
    ///
    /// # Errors
    /// Are reported and change nothing.
    fn drain(&self) -> Result<()> {
        Ok(())
    }

    /// Ends serving. It may be started again.
    ///
    /// # Errors
    /// Are reported; the instance is dropped all the same.
    fn stop(&self) -> Result<()> {
        Ok(())
    }

    /// The state that a successor should start from.
    ///
    /// # Errors
    /// By default: not supported.
    fn snapshot(&self) -> Result<Vec<u8>> {
        Err(Error::unsupported("this plugin keeps no state"))
    }

    /// Takes the state that a predecessor wrote.
    ///
    /// # Errors
    /// By default: not supported.
    fn restore(&self, _state: &[u8]) -> Result<()> {
        Err(Error::unsupported("this plugin keeps no state"))
    }
}

/// One thing that a plugin can do: a type without fields, listed in [`export_plugin!`](crate::export_plugin).
pub trait Capability {
    /// The plugin that does it.
    type Plugin: Plugin;

    /// Its name in the manifest.
    const NAME: &'static str;

    /// Serves one call: reads [`Call::input`], writes the answer with [`Call::write`].
    ///
    /// # Errors
    /// What the caller gets instead of an answer.
    fn invoke(plugin: &Self::Plugin, call: &mut Call<'_>) -> Result<()>;
}
