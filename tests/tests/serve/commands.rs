//! A thousand commands of eight operators at once, over HTTP. Each instance must have been, at any time, what some order of the commands
//! makes it in which none comes before one that was answered before it was given (linearizability: Herlihy and Wing, 1990; searched as
//! by Wing and Gong, 1993). In the end nothing of it may be left over.

use crate::answers::plugin;
use crate::served::{Place, Served};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

const OPERATORS: usize = 8;
const COMMANDS_EACH: usize = 125;
const INSTANCES: [&str; 6] = ["a1", "a2", "a3", "b1", "b2", "b3"];
/// Builds of the same version of each plugin.
const BUILDS: [&str; 3] = ["one", "two", "three"];

#[derive(Debug, Clone, Copy)]
enum Command {
    Load,
    Unload,
    Restart,
    Enable,
    Disable,
    /// What is wanted of it is read.
    Look,
    Call,
    /// Other bytes are put into the directory: of the instance's plugin, this build.
    Put(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Desired {
    Running,
    Stopped,
    Disabled,
}

/// A command that was given and answered.
#[derive(Debug, Clone)]
struct Done {
    command: Command,
    began: Instant,
    ended: Instant,
    told: Told,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Done,
    /// It was refused since the instance is disabled.
    IsDisabled,
    /// It was carried out, and a later one has undone it before it was done.
    Overtaken,
    Seen(Desired),
}

impl Desired {
    fn of(view: &Value) -> Desired {
        match view["desired"].as_str() {
            Some("running") => Desired::Running,
            Some("stopped") => Desired::Stopped,
            Some("disabled") => Desired::Disabled,
            other => panic!("{other:?}: {view}"),
        }
    }
}

impl Done {
    /// What the instance is wanted to be after it, or `None` if it can't have been carried out in this state with this answer.
    fn after(&self, state: Desired) -> Option<Desired> {
        let is_disabled = state == Desired::Disabled;
        match (self.command, &self.told) {
            (Command::Load | Command::Restart, Told::IsDisabled) => is_disabled.then_some(state),
            (_, Told::IsDisabled) => None,
            (Command::Load | Command::Restart, _) => (!is_disabled).then_some(Desired::Running),
            (Command::Unload, _) if is_disabled => Some(state),
            (Command::Unload, _) => Some(Desired::Stopped),
            (Command::Enable, _) if is_disabled => Some(Desired::Running),
            (Command::Disable, _) => Some(Desired::Disabled),
            (Command::Look, Told::Seen(seen)) => (*seen == state).then_some(state),
            _ => Some(state),
        }
    }
}

/// What the instance may be wanted to be once all of these are done: none if no order of them explains what was told.
fn ends(histories: &[Vec<Done>]) -> HashSet<Desired> {
    let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
    let mut open = vec![(vec![0; histories.len()], Desired::Running)];
    while let Some((at, state)) = open.pop() {
        let next = |operator: usize| histories[operator].get(at[operator]);
        let first_end = (0..at.len()).filter_map(next).map(|done| done.ended).min();
        let Some(first_end) = first_end else {
            ends.insert(state);
            continue;
        };
        for operator in 0..at.len() {
            // Not before one that was answered before this one was given.
            let Some(done) = next(operator).filter(|done| done.began <= first_end) else {
                continue;
            };
            let Some(state) = done.after(state) else { continue };
            let mut at = at.clone();
            at[operator] += 1;
            if seen.insert((at.clone(), state)) {
                open.push((at, state));
            }
        }
    }
    ends
}

/// What an operator works with.
struct Scene<'a> {
    host: &'a Served,
    /// By plugin, by build.
    builds: &'a [Vec<PathBuf>; 2],
    /// Which build of each plugin was put there last.
    put: &'a [Mutex<usize>; 2],
}

/// Of which plugin an instance is: the first or the second.
fn plugin_of(instance: usize) -> usize {
    usize::from(INSTANCES[instance].starts_with('b'))
}

const FILES: [&str; 2] = ["a.so", "b.so"];
const CAPABILITIES: [&str; 2] = ["a.ask", "b.ask"];

impl Scene<'_> {
    fn carry_out(&self, instance: usize, command: Command) -> Told {
        let name = INSTANCES[instance];
        let plugin = plugin_of(instance);
        let word = match command {
            Command::Load => "load",
            Command::Unload => "unload",
            Command::Restart => "restart",
            Command::Enable => "enable",
            Command::Disable => "disable",
            Command::Look => return Told::Seen(Desired::of(&self.host.plugin(name))),
            Command::Call => {
                self.call(name, plugin);
                return Told::Done;
            }
            Command::Put(build) => {
                let mut put = self.put[plugin].lock().unwrap();
                self.host.place.put(&self.builds[plugin][build], FILES[plugin]);
                *put = build;
                return Told::Done;
            }
        };
        let (status, body) = self.host.change(name, word);
        let text = body["error"]["text"].as_str().unwrap_or_default();
        match status {
            200 => Told::Done,
            _ if text.contains("it is disabled") => Told::IsDisabled,
            _ if text.contains("overtaken") => Told::Overtaken,
            _ => panic!("{word} {name}: {status} {body}"),
        }
    }

    /// A call is answered by one of the builds, or refused since the instance does not serve.
    fn call(&self, name: &str, plugin: usize) {
        let (status, body) = self.host.call(CAPABILITIES[plugin], name, b"{}");
        let is_right = body["answer"]
            .as_str()
            .is_some_and(|answer| BUILDS.contains(&answer));
        let is_refused = body["error"]["kind"] == "not_serving";
        assert!(is_right || is_refused, "{name}: {status} {body}");
    }
}

