//! The tables of a study.

use scant_metrics::Metric;
use scant_metrics::study::{Estimate, PairedDifference};

use super::findings::{Findings, METRICS};
use super::words::{self, corrected, p_text, signed};
use crate::metric_words::{digits, label};
use crate::numbers;
use crate::tables::{Cell, Head, Row, Table, interval_text};

/// The tables that answer the question: means and paired differences.
pub(super) fn main(f: &Findings<'_>) -> Vec<Table> {
    filled([Some(means(f, METRICS[0])), differences(f)])
}

/// What else was asked: areas, worst-off cases, noise.
pub(super) fn further(f: &Findings<'_>) -> Vec<Table> {
    filled([areas(f), worst_off(f), drops(f)])
}

/// Other metrics, and the published test.
pub(super) fn beside(f: &Findings<'_>) -> Vec<Table> {
    let others = METRICS[1..].iter().map(|m| Some(means(f, *m)));
    filled(others.chain([published(f)]))
}

fn filled(tables: impl IntoIterator<Item = Option<Table>>) -> Vec<Table> {
    tables.into_iter().flatten().filter(|t| !t.rows.is_empty()).collect()
}

fn method_name(f: &Findings<'_>, method: usize) -> Cell {
    let reference = Some(method) == f.reference;
    Cell::with_sub(&f.methods[method], if reference { "reference" } else { "" })
}

/// Methods by points: mean over seeds with its interval.
pub(super) fn means(f: &Findings<'_>, metric: Metric) -> Table {
    let mut head = vec![Head::new("method")];
    head.extend(f.points.iter().map(|p| Head::new(&p.label)));
    let d = digits(metric);
    let cell = |method: usize, point: usize| {
        let Some(mean) = f.row(method, point, metric).and_then(|r| r.mean.as_ref()) else {
            return Cell::new(numbers::ABSENT);
        };
        Cell {
            text: numbers::fixed(mean.value, d),
            sub: interval_text(mean.interval, d),
            of: numbers::plural(mean.seeds(), "seed", "seeds"),
            class: "",
            help: seeds_words(mean, d),
        }
    };
    let rows = (0..f.methods.len())
        .filter(|m| (0..f.points.len()).any(|p| f.row(*m, p, metric).is_some()))
        .map(|m| {
            let mut cells = vec![method_name(f, m)];
            cells.extend((0..f.points.len()).map(|p| cell(m, p)));
            Row { class: "", cells }
        })
        .collect();
    let better = if metric.higher_is_better() { "higher" } else { "lower" };
    Table {
        caption: format!("Mean {} of every method ({better} is better)", label(metric)),
        head,
        rows,
        notes: vec!["Below the mean its interval, which holds the luck of seeds and patients; methods \
                     are compared in the table of paired differences, not by whether these intervals \
                     overlap."
            .into()],
    }
}

/// `seed 1: 0.812, seed 2: 0.799`.
fn seeds_words(estimate: &Estimate, digits: usize) -> String {
    let words: Vec<String> = estimate
        .by_seed
        .iter()
        .map(|(seed, v)| format!("seed {seed}: {}", numbers::fixed(*v, digits)))
        .collect();
    words.join(", ")
}

fn sample(e: &Estimate) -> Cell {
    Cell::with_sub(
        numbers::count(e.seeds() as u64),
        format!(
            "{} groups, {} cases",
            numbers::count(e.groups as u64),
            numbers::count(e.cases as u64)
        ),
    )
}

fn difference_cell(e: &Estimate, digits: usize, shown: bool) -> Cell {
    Cell {
        text: signed(e.value, digits),
        sub: interval_text(e.interval, digits),
        of: String::new(),
        class: if shown { "shown" } else { "" },
        help: seeds_words(e, digits),
    }
}

fn bound(value: Option<f64>, digits: usize) -> Cell {
    Cell::new(value.map_or_else(|| numbers::ABSENT.into(), |v| signed(v, digits)))
}

