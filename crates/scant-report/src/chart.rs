//! Plots as inline SVG: scales, axes and the figure around them.
//!
//! Colours are CSS classes (`c0`..`c7`), so that one drawing serves light, dark and print.

pub(crate) mod arrows;
pub(crate) mod curve;
pub(crate) mod forest;
pub(crate) mod histogram;
pub(crate) mod lines;
pub(crate) mod scatter;
pub(crate) mod strip;

use std::fmt::Write as _;

use crate::numbers;

/// Number of series colours in the style sheet; further series repeat them dashed.
pub(crate) const COLOURS: usize = 8;

/// Text made safe for an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML; a file name may hold them.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Classes of the `i`-th series.
pub(crate) fn series_class(i: usize) -> String {
    let dash = match i / COLOURS {
        0 => "",
        1 => " d1",
        _ => " d2",
    };
    format!("c{}{dash}", i % COLOURS)
}

/// A mapping from values to pixels with its tick marks.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    lo: f64,
    hi: f64,
    shape: Shape,
    ticks: Vec<f64>,
    /// What stands at the ticks where it is not their number.
    names: Vec<String>,
}

/// How a scale stretches its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Linear,
    Log,
    Root,
}

impl Scale {
    /// Linear over the finite `values`, widened to whole ticks; 0..1 when there are none.
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>, wanted: usize) -> Self {
        let (mut lo, mut hi) = extent(values).unwrap_or((0.0, 1.0));
        if lo == hi {
            let pad = if lo == 0.0 { 1.0 } else { lo.abs() * 0.1 };
            (lo, hi) = (lo - pad, hi + pad);
        }
        let step = nice_step((hi - lo) / wanted.max(1) as f64);
        let (first, last) = ((lo / step).floor(), (hi / step).ceil());
        let mut ticks = Vec::new();
        let mut k = first;
        // A step lost in the rounding of huge values would never reach the end.
        while k <= last && ticks.len() < 50 {
            ticks.push(k * step);
            k += 1.0;
        }
        Self { lo: first * step, hi: last * step, shape: Shape::Linear, names: Vec::new(), ticks }
    }

    /// Whole numbers `lo..=hi` without widening, for epochs.
    pub(crate) fn whole(lo: f64, hi: f64, wanted: usize) -> Self {
        let hi = if hi > lo { hi } else { lo + 1.0 };
        let step = nice_step((hi - lo) / wanted.max(1) as f64).max(1.0);
        let mut ticks = vec![lo];
        let mut k = (lo / step).floor() * step + step;
        while k <= hi {
            if k - lo >= step * 0.5 {
                ticks.push(k);
            }
            k += step;
        }
        Self { lo, hi, shape: Shape::Linear, names: Vec::new(), ticks }
    }

    /// Exactly 0 to 1.
    pub(crate) fn unit() -> Self {
        Self {
            lo: 0.0,
            hi: 1.0,
            shape: Shape::Linear,
            names: Vec::new(),
            ticks: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        }
    }

    /// Logarithmic over positive `values`, widened to powers of ten.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|v| *v > 0.0);
        let (lo, hi) = extent(positive).unwrap_or((0.1, 1.0));
        let (first, mut last) = (lo.log10().floor(), hi.log10().ceil());
        if first == last {
            last += 1.0;
        }
        let stride = ((last - first) / 5.0).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut k = first;
        while k <= last {
            ticks.push(10f64.powf(k));
            k += stride;
        }
        Self { lo: first, hi: last, shape: Shape::Log, names: Vec::new(), ticks }
    }

    /// Ticks at these ascending positions, with these names; drawn over square roots where positions
    /// from 0 up would crowd.
    pub(crate) fn named(ticks: &[f64], names: Vec<String>) -> Self {
        let (lo, hi) = extent(ticks.iter().copied()).unwrap_or((0.0, 1.0));
        let (lo, hi) = if hi > lo { (lo, hi) } else { (lo - 0.5, hi + 0.5) };
        let crowded = ticks.windows(2).any(|w| w[1] - w[0] < 0.08 * (hi - lo));
        let shape = if lo >= 0.0 && crowded { Shape::Root } else { Shape::Linear };
        let ends = if shape == Shape::Root { (lo.sqrt(), hi.sqrt()) } else { (lo, hi) };
        Self { lo: ends.0, hi: ends.1, shape, ticks: ticks.to_vec(), names }
    }

    /// Whether distances on the scale are those of square roots.
    pub(crate) fn is_root(&self) -> bool {
        self.shape == Shape::Root
    }

    /// Position of `value` between `from` (lowest) and `to` (highest).
    pub(crate) fn at(&self, value: f64, from: f64, to: f64) -> f64 {
        let v = match self.shape {
            Shape::Linear => value,
            Shape::Log => value.log10(),
            Shape::Root => value.max(0.0).sqrt(),
        };
        from + (v - self.lo) / (self.hi - self.lo) * (to - from)
    }

    /// Text of a tick: as many decimals as the step needs.
    fn label(&self, tick: f64) -> String {
        if let Some(at) = self.ticks.iter().position(|t| *t == tick)
            && let Some(name) = self.names.get(at)
        {
            return name.clone();
        }
        if self.shape == Shape::Log {
            return numbers::brief(tick);
        }
        let step = self.ticks.windows(2).map(|w| w[1] - w[0]).fold(f64::INFINITY, f64::min);
        if !step.is_finite() {
            return numbers::brief(tick);
        }
        let size = self.lo.abs().max(self.hi.abs());
        if size >= 1e5 || step < 1e-4 {
            // Rounding leaves 1e-19 where zero is meant.
            return numbers::brief(if tick.abs() < step * 1e-6 { 0.0 } else { tick });
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=4")]
        let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 4.0) as usize;
        numbers::fixed(tick, digits)
    }
}

