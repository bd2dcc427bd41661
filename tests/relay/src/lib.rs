//! A plugin that calls other plugins as its input says, for tests of the host. The input: a mode and a capability in the first line, then what
//! that capability gets.

use extman_plugin_api::prelude::*;
use serde::Deserialize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Deserialize, Default)]
struct Configuration {
    at: Option<String>,
    call: Option<String>,
}

struct Relay {
    host: Host,
    configured: Configuration,
    last: Arc<Mutex<Option<String>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is to be called, and how.
struct Ask<'a> {
    mode: &'a str,
    capability: &'a str,
    rest: &'a [u8],
}

impl<'a> Ask<'a> {
    fn read(input: &'a [u8]) -> Result<Self> {
        let end = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
        let line = std::str::from_utf8(&input[..end])?;
        let (mode, capability) = line
            .split_once(' ')
            .ok_or_else(|| Error::invalid_input("a mode and a capability have to stand in the first line"))?;
        Ok(Ask {
            mode,
            capability,
            rest: input.get(end + 1..).unwrap_or_default(),
        })
    }

    fn request(&self) -> CallRequest<'a> {
        let request = CallRequest::new(self.capability, self.rest);
        match self.mode.strip_prefix("within-") {
            Some(ms) => request.timeout(Duration::from_millis(ms.parse().unwrap_or(1))),
            None => request,
        }
    }
}

