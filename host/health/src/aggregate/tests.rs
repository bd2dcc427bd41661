//! The whole, from its members.

use super::*;
use proptest::prelude::*;

fn member(name: &str, health: Health) -> Member<'_> {
    Member {
        name,
        group: Group::Ai,
        health,
        left_out: false,
        criticality: Criticality::Optional,
        redundant: None,
        covered: None,
    }
}

fn required(name: &str, health: Health) -> Member<'_> {
    Member {
        criticality: Criticality::Required,
        ..member(name, health)
    }
}

fn of(members: &[Member<'_>]) -> Health {
    aggregate(members, &BTreeMap::new()).health
}

#[test]
fn one_member_alone() {
    use Health::{Degraded, Down, Unknown, Up};
    for (health, when_optional, when_required) in [
        (Up, Up, Up),
        (Degraded, Degraded, Degraded),
        (Unknown, Unknown, Unknown),
        (Down, Down, Down),
    ] {
        assert_eq!(of(&[member("a", health)]), when_optional, "{health:?}");
        assert_eq!(of(&[required("a", health)]), when_required, "{health:?}");
        let left_out = Member {
            left_out: true,
            ..required("a", health)
        };
        assert_eq!(of(&[left_out]), Up, "{health:?}");
    }
}

#[test]
fn beside_one_that_is_up_an_optional_one_is_never_more_than_degraded() {
    use Health::{Degraded, Down, Unknown, Up};
    for (health, when_optional, when_required) in [
        (Up, Up, Up),
        (Degraded, Degraded, Degraded),
        (Unknown, Degraded, Degraded),
        (Down, Degraded, Down),
    ] {
        let beside = |one: Member<'static>| of(&[one, member("b", Up)]);
        assert_eq!(beside(member("a", health)), when_optional, "{health:?}");
        assert_eq!(beside(required("a", health)), when_required, "{health:?}");
    }
}

#[test]
fn where_none_serves_it_is_down_or_unknown_and_a_well_host_changes_nothing() {
    use Health::{Down, Unknown, Up};
    let host = |health| Member {
        group: Group::Host,
        ..member("store", health)
    };
    for (healths, expected) in [
        ([Down, Down], Down),
        ([Down, Unknown], Unknown),
        ([Unknown, Unknown], Unknown),
    ] {
        let members = [member("a", healths[0]), member("b", healths[1]), host(Up)];
        assert_eq!(of(&members), expected, "{healths:?}");
    }
    assert_eq!(of(&[host(Down)]), Health::Degraded);
    assert_eq!(of(&[host(Unknown), member("a", Up)]), Health::Degraded);
}

#[test]
fn a_group_that_is_all_down_is_down_beside_another_that_serves() {
    let members = [
        member("a", Health::Down),
        Member {
            group: Group::General,
            ..member("b", Health::Up)
        },
    ];
    let overall = aggregate(&members, &BTreeMap::new());
    assert_eq!(overall.health, Health::Degraded);
    assert_eq!(overall.groups[&Group::Ai].health, Health::Down);
    assert_eq!(overall.groups[&Group::General].health, Health::Up);
}

#[test]
fn a_fallback_makes_it_degraded_and_is_named() {
    let mut members: Vec<_> = ["b", "c", "d"].map(|name| member(name, Health::Up)).into();
    members.push(Member {
        covered: Some(vec!["text.embed"]),
        ..required("a", Health::Down)
    });
    let overall = aggregate(&members, &BTreeMap::new());
    assert_eq!(overall.health, Health::Degraded);
    assert_eq!(
        overall.sentence,
        "Degraded: 1 of 4 plugins down (a), text.embed served by its fallback"
    );
}

#[test]
fn several_fallbacks_are_told_in_few_words() {
    let sentence = |covered: &[&'static str]| {
        let down = Member {
            covered: Some(covered.to_vec()),
            ..member("a", Health::Down)
        };
        aggregate(&[down, member("b", Health::Up)], &BTreeMap::new()).sentence
    };
    let told = [
        (&["x", "y"][..], "x and y served by their fallbacks"),
        (&["z", "x", "y"], "x, y and z served by their fallbacks"),
        (&["1", "2", "3", "4"], "4 capabilities served by their fallbacks"),
    ];
    for (covered, end) in told {
        assert_eq!(
            sentence(covered),
            format!("Degraded: 1 of 2 plugins down (a), {end}")
        );
    }
}

#[test]
fn a_redundant_set_counts_as_one() {
    let set = |healths: &[Health]| -> Vec<Member<'static>> {
        let names = ["a", "b", "c"];
        names
            .iter()
            .zip(healths)
            .map(|(name, health)| Member {
                redundant: Some("embedders"),
                ..required(name, *health)
            })
            .collect()
    };
    use Health::{Degraded, Down, Unknown, Up};
    let two: BTreeMap<_, _> = [("embedders".to_owned(), 2)].into();
    for (healths, expected) in [
        ([Up, Up, Up], Up),
        ([Up, Up, Down], Degraded),
        ([Up, Degraded, Down], Degraded),
        ([Up, Unknown, Down], Down),
        ([Unknown, Unknown, Unknown], Unknown),
        ([Down, Down, Down], Down),
    ] {
        assert_eq!(aggregate(&set(&healths), &two).health, expected, "{healths:?}");
    }
    let overall = aggregate(&set(&[Up, Down, Down]), &two);
    assert_eq!(
        overall.sentence,
        "Down: 2 of 3 plugins down (b, c), 1 of 3 in embedders serve, 2 needed"
    );
}

