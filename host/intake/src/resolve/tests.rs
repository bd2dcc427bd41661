//! Plugins in one line each, and what comes of resolving them; the texts as snapshots.

use super::*;
use crate::lock::Locked;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Files of plugins, as `name-1.2.0.so`, each with a digest of its own.
#[derive(Debug, Default)]
struct World {
    files: Vec<(Manifest, PathBuf)>,
    lock: Option<Lock>,
    only_locked: bool,
    running: Vec<(String, Version)>,
    wishes: Vec<(String, String, Option<VersionReq>)>,
}

impl World {
    /// One plugin a line: `rank 2.0.0: requires embedder ^2; optional capability text.embed; conflicts old; offers text.rank 1.1.0`.
    fn new(lines: &[&str]) -> World {
        let mut world = World::default();
        for line in lines {
            let (about, relations) = line.split_once(':').unwrap_or((line, ""));
            let (id, version) = about.trim().split_once(' ').unwrap();
            let mut toml = format!("[plugin]\nid = \"{id}\"\nversion = \"{version}\"\nkind = \"general\"\n");
            let mut offers = format!("[[capability]]\nname = \"own.{id}\"\n");
            for relation in relations
                .split(';')
                .map(str::trim)
                .filter(|text| !text.is_empty())
            {
                let (word, rest) = relation.split_once(' ').unwrap();
                let (key, rest) = match rest.strip_prefix("capability ") {
                    Some(rest) => ("capability", rest),
                    None => ("plugin", rest),
                };
                let (name, wanted) = rest.split_once(' ').unwrap_or((rest, "*"));
                match word {
                    "offers" => {
                        offers += &format!("[[capability]]\nname = \"{name}\"\nversion = \"{wanted}\"\n")
                    }
                    "requires" => {
                        toml += &format!("[[requires]]\n{key} = \"{name}\"\nversion = \"{wanted}\"\n")
                    }
                    "optional" => {
                        toml += &format!(
                            "[[requires]]\noptional = true\n{key} = \"{name}\"\nversion = \"{wanted}\"\n"
                        );
                    }
                    "conflicts" => {
                        toml += &format!("[[conflicts]]\n{key} = \"{name}\"\nversion = \"{wanted}\"\n")
                    }
                    _ => panic!("{relation}"),
                }
            }
            let manifest = format!("{toml}{offers}").parse().unwrap();
            world
                .files
                .push((manifest, format!("/p/{id}-{version}.so").into()));
        }
        world
    }

    fn locked(mut self, plugins: &[(&str, &str, Digest)]) -> World {
        let locked = |version: &str, digest| Locked {
            version: version.parse().unwrap(),
            digest,
        };
        let plugins = plugins.iter();
        self.lock = Some(Lock {
            plugins: plugins
                .map(|(id, version, digest)| ((*id).to_owned(), locked(version, *digest)))
                .collect(),
        });
        self
    }

    fn only_locked(mut self) -> World {
        self.only_locked = true;
        self
    }

    fn running(mut self, id: &str, version: &str) -> World {
        self.running.push((id.to_owned(), version.parse().unwrap()));
        self
    }

    fn wishing(mut self, instance: &str, plugin: &str, version: Option<&str>) -> World {
        let version = version.map(|version| version.parse().unwrap());
        self.wishes
            .push((instance.to_owned(), plugin.to_owned(), version));
        self
    }

    fn resolve(&self) -> DependenciesView {
        let candidates = self
            .files
            .iter()
            .zip(1..)
            .map(|((manifest, origin), number)| Candidate {
                manifest,
                digest: digest(number),
                origin,
            });
        let wishes = self.wishes.iter().map(|(instance, plugin, version)| Wish {
            instance,
            plugin,
            version: version.as_ref(),
        });
        resolve(&Request {
            candidates: candidates.collect(),
            wishes: wishes.collect(),
            running: self
                .running
                .iter()
                .map(|(id, version)| (id.as_str(), version))
                .collect(),
            lock: self.lock.as_ref(),
            only_locked: self.only_locked,
        })
    }
}

/// That of the file with this number, from 1 on.
fn digest(number: u8) -> Digest {
    Digest::new([number; 32])
}