/// Has all operators work at once: what each of them did, by instance.
fn work(scene: &Scene<'_>, orders: &[Vec<(usize, Command)>]) -> Vec<Vec<Vec<Done>>> {
    let mut by_instance = vec![vec![Vec::new(); orders.len()]; INSTANCES.len()];
    std::thread::scope(|scope| {
        let at_work: Vec<_> = orders
            .iter()
            .map(|orders| {
                scope.spawn(|| {
                    let done = orders.iter().map(|(instance, command)| {
                        let began = Instant::now();
                        let told = scene.carry_out(*instance, *command);
                        let (command, ended) = (*command, Instant::now());
                        (
                            *instance,
                            Done {
                                command,
                                began,
                                ended,
                                told,
                            },
                        )
                    });
                    done.collect::<Vec<_>>()
                })
            })
            .collect();
        for (operator, at_work) in at_work.into_iter().enumerate() {
            for (instance, done) in at_work.join().expect("an operator's work is done") {
                by_instance[instance][operator].push(done);
            }
        }
    });
    by_instance
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => Just(Command::Load),
        3 => Just(Command::Unload),
        2 => Just(Command::Restart),
        2 => Just(Command::Enable),
        2 => Just(Command::Disable),
        2 => Just(Command::Look),
        4 => Just(Command::Call),
        1 => (0..BUILDS.len()).prop_map(Command::Put),
    ]
}

#[test]
fn what_no_order_explains_is_found() {
    let start = Instant::now();
    let at = |second| start + std::time::Duration::from_secs(second);
    let done = |command, from, to, told| Done {
        command,
        began: at(from),
        ended: at(to),
        told,
    };
    let disable = done(Command::Disable, 0, 2, Told::Done);
    let look = |from, to, seen| done(Command::Look, from, to, Told::Seen(seen));
    let ends_of = |look: Done| ends(&[vec![disable.clone()], vec![look]]);
    // At the same time either may come first, afterwards it may not.
    assert_eq!(
        ends_of(look(1, 3, Desired::Running)),
        HashSet::from([Desired::Disabled])
    );
    assert_eq!(
        ends_of(look(1, 3, Desired::Disabled)),
        HashSet::from([Desired::Disabled])
    );
    assert!(ends_of(look(3, 4, Desired::Running)).is_empty());
    let refused = done(Command::Load, 3, 4, Told::IsDisabled);
    assert_eq!(ends(&[vec![disable.clone(), refused.clone()]]).len(), 1);
    assert!(ends(&[vec![refused]]).is_empty(), "nobody has disabled it");
    let two = [vec![disable], vec![done(Command::Enable, 1, 3, Told::Done)]];
    assert_eq!(ends(&two), HashSet::from([Desired::Disabled, Desired::Running]));
}

#[test]
fn thousand_commands_of_eight_operators_leave_what_some_order_of_them_leaves() {
    let orders = proptest::collection::vec((0..INSTANCES.len(), command()), COMMANDS_EACH);
    let orders = proptest::collection::vec(orders, OPERATORS);
    let config = Config {
        cases: 1,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&orders, |orders| {
            try_orders(&orders);
            Ok(())
        })
        .unwrap();
}

fn try_orders(orders: &[Vec<(usize, Command)>]) {
    let place = Place::default();
    let builds = ["a", "b"].map(|id| {
        let built = BUILDS
            .iter()
            .map(|answer| plugin(id, "1.0.0", answer).build(place.path()));
        built.collect::<Vec<_>>()
    });
    for (file, builds) in FILES.iter().zip(&builds) {
        place.put(&builds[0], file);
    }
    let instances = INSTANCES.iter().enumerate().map(|(at, name)| {
        let plugin = ["a", "b"][plugin_of(at)];
        format!("[[instance]]\nplugin = {plugin:?}\nname = {name:?}\n")
    });
    let settings = format!("vetting.enabled = false\n{}", instances.collect::<String>());
    let host = place.serve(&settings);
    host.until_ready();
    let put = [Mutex::new(0), Mutex::new(0)];
    let scene = Scene {
        host: &host,
        builds: &builds,
        put: &put,
    };
    let done = work(&scene, orders);
    for (instance, histories) in done.iter().enumerate() {
        end_of(&scene, instance, &ends(histories));
    }
    left_over(host);
}

/// The instance comes to what it may be wanted to be, with the bytes that were put there last.
fn end_of(scene: &Scene<'_>, instance: usize, allowed: &HashSet<Desired>) {
    let (host, name, plugin) = (scene.host, INSTANCES[instance], plugin_of(instance));
    let desired = Desired::of(&host.plugin(name));
    assert!(
        allowed.contains(&desired),
        "{name} is wanted to be {desired:?}: {allowed:?}"
    );
    let answer = BUILDS[*scene.put[plugin].lock().unwrap()];
    if desired != Desired::Running {
        return host.until_lifecycle(name, "stopped");
    }
    host.until("it runs and is what was put there last", || {
        let (_, body) = host.call(CAPABILITIES[plugin], name, b"{}");
        host.lifecycle(name) == "running" && body["answer"] == answer
    });
}

/// Stopped, nothing of the plugins is mapped any more, and nothing stays resident.
fn left_over(host: Served) {
    for name in INSTANCES {
        let (status, body) = host.change(name, "unload");
        assert_eq!(status, 200, "{name}: {body}");
    }
    host.until("all are unmapped", || host.mapped_plugins() == 0);
    assert_eq!(host.get("/api/v1/status")["resident"], serde_json::json!([]));
    host.stop();
}
