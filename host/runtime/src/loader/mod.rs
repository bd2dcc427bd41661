//! The host's unsafe code, and all of it.
//!
//! Opening a library from sealed memory, checking what it says of itself, calling it, and closing it when nothing of it is
//! left alive. Nothing here knows of health, routing, the registry or the supervisor; nothing here decides *when* to load or unload.
//! Everything runs plugin code on the calling thread: only lanes call it.

#![allow(unsafe_code)]

mod attach;
mod call_context;
mod call_words;
mod census;
mod chain;
mod child_signal;
mod code_owner;
mod cpu;
mod exit;
mod foreign_threads;
mod host_table;
mod huge;
mod image;
mod interpose;
mod join;
mod kept;
mod keys;
mod library;
mod listeners;
mod loaded;
mod mapped;
mod memfd;
mod outgoing;
mod output;
mod plugin_instance;
mod read;
mod root;
mod sized;
mod status;
mod stop;
mod text;
mod threads;

pub(crate) use child_signal::default_child_signal;
pub(crate) use foreign_threads::{is_gone, name_of as thread_name, start_ticks};

pub use attach::KeepsAttached;
pub use call_context::CallContext;
pub(crate) use call_context::{cancel, give_up, late};
pub(crate) use call_words::Cancelled;
pub use chain::Chain;
pub(crate) use chain::Late;
pub use cpu::{OwnThreads, Unattributed, cpu_of, cpu_of_this_thread};
pub use exit::exit_now;
pub use extman_model::frames::Frames;
pub use huge::prefer_huge_pages;
pub use interpose::{Interposition, interposition};
pub use join::join_within;
pub use library::{Closed, Library, Mapped, NotClosed, NotOpened, OpenError};
pub use listeners::Listener;
pub use memfd::{SealError, SealedImage};
pub use outgoing::{Answered, Answering, NoAnswer, OutgoingCall, OutgoingRouter, Task};
pub(crate) use outgoing::{NoLane, ReceivingLanes, Submitted};
pub use output::{Completed, Output, OutputLimits};
pub use plugin_instance::{Input, Making, NotDestroyed, PluginInstance, Returned, Said, Snapshot, Step};

pub(crate) use code_owner::{CodeOwner, is_in_entry, is_in_executable, offset_in_executable};
#[cfg(test)]
pub(crate) use code_owner::{on_behalf_of, outside};
pub(crate) use image::start_of_object_at;
pub(crate) use interpose::{pthread_key_create, pthread_key_delete};
pub(crate) use threads::libraries_with_threads;
