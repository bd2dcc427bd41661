//! Who is there: immutable snapshots, swapped whole. The data path only reads one.

use super::instance::{Instance, Tally};
use super::supervisor::InstanceConfig;
use arc_swap::ArcSwap;
use extman_intake::VerifiedPlugin;
use extman_model::{
    CapabilityOffer, CapabilityView, Lifecycle, MissingView, PluginView, RefusedView, ResidentView, Verdict,
};
use extman_plugin_api::manifest::schema::{Capability, Kind, Manifest};
use semver::VersionReq;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// One instance as a snapshot has it.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The plugin behind it.
    pub plugin: VerifiedPlugin,
    /// What is configured for it.
    pub config: Arc<InstanceConfig>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Why.
    pub cause: Option<String>,
    /// The running instance and the generation of its library.
    pub serving: Option<(Arc<Instance>, u64)>,
    /// Calls of all its generations.
    pub tally: Tally,
    /// What became of its library when it was last unloaded, and which load that was.
    pub unload: Option<(u64, Verdict)>,
}

/// Everything that is known at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    by_name: BTreeMap<String, Arc<Entry>>,
    by_capability: HashMap<String, Vec<Arc<Entry>>>,
}

/// What to look for; what is not given does not matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The instance's name.
    pub name: Option<String>,
    /// The plugin's id.
    pub id: Option<String>,
    /// AI or general.
    pub kind: Option<Kind>,
    /// What sort of work.
    pub task: Option<String>,
    /// A capability that it has.
    pub capability: Option<String>,
    /// Versions of the plugin.
    pub version: Option<VersionReq>,
}

/// The current snapshot, and what is known of files and libraries beside it.
#[derive(Default)]
pub struct Registry {
    current: ArcSwap<Snapshot>,
    refused: ArcSwap<Vec<RefusedView>>,
    residents: ArcSwap<Vec<ResidentView>>,
    missing: ArcSwap<Vec<MissingView>>,
    ready: AtomicBool,
    listener: OnceLock<Listener>,
}

type Listener = Box<dyn Fn(&Snapshot) + Send + Sync>;

impl Registry {
    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// From here on, this is what is known.
    pub fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        let snapshot = Arc::new(Snapshot::new(entries));
        self.current.store(snapshot.clone());
        if let Some(listener) = self.listener.get() {
            listener(&snapshot);
        }
    }

    /// Has somebody hear of every snapshot as soon as it is there, on the thread that publishes it. One listener; later ones are
    /// not heard.
    pub fn on_publish(&self, listener: impl Fn(&Snapshot) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Files that are refused now.
    pub fn refused(&self) -> Arc<Vec<RefusedView>> {
        self.refused.load_full()
    }

    /// From here on, these files are refused.
    pub fn publish_refused(&self, refused: Vec<RefusedView>) {
        self.refused.store(Arc::new(refused));
    }

    /// Instances that are configured, and whose plugin is not there.
    pub fn missing(&self) -> Arc<Vec<MissingView>> {
        self.missing.load_full()
    }

    /// From here on, these are missing. What was not missing before is given back.
    pub fn publish_missing(&self, missing: Vec<MissingView>) -> Vec<MissingView> {
        let before = self.missing.swap(Arc::new(missing.clone()));
        missing
            .into_iter()
            .filter(|view| !before.contains(view))
            .collect()
    }

    /// Libraries that stay in memory after their unload.
    pub fn residents(&self) -> Arc<Vec<ResidentView>> {
        self.residents.load_full()
    }

    /// From here on, these stay.
    pub fn publish_residents(&self, residents: Vec<ResidentView>) {
        self.residents.store(Arc::new(residents));
    }

    /// Whether the first look at all directories, and the first start of all instances, is done.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// From here on it is.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

impl Snapshot {
    fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut snapshot = Snapshot::default();
        for entry in entries {
            let entry = Arc::new(entry);
            for capability in &entry.plugin.manifest().capabilities {
                snapshot
                    .by_capability
                    .entry(capability.name.clone())
                    .or_default()
                    .push(entry.clone());
            }
            snapshot.by_name.insert(entry.name.clone(), entry);
        }
        for offers in snapshot.by_capability.values_mut() {
            offers.sort_by(|a, b| (b.config.priority, &a.name).cmp(&(a.config.priority, &b.name)));
        }
        snapshot
    }

    /// The instance of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(name)
    }

    /// All instances, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_name.values()
    }

    /// Those that fit, by name.
    pub fn find(&self, query: &Query) -> Vec<&Arc<Entry>> {
        self.all().filter(|entry| query.fits(entry)).collect()
    }

    /// Those that offer a capability, the one that is asked first at the front.
    pub fn offering(&self, capability: &str) -> &[Arc<Entry>] {
        self.by_capability.get(capability).map_or(&[], Vec::as_slice)
    }

    /// Every capability, with who offers it.
    pub fn capabilities(&self) -> Vec<CapabilityOffer> {
        let sorted: BTreeMap<_, _> = self.by_capability.iter().collect();
        let offer = |(name, entries): (&String, &Vec<Arc<Entry>>)| {
            let (serving, not): (Vec<_>, Vec<_>) = entries.iter().partition(|e| e.serving.is_some());
            let names = |entries: Vec<&Arc<Entry>>| entries.iter().map(|e| e.name.clone()).collect();
            let declared = entries
                .first()
                .and_then(|e| capability(e.plugin.manifest(), name));
            CapabilityOffer {
                name: name.clone(),
                instances: names(serving),
                not_serving: names(not),
                input: declared.and_then(|c| c.input.clone()),
                output: declared.and_then(|c| c.output.clone()),
            }
        };
        sorted.into_iter().map(offer).collect()
    }

    /// Names that look like this one, the likeliest first.
    pub fn similar(&self, name: &str) -> Vec<String> {
        let near = |known: &&String| distance(known, name) <= 1 + name.len() / 3 || known.contains(name);
        let mut found: Vec<_> = self.by_name.keys().filter(near).cloned().collect();
        found.sort_by_key(|known| distance(known, name));
        found.truncate(3);
        found
    }
}