/// Smallest and largest finite value.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((lo, hi)) => Some((f64::min(lo, v), f64::max(hi, v))),
    })
}

/// The next of 1, 2, 5 times a power of ten.
fn nice_step(rough: f64) -> f64 {
    let rough = if rough.is_finite() && rough > 0.0 { rough } else { 1.0 };
    let power = 10f64.powf(rough.log10().floor());
    let unit = rough / power;
    let nice = if unit <= 1.0 {
        1.0
    } else if unit <= 2.0 {
        2.0
    } else if unit <= 5.0 {
        5.0
    } else {
        10.0
    };
    nice * power
}

/// The rectangle data is drawn in, with its two scales.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Room between the sides and the outermost positions.
    inset: f64,
    x: Scale,
    y: Scale,
}

impl Frame {
    /// The usual size, 440 x 280.
    pub(crate) fn new(x: Scale, y: Scale) -> Self {
        Self {
            width: 440.0,
            height: 280.0,
            left: 68.0,
            right: 422.0,
            top: 26.0,
            bottom: 232.0,
            inset: 0.0,
            x,
            y,
        }
    }

    /// A larger drawing, 860 x 420.
    pub(crate) fn wide(x: Scale, y: Scale) -> Self {
        let usual = Self::new(x, y);
        Self { width: 860.0, height: 420.0, right: 838.0, bottom: 368.0, ..usual }
    }

    /// Pixel of an x value.
    pub(crate) fn px(&self, x: f64) -> f64 {
        self.x.at(x, self.left + self.inset, self.right - self.inset)
    }

    /// Pixel of a y value.
    pub(crate) fn py(&self, y: f64) -> f64 {
        self.y.at(y, self.bottom, self.top)
    }

    /// Opens the SVG and draws grid, tick labels and axis titles.
    pub(crate) fn open(&self, title: &str, x_label: &str, y_label: &str) -> String {
        let mut s = open_svg(self.width, self.height, title);
        for &t in &self.y.ticks {
            let y = self.py(t);
            let _ = write!(
                s,
                "<line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                self.left,
                self.right,
                self.left - 6.0,
                y + 5.0,
                escape(&self.y.label(t))
            );
        }
        for &t in &self.x.ticks {
            let x = self.px(t);
            let _ = write!(
                s,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.bottom,
                self.bottom + 4.0,
                self.bottom + 20.0,
                escape(&self.x.label(t))
            );
        }
        let (mid_x, mid_y) =
            (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom));
        let _ = write!(
            s,
            "<line class=\"axis\" x1=\"{l:.1}\" x2=\"{:.1}\" y1=\"{b:.1}\" y2=\"{b:.1}\"/>\
             <text class=\"label\" x=\"{mid_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(14 {mid_y:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            self.right,
            self.height - 8.0,
            escape(x_label),
            escape(y_label),
            l = self.left,
            b = self.bottom,
        );
        s
    }
}

