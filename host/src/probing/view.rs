//! How instances are, for whoever looks. Looking asks nobody, and what is old is told as old.

use super::Engine;
use super::answers::{due, last};
use super::hot::{Hand, Hot};
use super::place::Place;
use extman_health::Moment;
use extman_model::clock;
use extman_model::{CheckView, Health, Judgement, Lifecycle};
use std::sync::Arc;
use std::time::Duration;

/// One instance as it is known at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// What it is held to be.
    pub judged: Judgement,
    /// For how long it has had this word.
    pub lasted: Duration,
    /// It counts for nothing in any sum.
    pub left_out: bool,
    /// Weighted share of changes among the last states, in thousandths.
    pub flapping_permille: u16,
    /// Failed checks in a row.
    pub failed_checks: u8,
    /// Smoothed time that its checks take.
    pub round_trip: Option<Duration>,
    /// Until it is asked next; absent while it is being asked, or is not asked at all.
    pub next_check: Option<Duration>,
    /// Its last hard states, the newest last.
    pub recent: Vec<Health>,
    /// How long its code ran in the last checks that came back, in nanoseconds, the newest last.
    pub trips_ns: Vec<u64>,
    /// What its last check came to.
    pub check: Option<CheckView>,
    /// What its last deep check said.
    pub deep_words: Option<String>,
}

impl Engine {
    /// One instance.
    pub fn view(&self, name: &str) -> Option<Seen> {
        let shard = self.shard();
        let (place, hot) = shard.place(shard.find(name)?)?;
        Some(seen(place, hot, clock::monotonic()))
    }

    /// All instances, in no order.
    pub fn views(&self) -> Vec<Seen> {
        let (shard, now) = (self.shard(), clock::monotonic());
        shard.all().map(|(place, hot)| seen(place, hot, now)).collect()
    }
}

fn seen(place: &Place, hot: &Hot, now: Moment) -> Seen {
    let mut course = place.course.clone();
    course.take_quiet(&mut hot.quiet.clone(), &hot.policy);
    let evaluation = course.evaluation();
    let due = due(place, hot).filter(|_| hot.hand == Hand::Free);
    Seen {
        name: place.name.clone(),
        lifecycle: evaluation.life(),
        judged: course.as_seen_at(now, &place.policy),
        lasted: now.since(evaluation.since()),
        left_out: evaluation.is_left_out(),
        flapping_permille: (evaluation.flap().ratio() * 1000.0).round() as u16,
        failed_checks: evaluation.failed_checks(),
        round_trip: course.round_trip().smoothed(),
        next_check: due.map(|due| due.since(now)),
        recent: evaluation.flap().states(),
        trips_ns: hot.trips.newest_last(),
        check: last(place, hot),
        deep_words: place.deep_words(),
    }
}
