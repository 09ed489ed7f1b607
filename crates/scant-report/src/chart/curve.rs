//! Curves over the positions of an axis, with the uncertainty of every point.

use std::fmt::Write as _;

use scant_metrics::stats::Interval;

use super::{Frame, Scale, Swatch, escape, figure, series_class};
use crate::numbers;

/// Up to so many curves have bands; more would hide each other and have whiskers.
const MOST_BANDS: usize = 3;

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub name: String,
    /// Whether it is what the others are compared with: drawn in the colour of the text.
    pub reference: bool,
    /// `(position, value, interval to draw)`, ascending.
    pub points: Vec<(f64, f64, Option<Interval>)>,
}

/// What a chart of curves shows.
#[derive(Debug, Clone)]
pub(crate) struct CurveChart<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    /// Position and name of every tick.
    pub ticks: &'a [(f64, String)],
    pub curves: Vec<Curve>,
}

impl CurveChart<'_> {
    /// The chart as a figure, or `None` when no curve has two points.
    pub(crate) fn render(&self) -> Option<String> {
        if self.curves.iter().all(|c| c.points.len() < 2) {
            return None;
        }
        let all = || self.curves.iter().flat_map(|c| &c.points);
        let heights = all().flat_map(|(_, y, i)| [Some(*y), i.map(|i| i.low), i.map(|i| i.high)]);
        let names = self.ticks.iter().map(|t| t.1.clone()).collect();
        let x = Scale::named(&self.ticks.iter().map(|t| t.0).collect::<Vec<_>>(), names);
        let x_label = if x.is_root() {
            format!("{} (square-root scale)", self.x_label)
        } else {
            self.x_label.to_string()
        };
        let mut frame = Frame::wide(x, Scale::linear(heights.flatten(), 6));
        // Whiskers of the first and last position stay off the sides.
        frame.inset = 30.0;
        let mut svg = frame.open(self.title, &x_label, self.y_label);
        let bands = self.curves.len() <= MOST_BANDS;
        let mut legend = Vec::new();
        let middle = (self.curves.len() as f64 - 1.0) / 2.0;
        let mut colour = 0;
        for (i, curve) in self.curves.iter().enumerate() {
            let class = if curve.reference {
                "ref".to_string()
            } else {
                colour += 1;
                series_class(colour - 1)
            };
            let shift = if bands { 0.0 } else { (i as f64 - middle) * 4.0 };
            draw(&frame, curve, &class, shift, bands || curve.reference, &mut svg);
            legend.push((class, Swatch::Line, curve.name.clone()));
        }
        svg.push_str("</svg>");
        let shown = figure(self.title, self.note, &svg, &legend);
        Some(shown.replacen("class=\"chart\"", "class=\"chart large\"", 1))
    }
}

fn draw(frame: &Frame, curve: &Curve, class: &str, shift: f64, band: bool, svg: &mut String) {
    let at = |x: f64| frame.px(x) + shift;
    let with: Vec<(f64, Interval)> =
        curve.points.iter().filter_map(|(x, _, i)| i.map(|i| (at(*x), i))).collect();
    if band && with.len() > 1 {
        let mut path = String::new();
        let top = with.iter().map(|(x, i)| (*x, frame.py(i.high)));
        let bottom = with.iter().rev().map(|(x, i)| (*x, frame.py(i.low)));
        for (k, (x, y)) in top.chain(bottom).enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if k == 0 { 'M' } else { 'L' });
        }
        let _ = write!(svg, "<path class=\"band {class}\" d=\"{path}Z\"/>");
    } else {
        for (x, i) in &with {
            let _ = write!(
                svg,
                "<line class=\"whisker {class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                frame.py(i.low),
                frame.py(i.high)
            );
        }
    }
    let mut path = String::new();
    for (k, (x, y, _)) in curve.points.iter().enumerate() {
        let _ = write!(path, "{}{:.1} {:.1}", if k == 0 { 'M' } else { 'L' }, at(*x), frame.py(*y));
    }
    let _ = write!(
        svg,
        "<path class=\"line {class}\" d=\"{path}\"><title>{}</title></path>",
        escape(&curve.name)
    );
    for (x, y, _) in &curve.points {
        let _ = write!(
            svg,
            "<circle class=\"dot solid {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\"><title>{}</title>\
             </circle>",
            at(*x),
            frame.py(*y),
            escape(&format!("{}: {}", curve.name, numbers::fixed(*y, 3)))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        let interval = |y: f64| Some(Interval { low: y - 0.1, high: y + 0.1 });
        Curve {
            name: "a<b".into(),
            reference: false,
            points: points.iter().map(|&(x, y)| (x, y, interval(y))).collect(),
        }
    }

    fn chart(curves: Vec<Curve>) -> Option<String> {
        let ticks = [(0.0, "0".to_string()), (0.0625, "1/16".into()), (1.0, "1".into())];
        let (title, note) = ("t", "");
        CurveChart { title, note, x_label: "fraction", y_label: "Dice", ticks: &ticks, curves }
            .render()
    }

    #[test]
    fn crowded_positions_are_spread_and_named_as_written() {
        let svg = chart(vec![curve(&[(0.0, 0.5), (0.0625, 0.6), (1.0, 0.7)])]).unwrap();
        assert!(svg.contains(">1/16</text>") && svg.contains("fraction (square-root scale)"));
        assert_eq!(svg.matches("class=\"band").count(), 1);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(!svg.contains("a<b"));
    }

    #[test]
    fn many_curves_have_whiskers_side_by_side() {
        let svg = chart(vec![curve(&[(0.0, 0.5), (1.0, 0.7)]); 5]).unwrap();
        assert_eq!(svg.matches("class=\"band").count(), 0);
        assert_eq!(svg.matches("class=\"whisker").count(), 10);
        let x: std::collections::BTreeSet<&str> =
            svg.split("class=\"whisker").skip(1).filter_map(|s| s.split('"').nth(2)).collect();
        assert_eq!(x.len(), 10, "no two at one place");
    }

    #[test]
    fn one_point_is_no_curve() {
        assert!(chart(vec![curve(&[(0.0, 0.5)])]).is_none());
    }
}
