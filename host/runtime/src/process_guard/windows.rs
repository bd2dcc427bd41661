//! When the process is compared, and whose code ran meanwhile.
//!
//! A window is open while a step of a plugin runs. A change is blamed on the library whose code was seen to make it. Where none was, it is
//! blamed on the instances of the windows that are open; between windows, on those whose code ran since the last comparison or whose
//! library has threads of its own.

use super::activity::{self, Active};
use super::acts;
use super::descriptors;
use super::fork::{end_if_forked, take_came_back};
use super::log::StderrLog;
use super::signals;
use super::snapshot::{Difference, Look, Snapshot};
use super::streams;
use super::thread_state::ThreadState;
use crate::loader::{CodeOwner, exit_now, libraries_with_threads};
use crate::sync;
use extman_model::clock::{self, Monotonic};
use extman_model::{ProcessChange, ProcessPart};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

/// Changes that are kept for who asks later.
const CHANGES_MAX: usize = 64;
/// Most names that a change is blamed on.
const NAMES_MAX: usize = 8;
/// A comparison that is no older than this stands for one before a window, when many instances start at a time.
const FRESH: Duration = Duration::from_millis(5);
/// The exit code of a program that can't go on (sysexits.h: EX_SOFTWARE).
const CAN_NOT_GO_ON: i32 = 70;

/// Hears of each change, on the thread that found it.
pub type OnChange = Arc<Listening>;
type Listening = dyn Fn(&ProcessChange) + Send + Sync;

static GUARD: Mutex<Guard> = Mutex::new(Guard {
    baseline: None,
    vital: Vec::new(),
    compared: Monotonic::from_nanos(0),
    after_whole: 0,
    open: Vec::new(),
    next: 0,
    living: BTreeMap::new(),
    changes: VecDeque::new(),
    listeners: Vec::new(),
});

struct Guard {
    /// The process as it should be; nothing before the first plugin.
    baseline: Option<Snapshot>,
    /// Descriptors without which nothing goes on, and what they are.
    vital: Vec<(RawFd, String)>,
    compared: Monotonic,
    /// The number of the comparison that came after the last whole look.
    after_whole: u64,
    open: Vec<OpenWindow>,
    next: u64,
    /// Instances that were created and not destroyed, by name and by whose code they run.
    living: BTreeMap<(Arc<str>, CodeOwner), Weak<dyn Active>>,
    changes: VecDeque<ProcessChange>,
    listeners: Vec<Weak<Listening>>,
}

struct OpenWindow {
    id: u64,
    by: String,
    step: &'static str,
    owner: CodeOwner,
}

/// A step of a plugin runs on this thread until it is dropped.
pub(crate) struct Window {
    id: u64,
    look: Look,
    thread: ThreadState,
    _of_this_thread: PhantomData<*const ()>,
}

/// The step in which a library is mapped.
pub(crate) const LOAD: &str = "load";

/// Opens a window around a step of the instance `by`. It must be dropped on the same thread, when the step has returned.
pub(crate) fn window(by: &str, step: &'static str, owner: CodeOwner) -> Window {
    let _ = streams::kept();
    let mut found = Vec::new();
    let mut guard = lock();
    match &guard.baseline {
        None => {
            descriptors::protect_open_ones();
            guard.vital = descriptors::vital_ones();
            guard.baseline = Some(Snapshot::take());
            guard.after_whole = activity::next_comparison();
        }
        Some(_) if guard.living.is_empty() || clock::monotonic().since(guard.compared) < FRESH => {}
        Some(_) => found = guard.compare(Look::Quick),
    }
    let id = guard.next;
    guard.next += 1;
    guard.open.push(OpenWindow {
        id,
        by: by.to_owned(),
        step,
        owner,
    });
    report(guard, &found);
    Window {
        id,
        // A library that brings a C library of its own, or a language's runtime, acts past the system's one first as it is loaded.
        look: if step == LOAD { Look::Whole } else { Look::Quick },
        thread: ThreadState::of_this_thread(),
        _of_this_thread: PhantomData,
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        end_if_forked();
        let thread = self.thread.put_back();
        let mut guard = lock();
        let mut found = guard.compare(self.look);
        let at = guard.open.iter().position(|open| open.id == self.id);
        let Some(open) = at.map(|at| guard.open.remove(at)) else {
            return;
        };
        found.extend(thread.into_iter().map(|(part, text)| ProcessChange {
            part,
            by: vec![open.by.clone()],
            step: open.step.to_owned(),
            text: text.to_owned(),
            put_back: true,
        }));
        report(guard, &found);
    }
}

