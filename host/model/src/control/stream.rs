//! The events of an answer that is streamed, as they stand on the wire.

use super::Invoked;
use crate::{Reply, Usage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// `frame`: text if it is, else base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFrame {
    /// Media type, in the first frame, if the plugin named one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_type: Option<String>,
    /// The frame, if it is text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The frame in base64, if it is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base64: Option<String>,
}

/// `done`: what a reply says beside its body, which came in the frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamDone {
    /// Media type of the whole.
    pub content_type: String,
    /// The instance that served.
    pub served_by: String,
    /// Whether another instance served than the first choice.
    #[serde(default)]
    pub degraded: bool,
    /// Why, if so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded_reason: Option<String>,
    /// How many instances were called until one of them answered.
    #[serde(default = "once")]
    pub attempts: u32,
    /// How long the plugin's code ran.
    pub ran_ns: u64,
    /// What it used.
    #[serde(flatten)]
    pub usage: Usage,
    /// What the plugin said beside that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub metadata: BTreeMap<String, String>,
}

fn once() -> u32 {
    1
}

impl From<Invoked> for StreamDone {
    /// Without the body.
    fn from(invoked: Invoked) -> Self {
        let reply = invoked.reply;
        StreamDone {
            content_type: reply.content_type.into_owned(),
            served_by: invoked.served_by.to_string(),
            degraded: invoked.degraded.is_some(),
            degraded_reason: invoked.degraded.as_deref().map(str::to_owned),
            attempts: invoked.attempts,
            ran_ns: u64::try_from(reply.ran.as_nanos()).unwrap_or(u64::MAX),
            usage: reply.usage,
            metadata: reply.metadata.into_iter().collect(),
        }
    }
}

impl From<StreamDone> for Invoked {
    /// Without a body.
    fn from(done: StreamDone) -> Invoked {
        Invoked {
            served_by: done.served_by.into(),
            degraded: done
                .degraded
                .then(|| done.degraded_reason.unwrap_or_default().into()),
            attempts: done.attempts,
            age: None,
            reply: Reply {
                content_type: done.content_type.into(),
                body: Vec::new(),
                usage: done.usage,
                metadata: done.metadata.into_iter().collect(),
                ran: Duration::from_nanos(done.ran_ns),
            },
        }
    }
}