/// As it is told in `test.last`.
fn told(came_to: &Result<Reply>) -> String {
    match came_to {
        Ok(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

impl Relay {
    fn at(&self, when: &str, caller: &Caller) -> Result<()> {
        match (&self.configured.at, &self.configured.call) {
            (Some(at), Some(call)) if at == when => {
                self.keep(caller.send(&Ask::read(call.as_bytes())?.request()))
            }
            _ => Ok(()),
        }
    }

    fn keep(&self, came_to: Result<Reply>) -> Result<()> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(told(&came_to));
        came_to.map(drop)
    }

    /// Submits a call in none of its own, whose answer is kept, and is received only once the file is there.
    fn detach(&self, ask: &Ask<'_>) -> Result<()> {
        let last = self.last.clone();
        let answer = move |came_to: Result<Reply>| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(told(&came_to));
        };
        self.host.caller().submit(&ask.request(), answer).map(drop)
    }

    /// Makes a call from a thread of its own, again and again if it is to.
    fn on_a_thread(&self, ask: &Ask<'_>) -> Result<String> {
        let (said, hears) = mpsc::channel();
        let (caller, capability, rest) = (self.host.caller(), ask.capability.to_owned(), ask.rest.to_vec());
        let thread = std::thread::spawn(move || {
            let _ = said.send(told(&caller.call(&capability, &rest)));
        });
        let heard = hears.recv()?;
        thread.join().map_err(|_| Error::internal("it panicked"))?;
        Ok(heard)
    }

    /// A thread that calls until the instance ends; `destroy` joins it.
    fn call_for_ever(&self, ask: &Ask<'_>) {
        let (caller, capability, rest) = (self.host.caller(), ask.capability.to_owned(), ask.rest.to_vec());
        let last = self.last.clone();
        let thread = std::thread::spawn(move || {
            loop {
                let came_to = caller.call(&capability, &rest);
                let is_closed = came_to
                    .as_ref()
                    .is_err_and(|error| error.kind() == ErrorKind::Cancelled);
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(told(&came_to));
                if is_closed {
                    break;
                }
            }
        });
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
    }
}

impl Plugin for Relay {
    fn create(create: &Create<'_>) -> Result<Self> {
        let configured: Configuration = create.config()?;
        let relay = Relay {
            host: create.host().clone(),
            configured,
            last: Arc::default(),
            threads: Mutex::default(),
        };
        relay.at("create", &create.step().host())?;
        Ok(relay)
    }

    fn start(&self, step: &Step) -> Result<()> {
        self.at("start", &step.host())
    }

    fn check(&self, _: &mut Probe<'_>) -> Result<Health> {
        let _ = self.at("check", &self.host.caller());
        Ok(Health::Up)
    }

    fn stop(&self, step: &Step) -> Result<()> {
        self.at("stop", &step.host())
    }

    fn destroy(self, _: &Step) -> Result<()> {
        let threads = self.threads.into_inner().unwrap_or_else(PoisonError::into_inner);
        for thread in threads {
            thread.join().map_err(|_| Error::internal("a thread panicked"))?;
        }
        Ok(())
    }
}

struct Now;

impl Capability for Now {
    type Plugin = Relay;
    const NAME: &'static str = "test.relay";

    fn invoke(relay: &Relay, call: &mut Call<'_>) -> Result<()> {
        let ask = Ask::read(call.input())?;
        let (host, request) = (call.host(), ask.request());
        let reply = match ask.mode {
            "stream" => {
                let sink = call.sink();
                host.stream(&request, |frame| sink.write(frame))?
            }
            // Takes one frame and no more.
            "one" => {
                let mut taken = 0;
                host.stream(&request, |_| {
                    taken += 1;
                    match taken {
                        1 => Ok(()),
                        _ => Err(Error::new(ErrorKind::Aborted, "one is enough")),
                    }
                })?
            }
            "panic" => host.stream(&request, |_| panic!("in a frame"))?,
            "submit" => {
                let (said, hears) = mpsc::channel();
                host.submit(&request, move |came_to| {
                    let _ = said.send(came_to);
                })?;
                hears.recv()??
            }
            "cancel" => {
                let (said, hears) = mpsc::channel();
                let outgoing = host.submit(&request, move |came_to| {
                    let _ = said.send(came_to);
                })?;
                outgoing.cancel();
                hears.recv()??
            }
            "ignore" => match host.send(&request) {
                Ok(reply) => reply,
                Err(error) => return call.write(format!("in spite of {:?}", error.kind()).as_bytes()),
            },
            "nothing" => return call.write(ask.rest),
            "thread" => return call.write(relay.on_a_thread(&ask)?.as_bytes()),
            "for-ever" => {
                relay.call_for_ever(&ask);
                return Ok(());
            }
            "detach" => return relay.detach(&ask),
            "detach-panic" => {
                let submitted = relay.host.caller().submit(&request, |_| panic!("in an answer"));
                return submitted.map(drop);
            }
            _ => host.send(&request)?,
        };
        call.emit_metadata("served-by", &reply.served_by)?;
        for (key, value) in &reply.metadata {
            if key != "served-by" {
                call.emit_metadata(key, value)?;
            }
        }
        call.usage(reply.usage);
        if !reply.body.is_empty() {
            call.begin(&reply.content_type)?;
            call.write(&reply.body)?;
        }
        Ok(())
    }
}

struct Later;

impl AsyncCapability for Later {
    type Plugin = Relay;
    const NAME: &'static str = "test.later";

    fn submit(_: &Relay, call: Submitted) {
        let input = call.request.input.clone();
        let ask = match Ask::read(&input) {
            Ok(ask) => ask,
            Err(error) => return call.complete(Err(error)),
        };
        let host = call.host();
        // Whoever is told last completes it: the frames go to its sink.
        let (sink, held) = (call.sink().clone(), Arc::new(Mutex::new(Some(call))));
        let completes = held.clone();
        let complete = move |came_to: Result<()>| {
            if let Some(call) = completes.lock().unwrap_or_else(PoisonError::into_inner).take() {
                call.complete(came_to);
            }
        };
        let streams = ask.mode == "stream";
        let (writes, answers) = (sink.clone(), complete.clone());
        let answer = move |came_to: Result<Reply>| {
            answers(came_to.and_then(|reply| match reply.body.is_empty() {
                true => Ok(()),
                false => writes.write(&reply.body),
            }));
        };
        let submitted = match streams {
            true => host.submit_stream(&ask.request(), move |frame| sink.write(frame), answer),
            false => host.submit(&ask.request(), answer),
        };
        if let Err(error) = submitted {
            complete(Err(error));
        }
    }
}

struct Last;

impl Capability for Last {
    type Plugin = Relay;
    const NAME: &'static str = "test.last";

    fn invoke(relay: &Relay, call: &mut Call<'_>) -> Result<()> {
        let wanted = std::str::from_utf8(call.input())?;
        if !wanted.is_empty() {
            // Until whoever tests says so.
            while !Path::new(wanted).exists() {
                call.check_cancelled()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let last = relay.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        call.reply_json(&last)
    }
}

export_plugin!(Relay, capabilities: [Now, Last], asynchronous: [Later]);
