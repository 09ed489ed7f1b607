//! Rows of dots with their mean and interval: one row per method, one dot per seed.

use std::fmt::Write as _;

use scant_metrics::stats::Interval;

use super::{Scale, diamond, escape, figure, open_svg};
use crate::numbers;

const WIDTH: f64 = 860.0;
const ROW: f64 = 26.0;
const HEADING: f64 = 30.0;
/// Room for the names, and for the numbers at the end.
const NAMES: f64 = 210.0;
const FIGURES: f64 = 210.0;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub name: String,
    /// Position in the order of colours; `None` for the reference.
    pub colour: Option<usize>,
    /// `(value, what it is)`, one per seed.
    pub dots: Vec<(f64, String)>,
    pub mean: f64,
    pub interval: Option<Interval>,
    /// Written at the end of the row.
    pub words: String,
}

/// Rows under a heading.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub heading: String,
    pub rows: Vec<Row>,
}

/// What a chart of rows shows.
#[derive(Debug, Clone)]
pub(crate) struct Forest<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    /// A line at 0, which belongs to the scale.
    pub zero: bool,
    pub groups: Vec<Group>,
}

impl Forest<'_> {
    /// The chart as a figure, or `None` without rows.
    pub(crate) fn render(&self) -> Option<String> {
        let rows = || self.groups.iter().flat_map(|g| &g.rows);
        rows().next()?;
        let values = rows().flat_map(|r| {
            let ends = r.interval.map(|i| [i.low, i.high]).into_iter().flatten();
            r.dots.iter().map(|d| d.0).chain([r.mean]).chain(ends)
        });
        let scale = Scale::linear(values.chain(self.zero.then_some(0.0)), 6);
        let (left, right, top) = (NAMES, WIDTH - FIGURES, 6.0);
        let at = |v: f64| scale.at(v, left, right);
        let tall: f64 = self
            .groups
            .iter()
            .map(|g| {
                let heading = if g.heading.is_empty() { 0.0 } else { HEADING };
                heading + ROW * g.rows.len() as f64
            })
            .sum();
        let foot = top + tall + 6.0;
        let mut svg = open_svg(WIDTH, foot + 48.0, self.title);
        for &t in &scale.ticks {
            let x = at(t);
            let class = if self.zero && t == 0.0 { "axis" } else { "grid" };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{foot:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                foot + 18.0,
                escape(&scale.label(t))
            );
        }
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            foot + 40.0,
            escape(self.x_label)
        );
        let mut y = top;
        for group in &self.groups {
            if !group.heading.is_empty() {
                let _ = write!(
                    svg,
                    "<text class=\"label strong\" x=\"4\" y=\"{:.1}\">{}</text>",
                    y + 21.0,
                    escape(&group.heading)
                );
                y += HEADING;
            }
            for row in &group.rows {
                draw(row, y + ROW / 2.0, &at, &mut svg);
                y += ROW;
            }
        }
        svg.push_str("</svg>");
        let shown = figure(self.title, self.note, &svg, &[]);
        Some(shown.replacen("class=\"chart\"", "class=\"chart large\"", 1))
    }
}

fn draw(row: &Row, y: f64, at: &dyn Fn(f64) -> f64, svg: &mut String) {
    let class = row.colour.map_or_else(|| "ref".to_string(), super::series_class);
    // About 8 px a letter; the whole name is shown on hover.
    let short: String = if row.name.chars().count() > 24 {
        row.name.chars().take(23).chain(['…']).collect()
    } else {
        row.name.clone()
    };
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\"><title>{}</title>{}</text>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        NAMES - 10.0,
        y + 5.0,
        escape(&row.name),
        escape(&short),
        WIDTH - FIGURES + 10.0,
        y + 5.0,
        escape(&row.words)
    );
    for (value, name) in row.dots.iter().filter(|d| d.0.is_finite()) {
        let _ = write!(
            svg,
            "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.6\"><title>{}</title>\
             </circle>",
            at(*value),
            escape(&format!("{name}: {}", numbers::fixed(*value, 3)))
        );
    }
    if let Some(i) = row.interval {
        let _ = write!(
            svg,
            "<line class=\"whisker {class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            at(i.low),
            at(i.high)
        );
    }
    svg.push_str(&diamond(at(row.mean), y, 6.0, &class));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_a_dot_and_zero_is_on_the_scale() {
        let row = Row {
            name: "<m>".into(),
            colour: Some(0),
            dots: vec![(0.1, "seed 1".into()), (0.3, "seed 2".into()), (f64::NAN, "x".into())],
            mean: 0.2,
            interval: Some(Interval { low: 0.05, high: 0.35 }),
            words: "+0.2".into(),
        };
        let groups = vec![Group { heading: "at".into(), rows: vec![row] }];
        let forest = |groups| Forest { title: "t", note: "", x_label: "x", zero: true, groups };
        let svg = forest(groups).render().unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches("class=\"whisker").count(), 1);
        assert_eq!(svg.matches("class=\"axis\"").count(), 1, "the line at 0");
        assert!(svg.contains("&lt;m&gt;") && !svg.contains("NaN"));
        assert!(forest(vec![]).render().is_none());
    }
}