impl Query {
    fn fits(&self, entry: &Entry) -> bool {
        let manifest = entry.plugin.manifest();
        let plugin = &manifest.plugin;
        self.name.as_ref().is_none_or(|name| *name == entry.name)
            && self.id.as_ref().is_none_or(|id| *id == plugin.id)
            && self.kind.is_none_or(|kind| kind == plugin.kind)
            && self
                .task
                .as_ref()
                .is_none_or(|task| Some(task) == plugin.task.as_ref())
            && self
                .capability
                .as_ref()
                .is_none_or(|name| capability(manifest, name).is_some())
            && self
                .version
                .as_ref()
                .is_none_or(|wanted| wanted.matches(&plugin.version))
    }
}

impl Entry {
    /// As it is shown.
    pub fn view(&self) -> PluginView {
        let manifest = self.plugin.manifest();
        let shown = |c: &Capability| CapabilityView {
            name: c.name.clone(),
            version: c.version.clone(),
            streaming: c.streaming,
            models: c.models.clone(),
        };
        PluginView {
            name: self.name.clone(),
            id: manifest.plugin.id.clone(),
            version: manifest.plugin.version.clone(),
            kind: manifest.plugin.kind,
            task: manifest.plugin.task.clone(),
            description: manifest.plugin.description.clone(),
            lifecycle: self.lifecycle,
            since_unix_ms: self.since_unix_ms,
            cause: self.cause.clone(),
            health: None,
            check: None,
            calls: self.tally.stats(),
            capabilities: manifest.capabilities.iter().map(shown).collect(),
            digest: self.plugin.digest(),
            origin: self.plugin.origin().to_owned(),
            generation: self.serving.as_ref().map(|(_, generation)| *generation),
            unload: self.unload.as_ref().map(|(_, verdict)| verdict.clone()),
            unload_generation: self.unload.as_ref().map(|(generation, _)| *generation),
            process_changes: Vec::new(),
            unknown_manifest_fields: manifest.unknown.clone(),
        }
    }
}

fn capability<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a Capability> {
    manifest
        .capabilities
        .iter()
        .find(|capability| capability.name == name)
}

/// Edits from one word to another (Levenshtein 1966), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(x != *y));
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #[test]
    fn distances_are_edits() {
        assert_eq!(super::distance("kitten", "sitting"), 3);
        assert_eq!(super::distance("", "abc"), 3);
        assert_eq!(super::distance("same", "same"), 0);
    }
}
