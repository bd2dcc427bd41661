//! `extman deps`: who requires whom, as a tree.

use super::args::Target;
use super::backend::{Backend, HostSources, Locking};
use super::fault::Fault;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session::{self, Session};
use super::text::{count, cut, plain, width, wrap};
use extman_model::control::Command;
use extman_model::{DependenciesView, RefusedView, ResolvedPlugin, ResolvedRequirement};
use semver::VersionReq;
use std::collections::BTreeSet;

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Deps {
    /// A plugin's id: only it, and what it requires [default: all]
    id: Option<String>,
    /// Turn the tree around: who requires it
    #[arg(long)]
    reverse: bool,
    /// What the tree is drawn with
    #[arg(long, value_enum, value_name = "SET", default_value_t)]
    charset: Charset,
    #[command(flatten)]
    pub(super) target: Target,
}

const HELP: &str = "\
With --dir nothing is started: the files are read as they lie there. A plugin that is shown already has a (*), and what it requires is
not shown again. The exit code is 1 where a plugin is left out.";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Charset {
    #[default]
    Utf8,
    Ascii,
}

impl Charset {
    /// Before a child that others follow, before the last one, and below each of these.
    fn strokes(self) -> [&'static str; 4] {
        match self {
            Charset::Utf8 => ["├── ", "└── ", "│   ", "    "],
            Charset::Ascii => ["|-- ", "`-- ", "|   ", "    "],
        }
    }
}

pub(super) fn run(args: &Deps, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let (mut view, warnings) = match args.target.dirs.is_empty() {
        true => {
            let ask = |host: &Session| host.ask::<DependenciesView>(Command::Dependencies);
            let (view, warnings) = session::with(&args.target, backend, ask)?;
            (view, warnings)
        }
        false => {
            let place = HostSources {
                config: args.target.config.clone(),
                dirs: args.target.dirs.clone(),
                locking: Locking::only_if(args.target.locked),
            };
            session::directories_are_there(&args.target.dirs)?;
            let resolved = backend.dependencies(place)?;
            (
                resolved.dependencies,
                resolved.refused.iter().map(refused).collect(),
            )
        }
    };
    if let Some(id) = &args.id {
        view = only(view, id, args.reverse)?;
    }
    let mut rendered = Rendered::new(&view, render(&view, args, &screen.look))?;
    rendered.warnings = warnings;
    if !view.left_out.is_empty() {
        let ids: Vec<_> = view
            .left_out
            .iter()
            .map(|left_out| left_out.id.as_str())
            .collect();
        let text = format!("{} left out: {}", count(ids.len(), "plugin"), ids.join(", "));
        rendered = rendered.refused(text);
    }
    Ok(Outcome::Rendered(rendered))
}

/// A file that is refused, as a warning.
pub(super) fn refused(refused: &RefusedView) -> String {
    format!(
        "{} is refused ({}): {}",
        refused.path.display(),
        refused.code,
        refused.reason
    )
}

/// What has to do with one plugin.
fn only(mut view: DependenciesView, id: &str, reverse: bool) -> Result<DependenciesView, Fault> {
    let mut reached = BTreeSet::new();
    let mut rest: Vec<String> = vec![id.to_owned()];
    while let Some(next) = rest.pop() {
        if let Some(plugin) = find(&view, &next)
            && reached.insert(next)
        {
            match reverse {
                true => rest.extend(plugin.required_by.iter().cloned()),
                false => rest.extend(plugin.requires.iter().flat_map(|r| &r.fulfilled_by).cloned()),
            }
        }
    }
    let is_left_out = view.left_out.iter().any(|left_out| left_out.id == id);
    if reached.is_empty() && !is_left_out {
        let there = view.plugins.iter().map(|plugin| plugin.id.as_str());
        let there: Vec<_> = there.chain(view.left_out.iter().map(|l| l.id.as_str())).collect();
        let text = match there.is_empty() {
            true => format!("there is no plugin {id:?}; there is none at all"),
            false => format!("there is no plugin {id:?}; there are {}", there.join(", ")),
        };
        return Err(Fault::failed("not_found", text));
    }
    view.left_out.retain(|left_out| left_out.id == id);
    let of_lock = format!("extman.lock has {id} ");
    view.notes
        .retain(|note| note.split(' ').next() == Some(id) || note.starts_with(&of_lock));
    view.plugins.retain(|plugin| reached.contains(&plugin.id));
    for level in &mut view.start_order {
        level.retain(|id| reached.contains(id));
    }
    view.start_order.retain(|level| !level.is_empty());
    Ok(view)
}

