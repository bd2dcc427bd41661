//! Who is there, published by difference: a slot for each instance, in a set that is swapped only when it changes. The data path only
//! reads.

mod admitted;
mod canary;
mod config;
mod load;
mod mirror;
mod random;
mod route;

pub use admitted::Admitted;
pub use canary::{Beside, Canary};
pub use config::{AllDown, BreakerConfig, CacheConfig, RoutingConfig};
pub use extman_health::breaker::CallEnd;
pub use mirror::{CallCopy, Mirror};
pub(crate) use mirror::{MirroredCall, OldAnswer};
pub use route::{Candidate, Choice, Route, Tried};

use super::instance::{BreakerChange, CallTotals, Instance};
use super::supervisor::InstanceConfig;
use super::sync::lock;
use arc_swap::{ArcSwap, Guard};
use extman_health::breaker::BreakerPolicy;
use extman_intake::VerifiedPlugin;
use extman_model::Health;
use extman_model::clock::{self, Monotonic};
use extman_model::{
    BarredView, BreakerView, CapabilityOffer, CapabilityView, DependenciesView, DesiredState, Lifecycle,
    MissingView, PluginView, RefusedView, ResidentView, RolloutView, Verdict, WayBack,
};
use extman_plugin_api::manifest::schema::Capability;
use foldhash::fast::RandomState;
use route::{Fitness, Slot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One instance as it is published.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub name: Arc<str>,
    /// The plugin behind it.
    pub plugin: VerifiedPlugin,
    /// What is configured for it, and in force.
    pub config: Arc<InstanceConfig>,
    /// Why what is to be configured for it is not in force, if that is something else.
    pub config_fault: Option<String>,
    /// What an operator wants it to be.
    pub desired: DesiredState,
    /// Whose being down is at the root of what it lacks of that which it requires.
    pub suppressed_by: Option<Arc<str>>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Why.
    pub cause: Option<String>,
    /// How it comes back, if it has failed.
    pub way_back: Option<WayBack>,
    /// The running instance and the generation of its library.
    pub serving: Option<(Arc<Instance>, u64)>,
    /// A new version that gets a share of its calls, or of what is mirrored of them.
    pub beside: Option<Arc<Beside>>,
    /// The update that is under way, and when the time of its step is over.
    pub rollout: Option<(RolloutView, Option<Monotonic>)>,
    /// Builds of the plugin that are not tried again by themselves.
    pub barred: Vec<BarredView>,
    /// Calls of all its generations.
    pub tally: CallTotals,
    /// What became of its library when it was last unloaded, and which load that was.
    pub unload: Option<(u64, Verdict)>,
}

/// Which instances there are. It is swapped when one comes, goes or offers something else, and not when one changes its state: an entry is
/// as it is when it is asked for.
#[derive(Clone, Default)]
pub struct Snapshot {
    by_name: BTreeMap<Arc<str>, Arc<Slot>>,
    routes: HashMap<String, Arc<Route>, RandomState>,
}

/// What one publication has changed.
pub struct Change<'a> {
    /// Instances that are new or otherwise than before.
    pub entries: &'a [Arc<Entry>],
    /// Instances that are gone.
    pub removed: &'a BTreeSet<Arc<str>>,
}

/// Who is there, and what is known of files and libraries beside that.
#[derive(Default)]
pub struct Registry {
    current: ArcSwap<Snapshot>,
    routing: ArcSwap<Routing>,
    /// Held by whoever changes a slot or a health, so that what is chosen follows from what was changed last.
    changing: Mutex<()>,
    refused: ArcSwap<Vec<RefusedView>>,
    residents: ArcSwap<Vec<ResidentView>>,
    missing: ArcSwap<Vec<MissingView>>,
    dependencies: ArcSwap<DependenciesView>,
    known: AtomicBool,
    ready: AtomicBool,
    listener: OnceLock<Listener>,
    breaker_listener: OnceLock<BreakerListener>,
}