/// All that is told, for a snapshot.
fn told(world: &World) -> String {
    let resolved = world.resolve();
    let mut lines = Vec::new();
    for plugin in &resolved.plugins {
        let by = match plugin.required_by.is_empty() {
            true => String::new(),
            false => format!(", required by {}", plugin.required_by.join(", ")),
        };
        lines.push(format!("{} {}{by}", plugin.id, plugin.version));
    }
    let levels: Vec<_> = resolved
        .start_order
        .iter()
        .map(|level| level.join(" + "))
        .collect();
    lines.push(format!("start: {}", levels.join(" | ")));
    lines.extend(resolved.notes.iter().map(|note| format!("note: {note}")));
    for LeftOut { id, code, reason } in &resolved.left_out {
        lines.push(format!("--- {id} ({})\n{reason}", code.as_str()));
        assert!(reason.lines().count() <= 12, "{reason}");
        assert!(reason.lines().all(|line| line.chars().count() <= 80), "{reason}");
        assert!(!reason.contains(['∅', '∈', '∪', '∩']), "{reason}");
    }
    lines.join("\n")
}

fn snapshot(name: &str, world: &World) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, told(world));
    });
}

macro_rules! snapshots {
    ($($name:ident: $world:expr;)*) => {$(
        #[test]
        fn $name() {
            snapshot(stringify!($name), &$world);
        }
    )*};
}

