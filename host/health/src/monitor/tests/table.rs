//! Every state with every evidence.

use super::*;
use extman_model::ErrorKind;

/// Something that is learned of an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Evidence {
    Life(Lifecycle, u64),
    /// A check of this generation has ended.
    Checked(u64, ResultWord),
    Pushed(u64, Health),
    /// So many calls succeeded, and then so many failed.
    Called(u64, u64, u64),
    /// The same, and a window has gone by before.
    Window(u64, u64),
    Deep(u64, ResultWord),
    Heap(u64, u64),
    Waited,
    Starved,
    Maintenance(bool),
    Suppressed(bool),
}

/// A monitor to which evidence is given without checks.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub monitor: Monitor,
    pub now: Moment,
    calls: Calls,
}

impl Judged {
    /// A running instance of generation 1.
    pub fn running() -> Self {
        Judged {
            monitor: super::running(),
            now: at(0),
            calls: Calls::default(),
        }
    }

    pub fn take(&mut self, evidence: Evidence) {
        let (now, policy, monitor) = (self.now, &policy(), &mut self.monitor);
        match evidence {
            Evidence::Life(state, generation) => {
                if generation != monitor.generation() || monitor.lifecycle() != Lifecycle::Running {
                    self.calls = Calls::default();
                }
                monitor.enter(now, state, generation, self.calls, policy);
            }
            Evidence::Checked(generation, result) => {
                if let Some(running) = monitor.running(generation) {
                    let is_result = running.observe_result(now, result, policy);
                    monitor.judge(now, policy, is_result);
                }
            }
            Evidence::Pushed(generation, health) => monitor.pushed(now, generation, health, policy),
            Evidence::Called(generation, succeeded, failed) => {
                if monitor.running(generation).is_none() {
                    return;
                }
                self.calls.ended += succeeded + failed;
                self.calls.blamed += failed;
                let run = if succeeded > 0 { 0 } else { self.calls.failed_run };
                self.calls.failed_run = run + failed as u32;
                monitor.called(now, generation, self.calls, policy);
            }
            Evidence::Window(succeeded, failed) => {
                self.now = now.after(policy.calls.window);
                self.take(Evidence::Called(1, succeeded, failed));
            }
            Evidence::Deep(generation, result) => monitor.deep_ended(now, generation, result, policy),
            Evidence::Heap(generation, bytes) => monitor.reported(now, generation, &heap(bytes), policy),
            Evidence::Waited => {
                if let Some(running) = monitor.running(monitor.generation) {
                    running.doubt = running.doubt_at(now, true, policy);
                    monitor.judge(now, policy, false);
                }
            }
            Evidence::Starved => monitor.host_stalled(now, policy.idle_interval, policy),
            Evidence::Maintenance(on) => monitor.maintain(now, on, policy),
            Evidence::Suppressed(on) => monitor.suppress(now, on, policy),
        }
    }
}

/// A report of so much heap, of 1000 bytes.
fn heap(bytes: u64) -> Report {
    Report {
        heap_bytes: Some(bytes),
        heap_limit_bytes: Some(1000),
        ..Report::default()
    }
}

/// What comes of these, a second apart.
fn after(evidence: &[Evidence]) -> Judgement {
    let mut judged = Judged::running();
    for evidence in evidence {
        judged.now = judged.now.after(Duration::from_secs(1));
        judged.take(*evidence);
    }
    judged.monitor.judged()
}

fn checked(result: ResultWord) -> Evidence {
    Evidence::Checked(1, result)
}

fn said(health: Health) -> Evidence {
    checked(ResultWord::Said(Some(health)))
}

const BAD: ResultWord = ResultWord::TimedOut;

fn assert_verdicts(cases: &[(&[Evidence], Health, Cause)]) {
    for (evidence, health, cause) in cases {
        let judged = after(evidence);
        assert_eq!((judged.health, judged.cause), (*health, *cause), "{evidence:?}");
    }
}