/// The instance was created: from here on, a change may be its doing.
pub(crate) fn instance_created(name: &Arc<str>, owner: CodeOwner, instance: Weak<dyn Active>) {
    lock().living.insert((name.clone(), owner), instance);
}

/// The instance was destroyed: nothing that is found later is its doing. `owner` is its library's: another generation of the same
/// instance may serve.
pub(crate) fn instance_destroyed(name: &Arc<str>, owner: CodeOwner) {
    let gone = lock().living.remove(&(name.clone(), owner));
    drop(gone);
}

/// Compares the process now, outside of any window: for what calls and threads of plugins have changed.
pub fn compare_now() {
    let mut guard = lock();
    if guard.baseline.is_none() {
        return;
    }
    let found = guard.compare(Look::Whole);
    report(guard, &found);
}

/// Hears of every change from here on, as long as `listener` lives.
pub fn on_change(listener: &OnChange) {
    let mut guard = lock();
    guard.listeners.retain(|known| known.strong_count() > 0);
    guard.listeners.push(Arc::downgrade(listener));
}

/// The last changes that were found, and those that are there now, for a process that has no listener. They are given once.
pub fn take_changes() -> Vec<ProcessChange> {
    compare_now();
    lock().changes.drain(..).collect()
}

impl Guard {
    /// Puts back what can be, and gives what was found.
    fn compare(&mut self, look: Look) -> Vec<ProcessChange> {
        // First, and alone: what else is done may be done to another's descriptor.
        let lost = self.take_lost_descriptors();
        if !lost.is_empty() {
            let whose = acts::take(ProcessPart::Descriptors).unwrap_or(CodeOwner::UNKNOWN);
            return lost.into_iter().map(|lost| self.blame(lost, whose)).collect();
        }
        let acted = acts::take_all();
        let whose = |part| {
            let act = acted.iter().find(|(of, _)| *of == part);
            act.map_or(CodeOwner::UNKNOWN, |(_, whose)| *whose)
        };
        let was_done_to = |(part, _): &(ProcessPart, CodeOwner)| Look::is_needed_whole(*part);
        let look = match acted.iter().any(was_done_to) {
            true => Look::Whole,
            false => look,
        };
        let baseline = self.baseline.as_mut();
        let differences = baseline.map(|before| before.reconcile(look)).unwrap_or_default();
        let differences = differences.into_iter().map(|found| (whose(found.part), found));
        let mut found: Vec<_> = differences
            .chain(refused_signals())
            .chain(refused_acts(&acted))
            .map(|(whose, difference)| self.blame(difference, whose))
            .collect();
        if let Some(whose) = take_came_back() {
            let mut change = self.blame(came_back(), whose);
            // It comes back when it likes.
            change.step = "its code".to_owned();
            found.push(change);
        }
        self.compared = clock::monotonic();
        activity::compared();
        if look == Look::Whole {
            self.after_whole = activity::next_comparison();
        }
        found
    }

    /// Those on which the host waits and that the host has not closed. Each is told once: an embedder's process goes on without it.
    fn take_lost_descriptors(&mut self) -> Vec<Difference> {
        let lost = self
            .vital
            .extract_if(.., |(number, _)| descriptors::is_lost(*number));
        let difference = |(number, what)| {
            let text =
                format!("closed or replaced descriptor {number} of the host ({what}), on which it waits");
            Difference::new(ProcessPart::Descriptors, text, false)
        };
        lost.map(difference).collect()
    }

    fn blame(&self, difference: Difference, whose: CodeOwner) -> ProcessChange {
        // While a library is being loaded, it is not known yet under which number.
        let of_code =
            |owner: CodeOwner| !whose.is_a_librarys() || owner == whose || owner == CodeOwner::UNKNOWN;
        let open: Vec<_> = self.open.iter().filter(|open| of_code(open.owner)).collect();
        let (mut by, step) = match open.first() {
            Some(first) => (open.iter().map(|open| open.by.clone()).collect(), first.step),
            None => (
                self.ran_since(self.last_look_at(difference.part), of_code),
                "its calls or threads",
            ),
        };
        by.dedup();
        by.truncate(NAMES_MAX);
        ProcessChange {
            part: difference.part,
            by,
            step: step.to_owned(),
            text: difference.text,
            put_back: difference.put_back,
        }
    }