fn find<'v>(view: &'v DependenciesView, id: &str) -> Option<&'v ResolvedPlugin> {
    let at = view.plugins.binary_search_by(|plugin| plugin.id.as_str().cmp(id));
    at.ok().map(|at| &view.plugins[at])
}

fn render(view: &DependenciesView, args: &Deps, look: &Look) -> String {
    let mut parts = Vec::new();
    let tree = Tree::draw(view, args, look);
    if !tree.is_empty() {
        parts.push(tree);
    }
    if view.plugins.is_empty() && view.left_out.is_empty() {
        parts.push("No plugins.".to_owned());
    }
    let notes = view
        .notes
        .iter()
        .map(|note| wrap(&format!("note: {note}"), look.width, 0));
    let notes: Vec<_> = notes.collect();
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    // They are lines of at most 80 columns already.
    parts.extend(view.left_out.iter().map(|left_out| {
        let lines: Vec<_> = left_out.reason.lines().map(plain).collect();
        lines.join("\n")
    }));
    parts.join("\n\n")
}

struct Tree<'v> {
    view: &'v DependenciesView,
    reverse: bool,
    strokes: [&'static str; 4],
    look: &'v Look,
    shown: BTreeSet<&'v str>,
    lines: Vec<String>,
}

/// What stands below a plugin: another one, or a requirement.
enum Node<'v> {
    Plugin(&'v ResolvedPlugin, String),
    Requirement(&'v ResolvedRequirement),
}

impl<'v> Tree<'v> {
    fn draw(view: &'v DependenciesView, args: &Deps, look: &'v Look) -> String {
        let mut tree = Tree {
            view,
            reverse: args.reverse,
            strokes: args.charset.strokes(),
            look,
            shown: BTreeSet::new(),
            lines: Vec::new(),
        };
        let is_root = |plugin: &&ResolvedPlugin| match (&args.id, args.reverse) {
            (Some(id), _) => plugin.id == *id,
            (None, false) => plugin.required_by.is_empty(),
            (None, true) => plugin.requires.iter().all(|r| r.fulfilled_by.is_empty()),
        };
        for plugin in view.plugins.iter().filter(is_root) {
            tree.plugin(plugin, "", "", "");
        }
        // Those that require each other's capabilities are below nobody.
        for plugin in &view.plugins {
            if !tree.shown.contains(plugin.id.as_str()) {
                tree.plugin(plugin, "", "", "");
            }
        }
        tree.lines.join("\n")
    }

    /// One plugin, and what is below it.
    fn plugin(&mut self, plugin: &'v ResolvedPlugin, begin: &str, below: &str, said: &str) {
        let is_new = self.shown.insert(&plugin.id);
        let children = self.children(plugin);
        let again = if is_new || children.is_empty() { "" } else { " (*)" };
        self.line(begin, &plugin.id, &format!(" {}{said}{again}", plugin.version));
        if is_new {
            self.below(children, below);
        }
    }

    fn below(&mut self, children: Vec<Node<'v>>, below: &str) {
        let [branch, last, down, space] = self.strokes;
        let number = children.len();
        for (at, child) in children.into_iter().enumerate() {
            let is_last = at + 1 == number;
            let begin = format!("{below}{}", if is_last { last } else { branch });
            let below = format!("{below}{}", if is_last { space } else { down });
            match child {
                Node::Plugin(plugin, said) => self.plugin(plugin, &begin, &below, &said),
                Node::Requirement(requirement) => {
                    let missing = requirement.fulfilled_by.is_empty();
                    let (what, said) = wanted(requirement);
                    let said = if missing {
                        format!("{said}, not there")
                    } else {
                        said
                    };
                    self.line(&begin, &what, &said);
                    let by = requirement
                        .fulfilled_by
                        .iter()
                        .filter_map(|id| find(self.view, id));
                    let by = by.map(|plugin| Node::Plugin(plugin, String::new())).collect();
                    self.below(by, &below);
                }
            }
        }
    }

    fn children(&self, plugin: &'v ResolvedPlugin) -> Vec<Node<'v>> {
        if self.reverse {
            let by = plugin.required_by.iter().filter_map(|id| find(self.view, id));
            return by
                .map(|other| Node::Plugin(other, why(other, &plugin.id)))
                .collect();
        }
        let node = |requirement: &'v ResolvedRequirement| match &requirement.fulfilled_by[..] {
            [id] if requirement.plugin.is_some() => match find(self.view, id) {
                Some(plugin) => Node::Plugin(plugin, bounds(requirement)),
                None => Node::Requirement(requirement),
            },
            _ => Node::Requirement(requirement),
        };
        plugin.requires.iter().map(node).collect()
    }

    fn line(&mut self, begin: &str, what: &str, said: &str) {
        let line = cut(&plain(&format!("{begin}{what}{said}")), self.look.width);
        let rest = line.strip_prefix(begin).and_then(|rest| rest.strip_prefix(what));
        self.lines.push(match rest {
            Some(rest) if self.look.colour => format!("{begin}\u{1b}[1m{what}\u{1b}[0m{rest}"),
            _ => line.clone(),
        });
        debug_assert!(width(&line) <= self.look.width);
    }
}

/// By what a plugin requires another one.
fn why(of: &ResolvedPlugin, other: &str) -> String {
    let by = of
        .requires
        .iter()
        .find(|r| r.fulfilled_by.iter().any(|id| id == other));
    by.map_or_else(String::new, |requirement| match &requirement.capability {
        Some(_) => {
            let (what, said) = wanted(requirement);
            format!(" ({what}{said})")
        }
        None => bounds(requirement),
    })
}

fn bounds(requirement: &ResolvedRequirement) -> String {
    let optional = if requirement.optional { "optional" } else { "" };
    let version = version(&requirement.version);
    match (version.is_empty(), optional.is_empty()) {
        (true, true) => String::new(),
        (false, false) => format!(" ({version}, {optional})"),
        _ => format!(" ({version}{optional})"),
    }
}

fn wanted(requirement: &ResolvedRequirement) -> (String, String) {
    let what = match (&requirement.plugin, &requirement.capability) {
        (Some(id), _) => id.clone(),
        (None, capability) => capability.clone().unwrap_or_default(),
    };
    let version = version(&requirement.version);
    let version = if version.is_empty() {
        version
    } else {
        format!(" {version}")
    };
    let optional = if requirement.optional { ", optional" } else { "" };
    (what, format!("{version}{optional}"))
}

fn version(version: &VersionReq) -> String {
    match version.comparators.is_empty() {
        true => String::new(),
        false => version.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{Digest, LeftOut, LeftOutCode};

    fn requirement(target: &str, version: &str, by: &[&str]) -> ResolvedRequirement {
        let is_capability = target.contains('.');
        ResolvedRequirement {
            plugin: (!is_capability).then(|| target.to_owned()),
            capability: is_capability.then(|| target.to_owned()),
            version: version.parse().unwrap(),
            optional: by.is_empty(),
            fulfilled_by: by.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn plugin(id: &str, requires: Vec<ResolvedRequirement>, by: &[&str]) -> ResolvedPlugin {
        ResolvedPlugin {
            id: id.to_owned(),
            version: "1.2.0".parse().unwrap(),
            digest: Digest::new([1; 32]),
            origin: "/p/x.so".into(),
            other_versions: Vec::new(),
            requires,
            required_by: by.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn view() -> DependenciesView {
        DependenciesView {
            plugins: vec![
                plugin(
                    "app",
                    vec![
                        requirement("rank", "^1", &["rank"]),
                        requirement("text.embed", "^1", &["embedder", "hash-embedder"]),
                        requirement("cache", "*", &[]),
                    ],
                    &[],
                ),
                plugin("embedder", Vec::new(), &["app", "rank"]),
                plugin(
                    "hash-embedder",
                    vec![requirement("embedder", "*", &["embedder"])],
                    &["app"],
                ),
                plugin(
                    "rank",
                    vec![requirement("embedder", ">=1, <2", &["embedder"])],
                    &["app"],
                ),
            ],
            start_order: vec![
                vec!["embedder".to_owned()],
                vec!["app".to_owned(), "rank".to_owned()],
            ],
            left_out: vec![LeftOut {
                id: "x".to_owned(),
                code: LeftOutCode::Cycle,
                reason: "x requires itself.\n  x\nRemove it.".to_owned(),
            }],
            notes: vec!["app does without cache".to_owned()],
        }
    }

    fn deps(id: Option<&str>, reverse: bool, charset: Charset) -> Deps {
        Deps {
            id: id.map(str::to_owned),
            reverse,
            charset,
            target: Target::default(),
        }
    }

    const LOOK: Look = Look {
        width: 80,
        colour: false,
        now_unix_ms: 0,
    };

    #[test]
    fn the_tree_shows_what_each_requires_once() {
        let text = render(&view(), &deps(None, false, Charset::Utf8), &LOOK);
        let expected = "\
app 1.2.0
├── rank 1.2.0 (^1)
│   └── embedder 1.2.0 (>=1, <2)
├── text.embed ^1
│   ├── embedder 1.2.0
│   └── hash-embedder 1.2.0
│       └── embedder 1.2.0
└── cache, optional, not there

note: app does without cache

x requires itself.
  x
Remove it.";
        assert_eq!(text, expected);
    }

    #[test]
    fn turned_around_it_shows_who_requires_one() {
        let view = only(view(), "embedder", true).unwrap();
        assert_eq!(
            view.plugins.len(),
            3,
            "not hash-embedder, of which nobody says that it requires it"
        );
        let text = render(&view, &deps(Some("embedder"), true, Charset::Ascii), &LOOK);
        let expected = "\
embedder 1.2.0
|-- app 1.2.0 (text.embed ^1)
`-- rank 1.2.0 (>=1, <2)
    `-- app 1.2.0 (^1)";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_plugin_is_shown_with_what_it_requires_alone() {
        let view = only(view(), "rank", false).unwrap();
        let text = render(&view, &deps(Some("rank"), false, Charset::Ascii), &LOOK);
        assert_eq!(text, "rank 1.2.0\n`-- embedder 1.2.0 (>=1, <2)");
        assert_eq!(view.start_order, [["embedder"], ["rank"]]);
        let fault = only(self::view(), "ranc", false).unwrap_err();
        assert_eq!(fault.failure.kind, "not_found");
        assert!(
            fault.failure.text.contains("app, embedder"),
            "{}",
            fault.failure.text
        );
        let left_out = only(self::view(), "x", false).unwrap();
        assert_eq!((left_out.plugins.len(), left_out.left_out.len()), (0, 1));
    }

    #[test]
    fn notes_of_one_plugin_are_its_own_also_those_of_the_lock() {
        let mut view = view();
        view.notes = [
            "rank 1.3.0 is there too",
            "extman.lock has rank 1.2.0",
            "extman.lock has ranker 2.0.0",
            "app does without cache",
        ]
        .map(str::to_owned)
        .to_vec();
        let notes = only(view, "rank", false).unwrap().notes;
        assert_eq!(notes, ["rank 1.3.0 is there too", "extman.lock has rank 1.2.0"]);
    }

    #[test]
    fn a_plugin_that_is_shown_again_is_marked() {
        let mut view = view();
        view.plugins[0].requires.push(requirement("rank", "*", &["rank"]));
        let text = render(&view, &deps(None, false, Charset::Utf8), &LOOK);
        assert!(text.contains("└── rank 1.2.0 (*)"), "{text}");
    }

    #[test]
    fn lines_fit_and_colours_are_for_ids_alone() {
        let mut view = view();
        view.plugins[0].requires[2].plugin = Some("c".repeat(64));
        view.plugins[0].requires[2].version = ">=1.2.3-alpha.1, <2.0.0-alpha.1".parse().unwrap();
        let narrow = Look { width: 40, ..LOOK };
        let text = render(&view, &deps(None, false, Charset::Utf8), &narrow);
        assert!(text.lines().all(|line| width(line) <= 40), "{text}");
        let coloured = Look { colour: true, ..LOOK };
        let text = render(&view, &deps(None, false, Charset::Utf8), &coloured);
        assert!(text.contains("├── \u{1b}[1mrank\u{1b}[0m 1.2.0 (^1)"), "{text}");
    }
}