#[test]
fn results_of_checks_lead_to_verdicts() {
    use Health::{Degraded, Down, Unknown, Up};
    let (good, bad) = (checked(GOOD), checked(BAD));
    let silent = checked(ResultWord::Said(None));
    let failing = checked(ResultWord::Failed(ErrorKind::Internal));
    let limited = checked(ResultWord::Failed(ErrorKind::RateLimited));
    let fails = Cause::CheckFails(ErrorKind::Internal);
    let late = checked(ResultWord::HostLate);
    assert_verdicts(&[
        (&[], Unknown, Cause::NotChecked),
        (&[good], Up, Cause::Answers),
        (&[silent], Up, Cause::Answers),
        (&[bad, bad], Unknown, Cause::CheckTimesOut),
        (&[bad, bad, bad], Down, Cause::CheckTimesOut),
        (&[good, bad, bad], Up, Cause::Answers),
        (&[good, bad, bad, good, bad, bad], Up, Cause::Answers),
        (&[good, bad, bad, bad], Down, Cause::CheckTimesOut),
        (&[good, bad, bad, failing], Down, fails),
        (&[bad, bad, bad, good], Down, Cause::CheckTimesOut),
        (&[bad, bad, bad, good, good], Up, Cause::Answers),
        (&[said(Degraded)], Degraded, Cause::SaysDegraded),
        (&[good, said(Degraded), said(Degraded)], Up, Cause::Answers),
        (
            &[good, said(Degraded), said(Degraded), said(Degraded)],
            Degraded,
            Cause::SaysDegraded,
        ),
        (&[limited], Degraded, Cause::CheckFails(ErrorKind::RateLimited)),
        (&[good, said(Down), said(Down), said(Down)], Down, Cause::SaysDown),
        (&[good, said(Unknown)], Unknown, Cause::SaysUnknown),
        (&[good, said(Unknown), good], Up, Cause::Answers),
        (&[bad, bad, bad, said(Unknown)], Down, Cause::CheckTimesOut),
        (&[good, Evidence::Pushed(1, Degraded)], Up, Cause::Answers),
        // The reason belongs to the word.
        (&[good, bad, bad, bad, said(Degraded)], Down, Cause::CheckTimesOut),
        (
            &[good, said(Degraded), said(Degraded), said(Degraded), bad],
            Degraded,
            Cause::SaysDegraded,
        ),
        // What is nobody's fault is nobody's failure.
        (&[good, late, late, late], Up, Cause::Answers),
        (&[good, bad, bad, late], Up, Cause::Answers),
        (&[good, checked(ResultWord::Busy)], Up, Cause::Answers),
        (
            &[good, checked(ResultWord::Failed(ErrorKind::Cancelled))],
            Up,
            Cause::Answers,
        ),
    ]);
}

