//! Curves over epochs, with phase boundaries and best epochs.

use std::fmt::Write as _;

use super::{Frame, Scale, Swatch, diamond, escape, figure, series_class};
use crate::numbers;

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Name in the legend.
    pub name: String,
    /// `(epoch of the whole run, value)`; a value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// Where the phases of a run lie on the epoch axis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    /// Name, first and last epoch of the whole run; only phases that have epochs.
    pub phases: Vec<(String, f64, f64)>,
    /// Epoch of the whole run, validation Dice there, and the phase.
    pub best: Vec<(f64, f64, String)>,
}

/// What a line chart shows.
#[derive(Debug, Clone)]
pub(crate) struct LineChart<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub y_label: &'a str,
    pub series: Vec<Series>,
    pub timeline: &'a Timeline,
    /// Whether best epochs are marked (on charts whose y is validation Dice).
    pub mark_best: bool,
    /// Logarithmic y where every value is positive and they span more than a factor of 20.
    pub log_when_wide: bool,
}

impl LineChart<'_> {
    /// The chart as a figure, or `None` when no series has a finite point.
    pub(crate) fn render(&self) -> Option<String> {
        let values = || self.series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
        let (lo, hi) = super::extent(values())?;
        let y = if self.log_when_wide && lo > 0.0 && hi / lo > 20.0 {
            Scale::log(values())
        } else {
            Scale::linear(values(), 5)
        };
        let last = self.timeline.phases.iter().map(|p| p.2).fold(1.0, f64::max);
        let frame = Frame::new(Scale::whole(1.0, last, 6), y);
        let mut svg = frame.open(self.title, "epoch", self.y_label);
        self.draw_phases(&frame, &mut svg);
        let mut legend = Vec::new();
        for (i, series) in self.series.iter().enumerate() {
            let class = series_class(i);
            draw_series(&frame, series, &class, &mut svg);
            if self.series.len() > 1 || self.mark_best {
                legend.push((class, Swatch::Line, series.name.clone()));
            }
        }
        if self.mark_best && !self.timeline.best.is_empty() {
            for (epoch, dice, phase) in &self.timeline.best {
                let mark = diamond(frame.px(*epoch), frame.py(*dice), 6.0, "");
                let _ = write!(
                    svg,
                    "<g><title>{}</title>{mark}</g>",
                    escape(&format!(
                        "best epoch of {phase}: {epoch:.0}, validation Dice {}",
                        numbers::fixed(*dice, 3)
                    ))
                );
            }
            legend.push((String::new(), Swatch::Best, "best epoch of a phase".into()));
        }
        svg.push_str("</svg>");
        Some(figure(self.title, self.note, &svg, &legend))
    }

    fn draw_phases(&self, frame: &Frame, svg: &mut String) {
        let phases = &self.timeline.phases;
        for (i, (name, first, last)) in phases.iter().enumerate() {
            if i > 0 {
                let x = frame.px(first - 0.5);
                let _ = write!(
                    svg,
                    "<line class=\"boundary\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                    frame.top - 16.0,
                    frame.bottom
                );
            }
            let (from, to) = (frame.px(*first), frame.px(*last));
            // About 8 px a letter: a name that does not fit is cut and shown whole on hover.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let room = (((to - from) / 8.0).max(0.0) as usize).max(3);
            let short: String = if name.chars().count() > room {
                name.chars().take(room.saturating_sub(1)).chain(['…']).collect()
            } else {
                name.clone()
            };
            let _ = write!(
                svg,
                "<text class=\"phase\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">\
                 <title>{}</title>{}</text>",
                f64::midpoint(from, to),
                frame.top - 10.0,
                escape(name),
                escape(&short)
            );
        }
    }
}

fn draw_series(frame: &Frame, series: &Series, class: &str, svg: &mut String) {
    let mut path = String::new();
    let mut run = 0usize;
    let mut alone: Vec<(f64, f64)> = Vec::new();
    let mut previous = None;
    for &(x, y) in &series.points {
        if !y.is_finite() {
            alone.extend(previous.filter(|_| run == 1));
            run = 0;
            continue;
        }
        let (px, py) = (frame.px(x), frame.py(y));
        let _ = write!(path, "{}{px:.1} {py:.1}", if run == 0 { 'M' } else { 'L' });
        run += 1;
        previous = Some((px, py));
    }
    alone.extend(previous.filter(|_| run == 1));
    let _ = write!(
        svg,
        "<path class=\"line {class}\" d=\"{path}\"><title>{}</title></path>",
        escape(&series.name)
    );
    // A point between two gaps has no line to be seen by.
    for (x, y) in alone {
        let _ = write!(svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Option<String> {
        let timeline = Timeline {
            phases: vec![("a<b".into(), 1.0, 3.0), ("second".into(), 4.0, 6.0)],
            best: vec![(2.0, 0.5, "a<b".into())],
        };
        LineChart {
            title: "t",
            note: "",
            y_label: "y",
            series: vec![Series { name: "s".into(), points }],
            timeline: &timeline,
            mark_best: true,
            log_when_wide: false,
        }
        .render()
    }

    #[test]
    fn a_gap_breaks_the_line_and_a_lone_point_is_seen() {
        let svg =
            chart(vec![(1.0, 0.1), (2.0, f64::NAN), (3.0, 0.3), (4.0, 0.4), (5.0, 0.5)]).unwrap();
        let d = svg.split("d=\"M").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(d.matches('M').count(), 1, "one more start after the gap: {d}");
        assert_eq!(svg.matches("r=\"3\"").count(), 1);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert_eq!(svg.matches("class=\"boundary\"").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_finite_is_no_chart() {
        assert!(chart(vec![(1.0, f64::NAN), (2.0, f64::INFINITY)]).is_none());
        assert!(chart(vec![]).is_none());
    }
}