snapshots! {
    a_diamond_that_agrees_is_taken_and_starts_from_below: World::new(&[
        "app 1.0.0: requires left ^1; requires right ^1",
        "left 1.0.0: requires base ^1.2",
        "right 1.0.0: requires base <2",
        "base 1.1.0", "base 1.3.0", "base 2.0.0",
    ]);
    a_diamond_that_does_not_agree_leaves_one_out: World::new(&[
        "fetch 1.0.0: requires embedder ^1.2",
        "rank 2.0.0: requires embedder >=2.0.0",
        "embedder 1.2.0", "embedder 2.0.1",
    ]);
    a_double_requirement_that_no_version_fits_names_both: World::new(&[
        "rank 2.0.0: requires embedder ^1; requires embedder >=2",
        "embedder 1.2.0", "embedder 2.0.1",
    ]);
    a_conflict_leaves_out_whoever_declares_it: World::new(&[
        "rank 2.0.0: conflicts old-rank <3", "old-rank 2.4.0",
    ]);
    a_conflict_over_a_capability_does_not_mean_the_plugin_itself: World::new(&[
        "rank 2.0.0: offers text.rank 1.0.0; conflicts capability text.rank",
        "old-rank 2.4.0: offers text.rank 1.0.0",
    ]);
    a_conflict_with_some_versions_takes_another: World::new(&[
        "rank 2.0.0: conflicts old-rank >=2", "old-rank 1.9.0", "old-rank 2.4.0",
    ]);
    a_plugin_that_requires_a_missing_one_is_left_out_alone: World::new(&[
        "rank 2.0.0: requires embedder ^2", "fetch 1.0.0",
    ]);
    a_version_that_is_not_there_is_told_with_those_that_are: World::new(&[
        "rank 2.0.0: requires embedder ^2", "embedder 1.2.0", "embedder 1.1.0",
    ]);
    what_depends_on_a_plugin_that_is_left_out_is_left_out_too: World::new(&[
        "app 1.0.0: requires rank ^2", "rank 2.0.0: requires embedder ^2", "embedder 1.2.0",
    ]);
    an_older_version_that_needs_less_is_taken: World::new(&[
        "rank 2.0.0: requires embedder ^2", "rank 1.0.0: requires embedder ^1", "embedder 1.2.0",
    ]);
    a_capability_is_fulfilled_by_any_that_offers_a_fitting_version: World::new(&[
        "rank 1.0.0: requires capability text.embed ^1.1",
        "embedder 1.0.0: offers text.embed 1.2.0",
        "hash-embedder 1.0.0: offers text.embed 1.1.0",
        "old-embedder 1.0.0: offers text.embed 1.0.0",
    ]);
    a_capability_in_a_lower_version_only_is_told: World::new(&[
        "rank 1.0.0: requires capability text.embed ^2",
        "embedder 1.0.0: offers text.embed 1.2.0",
        "hash-embedder 1.0.0: offers text.embed 1.1.0",
    ]);
    a_capability_that_only_the_plugin_itself_offers_is_missing: World::new(&[
        "cache 1.0.0: offers text.embed 1.0.0; requires capability text.embed",
    ]);
    a_capability_takes_a_lower_plugin_if_the_higher_one_no_longer_offers_it: World::new(&[
        "rank 1.0.0: requires capability text.embed ^1",
        "embedder 1.0.0: offers text.embed 1.0.0",
        "embedder 2.0.0: offers text.embed 2.0.0",
    ]);
    a_cycle_is_named_and_leaves_the_others: World::new(&[
        "a 1.0.0: requires b ^1", "b 1.0.0: requires c", "c 1.0.0: requires capability text.x",
        "d 1.0.0: offers text.y 1.0.0", "e 1.0.0: requires d", "a-too 1.0.0: requires a",
        "a 1.1.0: requires b ^1; offers text.x 1.0.0",
    ]);
    a_capability_that_somebody_outside_offers_is_no_cycle: World::new(&[
        "a 1.0.0: requires capability text.x; offers text.y 1.0.0",
        "b 1.0.0: requires capability text.y; offers text.x 1.0.0",
        "c 1.0.0: offers text.x 1.0.0",
    ]);
    a_circle_of_optional_ones_is_no_cycle: World::new(&[
        "a 1.0.0: optional b", "b 1.0.0: optional a", "c 1.0.0: requires a",
    ]);
    an_optional_one_that_is_there_starts_before: World::new(&[
        "a 1.0.0: optional b; optional capability text.x", "b 1.0.0", "c 1.0.0: offers text.x 1.0.0",
    ]);
    an_optional_one_that_is_missing_is_noted: World::new(&[
        "a 1.0.0: optional b ^2; optional capability text.x; optional z", "b 1.0.0",
    ]);
    a_pre_release_is_not_taken_where_nobody_names_it: World::new(&[
        "embedder 1.0.0", "embedder 2.0.0-rc.1", "rank 1.0.0: requires embedder >=1",
    ]);
    a_pre_release_is_taken_where_it_is_named: World::new(&[
        "embedder 1.0.0", "embedder 2.0.0-rc.1", "rank 1.0.0: requires embedder >=2.0.0-rc.1",
    ]);
    a_pre_release_is_not_taken_for_somebody_who_is_left_out: World::new(&[
        "embedder 1.0.0", "embedder 2.0.0-rc.1",
        "rank 1.0.0: requires embedder >=2.0.0-rc.1; requires nobody",
        "fetch 1.0.0: conflicts embedder ^1",
    ]);
    only_a_pre_release_is_told_with_how_to_name_it: World::new(&[
        "embedder 2.0.0-rc.1", "rank 1.0.0: requires embedder ^2",
    ]);
    only_a_pre_release_is_taken_where_nobody_requires_it: World::new(&["embedder 2.0.0-rc.1"]);
    a_locked_version_goes_before_a_higher_one: World::new(&["embedder 1.2.0", "embedder 1.3.0"])
        .locked(&[("embedder", "1.2.0", digest(1))]);
    a_locked_version_that_is_gone_is_noted_and_no_lower_one_taken: World::new(&[
        "embedder 1.1.0", "embedder 1.3.0", "fetch 1.0.0",
    ]).locked(&[("embedder", "1.2.0", digest(9)), ("fetch", "1.1.0", digest(8)), ("gone", "1.0.0", digest(7))]);
    a_locked_digest_that_differs_is_noted: World::new(&["embedder 1.2.0"])
        .locked(&[("embedder", "1.2.0", digest(9))]);
    only_what_is_locked_is_taken: World::new(&["embedder 1.2.0", "embedder 1.3.0", "fetch 1.0.0"])
        .locked(&[("embedder", "1.2.0", digest(1)), ("fetch", "1.0.0", digest(3))]).only_locked();
    what_is_not_locked_is_refused: World::new(&["embedder 1.2.0", "fetch 1.0.0", "rank 1.0.0: requires fetch"])
        .locked(&[
            ("embedder", "1.2.0", digest(9)), ("gone", "1.0.0", digest(7)), ("rank", "1.0.0", digest(3)),
        ]).only_locked();
    no_version_lower_than_the_running_one_is_taken: World::new(&["embedder 1.2.0", "rank 1.0.0: requires embedder"])
        .running("embedder", "1.3.0");
    a_requirement_does_not_take_a_running_one_back: World::new(&[
        "embedder 1.2.0", "embedder 2.0.0", "rank 1.0.0: requires embedder ^1",
    ]).running("embedder", "2.0.0");
    an_instance_that_asks_for_a_lower_version_gets_it: World::new(&["embedder 1.2.0", "embedder 2.0.0"])
        .running("embedder", "2.0.0").wishing("en", "embedder", Some("=1.2.0"));
    an_instance_and_a_plugin_that_want_different_versions_are_told: World::new(&[
        "embedder 1.2.0", "embedder 2.0.0", "rank 1.0.0: requires embedder ^2",
    ]).wishing("en", "embedder", Some("^1"));
    two_instances_that_want_different_versions_are_told: World::new(&["embedder 1.2.0", "embedder 2.0.0"])
        .wishing("en", "embedder", Some("^1")).wishing("de", "embedder", Some("^2"));
    of_two_that_cannot_be_together_the_configured_one_stays: World::new(&[
        "fetch 1.0.0: requires embedder ^1", "rank 2.0.0: requires embedder ^2", "embedder 1.2.0", "embedder 2.0.1",
    ]).wishing("rank", "rank", None);
    many_who_want_different_versions_are_counted: World::new(&[
        "a 1.0.0: requires z ^1", "b 1.0.0: requires z ^1; requires y", "c 1.0.0: requires z ^1; requires y",
        "d 1.0.0: requires z ^2; requires e; requires f; requires g", "e 1.0.0: requires z ^2; requires f", "f 1.0.0",
        "g 1.0.0", "y 1.0.0", "z 1.0.0", "z 1.1.0", "z 1.2.0", "z 1.3.0", "z 2.0.0", "z 2.1.0",
    ]);
    names_and_files_that_are_long_stay_within_the_columns: World::new(&[
        "a-plugin-whose-name-is-as-long-as-a-name-may-be-which-is-64-char 1.0.0: requires another-plugin-with-a-name-that-is-nearly-that-long-not-there >=1.2.3-alpha.1, <2",
    ]);
}