/// Every method against the reference at every point, in the headline metric.
fn differences(f: &Findings<'_>) -> Option<Table> {
    let reference = &f.methods[f.reference?];
    let metric = METRICS[0];
    let rows = f
        .rows
        .iter()
        .filter(|r| r.metric == metric)
        .filter_map(|r| {
            let d: &PairedDifference = r.difference.as_ref()?;
            let tests = d.tests;
            let mut cells = vec![
                Cell::with_sub(&f.methods[r.method], &f.points[r.point].label),
                difference_cell(&d.difference, 4, words::shown(&d.difference, tests)),
                bound(d.difference.at_least, 4),
                Cell::new(p_text(corrected(tests))),
                Cell::new(p_text(tests.and_then(|t| t.two_way).map(|t| t.p))),
                Cell::new(p_text(tests.and_then(|t| t.flips).map(|t| t.p))),
                Cell::new(p_text(tests.and_then(|t| t.wilcoxon).map(|t| t.p))),
                sample(&d.difference),
            ];
            cells.push(Cell::count(d.unpaired + d.undefined, false));
            Some(Row { class: "", cells })
        })
        .collect();
    Some(Table {
        caption: format!("Paired differences in {} to {reference}", label(metric)),
        head: vec![
            Head::with_sub("method", "point"),
            Head::with_sub("difference", "interval"),
            Head {
                help: "with the confidence of the intervals, the difference is above this".into(),
                ..Head::with_sub("at least", "one-sided")
            },
            Head::with_sub("p", "corrected"),
            Head::with_sub("p", "seeds and groups"),
            Head::with_sub("p", "sign flips"),
            Head::with_sub("p", "Wilcoxon"),
            Head::with_sub("seeds", "groups, cases"),
            Head {
                help: "cases of only one of two runs, or without a value in one of them".into(),
                ..Head::with_sub("left out", "cases")
            },
        ],
        rows,
        notes: vec![
            "Bold where the interval leaves out 0 and the corrected p is below 0.05. Corrected over all \
             rows of this table; p-values beside it are not corrected."
                .into(),
        ],
    })
}

fn areas(f: &Findings<'_>) -> Option<Table> {
    let reference = f.reference.map(|r| f.methods[r].clone())?;
    let rows = f
        .areas
        .iter()
        .filter_map(|r| {
            let area = r.area.as_ref()?;
            let mut name = method_name(f, r.method);
            if !r.slice.is_empty() {
                name.sub = r.slice.clone();
            }
            let mut cells = vec![
                name,
                Cell {
                    help: seeds_words(area, 3),
                    ..Cell::with_sub(numbers::fixed(area.value, 3), interval_text(area.interval, 3))
                },
            ];
            match &r.difference {
                Some(d) => cells.extend([
                    difference_cell(&d.difference, 4, words::shown(&d.difference, d.tests)),
                    bound(d.difference.at_least, 4),
                    Cell::new(p_text(corrected(d.tests))),
                    sample(&d.difference),
                ]),
                None => {
                    cells.extend((0..3).map(|_| Cell::new(numbers::ABSENT)));
                    cells.push(sample(area));
                }
            }
            Some(Row { class: "", cells })
        })
        .collect();
    Some(Table {
        caption: "Area under Dice over fraction".into(),
        head: vec![
            Head::new("method"),
            Head::with_sub("area", "interval"),
            Head::with_sub(format!("difference to {reference}"), "interval"),
            Head::with_sub("at least", "one-sided"),
            Head::with_sub("p", "corrected"),
            Head::with_sub("seeds", "groups, cases"),
        ],
        rows,
        notes: vec![
            "Trapezoids over the actual fractions, divided by their range; only seeds with every \
                     fraction."
                .into(),
        ],
    })
}

