use super::*;
use Availability::{Coming, Down, Serves};
use serde_json::json;
use std::collections::HashMap;

/// Plugins, each with what it requires: of each requirement, any one of these.
fn view(of: &[(&str, &[&[&str]])]) -> DependenciesView {
    let plugin = |(id, requires): &(&str, &[&[&str]])| {
        let requires: Vec<_> = requires
            .iter()
            .map(|by| json!({"capability": "x", "version": "*", "fulfilled_by": by}))
            .collect();
        json!({"id": id, "version": "1.0.0", "digest": "ab".repeat(32), "origin": "/p", "requires": requires})
    };
    let plugins: Vec<_> = of.iter().map(plugin).collect();
    serde_json::from_value(json!({"plugins": plugins, "start_order": []})).unwrap()
}

/// Instances with the names of their plugins, and what was last said of what each lacks.
struct Host {
    dependencies: Dependencies,
    said: HashMap<String, String>,
}

impl Host {
    fn new(of: &[(&str, &[&[&str]])]) -> Host {
        let mut host = Host {
            dependencies: Dependencies::default(),
            said: HashMap::new(),
        };
        host.dependencies.require(&view(of));
        for (id, _) in of {
            host.dependencies.note(id, &Arc::from(*id), Coming);
        }
        host.listen();
        host
    }

    /// How many were told of a change.
    fn is(&mut self, name: &str, availability: Availability) -> usize {
        self.dependencies.note(name, &Arc::from(name), availability);
        self.listen()
    }

    fn listen(&mut self) -> usize {
        let changes = self.dependencies.take_changes();
        let told = changes.len();
        for (name, lack) in changes {
            match lack {
                Some(lack) => self.said.insert(name.to_string(), lack.to_string()),
                None => self.said.remove(&*name),
            };
        }
        told
    }

    fn said(&self, name: &str) -> &str {
        self.said.get(name).map_or("", String::as_str)
    }
}

const CHAIN: &[(&str, &[&[&str]])] = &[("base", &[&["store"]]), ("rank", &[&["base"]]), ("store", &[])];

#[test]
fn each_of_a_chain_waits_for_the_root_and_then_for_the_next_one() {
    let mut host = Host::new(CHAIN);
    assert_eq!(
        (host.said("rank"), host.said("base"), host.said("store")),
        ("waits for store", "waits for store", "")
    );
    host.is("store", Serves);
    assert_eq!((host.said("rank"), host.said("base")), ("waits for base", ""));
    host.is("base", Serves);
    assert_eq!(host.said("rank"), "");
}

#[test]
fn all_that_depend_on_one_that_is_down_name_it_whether_they_serve_or_not() {
    let mut host = Host::new(CHAIN);
    for name in ["store", "base", "rank"] {
        host.is(name, Serves);
    }
    assert_eq!(host.is("store", Down), 2);
    assert_eq!(
        (host.said("rank"), host.said("base")),
        ("suppressed by store", "suppressed by store")
    );
    assert_eq!(host.is("store", Coming), 0, "a try is no news");
    assert_eq!(host.is("store", Serves), 2);
    assert_eq!((host.said("rank"), host.said("base")), ("", ""));
}

#[test]
fn restart_that_comes_to_serving_suppresses_nobody() {
    let mut host = Host::new(CHAIN);
    for name in ["store", "base", "rank"] {
        host.is(name, Serves);
    }
    host.is("store", Coming);
    assert_eq!(host.said("base"), "waits for store");
    host.is("store", Serves);
    assert_eq!(host.said("base"), "");
}

#[test]
fn requirement_that_another_plugin_or_instance_fulfils_is_not_lacking() {
    let mut host = Host::new(&[("a", &[]), ("b", &[]), ("rank", &[&["a", "b"]])]);
    host.is("a", Serves);
    assert_eq!(host.said("rank"), "");
    host.is("b", Serves);
    host.is("a", Down);
    assert_eq!(host.said("rank"), "");
    host.is("b", Down);
    assert_eq!(host.said("rank"), "suppressed by a");
    host.dependencies.note("b", &Arc::from("b2"), Serves);
    host.listen();
    assert_eq!(host.said("rank"), "", "another instance of the plugin");
    host.dependencies.forget("b", "b2");
    host.listen();
    assert_eq!(host.said("rank"), "suppressed by a");
}