#[test]
fn a_plugin_that_requires_itself_is_a_cycle_of_one() {
    // A manifest that says so is refused when it is read; the resolver does not rely on it.
    let mut world = World::new(&["a 1.0.0: requires b", "b 1.0.0"]);
    world.files[0].0.requires[0].target = Target::Plugin("a".to_owned());
    snapshot("a_plugin_that_requires_itself_is_a_cycle_of_one", &world);
}

#[test]
fn newer_pre_release_beside_a_lower_version_is_not_called_lower() {
    let world = World::new(&["embedder 1.2.0", "embedder 2.0.0-rc.1"]).running("embedder", "1.5.0");
    let told = told(&world);
    assert!(!told.contains("only lower versions of it are there"), "{told}");
    assert!(
        !told.contains("go back on purpose, give the [[instance]] of embedder version = \"=2"),
        "{told}"
    );
    assert!(
        told.contains("2.0.0-rc.1 (embedder-2.0.0-rc.1.so; a pre-release)"),
        "{told}"
    );
}

#[test]
fn cycle_of_many_with_long_names_stays_within_its_lines() {
    let name = |n: usize| format!("plugin-{n:02}-{}", "with-a-name-that-is-as-long-as-names-are");
    let lines: Vec<String> = (0..20)
        .map(|n| format!("{} 1.0.0: requires {}", name(n), name((n + 1) % 20)))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let told = told(&World::new(&lines));
    assert!(
        told.contains("A cycle: ") && told.contains("and 16 more"),
        "{told}"
    );
}

#[test]
fn of_two_files_of_one_version_the_first_is_used_unless_the_other_is_locked() {
    let world = World::new(&["a 1.0.0", "a 1.0.0"]);
    assert_eq!(world.resolve().plugins[0].digest, digest(1));
    let world = world.locked(&[("a", "1.0.0", digest(2))]);
    let resolved = world.resolve();
    assert_eq!((resolved.plugins[0].digest, resolved.notes.len()), (digest(2), 0));
}

