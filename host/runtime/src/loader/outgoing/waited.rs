//! A call for whose answer the calling thread waits: that is polled and received there.

use super::super::code_owner::{self, outside};
use super::super::stop::Stop;
use super::super::{listeners, read};
use super::under_way::{Event, NotBegun, prepare};
use super::{Listed, ListedCall, ReceiverOf};
use extman_abi::{self as abi, InstanceToken, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Makes a call of an instance's and waits for the answer, on the calling thread.
pub(in crate::loader) fn call(
    instance: InstanceToken,
    request: read::OutgoingRequest,
    timeout_ns: u64,
    receiver: ReceiverOf,
) -> Status {
    let in_check = code_owner::is_in_check();
    let begun = outside(|| {
        let closed = || NotBegun::Status(abi::STATUS_CLOSED);
        let calls = listeners::outgoing(instance).ok_or_else(closed)?;
        let stop = Arc::new(Stop::new());
        let prepared = prepare(&calls, instance, request, in_check, &stop)?;
        let number = calls
            .list(|_| ListedCall::Waited(stop))
            .map_err(NotBegun::Status)?;
        let listed = Listed { calls, number };
        Ok((listed, prepared.route(timeout_ns)))
    });
    let (listed, mut under_way) = match begun {
        Ok(begun) => begun,
        Err(NotBegun::Status(status)) => return status,
        Err(NotBegun::Answer(failure)) => {
            receiver.answer(&Err(failure));
            return abi::STATUS_OK;
        }
    };
    let parking = ParkingThread::here();
    let came_to = loop {
        match outside(|| parking.wait(|context| under_way.poll(context))) {
            Event::Answer(came_to) => break came_to,
            Event::Frame(frame) if receiver.frame(&frame) == abi::STATUS_OK => {}
            Event::Frame(_) => under_way.stop(),
        }
    };
    let calls = listed.calls.clone();
    outside(|| drop((under_way, listed)));
    if receiver.answer(&came_to) == abi::STATUS_PANICKED {
        outside(|| calls.panicked());
    }
    abi::STATUS_OK
}

/// A thread that waits for something to be ready.
struct ParkingThread {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Release);
        self.thread.unpark();
    }
}

impl ParkingThread {
    fn here() -> Self {
        let woken = Arc::new(Woken {
            thread: std::thread::current(),
            is_woken: AtomicBool::new(false),
        });
        ParkingThread {
            waker: woken.clone().into(),
            woken,
        }
    }

    fn wait<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut context = Context::from_waker(&self.waker);
        loop {
            if let Poll::Ready(value) = poll(&mut context) {
                return value;
            }
            while !self.woken.is_woken.swap(false, Acquire) {
                std::thread::park();
            }
        }
    }
}
