//! What the host and its vetting processes say to each other, over one socket pair.
//!
//! ```text
//! host ── order and library (a descriptor) ──► worker
//! host ◄── lines ── worker, then guard
//! ```
//!
//! The socket also is the lifeline: when the host's end is closed, the guard ends everything.

use extman_model::{CallError, Digest, ProcessChange, Report, Verdict, VettingDepth, VettingPhase};
use extman_plugin_api::manifest::schema::Symbols;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// What the worker is to do. Not `Debug`: its configuration holds secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// What the bytes must be.
    pub digest: Digest,
    /// Whether the plugin was made with the Rust SDK.
    pub rust: bool,
    /// Who may bind to its symbols.
    pub symbols: Symbols,
    /// Name for the instance.
    pub name: String,
    /// Its configuration, as JSON.
    pub config: String,
    /// The folder of the plugin's file, for what lies beside it.
    pub resource_dir: Option<String>,
    /// Folders that it has for itself meanwhile: for what stays, and for what can be made anew.
    pub own_dirs: Option<[PathBuf; 2]>,
    /// Stack of the thread that the library runs on, in bytes: as its lanes have it.
    pub stack_bytes: u64,
    /// How far to go.
    pub depth: VettingDepth,
}

/// What the host hears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(super) enum Line {
    /// The worker's first: whether it is of the same build.
    Hello { version: String },
    /// A step begins.
    Begin { phase: VettingPhase },
    /// A step has ended, with what was said against it, and what it changed of the process.
    End {
        phase: VettingPhase,
        took_ns: u64,
        error: Option<CallError>,
        changes: Vec<ProcessChange>,
    },
    /// What the plugin says of itself.
    Said { report: Report },
    /// What became of the library.
    Unload { verdict: Verdict },
    /// The plugin wanted to end the thread that it was called on: nothing more is done.
    ThreadEnded,
    /// All steps were done.
    Done,
    /// The worker can't go on, for no reason that lies in the plugin.
    Failed { text: String },
    /// The guard's only one, and the last.
    Ended(Ended),
}

/// How the worker's process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// So many bytes of memory were in use, more than allowed: it was ended for that.
    pub over_memory: Option<u64>,
    /// Processes that the plugin left behind, by name. They were ended.
    pub left: Vec<String>,
}

/// Longest line or order, in bytes.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 20;

/// Writes one line. Nobody hears if the host is gone; then the guard ends this process.
pub(super) fn say(mut socket: &UnixStream, line: &Line) {
    if let Ok(mut json) = serde_json::to_vec(line) {
        json.push(b'\n');
        let _ = socket.write_all(&json);
    }
}

/// Sends the order, and the library with its first byte.
pub(super) fn send_order(mut socket: &UnixStream, order: &Order, library: &File) -> io::Result<()> {
    let mut json = serde_json::to_vec(order)?;
    json.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [library.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let first = [IoSlice::new(&json[..1])];
    rustix::net::sendmsg(socket, &first, &mut ancillary, SendFlags::NOSIGNAL)?;
    socket.write_all(&json[1..])
}

/// Receives what [`send_order`] sent.
pub(super) fn receive_order(socket: &UnixStream) -> io::Result<(Order, File)> {
    let mut first = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut first)];
    rustix::net::recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let library = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let library = library.ok_or_else(|| io::Error::other("no library came with the order"))?;
    let mut json = first.to_vec();
    BufReader::new(socket)
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut json)?;
    Ok((serde_json::from_slice(&json)?, File::from(library)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    #[test]
    fn an_order_longer_than_any_argument_arrives_with_its_library() {
        let (host, worker) = UnixStream::pair().unwrap();
        let order = Order {
            digest: Digest::new([7; 32]),
            resource_dir: None,
            own_dirs: Some(["/d".into(), "/c".into()]),
            stack_bytes: 8 << 20,
            rust: true,
            symbols: Symbols::Local,
            name: "x".to_owned(),
            config: format!("{{\"key\": \"{}\"}}", "k".repeat(3 << 20)),
            depth: VettingDepth::Create,
        };
        let mut library = tempfile::tempfile().unwrap();
        library.write_all(b"bytes").unwrap();
        library.rewind().unwrap();
        let (taken, mut bytes) = std::thread::scope(|scope| {
            scope.spawn(|| send_order(&host, &order, &library).unwrap());
            receive_order(&worker).unwrap()
        });
        assert!(taken == order, "it arrives as it was sent");
        let mut text = String::new();
        bytes.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes");
    }
}
