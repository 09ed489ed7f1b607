//! Where the cases of each source lie: dots with quartiles, or bars when there are very many.

use std::fmt::Write as _;

use super::{Scale, escape, figure, open_svg};
use crate::association::quantile;
use crate::numbers;

/// More dots than this in one row melt into a band; bars then say more.
const MOST_DOTS: usize = 600;
const BINS: usize = 25;
const ROW: f64 = 84.0;

/// One row: a source and the scores of its cases.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub name: String,
    /// `(score in 0..=1, case)`.
    pub scores: Vec<(f64, String)>,
}

/// A figure with one row per source, or `None` when no row has a finite score.
pub(crate) fn render(title: &str, note: &str, x_label: &str, rows: &[Row]) -> Option<String> {
    if rows.iter().all(|r| r.scores.iter().all(|s| !s.0.is_finite())) {
        return None;
    }
    let (left, right, top) = (16.0, 424.0, 6.0);
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let height = top + ROW * rows.len() as f64 + 48.0;
    let mut svg = open_svg(440.0, height, title);
    let scale = Scale::unit();
    let at = |v: f64| scale.at(v, left, right);
    let foot = height - 46.0;
    for t in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let x = at(t);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{foot:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{t:.1}</text>",
            foot + 18.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"220\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        height - 8.0,
        escape(x_label)
    );
    for (i, row) in rows.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
        let y = top + ROW * i as f64;
        draw_row(row, i, y, &at, &mut svg);
    }
    svg.push_str("</svg>");
    Some(figure(title, note, &svg, &[]).replacen("class=\"chart\"", "class=\"chart wide\"", 1))
}

fn draw_row(row: &Row, i: usize, y: f64, at: &dyn Fn(f64) -> f64, svg: &mut String) {
    let mut values: Vec<f64> = row.scores.iter().map(|s| s.0).filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let class = i % super::COLOURS;
    let median = quantile(&values, 0.5);
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"16\" y=\"{:.1}\">{}</text>",
        y + 16.0,
        escape(&format!(
            "{} – {}, median {}",
            row.name,
            numbers::plural(values.len(), "case", "cases"),
            numbers::fixed_opt(median, 3)
        ))
    );
    let (upper, lower) = (y + 24.0, y + 76.0);
    let middle = f64::midpoint(upper, lower);
    if let (Some(q1), Some(q3), Some(median)) =
        (quantile(&values, 0.25), quantile(&values, 0.75), median)
    {
        let _ = write!(
            svg,
            "<rect class=\"box c{class}\" x=\"{:.1}\" y=\"{upper:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"/>",
            at(q1),
            (at(q3) - at(q1)).max(1.0),
            lower - upper
        );
        if values.len() <= MOST_DOTS {
            let finite = row.scores.iter().filter(|s| s.0.is_finite());
            for (k, (score, name)) in finite.enumerate() {
                // The golden ratio spreads neighbours evenly without any randomness.
                #[expect(clippy::cast_precision_loss, reason = "at most 600")]
                let jitter = (k as f64 * 0.618_033_988_75).fract() - 0.5;
                let _ = write!(
                    svg,
                    "<circle class=\"dot c{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.6\"><title>{}\
                     </title></circle>",
                    at(*score),
                    middle + jitter * 38.0,
                    escape(&format!("{name}: {}", numbers::fixed(*score, 3)))
                );
            }
        } else {
            draw_bars(&values, class, lower, at, svg);
        }
        let x = at(median);
        let _ = write!(
            svg,
            "<line class=\"median c{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            upper - 3.0,
            lower + 3.0
        );
    }
}

fn draw_bars(values: &[f64], class: usize, foot: f64, at: &dyn Fn(f64) -> f64, svg: &mut String) {
    let mut bins = [0u32; BINS];
    for v in values {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "clamped to the bins"
        )]
        let bin = (v.clamp(0.0, 1.0) * BINS as f64) as usize;
        bins[bin.min(BINS - 1)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(1).max(1);
    for (k, &n) in bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        #[expect(clippy::cast_precision_loss, reason = "at most 25")]
        let (lo, hi) = (k as f64 / BINS as f64, (k + 1) as f64 / BINS as f64);
        let tall = f64::from(n) / f64::from(most) * 48.0;
        let _ = write!(
            svg,
            "<rect class=\"bar c{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{tall:.1}\"><title>{n} cases from {lo:.2} to {hi:.2}</title></rect>",
            at(lo) + 0.5,
            foot - tall,
            at(hi) - at(lo) - 1.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cases_become_bars_that_hold_every_case() {
        let rows = |n: usize| {
            vec![Row {
                name: "a".into(),
                scores: (0..n).map(|i| (i as f64 / n as f64, format!("c{i}"))).collect(),
            }]
        };
        let few = render("t", "", "Dice", &rows(10)).unwrap();
        assert_eq!(few.matches("<circle").count(), 10);
        let many = render("t", "", "Dice", &rows(1000)).unwrap();
        assert_eq!(many.matches("<circle").count(), 0);
        let total: u32 = many
            .split("<title>")
            .skip(1)
            .map(|s| s.split(' ').next().unwrap().parse::<u32>().unwrap())
            .sum();
        assert_eq!(total, 1000);
    }

    #[test]
    fn an_empty_source_keeps_its_row() {
        let rows = [
            Row { name: "full".into(), scores: vec![(0.5, "c".into()), (f64::NAN, "d".into())] },
            Row { name: "empty".into(), scores: vec![] },
        ];
        let svg = render("t", "", "Dice", &rows).unwrap();
        assert!(svg.contains("empty – 0 cases"));
        assert!(!svg.contains("NaN"));
        assert!(render("t", "", "Dice", &rows[1..]).is_none());
    }
}