#[test]
fn calls_lead_to_verdicts_beside_checks_and_against_them() {
    use Health::{Degraded, Down, Up};
    let (good, bad) = (checked(GOOD), checked(BAD));
    let window = Evidence::Window;
    // More than half of them fail, the last one succeeds.
    let (half, well) = (window(3, 4), window(9, 0));
    let half = |count| [&[good][..], &[half, Evidence::Called(1, 1, 0)].repeat(count)].concat();
    let then = |before: Vec<Evidence>, more: &[Evidence]| [&before[..], more].concat();
    let disagree = Cause::ChecksSucceedCallsFail;
    assert_verdicts(&[
        (&[good, window(95, 5)], Up, Cause::Answers),
        (
            &[good, window(90, 10), Evidence::Called(1, 1, 0)],
            Degraded,
            disagree,
        ),
        (&[good, window(3, 1)], Up, Cause::Answers),
        (&[good, window(4, 1)], Up, Cause::Answers),
        (&[good, window(4, 2)], Degraded, disagree),
        (&[good, window(0, 2)], Up, Cause::Answers),
        (&[good, window(0, 3)], Degraded, disagree),
        (&[good, window(0, 5)], Down, disagree),
        (&[window(0, 9)], Down, Cause::CallsFail),
        (&[well], Up, Cause::CallsSucceed),
        (&half(1), Degraded, disagree),
        (&half(2), Degraded, disagree),
        (&half(3), Down, disagree),
        (&then(half(1), &[well]), Degraded, disagree),
        (&then(half(1), &[well, well]), Up, Cause::Answers),
        (&then(half(1), &[window(0, 0), window(0, 0)]), Degraded, disagree),
        // Of calls that go on succeeding, a few that fail one after the other are no more than their share.
        (&[good, window(100, 5)], Up, Cause::Answers),
        (&[good, window(20, 5)], Degraded, disagree),
        (
            &[good, well, bad, bad, bad],
            Degraded,
            Cause::ChecksFailCallsSucceed,
        ),
        (
            &[good, window(9, 1), Evidence::Called(1, 0, 1), bad, bad, bad],
            Degraded,
            Cause::ChecksFailCallsSucceed,
        ),
        (&[good, window(0, 9), bad, bad, bad], Down, Cause::CheckTimesOut),
    ]);
}

#[test]
fn doubt_and_life_lead_to_verdicts() {
    use Health::{Down, Unknown, Up};
    let (good, bad) = (checked(GOOD), checked(BAD));
    let life = Evidence::Life;
    let of_life = Cause::Lifecycle;
    assert_verdicts(&[
        (&[good, Evidence::Starved], Unknown, Cause::HostStarved),
        (&[good, Evidence::Starved, good], Up, Cause::Answers),
        (&[good, Evidence::Starved, bad], Unknown, Cause::CheckTimesOut),
        (
            &[good, Evidence::Starved, bad, bad, bad],
            Down,
            Cause::CheckTimesOut,
        ),
        (&[good, Evidence::Waited], Up, Cause::Answers),
        (&[good, Evidence::Maintenance(true)], Up, Cause::Answers),
        (
            &[good, life(Lifecycle::Wedged, 1)],
            Down,
            of_life(Lifecycle::Wedged),
        ),
        (
            &[good, life(Lifecycle::Failed, 1), good, good],
            Down,
            of_life(Lifecycle::Failed),
        ),
        (
            &[good, life(Lifecycle::Stopped, 1)],
            Unknown,
            of_life(Lifecycle::Stopped),
        ),
        (
            &[bad, bad, bad, life(Lifecycle::Running, 2)],
            Unknown,
            Cause::NotChecked,
        ),
        (
            &[bad, bad, bad, life(Lifecycle::Running, 1)],
            Down,
            Cause::CheckTimesOut,
        ),
    ]);
}

#[test]
fn heap_near_its_limit_degrades_what_is_up_and_nothing_else() {
    use Health::{Degraded, Down, Unknown};
    let near = [Evidence::Heap(1, 950); 3];
    for (before, expected) in [
        (&[said(Health::Up)][..], (Degraded, Cause::HeapNearLimit)),
        (&[], (Unknown, Cause::NotChecked)),
        (&[said(Degraded); 3], (Degraded, Cause::SaysDegraded)),
        (&[said(Down); 3], (Down, Cause::SaysDown)),
        (&[checked(BAD); 3], (Down, Cause::CheckTimesOut)),
        (&[said(Health::Up), said(Unknown)], (Unknown, Cause::SaysUnknown)),
        (&[Evidence::Window(0, 10)], (Down, Cause::CallsFail)),
        (
            &[said(Health::Up), Evidence::Starved],
            (Unknown, Cause::HostStarved),
        ),
    ] {
        for evidence in [[before, &near].concat(), [&near, before].concat()] {
            let judged = after(&evidence);
            assert_eq!((judged.health, judged.cause), expected, "{evidence:?}");
        }
    }
    let up = said(Health::Up);
    let full = [&[up][..], &[Evidence::Heap(1, 5000); 100]].concat();
    assert_eq!(after(&full).health, Degraded);
    let shrunk = [&full[..], &[Evidence::Heap(1, 100); 2]].concat();
    assert_eq!(after(&shrunk).cause, Cause::Answers);
    let another = [&full[..], &[Evidence::Life(Lifecycle::Running, 2)]].concat();
    assert_eq!(after(&another).cause, Cause::NotChecked);
    let stale = [&[up][..], &[Evidence::Heap(7, 950); 3]].concat();
    assert_eq!(after(&stale).health, Health::Up, "another generation's heap");
}