fn worst_off(f: &Findings<'_>) -> Option<Table> {
    let reference = f.reference.map(|r| f.methods[r].clone())?;
    let cells = |d: Option<&PairedDifference>| -> Vec<Cell> {
        let Some(d) = d else {
            return (0..3).map(|_| Cell::new(numbers::ABSENT)).collect();
        };
        vec![
            Cell::with_sub(
                format!(
                    "{} → {}",
                    numbers::fixed(d.mean_reference, 3),
                    numbers::fixed(d.mean_method, 3)
                ),
                numbers::plural(d.difference.cases, "case", "cases"),
            ),
            difference_cell(&d.difference, 3, words::shown(&d.difference, d.tests)),
            Cell::new(p_text(corrected(d.tests))),
        ]
    };
    let rows = f
        .worst
        .iter()
        .map(|r| {
            let mut row = vec![Cell::with_sub(&f.methods[r.method], &f.points[r.point].label)];
            row.push(Cell::new(numbers::fixed_opt(r.found.threshold, 3)));
            row.extend(cells(r.found.by_same_run.as_ref()));
            row.extend(cells(r.found.by_other_seeds.as_ref()));
            Row { class: "", cells: row }
        })
        .collect();
    Some(Table {
        caption: format!("Worst-off quarter of the cases of {reference}"),
        head: vec![
            Head::with_sub("method", "point"),
            Head::with_sub("threshold", "highest Dice chosen"),
            Head::with_sub(format!("{reference} → method"), "ranked by the same run"),
            Head::with_sub("difference", "flattered"),
            Head::with_sub("p", "corrected"),
            Head::with_sub(format!("{reference} → method"), "ranked by other seeds"),
            Head::with_sub("difference", "interval"),
            Head::with_sub("p", "corrected"),
        ],
        rows,
        notes: vec![
            "Ranked by the same run, as published, the first difference favours every other method by \
             regression to the mean: the cases were chosen because that run did badly on them. The second \
             is over cases that some other seed tested too, chosen by the runs of those seeds; a dash where \
             no case was tested twice."
                .into(),
        ],
    })
}

fn drops(f: &Findings<'_>) -> Option<Table> {
    let reference = f.reference?;
    let rows = f
        .drops
        .iter()
        .map(|r| {
            let d = &r.found;
            let mut cells = vec![
                Cell::with_sub(&f.methods[r.method], &f.points[r.point].label),
                Cell {
                    help: seeds_words(&d.method, 3),
                    ..Cell::with_sub(
                        numbers::fixed(d.method.value, 3),
                        interval_text(d.method.interval, 3),
                    )
                },
            ];
            if r.method == reference {
                cells.extend((0..4).map(|_| Cell::new(numbers::ABSENT)));
            } else {
                cells.extend([
                    Cell::with_sub(numbers::fixed_opt(d.ratio, 2), interval_text(d.interval, 2)),
                    Cell::new(numbers::fixed_opt(d.at_most, 2)),
                    difference_cell(&d.difference, 3, words::shown(&d.difference, d.tests)),
                    Cell::new(p_text(corrected(d.tests))),
                ]);
            }
            cells.push(sample(&d.method));
            Row { class: "", cells }
        })
        .collect();
    let name = &f.methods[reference];
    Some(Table {
        caption: "Loss of Dice to noise".into(),
        head: vec![
            Head::with_sub("method", "point"),
            Head::with_sub("loss", "interval"),
            Head::with_sub(format!("times that of {name}"), "interval"),
            Head::with_sub("at most", "one-sided"),
            Head::with_sub("difference of losses", "below 0: loses less"),
            Head::with_sub("p", "corrected"),
            Head::with_sub("seeds", "groups, cases"),
        ],
        rows,
        notes: vec![
            "A ratio has no interval where the loss of the reference is not clearly above 0."
                .into(),
        ],
    })
}

fn published(f: &Findings<'_>) -> Option<Table> {
    let reference = f.reference.map(|r| f.methods[r].clone())?;
    let rows = f
        .published
        .iter()
        .map(|r| Row {
            class: "",
            cells: vec![
                Cell::with_sub(&f.methods[r.method], &f.points[r.point].label),
                Cell::with_sub(
                    numbers::fixed(r.found.mean, 3),
                    numbers::plural(r.found.runs, "run", "runs"),
                ),
                Cell::new(numbers::fixed(r.found.against, 3)),
                Cell::new(numbers::fixed(r.found.test.t, 2)),
                Cell::new(format!("{}", r.found.test.df)),
                Cell::new(p_text(Some(r.found.test.p))),
            ],
        })
        .collect();
    Some(Table {
        caption: "The published test: runs against one baseline number (too generous)".into(),
        head: vec![
            Head::with_sub("method", "point"),
            Head::new("mean Dice"),
            Head::with_sub(format!("one run of {reference}"), "its first seed"),
            Head::new("t"),
            Head::new("df"),
            Head::with_sub("p", "not corrected"),
        ],
        rows,
        notes: vec![scant_metrics::study::SingleValueTest::TOO_GENEROUS.into()],
    })
}