    /// The number of the comparison that came after the last one that would have seen a change of this part.
    fn last_look_at(&self, part: ProcessPart) -> u64 {
        match Look::is_needed_whole(part) {
            true => self.after_whole,
            false => activity::next_comparison(),
        }
    }

    /// The instances of such code that ran since then; all of them if none is known to have run.
    fn ran_since(&self, comparison: u64, of_code: impl Fn(CodeOwner) -> bool) -> Vec<String> {
        let with_threads = libraries_with_threads();
        let (ran, idle): (Vec<_>, Vec<_>) = self
            .living
            .iter()
            .filter(|((_, owner), _)| of_code(*owner))
            .partition(|((_, owner), instance)| {
                let has_threads = with_threads.as_ref().is_none_or(|all| all.contains(owner));
                let instance = instance.upgrade();
                has_threads || instance.is_some_and(|instance| instance.activity().ran_since(comparison))
            });
        let those = if ran.is_empty() { idle } else { ran };
        those.iter().map(|((name, _), _)| name.to_string()).collect()
    }
}

fn refused_signals() -> impl Iterator<Item = (CodeOwner, Difference)> {
    let refused = signals::take_refused().into_iter();
    refused.map(|(whose, text)| (whose, Difference::new(ProcessPart::Signals, text, true)))
}

/// Acts that had no effect.
fn refused_acts(acted: &[(ProcessPart, CodeOwner)]) -> impl Iterator<Item = (CodeOwner, Difference)> {
    acted.iter().filter_map(|(part, whose)| {
        let (text, put_back) = match part {
            ProcessPart::Descriptors => ("closed descriptors of the host", true),
            ProcessPart::Threads => ("ended a thread of the host by pthread_exit", false),
            _ => return None,
        };
        Some((*whose, Difference::new(*part, text, put_back)))
    })
}

fn came_back() -> Difference {
    let text = "forked a child that came back into the host's code, and was ended there";
    Difference::new(ProcessPart::Children, text, true)
}

/// Keeps what was found, frees the lock, and tells who listens. Does not come back where the program can't go on.
fn report(mut guard: MutexGuard<'_, Guard>, found: &[ProcessChange]) {
    guard.changes.extend(found.iter().cloned());
    let surplus = guard.changes.len().saturating_sub(CHANGES_MAX);
    guard.changes.drain(..surplus);
    let listeners: Vec<OnChange> = guard.listeners.iter().filter_map(Weak::upgrade).collect();
    drop(guard);
    for change in found {
        listeners.iter().for_each(|listener| listener(change));
    }
    let fatal = |change: &&ProcessChange| change.part == ProcessPart::Descriptors && !change.put_back;
    if let Some(fatal) = found.iter().find(fatal)
        && signals::are_kept()
    {
        let by = fatal.by.join(", ");
        let _ = writeln!(
            StderrLog,
            "{by}: {fatal}; the host ends, before it writes to what has that number next"
        );
        exit_now(CAN_NOT_GO_ON);
    }
}

fn lock() -> MutexGuard<'static, Guard> {
    sync::lock(&GUARD)
}

#[cfg(test)]
mod tests {
    use super::super::activity::{Activity, Entering};
    use super::*;
    use std::os::fd::IntoRawFd;

    impl Active for Activity {
        fn activity(&self) -> &Activity {
            self
        }
    }

    fn weak(activity: &Arc<Activity>) -> Weak<dyn Active> {
        Arc::downgrade(activity) as Weak<dyn Active>
    }

    fn guard(living: &[(&str, CodeOwner, &Arc<Activity>)]) -> Guard {
        let living = living
            .iter()
            .map(|(name, owner, activity)| ((Arc::from(*name), *owner), weak(activity)));
        Guard {
            baseline: None,
            vital: Vec::new(),
            compared: Monotonic::from_nanos(0),
            after_whole: activity::next_comparison(),
            open: Vec::new(),
            next: 0,
            living: living.collect(),
            changes: VecDeque::new(),
            listeners: Vec::new(),
        }
    }

    fn difference() -> Difference {
        Difference::new(ProcessPart::Umask, "set the umask to 0000", true)
    }