#[test]
fn life_decides_alone_while_an_instance_does_not_run() {
    use Lifecycle as L;
    let states = [
        L::Discovered,
        L::Verified,
        L::Waiting,
        L::Starting,
        L::Running,
        L::Draining,
        L::Stopped,
        L::Failed,
        L::Backoff,
        L::Quarantined,
        L::Wedged,
    ];
    let evidence = [
        checked(GOOD),
        checked(BAD),
        said(Health::Degraded),
        checked(ResultWord::Busy),
        checked(ResultWord::HostLate),
        Evidence::Window(9, 0),
        Evidence::Window(0, 9),
        Evidence::Waited,
        Evidence::Starved,
        Evidence::Maintenance(true),
        Evidence::Pushed(1, Health::Down),
    ];
    for state in states {
        for seen in evidence {
            let mut judged = Judged::running();
            judged.take(Evidence::Life(state, 1));
            for _ in 2..9 {
                judged.now = judged.now.after(Duration::from_secs(60));
                judged.take(seen);
            }
            let (verdict, monitor) = (judged.monitor.judged(), &judged.monitor);
            let down = matches!(state, L::Wedged | L::Failed | L::Backoff | L::Quarantined);
            if state != L::Running {
                let health = if down { Health::Down } else { Health::Unknown };
                let expected = (health, Cause::Lifecycle(state));
                assert_eq!((verdict.health, verdict.cause), expected, "{state:?} {seen:?}");
            }
            assert_eq!(verdict.flags.maintenance, seen == Evidence::Maintenance(true));
            let idle = matches!(state, L::Stopped | L::Draining | L::Discovered | L::Verified);
            assert_eq!(monitor.is_excluded(), verdict.flags.maintenance || idle);
        }
    }
}

#[test]
fn what_requires_one_that_is_down_is_no_better_than_degraded_and_is_as_it_was_afterwards() {
    let mut judged = Judged::running();
    let cycle = |judged: &mut Judged, result, cause| {
        judged.now = judged.now.after(Duration::from_secs(10));
        judged.take(checked(result));
        let verdict = judged.monitor.judged();
        assert_eq!((verdict.health, verdict.cause), cause, "{result:?}");
        assert!(!verdict.flags.flapping);
    };
    let up = (Health::Up, Cause::Answers);
    cycle(&mut judged, GOOD, up);
    for _ in 0..30 {
        judged.take(Evidence::Suppressed(true));
        assert!(judged.monitor.judged().flags.suppressed);
        cycle(&mut judged, GOOD, (Health::Degraded, Cause::DependencyDown));
        judged.take(Evidence::Suppressed(false));
        cycle(&mut judged, GOOD, up);
    }
    judged.take(Evidence::Suppressed(true));
    for _ in 1..policy().fall {
        judged.take(checked(BAD));
    }
    cycle(&mut judged, BAD, (Health::Down, Cause::CheckTimesOut));
}