/// A few plugins in a few versions, which want this and that of each other.
fn worlds() -> impl Strategy<Value = World> {
    let relation = (0..3u8, 0..5usize, 0..4usize).prop_map(|(word, on, version)| {
        let word = ["requires", "requires", "conflicts"][word as usize];
        let version = ["*", "^1", "^2", ">=1.1"][version];
        match on {
            4 => format!("{word} capability text.x {version}"),
            _ => format!("{word} p{on} {version}"),
        }
    });
    let line = (proptest::collection::vec(relation, 0..3), any::<bool>());
    let versions = proptest::sample::subsequence(vec!["1.0.0", "1.1.0", "2.0.0"], 0..=3);
    let plugin = versions.prop_flat_map(move |versions| {
        let lines = proptest::collection::vec(line.clone(), versions.len());
        lines.prop_map(move |lines| versions.iter().copied().zip(lines).collect::<Vec<_>>())
    });
    proptest::collection::vec(plugin, 4).prop_map(|plugins| {
        let mut lines = Vec::new();
        for (id, versions) in plugins.into_iter().enumerate() {
            for (version, (relations, offers)) in versions {
                let own = format!(" p{id} ");
                let relations = relations.into_iter().filter(|relation| !relation.contains(&own));
                let offers = offers.then(|| format!("offers text.x {version}"));
                let relations: Vec<_> = relations.chain(offers).collect();
                lines.push(format!("p{id} {version}: {}", relations.join("; ")));
            }
        }
        World::new(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

/// Whether these plugins, of which each id is there once, can be used together, without a cycle: by the words of the rules alone.
fn is_possible(used: &[&Manifest]) -> bool {
    let fits = |of: &Manifest, target: &Target, version: &VersionReq, by: &Manifest| match target {
        Target::Plugin(id) => by.plugin.id == *id && version.matches(&by.plugin.version),
        Target::Capability(name) => {
            let mut offered = by.capabilities.iter();
            of.plugin.id != by.plugin.id && offered.any(|c| c.name == *name && version.matches(&c.version))
        }
    };
    let conflict = |of: &&&Manifest| {
        let mut conflicts = of.conflicts.iter();
        conflicts.any(|c| used.iter().any(|by| fits(of, &c.target, &c.version, by)))
    };
    if used.iter().any(|of| conflict(&of)) {
        return false;
    }
    let mut started: Vec<&Manifest> = Vec::new();
    while started.len() < used.len() {
        let before = started.len();
        for of in used {
            let can = of
                .requires
                .iter()
                .all(|r| started.iter().any(|by| fits(of, &r.target, &r.version, by)));
            if can && !started.iter().any(|other| other.plugin.id == of.plugin.id) {
                started.push(of);
            }
        }
        if started.len() == before {
            return false;
        }
    }
    true
}

/// Every way to use one version of each id.
fn all_ways(world: &World) -> Vec<Vec<&Manifest>> {
    let mut by_id: BTreeMap<&str, Vec<&Manifest>> = BTreeMap::new();
    for (manifest, _) in &world.files {
        by_id.entry(&manifest.plugin.id).or_default().push(manifest);
    }
    let mut ways: Vec<Vec<&Manifest>> = vec![Vec::new()];
    for versions in by_id.into_values() {
        let mut longer = Vec::new();
        for way in &ways {
            for one in &versions {
                longer.push([way.as_slice(), &[*one]].concat());
            }
        }
        ways = longer;
    }
    ways
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_taken_can_be_used_together_and_nobody_is_left_out_without_need(world in worlds()) {
        let resolved = world.resolve();
        let used: Vec<&Manifest> = resolved.plugins.iter().map(|plugin| {
            let mut files = world.files.iter().map(|(manifest, _)| manifest);
            files.find(|m| m.plugin.id == plugin.id && m.plugin.version == plugin.version).unwrap()
        }).collect();
        prop_assert!(is_possible(&used), "{}", told(&world));
        let ids: BTreeSet<_> = world.files.iter().map(|(manifest, _)| &manifest.plugin.id).collect();
        prop_assert_eq!(ids.len(), used.len() + resolved.left_out.len());
        let cycle = resolved.left_out.iter().any(|left| left.code == LeftOutCode::Cycle);
        if !resolved.left_out.is_empty() && !cycle {
            prop_assert!(!all_ways(&world).iter().any(|way| is_possible(way)), "{}", told(&world));
        }
        // Each is in a level after one of those that fulfil each of its requirements.
        let level = |id: &String| resolved.start_order.iter().position(|level| level.contains(id));
        for plugin in &resolved.plugins {
            for required in &plugin.requires {
                let first = required.fulfilled_by.iter().map(level).min();
                prop_assert!(first.unwrap() < level(&plugin.id), "{}", told(&world));
            }
        }
    }
}