    /// The stamps are of the whole process, so all of it stands in one test.
    #[test]
    fn change_between_windows_is_blamed_on_whose_code_ran_since_the_last_comparison() {
        let _alone = acts::alone();
        let (one, other) = (CodeOwner::of_a_new_library(), CodeOwner::of_a_new_library());
        let [idle, called, twin] = [(); 3].map(|()| Arc::<Activity>::default());
        let mut guard = guard(&[
            ("idle", one, &idle),
            ("called", one, &called),
            ("twin", other, &twin),
        ]);
        let by = |guard: &Guard, whose| guard.blame(difference(), whose).by;
        assert!(called.enter(Entering::Call));
        called.leave();
        assert_eq!(by(&guard, CodeOwner::UNKNOWN), ["called"]);
        assert_eq!(by(&guard, other), ["twin"], "whose code was seen to do it");
        guard.compare(Look::Whole);
        assert!(twin.enter(Entering::Call));
        assert_eq!(by(&guard, CodeOwner::UNKNOWN), ["twin"]);
        guard.compare(Look::Whole);
        assert_eq!(
            by(&guard, CodeOwner::UNKNOWN),
            ["twin"],
            "it is inside all the time"
        );
        twin.leave();
        guard.compare(Look::Whole);
        assert_eq!(
            by(&guard, CodeOwner::UNKNOWN),
            ["called", "idle", "twin"],
            "nobody is known"
        );
        called.enter(Entering::Call);
        called.leave();
        guard.compare(Look::Quick);
        twin.enter(Entering::Call);
        twin.leave();
        let directory = || Difference::new(ProcessPart::WorkingDirectory, "changed it", true);
        assert_eq!(guard.blame(directory(), CodeOwner::UNKNOWN).by, ["twin"]);
        assert_eq!(
            by(&guard, CodeOwner::UNKNOWN),
            ["called", "twin"],
            "a quick look does not see the umask"
        );
        guard.compare(Look::Whole);
        guard.open.push(OpenWindow {
            id: 0,
            by: "made".to_owned(),
            step: "create",
            owner: other,
        });
        assert_eq!(by(&guard, CodeOwner::UNKNOWN), ["made"]);
        assert_eq!(
            by(&guard, one),
            ["called", "idle"],
            "code of another library did it meanwhile"
        );
    }

    /// An embedder's process does not end for it.
    #[test]
    fn descriptor_that_is_lost_is_told_once_and_hides_no_other_and_no_later_comparison() {
        let _alone = acts::alone();
        let lost = || {
            let file = tempfile::tempfile().unwrap();
            // Higher than any that another test of this process is given meanwhile.
            let number = rustix::io::fcntl_dupfd_cloexec(&file, 950).unwrap().into_raw_fd();
            descriptors::protect(number);
            // SAFETY: this test's own descriptor, closed past the C library.
            unsafe { libc::syscall(libc::SYS_close, number) };
            number
        };
        let mut guard = guard(&[]);
        guard.baseline = Some(Snapshot::take());
        let told = |guard: &mut Guard| {
            let found = guard.compare(Look::Whole).into_iter();
            let lost = found.filter(|change| change.part == ProcessPart::Descriptors && !change.put_back);
            lost.map(|change| change.text).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            let number = lost();
            guard.vital.push((number, "one".to_owned()));
            let before = guard.compared;
            assert!(told(&mut guard)[0].contains(&format!("descriptor {number} of the host (one)")));
            assert_eq!(told(&mut guard), [""; 0], "it is told once");
            assert!(guard.compared > before, "what else there is was compared");
        }
    }

    #[test]
    fn generation_that_is_destroyed_takes_nothing_from_the_one_that_serves() {
        let (old, new) = (CodeOwner::of_a_new_library(), CodeOwner::of_a_new_library());
        let name: Arc<str> = "a name that no other test has".into();
        let (first, second) = (Arc::<Activity>::default(), Arc::<Activity>::default());
        instance_created(&name, old, weak(&first));
        instance_created(&name, new, weak(&second));
        instance_destroyed(&name, old);
        let is_there = |owner: CodeOwner| lock().living.contains_key(&(name.clone(), owner));
        assert!(!is_there(old) && is_there(new));
        instance_destroyed(&name, new);
        assert!(!is_there(new));
    }
}
