//! Where points of two quantities moved to.

use std::fmt::Write as _;

use super::{Frame, Scale, Swatch, escape, figure};

/// Arrows drawn at most; more would hide each other.
const MOST: usize = 120;

/// One movement.
#[derive(Debug, Clone)]
pub(crate) struct Arrow {
    pub from: (f64, f64),
    pub to: (f64, f64),
    /// Shown on hover.
    pub name: String,
}

/// What a chart of movements shows; y from 0 to 1, up is better.
#[derive(Debug, Clone)]
pub(crate) struct Arrows<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub arrows: Vec<Arrow>,
}

impl Arrows<'_> {
    /// The chart as a figure, or `None` when no movement is finite.
    pub(crate) fn render(&self) -> Option<String> {
        let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
        let seen: Vec<&Arrow> =
            self.arrows.iter().filter(|a| finite(&a.from) && finite(&a.to)).collect();
        if seen.is_empty() {
            return None;
        }
        let x = Scale::linear(seen.iter().flat_map(|a| [a.from.0, a.to.0]), 5);
        let frame = Frame::new(x, Scale::unit());
        let mut svg = frame.open(self.title, self.x_label, self.y_label);
        let stride = seen.len().div_ceil(MOST);
        for arrow in seen.iter().step_by(stride) {
            let (a, b) = (
                (frame.px(arrow.from.0), frame.py(arrow.from.1)),
                (frame.px(arrow.to.0), frame.py(arrow.to.1)),
            );
            let class = if arrow.to.1 >= arrow.from.1 { "c0" } else { "c1" };
            let _ = write!(
                svg,
                "<g><title>{}</title><path class=\"arrow {class}\" d=\"M{:.1} {:.1}L{:.1} {:.1}{}\"/></g>",
                escape(&arrow.name),
                a.0,
                a.1,
                b.0,
                b.1,
                head(a, b)
            );
        }
        svg.push_str("</svg>");
        let worse = seen.iter().filter(|a| a.to.1 < a.from.1).count();
        let legend = [
            (
                "c0".to_string(),
                Swatch::Line,
                format!("Dice rises or stays ({})", seen.len() - worse),
            ),
            ("c1".to_string(), Swatch::Line, format!("Dice falls ({worse})")),
        ];
        let note = if stride > 1 {
            let drawn = seen.len().div_ceil(stride);
            format!("{}; {drawn} of {} drawn", self.note, seen.len())
        } else {
            self.note.to_string()
        };
        Some(figure(self.title, &note, &svg, &legend))
    }
}

/// Two strokes back from the tip; none where there is no length to point along.
fn head(a: (f64, f64), b: (f64, f64)) -> String {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy);
    if length < 1.0 {
        return String::new();
    }
    let size = (length * 0.4).min(6.0);
    let (ux, uy) = (dx / length * size, dy / length * size);
    // 30 degrees to either side.
    let (c, s) = (0.866, 0.5);
    format!(
        "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}",
        b.0 - (c * ux - s * uy),
        b.1 - (s * ux + c * uy),
        b.0,
        b.1,
        b.0 - (c * ux + s * uy),
        b.1 - (c * uy - s * ux)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_point_along_the_arrow() {
        // To the right: both strokes start 5.2 to the left of the tip, 3 above and below.
        assert_eq!(head((0.0, 0.0), (100.0, 0.0)), "M94.8 -3.0L100.0 0.0L94.8 3.0");
        assert_eq!(head((5.0, 5.0), (5.0, 5.0)), "");
    }

    #[test]
    fn risers_and_fallers_are_counted() {
        let arrow = |y| Arrow { from: (1.0, 0.5), to: (0.5, y), name: "<c>".into() };
        let arrows = vec![arrow(0.6), arrow(0.4), arrow(0.7), arrow(f64::NAN)];
        let chart = Arrows { title: "t", note: "", x_label: "x", y_label: "y", arrows };
        let svg = chart.render().unwrap();
        assert!(svg.contains("stays (2)") && svg.contains("falls (1)"));
        assert!(svg.contains("&lt;c&gt;") && !svg.contains("NaN"));
    }
}