#[test]
fn instance_that_waits_is_down_only_if_what_it_waits_for_is() {
    let mut judged = Judged::running();
    judged.take(Evidence::Life(Lifecycle::Waiting, 1));
    let verdict = |judged: &Judged| (judged.monitor.judged().health, judged.monitor.judged().cause);
    let waits = (Health::Unknown, Cause::Lifecycle(Lifecycle::Waiting));
    assert_eq!(verdict(&judged), waits);
    judged.take(Evidence::Suppressed(true));
    assert_eq!(verdict(&judged), (Health::Down, Cause::DependencyDown));
    judged.take(Evidence::Suppressed(false));
    assert_eq!(verdict(&judged), waits);
}

#[test]
fn no_result_for_three_intervals_is_unknown_until_the_next() {
    let mut judged = Judged::running();
    judged.now = at(1_000);
    judged.take(checked(GOOD));
    judged.now = at(31_000);
    judged.take(Evidence::Waited);
    assert_eq!(judged.monitor.judged().health, Health::Up);
    judged.now = at(31_001);
    judged.take(Evidence::Waited);
    let verdict = judged.monitor.judged();
    assert_eq!(
        (verdict.health, verdict.cause, verdict.flags.stale),
        (Health::Unknown, Cause::Stale, true)
    );
    assert_eq!(judged.monitor.since(), at(31_001));
    judged.now = at(40_000);
    judged.take(checked(GOOD));
    let verdict = judged.monitor.judged();
    assert_eq!((verdict.health, verdict.flags.stale), (Health::Up, false));
}

#[test]
fn busy_instance_is_up_and_busy_for_as_long_as_it_is() {
    let mut judged = Judged::running();
    judged.take(checked(GOOD));
    for _ in 0..60 {
        judged.now = judged.now.after(Duration::from_secs(10));
        judged.take(checked(ResultWord::Busy));
        judged.take(Evidence::Waited);
        let verdict = judged.monitor.judged();
        assert_eq!((verdict.health, verdict.flags.busy), (Health::Up, true));
    }
}

/// Checks that fail at these seconds; calls that succeed at those. Gives the cause at each check.
fn causes(calls: &[u64], checks: &[u64]) -> Vec<Cause> {
    let mut judged = Judged::running();
    let mut causes = Vec::new();
    for second in 1..=*checks.last().unwrap() {
        judged.now = at(second * 1000);
        if calls.contains(&second) {
            judged.take(Evidence::Called(1, 9, 0));
        }
        if second + 5 == checks[0] {
            judged.take(checked(ResultWord::Busy));
        }
        let before = judged.monitor.judged().health;
        if checks.contains(&second) {
            judged.take(checked(BAD));
            causes.push(judged.monitor.judged().cause);
        } else {
            judged.take(Evidence::Waited);
            let fell = before != Health::Down && judged.monitor.judged().health == Health::Down;
            assert!(!fell, "down by time alone, in second {second}");
        }
    }
    causes
}

#[test]
fn successes_from_before_the_silence_speak_for_it_no_longer_than_an_interval() {
    use Cause::{CallsSucceed, CheckTimesOut, ChecksFailCallsSucceed};
    // It hung right after a call: the third failure is within an interval of it, the fourth is not.
    assert_eq!(
        causes(&[49], &[50, 52, 54, 64]),
        [CallsSucceed, CallsSucceed, ChecksFailCallsSucceed, CheckTimesOut]
    );
    // Long before: nothing speaks for it.
    assert_eq!(causes(&[30], &[50, 52, 54])[2], CheckTimesOut);
    // Calls that go on succeeding do.
    let often: Vec<u64> = (1..200).step_by(15).collect();
    let after = causes(&often, &[50, 52, 54, 64, 74, 84, 94, 104]);
    assert!(
        after[2..].iter().all(|cause| *cause == ChecksFailCallsSucceed),
        "{after:?}"
    );
}

#[test]
fn change_that_is_not_yet_believed_is_soft() {
    let (good, bad) = (checked(GOOD), checked(BAD));
    assert!(after(&[good, bad]).flags.soft);
    assert!(!after(&[good, bad, good]).flags.soft);
    assert!(after(&[bad, bad, bad, good]).flags.soft);
}