#[test]
fn groups_stand_apart() {
    let members = [
        member("a", Health::Up),
        Member {
            group: Group::Host,
            ..required("history", Health::Degraded)
        },
        Member {
            group: Group::General,
            left_out: true,
            ..member("stats", Health::Unknown)
        },
    ];
    let overall = aggregate(&members, &BTreeMap::new());
    assert_eq!(overall.groups[&Group::Ai].health, Health::Up);
    assert_eq!(overall.groups[&Group::Host].health, Health::Degraded);
    assert_eq!(overall.groups[&Group::General].health, Health::Unknown);
    assert_eq!(overall.left_out, ["stats"]);
    assert_eq!(
        overall.sentence,
        "Degraded: 1 of 1 host component degraded (history)"
    );
}

#[test]
fn all_well_in_words() {
    assert_eq!(
        aggregate(&[], &BTreeMap::new()).sentence,
        "Up: there are no plugins"
    );
    let one = [member("a", Health::Up)];
    assert_eq!(
        aggregate(&one, &BTreeMap::new()).sentence,
        "Up: the one plugin is up"
    );
    let two = [member("a", Health::Up), member("b", Health::Up)];
    assert_eq!(
        aggregate(&two, &BTreeMap::new()).sentence,
        "Up: all 2 plugins are up"
    );
}

proptest! {
    #[test]
    fn a_member_that_gets_worse_never_makes_the_whole_better(
        healths in proptest::collection::vec((0..4_usize, any::<bool>(), 0..3_u8), 1..12),
        which: prop::sample::Index,
    ) {
        let words = [Health::Up, Health::Degraded, Health::Unknown, Health::Down];
        let rank = |health: Health| words.iter().position(|word| *word == health).unwrap();
        let build = |healths: &[(usize, bool, u8)]| -> Health {
            let members: Vec<_> = healths.iter().map(|(health, is_required, set)| Member {
                criticality: if *is_required { Criticality::Required } else { Criticality::Optional },
                redundant: (*set > 0).then_some(if *set == 1 { "x" } else { "y" }),
                ..member("m", words[*health])
            }).collect();
            of(&members)
        };
        let before = build(&healths);
        let mut worse = healths.clone();
        let at = which.index(worse.len());
        worse[at].0 = 3;
        prop_assert!(rank(build(&worse)) >= rank(before));
    }
}
