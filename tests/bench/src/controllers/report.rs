//! The table, and the figures as `name = value`.

use portolan_bench::{median, quantile};

use super::roll::Rolled;
use super::start::{Adoption, Start};
use super::{Controllers, Side};

/// Upstream's cost of a pod's event among 5,000 Services of its namespace, in µs: its code in memory with Go's own
/// benchmark, on two cores of the kind that these goals were set on.
const UPSTREAM_MATCH_US: f64 = 975.0;

/// What was measured, by side.
#[derive(Default)]
pub(super) struct Report {
    pub(super) starts: [Vec<Start>; 2],
    /// Seconds that the API server takes for what a start writes.
    pub(super) floors: Vec<f64>,
    pub(super) adoptions: [Vec<Adoption>; 2],
    pub(super) rolls: [Vec<Rolled>; 2],
    /// Seconds of each flip.
    pub(super) flips: [Vec<f64>; 2],
}

/// A line of the table, and perhaps of the figures.
struct Row {
    work: String,
    what: &'static str,
    upstream: Option<f64>,
    ours: f64,
    goal: &'static str,
    /// Name of the figure, and whether that is the ratio to upstream or our own value.
    figure: (&'static str, Figure),
}

enum Figure {
    Ratio,
    Own,
}

impl Report {
    pub(super) fn print(&self, args: &Controllers) {
        let rows = self.rows(args);
        println!("{:<52} {:<22} {:>10} {:>10} {:>8}  goal", "work", "what", "upstream", "ours", "ratio");
        for row in &rows {
            let upstream = row.upstream.map_or("-".to_owned(), |value| format!("{value:.3}"));
            let ratio = row.ratio().map_or("-".to_owned(), |value| format!("{value:.3}"));
            println!(
                "{:<52} {:<22} {upstream:>10} {:>10.3} {ratio:>8}  {}",
                row.work, row.what, row.ours, row.goal
            );
        }
        for row in &rows {
            let value = match row.figure.1 {
                Figure::Ratio => row.ratio(),
                Figure::Own => Some(row.ours),
            };
            if let Some(value) = value {
                println!("{} = {value:.3}", row.figure.0);
            }
        }
    }

    fn rows(&self, args: &Controllers) -> Vec<Row> {
        let ratio = |work: &str, what, [ours, upstream]: [f64; 2], goal, name| Row {
            work: work.to_owned(),
            what,
            upstream: Some(upstream),
            ours,
            goal,
            figure: (name, Figure::Ratio),
        };
        let own = |work: &str, what, ours, upstream, goal, name| Row {
            work: work.to_owned(),
            what,
            upstream,
            ours,
            goal,
            figure: (name, Figure::Own),
        };
        let (services, pods) = (args.shape.services, args.shape.endpoints);
        let start = &format!("start, {} Services × {pods} pods, nothing written", args.start_services);
        let adopt = "start, the same, everything right";
        let roll = &format!("roll, {services} Services × {pods} pods, {} replaced", args.roll.replacements);
        let flip = &format!("flip of one pod, the same cluster idle, {} times", self.flips[0].len());
        let [flips, theirs] = self.flips.clone().map(|mut flips| {
            flips.sort_by(f64::total_cmp);
            [0.50, 0.99].map(|share| quantile(&flips, share) * 1e3)
        });
        let adopted = medians(&self.adoptions, |adopted| adopted.writes);
        vec![
            ratio(start, "wall, s", medians(&self.starts, |start| start.wall), "≤ 1/3", "start.wall_ratio"),
            own(
                "the same objects, sent by a client without work",
                "wall, s",
                median(self.floors.clone()),
                None,
                "",
                "start.floor_s",
            ),
            ratio(start, "CPU, s", medians(&self.starts, |start| start.cpu), "≤ 1/8", "start.cpu_ratio"),
            ratio(
                start,
                "CPU of API server, s",
                medians(&self.starts, |start| start.server_cpu),
                "",
                "start.server_cpu_ratio",
            ),
            ratio(
                start,
                "collections of API server",
                medians(&self.starts, |start| start.collections),
                "",
                "start.server_collections_ratio",
            ),
            ratio(
                start,
                "peak memory, MB",
                medians(&self.starts, |start| start.peak_mb),
                "≤ 1/8",
                "start.memory_ratio",
            ),
            ratio(
                adopt,
                "CPU, s",
                medians(&self.adoptions, |adopted| adopted.cpu),
                "≤ 1/10",
                "adopt.cpu_ratio",
            ),
            own(adopt, "writes", adopted[0], Some(adopted[1]), "0", "adopt.writes"),
            ratio(roll, "CPU, s", medians(&self.rolls, |roll| roll.cpu), "≤ 1/8", "roll.cpu_ratio"),
            ratio(roll, "writes", medians(&self.rolls, |roll| roll.writes), "≤ 1", "roll.writes_ratio"),
            ratio(roll, "p50, ms", medians(&self.rolls, |roll| roll.p50 * 1e3), "", "roll.p50_ratio"),
            ratio(roll, "p99, ms", medians(&self.rolls, |roll| roll.p99 * 1e3), "≤ 1/2", "roll.p99_ratio"),
            own(flip, "p50, ms", flips[0], Some(theirs[0]), "≤ 5", "flip.p50_ms"),
            own(flip, "p99, ms", flips[1], Some(theirs[1]), "≤ 20", "flip.p99_ms"),
            own(
                "a pod's event, 5,000 Services in its namespace",
                "CPU, µs",
                args.match_us,
                Some(UPSTREAM_MATCH_US),
                "≤ 10",
                "match.us",
            ),
            own(
                "150,000 pods and 10,000 Services held",
                "peak memory, MB",
                args.held_mb,
                None,
                "≤ 200",
                "held.mb",
            ),
        ]
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.upstream.filter(|upstream| *upstream > 0.0).map(|upstream| self.ours / upstream)
    }
}

/// Of both sides, ours first.
fn medians<T>(measured: &[Vec<T>; 2], value: impl Fn(&T) -> f64) -> [f64; 2] {
    Side::BOTH.map(|side| median(measured[side as usize].iter().map(&value).collect()))
}