/// The opening tag of a drawing that scales with its column.
pub(crate) fn open_svg(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{}\">",
        escape(title)
    )
}

/// How a series is shown in a legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swatch {
    /// A line of the series' colour and dash.
    Line,
    /// A filled dot.
    Dot,
    /// The diamond of a best epoch.
    Best,
}

/// A drawing with its title, one line of explanation and its legend.
pub(crate) fn figure(
    title: &str,
    note: &str,
    svg: &str,
    legend: &[(String, Swatch, String)],
) -> String {
    let mut s = format!("<figure class=\"chart\"><figcaption><b>{}</b>", escape(title));
    if !note.is_empty() {
        let _ = write!(s, " <span class=\"note\">{}</span>", escape(note));
    }
    let _ = write!(s, "</figcaption>{svg}");
    if !legend.is_empty() {
        s.push_str("<ul class=\"legend\">");
        for (class, swatch, name) in legend {
            let mark = match swatch {
                Swatch::Line => format!("<path class=\"line {class}\" d=\"M1 7H27\"/>"),
                Swatch::Dot => {
                    format!("<circle class=\"dot {class}\" cx=\"14\" cy=\"7\" r=\"5\"/>")
                }
                Swatch::Best => diamond(14.0, 7.0, 6.0, class),
            };
            let _ = write!(
                s,
                "<li><svg viewBox=\"0 0 28 14\" width=\"28\" height=\"14\" aria-hidden=\"true\">\
                 {mark}</svg>{}</li>",
                escape(name)
            );
        }
        s.push_str("</ul>");
    }
    s.push_str("</figure>");
    s
}

/// A diamond centred on a point.
pub(crate) fn diamond(x: f64, y: f64, r: f64, class: &str) -> String {
    format!(
        "<path class=\"best {class}\" d=\"M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}Z\"/>",
        x - r,
        y - r,
        x + r,
        y + r
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_data() {
        let s = Scale::linear([0.13, 0.97], 5);
        assert_eq!(
            s.ticks.iter().map(|t| s.label(*t)).collect::<Vec<_>>(),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        let s = Scale::linear([-3.2, 1.0], 5);
        assert!(s.lo <= -3.2 && s.hi >= 1.0);
        assert_eq!(s.label(s.ticks[0]), "\u{2212}4");
    }

    #[test]
    fn degenerate_data_still_has_a_scale() {
        for s in [
            Scale::linear([], 5),
            Scale::linear([f64::NAN, f64::INFINITY], 5),
            Scale::linear([0.5, 0.5], 5),
            Scale::linear([0.0], 5),
            Scale::linear([1e300, -1e300], 5),
            Scale::log([]),
            Scale::log([1e-4, 1e-4, -1.0]),
            Scale::whole(1.0, 1.0, 5),
        ] {
            assert!(s.hi > s.lo, "{s:?}");
            assert!(s.ticks.len() >= 2 && s.ticks.len() <= 50, "{s:?}");
            assert!(s.ticks.iter().all(|t| t.is_finite()), "{s:?}");
        }
    }

    #[test]
    fn scales_map_ends_to_ends() {
        let s = Scale::log([1e-4, 1e-2]);
        assert!((s.at(1e-4, 0.0, 100.0)).abs() < 1e-9);
        assert!((s.at(1e-3, 0.0, 100.0) - 50.0).abs() < 1e-9);
        assert_eq!(s.label(1e-4), "1e\u{2212}4");
        let w = Scale::whole(1.0, 175.0, 6);
        assert_eq!(w.ticks, [1.0, 50.0, 100.0, 150.0]);
    }

    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(
            escape("<a b=\"c\" d='e'>&\u{1}"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{fffd}"
        );
    }
}
