//! Points of two quantities, with a least-squares line.

use std::fmt::Write as _;

use super::{Frame, Scale, Swatch, escape, figure};
use crate::association::Line;

/// Dots drawn at most; the line and every coefficient are always of all points.
const MOST_DOTS: usize = 2000;

/// One point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub x: f64,
    pub y: f64,
    /// Series, which gives the colour.
    pub series: usize,
    /// Shown on hover.
    pub name: String,
    /// Written beside the point when not empty.
    pub label: String,
}

/// What a scatter plot shows.
#[derive(Debug, Clone)]
pub(crate) struct Scatter<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub points: Vec<Point>,
    /// Names of the series, for the legend; shown when there are two or more.
    pub series: Vec<String>,
    pub line: Option<Line>,
    /// Both axes 0 to 1 with the diagonal, for a comparison of two Dice values.
    pub square_unit: bool,
    /// y from 0 to 1.
    pub unit_y: bool,
}

impl Scatter<'_> {
    /// The plot as a figure, or `None` when no point is finite.
    pub(crate) fn render(&self) -> Option<String> {
        let seen: Vec<&Point> =
            self.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite()).collect();
        if seen.is_empty() {
            return None;
        }
        let x = if self.square_unit {
            Scale::unit()
        } else {
            Scale::linear(seen.iter().map(|p| p.x), 5)
        };
        let y = if self.square_unit || self.unit_y {
            Scale::unit()
        } else {
            Scale::linear(seen.iter().map(|p| p.y), 5)
        };
        let frame = Frame::new(x, y);
        let mut svg = frame.open(self.title, self.x_label, self.y_label);
        if self.square_unit {
            segment(&frame, (0.0, 0.0), (1.0, 1.0), "boundary", &mut svg);
        }
        // A page of ten thousand dots for each of nine taps would not open on a phone.
        let stride = seen.len().div_ceil(MOST_DOTS);
        for p in seen.iter().step_by(stride) {
            let (px, py) = (frame.px(p.x), frame.py(p.y));
            let _ = write!(
                svg,
                "<circle class=\"dot c{}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\"><title>{}</title>\
                 </circle>",
                p.series % super::COLOURS,
                escape(&p.name)
            );
            if !p.label.is_empty() {
                let (x, anchor) =
                    if px > frame.right - 60.0 { (px - 8.0, "end") } else { (px + 8.0, "start") };
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    py + 4.5,
                    escape(&p.label)
                );
            }
        }
        if let Some(line) = self.line {
            let (lo, hi) = super::extent(seen.iter().map(|p| p.x)).unwrap_or((0.0, 1.0));
            let ends = clip(&line, lo, hi, if self.unit_y { Some((0.0, 1.0)) } else { None });
            if let Some((a, b)) = ends {
                segment(&frame, a, b, "fit", &mut svg);
            }
        }
        svg.push_str("</svg>");
        let legend: Vec<_> = if self.series.len() > 1 {
            self.series
                .iter()
                .enumerate()
                .map(|(i, n)| (format!("c{}", i % super::COLOURS), Swatch::Dot, n.clone()))
                .collect()
        } else {
            Vec::new()
        };
        let note = if stride > 1 {
            format!("{}; {} of {} dots drawn", self.note, seen.len().div_ceil(stride), seen.len())
        } else {
            self.note.to_string()
        };
        Some(figure(self.title, &note, &svg, &legend))
    }
}

/// The part of the line over `lo..=hi` that stays within `range`.
fn clip(
    line: &Line,
    lo: f64,
    hi: f64,
    range: Option<(f64, f64)>,
) -> Option<((f64, f64), (f64, f64))> {
    let (mut lo, mut hi) = (lo, hi);
    if let Some((bottom, top)) = range {
        if line.slope == 0.0 {
            if line.intercept < bottom || line.intercept > top {
                return None;
            }
        } else {
            let a = (bottom - line.intercept) / line.slope;
            let b = (top - line.intercept) / line.slope;
            lo = lo.max(a.min(b));
            hi = hi.min(a.max(b));
        }
    }
    (hi > lo).then(|| ((lo, line.at(lo)), (hi, line.at(hi))))
}

fn segment(frame: &Frame, a: (f64, f64), b: (f64, f64), class: &str, svg: &mut String) {
    let _ = write!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        frame.px(a.0),
        frame.py(a.1),
        frame.px(b.0),
        frame.py(b.1)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fitted_line_stays_inside_the_frame() {
        let line = Line { slope: 1.0, intercept: 0.0 };
        let ((x0, y0), (x1, y1)) = clip(&line, -1.0, 3.0, Some((0.0, 1.0))).unwrap();
        assert_eq!((x0, y0, x1, y1), (0.0, 0.0, 1.0, 1.0));
        let flat = Line { slope: 0.0, intercept: 2.0 };
        assert!(clip(&flat, 0.0, 1.0, Some((0.0, 1.0))).is_none());
    }

    #[test]
    fn points_that_are_not_finite_are_left_out() {
        let point = |x, y| Point { x, y, series: 0, name: "<n>".into(), label: String::new() };
        let plot = |points| Scatter {
            title: "t",
            note: "",
            x_label: "x",
            y_label: "y",
            points,
            series: vec![],
            line: None,
            square_unit: false,
            unit_y: true,
        };
        let svg = plot(vec![point(1.0, 0.5), point(f64::NAN, 0.5)]).render().unwrap();
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("&lt;n&gt;"));
        assert!(plot(vec![point(f64::NAN, 0.5)]).render().is_none());
        let many = plot((0..5000).map(|i| point(f64::from(i), 0.5)).collect()).render().unwrap();
        assert_eq!(many.matches("<circle").count(), 1667);
        assert!(many.contains("1667 of 5000 dots drawn"));
    }
}