/// How calls are routed.
#[derive(Default)]
pub struct Routing {
    config: RoutingConfig,
    breaker: BreakerPolicy,
}

impl Routing {
    /// Whether a call that took so long was slow.
    pub fn is_slow(&self, ran: Duration) -> bool {
        ran >= self.config.slow()
    }

    /// How old an answer of this capability may be that is given where nobody serves; `None` if none is.
    pub fn answers_kept_for(&self, capability: &str) -> Option<Duration> {
        let ms = self.config.cache.max_age_ms.get(capability)?;
        Some(Duration::from_millis(*ms))
    }

    /// Bytes that all answers may have that are kept.
    pub fn answers_bytes_max(&self) -> usize {
        usize::try_from(self.config.cache.bytes_max).unwrap_or(usize::MAX)
    }
}

impl From<RoutingConfig> for Routing {
    fn from(config: RoutingConfig) -> Self {
        Routing {
            breaker: config.breaker_policy(),
            config,
        }
    }
}

fn find_missing<'a>(by_name: &'a [MissingView], name: &str) -> Option<&'a MissingView> {
    let at = by_name
        .binary_search_by(|view| view.name.as_str().cmp(name))
        .ok()?;
    by_name.get(at)
}

type Listener = Box<dyn Fn(&Change<'_>) + Send + Sync>;
type BreakerListener = Box<dyn Fn(&str, BreakerChange) + Send + Sync>;

impl Registry {
    /// An empty one, whose calls are routed so.
    pub fn new(config: RoutingConfig) -> Self {
        Registry {
            routing: ArcSwap::from_pointee(config.into()),
            ..Registry::default()
        }
    }

    /// From here on, calls are routed so.
    pub fn set_routing(&self, config: RoutingConfig) {
        let _changing = lock(&self.changing);
        let mut next = (*self.current.load_full()).clone();
        for (capability, route) in &mut next.routes {
            let changed =
                Route::new(capability, route.candidates().to_vec(), &config).in_place_of(Some(route));
            *route = Arc::new(changed);
        }
        self.routing.store(Arc::new(config.into()));
        self.current.store(Arc::new(next));
    }

    /// How calls are routed.
    pub fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Somebody who is called by name: whatever its breaker says. A lease of it is taken where there is one, since the call shows as much as
    /// any.
    pub fn admit_by_name(&self, candidate: Candidate) -> Admitted {
        let is_closed = candidate.instance.breaker().is_closed();
        let leased = (!is_closed).then(|| Admitted::on_trial(&candidate, self).ok());
        leased.flatten().unwrap_or_else(|| Admitted::anyway(candidate))
    }

    /// What came of a call that an instance was admitted for: if its breaker opened or closed by it, who serves its capabilities is chosen anew.
    /// A call of which nothing is said here says nothing of the instance.
    #[inline]
    pub fn call_ended(&self, admitted: &mut Admitted, end: CallEnd) {
        if end != CallEnd::Well || admitted.is_on_trial() {
            self.note_end(admitted, end);
        }
    }

    #[cold]
    fn note_end(&self, admitted: &mut Admitted, end: CallEnd) {
        let Some(permit) = admitted.take_permit() else {
            return;
        };
        let Candidate { entry, instance, .. } = &admitted.candidate;
        let (counts, now) = (instance.call_metrics().counts(), clock::monotonic());
        let calls = counts.ended.saturating_sub(counts.excused);
        let (breaker, name, routing) = (instance.breaker(), &*entry.name, self.routing());
        // Its health holds it to be down by its calls, of which this one is one more: it is not asked for more than that.
        let is_down_by_calls = || {
            let current = self.current.load();
            current
                .by_name
                .get(name)
                .is_some_and(|slot| slot.fitness().by_calls)
        };
        let is_failure = end == CallEnd::Failed;
        if breaker.ended(permit, end, calls, now, &routing.breaker)
            || is_failure && is_down_by_calls() && breaker.trip(now, &routing.breaker)
        {
            self.breaker_changed(name, instance);
        }
    }

    #[cold]
    fn breaker_changed(&self, name: &str, instance: &Arc<Instance>) {
        let _changing = lock(&self.changing);
        let current = self.current.load();
        if let Some(slot) = current.by_name.get(name) {
            let entry = slot.entry.load();
            // In this order: who hears of it finds that it is so.
            current.reconsider(slot, &entry);
            // The breaker of one that another is in the place of by now keeps no calls from anybody.
            if entry.is_served_by(instance) {
                self.publish_breaker(name, instance);
            }
        }
    }

    /// Publishes what a breaker has become, with `changing` held. Of two calls that change it at once the later change may come first, so that what is
    /// published is what is so now.
    fn publish_breaker(&self, name: &str, instance: &Instance) {
        let news = instance.breaker().take_news(clock::monotonic());
        if let (Some(listener), Some(news)) = (self.breaker_listener.get(), news) {
            listener(name, news);
        }
    }

    /// Publishes that a breaker is closed whose instance serves no more, if it was published as open.
    fn publish_breaker_gone(&self, before: &Entry, now: Option<&Entry>) {
        if let Some((instance, _)) = &before.serving
            && !now.is_some_and(|now| now.is_served_by(instance))
            && instance.breaker().take_end()
            && let Some(listener) = self.breaker_listener.get()
        {
            listener(&before.name, BreakerChange::Closed);
        }
    }

    /// Publishes that a breaker is open whose instance serves again, if that was not published of it: a new version was taken back.
    fn publish_breaker_back(&self, before: &Entry, now: Option<&Entry>) {
        if let Some(now) = now
            && let Some((instance, _)) = &now.serving
            && !before.is_served_by(instance)
        {
            self.publish_breaker(&now.name, instance);
        }
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The same, for a moment: a call reads its route here.
    #[inline]
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// An instance is held to be this from here on: who serves its capabilities is chosen anew. `by_calls`: nothing but its calls say that
    /// it is down, so its breaker decides. One caller at a time for each instance, in the order in which it was decided.
    pub fn learn_health(&self, name: &str, health: Health, by_calls: bool) {
        self.change_fitness(name, |fitness| {
            (fitness.health, fitness.by_calls) = (health, by_calls);
        });
    }

    /// What its breaker makes of a health.
    fn tell_breaker(&self, instance: &Instance, before: Fitness, now: Fitness) -> bool {
        if before.health == Health::Down && now.health.serves() {
            instance.breaker().check_was_good();
        }
        let is_news = now.by_calls && !before.by_calls;
        let policy = &self.routing().breaker;
        is_news && instance.breaker().trip(clock::monotonic(), policy)
    }

    /// An instance is in maintenance from here on, or no longer: who serves its capabilities is chosen anew.
    pub fn set_maintenance(&self, name: &str, maintenance: bool) {
        self.change_fitness(name, |fitness| fitness.maintenance = maintenance);
    }

    fn change_fitness(&self, name: &str, change: impl FnOnce(&mut Fitness)) {
        let _changing = lock(&self.changing);
        let current = self.current.load();
        if let Some(slot) = current.by_name.get(name)
            && let Some((before, now)) = slot.change(change)
        {
            let entry = slot.entry.load();
            let instance = entry.serving.as_ref().map(|(instance, _)| instance);
            let has_opened = instance.filter(|instance| self.tell_breaker(instance, before, now));
            current.reconsider(slot, &entry);
            if let Some(instance) = has_opened {
                self.publish_breaker(name, instance);
            }
        }
    }

    /// From here on, these entries are what is known of their instances, and those instances are gone. One caller at a time.
    pub(crate) fn publish(&self, entries: Vec<Entry>, removed: &BTreeSet<Arc<str>>) {
        if entries.is_empty() && removed.is_empty() {
            return;
        }
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        self.swap(&entries, removed);
        if let Some(listener) = self.listener.get() {
            listener(&Change {
                entries: &entries,
                removed,
            });
        }
    }

    fn swap(&self, entries: &[Arc<Entry>], removed: &BTreeSet<Arc<str>>) {
        let _changing = lock(&self.changing);
        let current = self.current.load();
        let mut others = Vec::new();
        let changed = entries.iter().map(|entry| (&entry.name, Some(entry)));
        let changed = changed.chain(removed.iter().map(|name| (name, None)));
        let before: Vec<_> = changed
            .filter_map(|(name, now)| Some((current.get(name)?, now)))
            .collect();
        for entry in entries {
            if !current.replace(entry) {
                others.push(entry.clone());
            }
        }
        if !others.is_empty() || removed.iter().any(|name| current.by_name.contains_key(name)) {
            let next = current.with(others, removed, &self.routing.load().config);
            self.current.store(Arc::new(next));
        }
        for (before, now) in before {
            let now = now.map(|now| &**now);
            self.publish_breaker_gone(&before, now);
            self.publish_breaker_back(&before, now);
        }
    }

    /// Has somebody hear of every publication as soon as it is there, on the thread that publishes it. One listener; later ones are not
    /// heard.
    pub fn on_publish(&self, listener: impl Fn(&Change<'_>) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Has somebody hear each time that the breaker of an instance opens, and when it closes or the instance goes, on the thread that did that: so
    /// it must not wait, nor change anything here. One listener; later ones are not heard.
    pub fn on_breaker(&self, listener: impl Fn(&str, BreakerChange) + Send + Sync + 'static) {
        let _ = self.breaker_listener.set(Box::new(listener));
    }

    /// Files that are refused now.
    pub fn refused(&self) -> Arc<Vec<RefusedView>> {
        self.refused.load_full()
    }

    /// From here on, these files are refused.
    pub(crate) fn publish_refused(&self, refused: Vec<RefusedView>) {
        if **self.refused.load() != refused {
            self.refused.store(Arc::new(refused));
        }
    }

    /// Instances that are configured, and whose plugin is not there; by name.
    pub fn missing(&self) -> Arc<Vec<MissingView>> {
        self.missing.load_full()
    }

    /// One of them.
    pub fn missing_of(&self, name: &str) -> Option<MissingView> {
        find_missing(&self.missing.load(), name).cloned()
    }

    /// Which version of each plugin is used, and who requires whom.
    pub fn dependencies(&self) -> Arc<DependenciesView> {
        self.dependencies.load_full()
    }

    /// From here on, these versions are used.
    pub(crate) fn publish_dependencies(&self, dependencies: Arc<DependenciesView>) {
        self.dependencies.store(dependencies);
    }

    /// From here on, these are missing. What was not missing before, or for another reason, is given back.
    pub(crate) fn publish_missing(&self, mut missing: Vec<MissingView>) -> Vec<MissingView> {
        let (before, now) = (self.missing.load_full(), clock::unix_ms(clock::wall()));
        missing.sort_by(|a, b| a.name.cmp(&b.name));
        let mut news = Vec::new();
        for view in &mut missing {
            let was = find_missing(&before, &view.name);
            view.since_unix_ms = was.map_or(now, |was| was.since_unix_ms);
            if was != Some(view) {
                news.push(view.clone());
            }
        }
        self.missing.store(Arc::new(missing));
        news
    }

    /// Libraries that stay in memory after their unload.
    pub fn residents(&self) -> Arc<Vec<ResidentView>> {
        self.residents.load_full()
    }

    /// From here on, these stay.
    pub(crate) fn publish_residents(&self, residents: Vec<ResidentView>) {
        self.residents.store(Arc::new(residents));
    }

    /// Whether the first look at all directories, and the first start of all instances, is done.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// From here on it is.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the first look at all directories is done, and what was found there is published.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// From here on it is.
    pub(crate) fn set_known(&self) {
        self.known.store(true, Ordering::Release);
    }
}

impl Snapshot {
    /// Swaps an entry in its place. `false` if it has none, or is to be found elsewhere from now on.
    fn replace(&self, entry: &Arc<Entry>) -> bool {
        let Some(slot) = self.by_name.get(&entry.name) else {
            return false;
        };
        let before = slot.entry.load();
        let same = before.plugin.digest() == entry.plugin.digest()
            && before.config.priority == entry.config.priority;
        if same {
            // Whoever sees that it runs can call it: it is chosen before that is to be seen, and until it is seen no longer.
            if entry.serving.is_some() {
                self.reconsider(slot, entry);
                slot.entry.store(entry.clone());
            } else {
                slot.entry.store(entry.clone());
                self.reconsider(slot, entry);
            }
        }
        same
    }

    /// Something of it has changed that decides who serves.
    fn reconsider(&self, slot: &Arc<Slot>, entry: &Arc<Entry>) {
        for capability in &entry.plugin.manifest().capabilities {
            if let Some(route) = self.routes.get(&capability.name) {
                route.reconsider(slot, entry);
            }
        }
    }

    /// The same with these entries, which are new or offer something else than before, and without those that are gone.
    fn with(
        &self,
        entries: Vec<Arc<Entry>>,
        removed: &BTreeSet<Arc<str>>,
        config: &RoutingConfig,
    ) -> Snapshot {
        let mut next = self.clone();
        let mut moved: BTreeSet<&str> = removed.iter().map(|name| &**name).collect();
        moved.extend(entries.iter().map(|entry| &*entry.name));
        let capabilities = |entry: &Entry| -> Vec<String> {
            let declared = &entry.plugin.manifest().capabilities;
            declared
                .iter()
                .map(|capability| capability.name.clone())
                .collect()
        };
        let mut offers: HashMap<String, Vec<Arc<Slot>>> = HashMap::new();
        for name in &moved {
            if let Some(slot) = next.by_name.remove(*name) {
                offers.extend(
                    capabilities(&slot.entry.load())
                        .into_iter()
                        .map(|capability| (capability, Vec::new())),
                );
            }
        }
        for entry in &entries {
            // A slot of its own: whoever still has the set before this one sees the entry before this one.
            let before = self.by_name.get(&entry.name);
            let slot = Arc::new(match before {
                Some(before) => before.followed_by(entry.clone()),
                None => Slot::new(entry.clone()),
            });
            for capability in capabilities(entry) {
                offers.entry(capability).or_default().push(slot.clone());
            }
            next.by_name.insert(entry.name.clone(), slot);
        }
        for (capability, mut candidates) in offers {
            let stay = self
                .routes
                .get(&capability)
                .into_iter()
                .flat_map(|route| route.candidates());
            let before = self.routes.get(&capability).map(|route| &**route);
            candidates.extend(
                stay.filter(|slot| !moved.contains(&*slot.entry.load().name))
                    .cloned(),
            );
            if candidates.is_empty() {
                next.routes.remove(&capability);
            } else {
                let route = Route::new(&capability, candidates, config).in_place_of(before);
                next.routes.insert(capability, Arc::new(route));
            }
        }
        next
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The instance of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.by_name.get(name).map(|slot| slot.entry.load_full())
    }

    /// All instances, by name.
    pub fn all(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.by_name.values().map(|slot| slot.entry.load_full())
    }

    /// Those that offer a capability, by priority.
    pub fn offering(&self, capability: &str) -> impl Iterator<Item = Arc<Entry>> {
        let offers = self.routes.get(capability).into_iter();
        offers.flat_map(|route| route.candidates().iter().map(|slot| slot.entry.load_full()))
    }

    /// Who serves a capability; `None` if nobody has it.
    #[inline]
    pub fn route(&self, capability: &str) -> Option<&Route> {
        self.routes.get(capability).map(|route| &**route)
    }

    /// Every capability, with who offers it.
    pub fn capabilities(&self) -> Vec<CapabilityOffer> {
        let sorted: BTreeMap<_, _> = self.routes.iter().collect();
        let offer = |(name, route): (&String, &Arc<Route>)| {
            let slots = route.candidates();
            let entries = slots.iter().map(|slot| slot.entry.load_full());
            let (serving, not): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.serving.is_some());
            let names = |entries: &[Arc<Entry>]| entries.iter().map(|entry| entry.name.to_string()).collect();
            let first = slots.first().map(|slot| slot.entry.load_full());
            let declared = first.as_ref().and_then(|entry| {
                let mut declared = entry.plugin.manifest().capabilities.iter();
                declared.find(|capability| capability.name == *name)
            });
            CapabilityOffer {
                name: name.clone(),
                instances: names(&serving),
                not_serving: names(&not),
                input: declared.and_then(|declared| declared.input.clone()),
                output: declared.and_then(|declared| declared.output.clone()),
            }
        };
        sorted.into_iter().map(offer).collect()
    }

    /// Names that look like this one, the likeliest first.
    pub fn similar(&self, name: &str) -> Vec<String> {
        let near = |known: &&Arc<str>| distance(known, name) <= 1 + name.len() / 3 || known.contains(name);
        let mut found: Vec<_> = self
            .by_name
            .keys()
            .filter(near)
            .map(|known| known.to_string())
            .collect();
        found.sort_by_key(|known| distance(known, name));
        found.truncate(3);
        found
    }
}

impl Entry {
    pub(crate) fn is_served_by(&self, instance: &Arc<Instance>) -> bool {
        let serving = self.serving.as_ref();
        serving.is_some_and(|(serving, _)| Arc::ptr_eq(serving, instance))
    }

    /// The update that is under way, as it is shown.
    pub fn rollout(&self) -> Option<RolloutView> {
        let (view, due) = self.rollout.as_ref()?;
        let due_ms = due.map(|due| due.since(clock::monotonic()).as_millis() as u64);
        Some(RolloutView {
            due_ms,
            ..view.clone()
        })
    }

    /// What keeps calls from it, as its latest ones failed or were slow.
    pub fn breaker(&self) -> Option<BreakerView> {
        let (instance, _) = self.serving.as_ref()?;
        instance.breaker().view(clock::monotonic())
    }

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
            name: self.name.to_string(),
            id: manifest.plugin.id.clone(),
            version: manifest.plugin.version.clone(),
            kind: manifest.plugin.kind,
            task: manifest.plugin.task.clone(),
            description: manifest.plugin.description.clone(),
            desired: self.desired,
            suppressed_by: self.suppressed_by.as_deref().map(str::to_owned),
            lifecycle: self.lifecycle,
            since_unix_ms: self.since_unix_ms,
            cause: self.cause.clone(),
            config_in_sync: self.config_fault.is_none(),
            config_fault: self.config_fault.clone(),
            way_back: self.way_back.clone(),
            health: None,
            check: None,
            calls: self.tally.stats(),
            breaker: self.breaker(),
            limits: self.config.limits,
            unreturned: self
                .serving
                .as_ref()
                .and_then(|(instance, _)| instance.unreturned()),
            capabilities: manifest.capabilities.iter().map(shown).collect(),
            digest: self.plugin.digest(),
            origin: self.plugin.origin().to_owned(),
            generation: self.serving.as_ref().map(|(_, generation)| *generation),
            unload: self.unload.as_ref().map(|(_, verdict)| verdict.clone()),
            unload_generation: self.unload.as_ref().map(|(generation, _)| *generation),
            rollout: self.rollout(),
            barred: self.barred.clone(),
            process_changes: Vec::new(),
            unknown_manifest_fields: manifest.unknown.clone(),
            declared: manifest
                .declared()
                .into_iter()
                .map(|(label, text)| (label.to_owned(), text))
                .collect(),
        }
    }
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
