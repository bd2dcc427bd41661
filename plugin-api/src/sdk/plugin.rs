//! The traits that an author implements.

use super::{Call, CallId, Create, Error, Health, Probe, Restore, Result, Snapshot, Step, Submitted};

/// One configured instance of a plugin.
///
/// Everything takes `&self`: calls may overlap as the manifest's `threads.model` says, and `configure` and `drain` may
/// overlap calls. Threads that the plugin starts must be joined when it is destroyed, or its library can't be unloaded.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// Whether [`thread_attach`](Self::thread_attach) and [`thread_detach`](Self::thread_detach) do anything.
    const ATTACHES_THREADS: bool = false;
    /// Whether [`cancel`](Self::cancel) does anything.
    const HANDLES_CANCEL: bool = false;

    /// Makes an instance from its configuration. Does not connect or load yet.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn create(create: &Create<'_>) -> Result<Self>;

    /// Gets ready to serve: connect, load the model, warm up.
    ///
    /// # Errors
    /// It can't serve.
    fn start(&self, _step: &Step) -> Result<()> {
        Ok(())
    }

    /// Takes a new configuration (a JSON object), whole, or refuses it and goes on with the old one.
    ///
    /// # Errors
    /// By default: not supported, and the host makes a new instance instead.
    fn configure(&self, _config: &str, _step: &Step) -> Result<()> {
        Err(Error::unimplemented(
            "this plugin takes a new configuration only when it is made anew",
        ))
    }

    /// Reports the instance's health. By default it reports nothing, and the host goes by what it measures itself: that is what
    /// [`Health::Unknown`] without a text means. With a text it means that the plugin does not know, and the host holds it to be unknown.
    ///
    /// # Errors
    /// The question could not be answered. "I can't serve" is an answer: [`Health::Down`].
    fn check(&self, _probe: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Unknown)
    }

    /// A call is cancelled: wake who works on it. Comes from any thread and must return at once; the call may have ended
    /// meanwhile. Only if [`HANDLES_CANCEL`](Self::HANDLES_CANCEL); looking at [`Call::cancelled`] needs none of this.
    fn cancel(&self, _call: CallId) {}

    /// No new calls will come: finish or flush what is under way.
    ///
    /// # Errors
    /// Are reported and change nothing.
    fn drain(&self, _step: &Step) -> Result<()> {
        Ok(())
    }

    /// Ends serving. It may be started again.
    ///
    /// # Errors
    /// Are reported; the instance is destroyed all the same.
    fn stop(&self, _step: &Step) -> Result<()> {
        Ok(())
    }

    /// The state that a successor should start from: another version, or this one in another configuration or after a restart. Calls may be under way,
    /// and it may serve on afterwards; with `update = "stop-first"` in the manifest it is asked after its last call.
    ///
    /// # Errors
    /// By default: not supported, and a successor begins without. With any other one there is no successor: it serves on.
    fn snapshot(&self, _step: &Step) -> Result<Snapshot> {
        Err(Error::unimplemented("this plugin keeps no state"))
    }

    /// Takes the state that a predecessor wrote, or refuses it and stays as it was made. It comes before [`start`](Self::start), and may be of another
    /// version, an older or a newer one.
    ///
    /// # Errors
    /// By default: not supported, and it begins without. With any other one it is not started: the predecessor serves on.
    fn restore(&self, _from: &Restore<'_>, _step: &Step) -> Result<()> {
        Err(Error::unimplemented("this plugin keeps no state"))
    }

    /// Ends the instance. By default it is dropped.
    ///
    /// # Errors
    /// Something of it may be left; the instance is gone all the same.
    fn destroy(self, _step: &Step) -> Result<()> {
        Ok(())
    }

    /// Prepares a thread of the host for calls into this library: attach it to an interpreter, choose a device. Only if
    /// [`ATTACHES_THREADS`](Self::ATTACHES_THREADS).
    ///
    /// # Errors
    /// Nothing is called on this thread.
    fn thread_attach() -> Result<()> {
        Ok(())
    }

    /// Undoes [`thread_attach`](Self::thread_attach).
    fn thread_detach() {}
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

/// One thing that a plugin can do without a thread for each call: thousands may be under way. A type without fields, listed in
/// [`export_plugin!`](crate::export_plugin) under `asynchronous`; its `[[capability]]` has `async = true`.
pub trait AsyncCapability {
    /// The plugin that does it.
    type Plugin: Plugin;

    /// Its name in the manifest.
    const NAME: &'static str;

    /// Takes one call and returns at once. Whoever has it ends it, from any thread, with [`Submitted::complete`].
    fn submit(plugin: &Self::Plugin, call: Submitted);
}
