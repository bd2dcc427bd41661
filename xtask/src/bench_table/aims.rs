//! What the figures should come to, and whether they do. Here stand the aims; what was measured comes from the rows.

use super::figures::FigureRow;
use super::measured::Row;
use super::three_digits;
use std::fmt::Write;

struct Aim {
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    of: Of,
    /// What it comes to for who does no more than no host can do without, if a row shows that.
    least: Option<Of>,
    /// What else of the same run says where it comes from, each with its unit.
    beside: &'static [(&'static str, &'static str, Of)],
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Group and row.
type Place = (&'static str, &'static str);

#[derive(Clone, Copy)]
enum Of {
    /// One row's median, in nanoseconds.
    Median(Place),
    /// The same in milliseconds.
    MedianMs(Place),
    /// One row's median by another's.
    Ratio(Place, Place),
    /// One row's median less another's, in nanoseconds.
    Difference(Place, Place),
    Figure(Place, &'static str),
    FigureRatio(Place, Place, &'static str),
}

const MANY: &str = "probe, many instances";
const PACED: &str = "probe, once a second each";
const MEMORY: &str = "memory of an instance";
const PARTS: &str = "memory of an instance, by part";
const HEALTH: &str = "health: evidence, verdict, the minute's sums";
const CHECKED: &str = "health: what each check touches";
const INSTANCE: &str = "instance: settings, lanes, breaker";
const CALLS: &str = "instance: accounts of its calls";
const REST: &str = "names, tables by name and by token, room to grow";
const BYTES: &str = "bytes an instance";
const ACCOUNTS: &str = "accounting of a call";
const CALL: &str = "call, 8 bytes back";
const ONE_CORE: &str = "call, 8 bytes back, all threads on one core";
const READY: &str = "ready and stopped";
const THOUSANDS: Place = (READY, "10,000 instances of one library");
const ONE_LIBRARY: Place = (READY, "one library, loaded and unloaded again and again");
const LEAST_CYCLE: Place = (READY, "one library, the least of a load and an unload");
const BY_HAND: Place = (READY, "one library, loaded and unloaded by hand");
const RESOLVE: &str = "resolve, 1,000 plugins in 10 versions";
const ROUTE: &str = "route";
const SWAPS: &str = "2,000 calls a second, updates back and forth";
const THROUGH: Place = (SWAPS, "while versions are swapped");
const LOAD: &str = "µs a load, create and start, median";
const UNLOAD: &str = "µs an unload, median";
const LOADS: &str = "load and unload, bench-plugin";
const BARE_TIMED: Place = (MANY, "bare vtable call, timed");
const BARE_IN_TURN: Place = (MANY, "bare vtable call, timed, 10,000 instances in turn");
const BARE_COUNTED: Place = (ACCOUNTS, "bare vtable call");
const CPU: &str = "CPU, % of a core";
const CPU_A_PROBE: &str = "CPU a probe, µs";
const ENGINE: Place = (PACED, "engine, 10,000 instances");
const TASKS: Place = (PACED, "task and spawn_blocking each, 10,000 plugins");
const GRPC: Place = (PACED, "gRPC health over a Unix socket, 1,000 plugins");
const BY_TICKS: Place = (
    PACED,
    "a thread and a lane, bare calls of 10,000 instances, timed",
);
const LARGEST: Place = (PACED, "engine, 100,000 stand-ins");

static AIMS: [Aim; 22] = [
    Aim {
        what: "calls that fail while versions are swapped",
        bound: Bound::AtMost(0.0),
        unit: "",
        of: Of::Figure(THROUGH, "calls failed"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "a call while versions are swapped ÷ a call without, p99",
        bound: Bound::AtMost(2.0),
        unit: "",
        of: Of::FigureRatio(THROUGH, (SWAPS, "while one version serves"), "µs a call, p99"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "from the verdict on a bad version to its last call, p99",
        bound: Bound::AtMost(100.0),
        unit: " ms",
        of: Of::Figure(
            (SWAPS, "a version whose calls fail"),
            "ms from verdict to its last call, p99",
        ),
        least: None,
        beside: &[],
    },
    Aim {
        what: "1,000 plugins in 10 versions resolved",
        bound: Bound::AtMost(50.0),
        unit: " ms",
        of: Of::MedianMs((RESOLVE, "resolve them all")),
        least: None,
        beside: &[],
    },
    Aim {
        what: "a call by a host with one candidate, over the same instance's own",
        bound: Bound::AtMost(60.0),
        unit: " ns",
        of: Of::Difference(
            (ROUTE, "1 candidate"),
            (ROUTE, "an instance itself, beside 1 candidate"),
        ),
        least: None,
        beside: &[],
    },
    Aim {
        what: "a call's note in the crash journal",
        bound: Bound::AtMost(10.0),
        unit: " ns",
        of: Of::Difference(
            (CALL, "checked vtable call, in the crash journal"),
            (CALL, "checked vtable call"),
        ),
        least: None,
        beside: &[],
    },
    Aim {
        what: "10,000 instances of one library until ready",
        bound: Bound::AtMost(5_000.0),
        unit: " ms",
        of: Of::Figure(THOUSANDS, "ms until ready"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "10,000 instances of one library until stopped",
        bound: Bound::AtMost(5_000.0),
        unit: " ms",
        of: Of::Figure(THOUSANDS, "ms until stopped"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "libraries that stay resident when 200 are stopped at once",
        bound: Bound::AtMost(0.0),
        unit: "",
        of: Of::Figure((READY, "200 libraries"), "libraries resident"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "load, create and start of a small plugin in a host",
        bound: Bound::AtMost(650.0),
        unit: " µs",
        of: Of::Figure(ONE_LIBRARY, LOAD),
        least: Some(Of::Figure(LEAST_CYCLE, LOAD)),
        beside: &[
            (
                "without supervisor and registry",
                " µs",
                Of::Figure(BY_HAND, LOAD),
            ),
            (
                "copy to sealed memory",
                " ns",
                Of::Median((LOADS, "copy to sealed memory")),
            ),
        ],
    },
    Aim {
        what: "unload of a small plugin in a host",
        bound: Bound::AtMost(400.0),
        unit: " µs",
        of: Of::Figure(ONE_LIBRARY, UNLOAD),
        least: Some(Of::Figure(LEAST_CYCLE, UNLOAD)),
        beside: &[
            (
                "without supervisor and registry",
                " µs",
                Of::Figure(BY_HAND, UNLOAD),
            ),
            (
                "three threads, started and ended",
                " ns",
                Of::Median((LOADS, "three threads that do nothing, one after the other")),
            ),
        ],
    },
    Aim {
        what: "a probe all in, 10,000 instances, ÷ bare timed call",
        bound: Bound::AtMost(2.5),
        unit: "",
        of: Of::Ratio((MANY, "engine, 10,000 instances"), BARE_TIMED),
        least: Some(Of::Ratio(
            (MANY, "checked vtable call, one stamp, 10,000 instances in turn"),
            BARE_TIMED,
        )),
        beside: &[
            (
                "bare calls of 10,000 instances in turn, each timed",
                "",
                Of::Ratio(BARE_IN_TURN, BARE_TIMED),
            ),
            (
                "the engine with 1,000 instances, which fit the cache",
                "",
                Of::Ratio((MANY, "engine, 1,000 instances"), BARE_TIMED),
            ),
        ],
    },
    Aim {
        what: "CPU of 10,000 tasks with spawn_blocking ÷ CPU of the engine with 10,000, a probe",
        bound: Bound::AtLeast(40.0),
        unit: "",
        of: Of::FigureRatio(TASKS, ENGINE, CPU_A_PROBE),
        least: None,
        beside: &[
            ("engine, a probe", " µs", Of::Figure(ENGINE, CPU_A_PROBE)),
            (
                "a thread that ticks and one that only calls, a probe",
                " µs",
                Of::Figure(BY_TICKS, CPU_A_PROBE),
            ),
        ],
    },
    Aim {
        what: "CPU of gRPC health with 1,000 ÷ CPU of the engine with 10,000, a probe",
        bound: Bound::AtLeast(100.0),
        unit: "",
        of: Of::FigureRatio(GRPC, ENGINE, CPU_A_PROBE),
        least: None,
        beside: &[
            ("engine, a probe", " µs", Of::Figure(ENGINE, CPU_A_PROBE)),
            (
                "a thread that ticks and one that only calls, a probe",
                " µs",
                Of::Figure(BY_TICKS, CPU_A_PROBE),
            ),
        ],
    },
    Aim {
        what: "CPU of the engine with 100,000 at one probe a second",
        bound: Bound::AtMost(5.0),
        unit: " %",
        of: Of::Figure(LARGEST, CPU),
        least: None,
        beside: &[],
    },
    Aim {
        what: "lag of the engine with 100,000 at one probe a second, p99",
        bound: Bound::AtMost(20.0),
        unit: " ms",
        of: Of::Figure(LARGEST, "lag p99, ms"),
        least: None,
        beside: &[],
    },
    Aim {
        what: "memory of the engine for an instance, 10,000",
        bound: Bound::AtMost(1024.0),
        unit: " B",
        of: Of::Figure((MEMORY, "engine alone, 10,000 instances"), BYTES),
        least: None,
        beside: &[],
    },
    Aim {
        what: "memory of the engine for an instance, 100,000",
        bound: Bound::AtMost(1024.0),
        unit: " B",
        of: Of::Figure((MEMORY, "engine alone, 100,000 instances"), BYTES),
        least: None,
        beside: &[],
    },
    Aim {
        what: "memory of the whole host for an instance, 10,000",
        bound: Bound::AtMost(1024.0),
        unit: " B",
        of: Of::Figure((MEMORY, "engine and instance, 10,000 instances"), BYTES),
        least: None,
        beside: &[
            ("kept of its health", " B", Of::Figure((PARTS, HEALTH), BYTES)),
            (
                "what each check touches of that",
                " B",
                Of::Figure((PARTS, CHECKED), BYTES),
            ),
            (
                "settings, lanes, breaker",
                " B",
                Of::Figure((PARTS, INSTANCE), BYTES),
            ),
            ("accounts of calls", " B", Of::Figure((PARTS, CALLS), BYTES)),
            (
                "names, tables and room to grow",
                " B",
                Of::Figure((PARTS, REST), BYTES),
            ),
        ],
    },
    Aim {
        what: "call on an attached thread, accounting included, over the bare vtable call",
        bound: Bound::AtMost(100.0),
        unit: " ns",
        of: Of::Difference((ACCOUNTS, "instance, attached thread, counted"), BARE_COUNTED),
        least: Some(Of::Difference(
            (ACCOUNTS, "bare vtable call, two readings of the clock"),
            BARE_COUNTED,
        )),
        beside: &[
            (
                "accounts",
                " ns",
                Of::Median((ACCOUNTS, "accounts alone: begun, returned, ended")),
            ),
            (
                "checked and not counted, over the bare call",
                " ns",
                Of::Difference((ACCOUNTS, "checked vtable call, not counted"), BARE_COUNTED),
            ),
        ],
    },
    Aim {
        what: "call from async code through a lane ÷ a bare async hop, on one core",
        bound: Bound::AtMost(1.3),
        unit: "",
        of: Of::Ratio(
            (ONE_CORE, "instance, lane, current-thread runtime"),
            (ONE_CORE, "async hop, no call, current-thread runtime"),
        ),
        least: None,
        beside: &[],
    },
    Aim {
        what: "checked load + verified unload, its threads and hashing apart, ÷ dlopen + dlclose",
        bound: Bound::AtMost(3.0),
        unit: "",
        of: Of::Ratio(
            (LOADS, "checked load + verified unload, its threads apart"),
            (LOADS, "dlopen + dlclose"),
        ),
        least: Some(Of::Ratio(
            (
                LOADS,
                "dlopen, then dlclose, from sealed memory, on a thread each",
            ),
            (LOADS, "dlopen + dlclose"),
        )),
        beside: &[(
            "dlopen + dlclose, from sealed memory",
            "",
            Of::Ratio(
                (LOADS, "dlopen + dlclose, from sealed memory"),
                (LOADS, "dlopen + dlclose"),
            ),
        )],
    },
];

/// Rows of one bench.
pub(super) struct BenchRows {
    pub name: &'static str,
    rows: Vec<Place>,
}

impl BenchRows {
    /// Names these rows on the bench's command line: a regular expression, as criterion takes it. Others may be among them whose names are longer.
    pub(super) fn filter(&self) -> String {
        let row = |(group, name): &Place| format!("{group}/{name}").replace('+', ".");
        self.rows.iter().map(row).collect::<Vec<_>>().join("|")
    }
}

/// The benches that measure what the aims are about.
pub(super) fn benches_of_aims() -> Vec<BenchRows> {
    let of_aim = |aim: &'static Aim| {
        let beside = aim.beside.iter().map(|(_, _, of)| of);
        let all = beside.chain(&aim.least).chain(std::iter::once(&aim.of));
        all.flat_map(Of::places)
    };
    let mut benches: Vec<BenchRows> = Vec::new();
    for place in AIMS.iter().flat_map(of_aim) {
        let name = bench_of(place.0);
        match benches.iter_mut().find(|bench| bench.name == name) {
            Some(bench) if bench.rows.contains(&place) => {}
            Some(bench) => bench.rows.push(place),
            None => benches.push(BenchRows {
                name,
                rows: vec![place],
            }),
        }
    }
    benches
}

fn bench_of(group: &str) -> &'static str {
    match group {
        MANY => "probe_engine",
        PACED => "probe_paced",
        MEMORY | PARTS => "engine_memory",
        ACCOUNTS => "call_overhead",
        LOADS => "load",
        READY => "ready",
        RESOLVE => "resolve",
        ROUTE => "route",
        SWAPS => "swap",
        CALL | ONE_CORE => "call",
        other => panic!("no bench has the group {other}"),
    }
}

/// A table of the aims whose rows are there.
pub(super) fn aims(rows: &[Row], figures: &[FigureRow]) -> String {
    let mut text = String::new();
    for aim in &AIMS {
        let Some(value) = aim.of.value(rows, figures) else {
            continue;
        };
        let (word, bound, met) = match aim.bound {
            Bound::AtMost(bound) => ("≤", bound, value <= bound),
            Bound::AtLeast(bound) => ("≥", bound, value >= bound),
        };
        let (met, unit) = (if met { "met" } else { "**missed**" }, aim.unit);
        let (bound, value) = (three_digits(bound), three_digits(value));
        let least = aim.least.as_ref().and_then(|least| least.value(rows, figures));
        let least = least.map_or_else(String::new, |least| format!("{}{unit}", three_digits(least)));
        let beside = aim.beside.iter().filter_map(|(what, unit, of)| {
            let value = three_digits(of.value(rows, figures)?);
            Some(format!("{what}: {value}{unit}"))
        });
        let beside = beside.collect::<Vec<_>>().join("; ");
        let _ = writeln!(
            text,
            "| {} | {word} {bound}{unit} | {value}{unit} | {met} | {least} | {beside} |",
            aim.what
        );
    }
    if text.is_empty() {
        return text;
    }
    let head = "| | aim | measured | | the least | beside it |\n|---|---:|---:|---|---:|---|";
    format!("### aims\n\n{head}\n{text}\n")
}

impl Of {
    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let (one, other) = match *self {
            Of::Median(place) | Of::MedianMs(place) | Of::Figure(place, _) => (place, None),
            Of::Ratio(one, other) | Of::Difference(one, other) | Of::FigureRatio(one, other, _) => {
                (one, Some(other))
            }
        };
        std::iter::once(one).chain(other)
    }

    fn value(&self, rows: &[Row], figures: &[FigureRow]) -> Option<f64> {
        let median = |(group, name): Place| {
            let row = rows.iter().find(|row| row.group == group && row.name == name)?;
            Some(row.median_ns)
        };
        let figure = |(group, name): Place, what| {
            let row = figures
                .iter()
                .find(|row| row.group == group && row.name == name)?;
            row.figure(what)
        };
        match *self {
            Of::Median(place) => median(place),
            Of::MedianMs(place) => Some(median(place)? / 1e6),
            Of::Ratio(one, other) => Some(median(one)? / median(other)?),
            Of::Difference(one, other) => Some(median(one)? - median(other)?),
            Of::Figure(place, what) => figure(place, what),
            Of::FigureRatio(one, other, what) => Some(figure(one, what)? / figure(other, what)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn measured(cpu: f64) -> Vec<FigureRow> {
        vec![FigureRow {
            group: LARGEST.0.to_owned(),
            name: LARGEST.1.to_owned(),
            figures: vec![(CPU.to_owned(), cpu)],
            at: UNIX_EPOCH,
        }]
    }

    #[test]
    fn an_aim_is_told_when_its_row_was_measured_and_missed_when_it_is_over() {
        assert_eq!(aims(&[], &[]), "");
        for (cpu, ending) in [
            (5.0, "| ≤ 5.00 % | 5.00 % | met |  |  |"),
            (5.01, "| **missed** |  |  |"),
        ] {
            let text = aims(&[], &measured(cpu));
            let told: Vec<_> = text.lines().skip(4).filter(|line| !line.is_empty()).collect();
            assert_eq!(told.len(), 1);
            assert!(told[0].ends_with(ending), "{text}");
        }
    }

    #[test]
    fn what_the_aims_are_about_is_asked_of_the_benches_that_measure_it() {
        let benches = benches_of_aims();
        let filter = |name| benches.iter().find(|bench| bench.name == name).unwrap().filter();
        assert!(filter("load").contains("load and unload, bench-plugin/dlopen . dlclose|"));
        let places = filter("probe_engine");
        assert_eq!(places.matches("/bare vtable call, timed|").count(), 1, "{places}");
        assert_eq!(benches.iter().filter(|bench| bench.name == "call").count(), 1);
    }

    #[test]
    fn rows_are_compared_by_ratio_and_difference() {
        let row = |group: &str, name: &str, median_ns| Row {
            group: group.to_owned(),
            name: name.to_owned(),
            median_ns,
            interval_ns: (median_ns, median_ns),
            at: UNIX_EPOCH,
        };
        let mut rows = vec![
            row(MANY, "engine, 10,000 instances", 200.0),
            row(MANY, "bare vtable call, timed", 100.0),
            row(ACCOUNTS, "instance, attached thread, counted", 170.0),
            row(ACCOUNTS, "bare vtable call", 30.0),
        ];
        let text = aims(&rows, &[]);
        assert!(text.contains("| ≤ 2.50 | 2.00 | met |"), "{text}");
        assert!(text.contains("| ≤ 100 ns | 140 ns | **missed** |  |"), "{text}");
        let least = row(ACCOUNTS, "bare vtable call, two readings of the clock", 75.0);
        rows.push(least);
        let text = aims(&rows, &[]);
        assert!(
            text.contains("| ≤ 100 ns | 140 ns | **missed** | 45.0 ns |"),
            "{text}"
        );
    }
}