#[test]
fn one_that_is_down_decides_over_one_that_is_coming() {
    let mut host = Host::new(&[("a", &[]), ("b", &[]), ("rank", &[&["a"], &["b"]])]);
    assert_eq!(host.said("rank"), "waits for a");
    host.is("b", Down);
    assert_eq!(host.said("rank"), "suppressed by b");
}

#[test]
fn circle_in_which_each_could_do_with_somebody_else_does_not_hold_itself_up() {
    let mut host = Host::new(&[("a", &[&["b", "out"]]), ("b", &[&["a"]]), ("out", &[])]);
    for name in ["out", "a", "b"] {
        host.is(name, Serves);
    }
    assert_eq!((host.said("a"), host.said("b")), ("", ""));
    host.is("out", Down);
    assert_eq!(
        (host.said("a"), host.said("b")),
        ("suppressed by out", "suppressed by out")
    );
    host.is("out", Serves);
    assert_eq!((host.said("a"), host.said("b")), ("", ""));
}

#[test]
fn plugin_without_an_instance_is_named_by_its_id_and_one_that_comes_ends_that() {
    let mut host = Host::new(&[("rank", &[&["base"]])]);
    assert_eq!(host.said("rank"), "suppressed by base");
    host.dependencies.note("base", &Arc::from("mine"), Coming);
    host.listen();
    assert_eq!(host.said("rank"), "waits for mine");
    host.dependencies.require(&view(&[("rank", &[])]));
    host.listen();
    assert_eq!(host.said("rank"), "");
}

/// What the rules say, by trying again and again until nothing changes.
fn lacking(
    of: &[(String, Vec<Vec<String>>)],
    availability: &HashMap<String, Availability>,
) -> BTreeSet<String> {
    let mut well: BTreeSet<&str> = BTreeSet::new();
    let lacks_nothing = |requires: &[Vec<String>], well: &BTreeSet<&str>| {
        requires
            .iter()
            .all(|group| group.iter().any(|id| well.contains(id.as_str())))
    };
    loop {
        let serve = of.iter().filter(|(id, _)| availability[id] == Serves);
        let now = serve
            .filter(|(_, requires)| lacks_nothing(requires, &well))
            .map(|(id, _)| id.as_str());
        let now: BTreeSet<&str> = now.collect();
        if now == well {
            break;
        }
        well = now;
    }
    let lack = of.iter().filter(|(_, requires)| !lacks_nothing(requires, &well));
    lack.map(|(id, _)| id.clone()).collect()
}

proptest::proptest! {
    #[test]
    fn what_is_said_is_what_the_rules_say_whatever_happened_before(
        requires in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(0_usize..7, 1..3), 0..3), 7),
        changes in proptest::collection::vec((0_usize..7, 0_u8..3), 0..40),
    ) {
        let name = |at: usize| format!("p{at}");
        let of: Vec<(String, Vec<Vec<String>>)> = requires.iter().enumerate().map(|(at, groups)| {
            let groups = groups.iter().map(|group| group.iter().copied().map(name).collect());
            (name(at), groups.collect())
        }).collect();
        let borrowed: Vec<(&str, Vec<Vec<&str>>)> = of.iter().map(|(id, groups)| {
            (id.as_str(), groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect())
        }).collect();
        let slices: Vec<(&str, Vec<&[&str]>)> =
            borrowed.iter().map(|(id, groups)| (*id, groups.iter().map(Vec::as_slice).collect())).collect();
        let slices: Vec<(&str, &[&[&str]])> = slices.iter().map(|(id, groups)| (*id, groups.as_slice())).collect();
        let mut host = Host::new(&slices);
        let mut availability: HashMap<String, Availability> = of.iter().map(|(id, _)| (id.clone(), Coming)).collect();
        for (at, to) in changes {
            let to = [Serves, Coming, Down][usize::from(to)];
            host.is(&name(at), to);
            availability.insert(name(at), to);
            let said: BTreeSet<String> = host.said.keys().cloned().collect();
            proptest::prop_assert_eq!(&said, &lacking(&of, &availability));
            let is_down = |lack: &String| lack.starts_with("suppressed");
            let any_down = host.dependencies.plugins.values().any(|plugin| plugin.availability() == Down);
            let any_circle = has_a_circle(&of);
            proptest::prop_assert!(any_down || any_circle || !host.said.values().any(is_down));
        }
    }
}

/// Whether somebody could never start, whatever serves.
fn has_a_circle(of: &[(String, Vec<Vec<String>>)]) -> bool {
    let all = of.iter().map(|(id, _)| (id.clone(), Serves)).collect();
    !lacking(of, &all).is_empty()
}
