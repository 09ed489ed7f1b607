//! How often values fall where, for two or more series on the same bins.

use std::fmt::Write as _;

use super::{Frame, Scale, Swatch, escape, figure};

const BINS: usize = 20;

/// Values of one series.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub name: String,
    /// Class of its colour.
    pub class: String,
    pub values: Vec<f64>,
}

/// What a histogram shows.
#[derive(Debug, Clone)]
pub(crate) struct Histogram<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    /// Bins over 0 to 1 rather than over the values.
    pub unit: bool,
    pub series: Vec<Series>,
}

impl Histogram<'_> {
    /// The chart as a figure, or `None` when no value is finite.
    pub(crate) fn render(&self) -> Option<String> {
        let values = || self.series.iter().flat_map(|s| s.values.iter().copied());
        let (lo, hi) = super::extent(values())?;
        let (lo, hi) = if self.unit { (0.0, 1.0) } else { (lo, hi) };
        let (lo, hi) = if hi > lo { (lo, hi) } else { (lo - 0.5, hi + 0.5) };
        let counted: Vec<[usize; BINS]> =
            self.series.iter().map(|s| count(&s.values, lo, hi)).collect();
        let most = counted.iter().flatten().copied().max().unwrap_or(1);
        let x = if self.unit { Scale::unit() } else { Scale::linear([lo, hi], 5) };
        let frame = Frame::new(x, Scale::whole(0.0, most as f64, 5));
        let mut svg = frame.open(self.title, self.x_label, "cases");
        let edge = |k: usize| frame.px(lo + (hi - lo) * k as f64 / BINS as f64);
        let mut legend = Vec::new();
        for (series, bins) in self.series.iter().zip(&counted) {
            let mut path = format!("M{:.1} {:.1}", edge(0), frame.py(0.0));
            for (k, &n) in bins.iter().enumerate() {
                let y = frame.py(n as f64);
                let _ = write!(path, "L{:.1} {y:.1}L{:.1} {y:.1}", edge(k), edge(k + 1));
            }
            let _ = write!(path, "L{:.1} {:.1}", edge(BINS), frame.py(0.0));
            let _ = write!(
                svg,
                "<path class=\"band {0}\" d=\"{path}Z\"/><path class=\"line {0}\" d=\"{path}\"><title>{1}\
                 </title></path>",
                series.class,
                escape(&series.name)
            );
            legend.push((series.class.clone(), Swatch::Line, series.name.clone()));
        }
        svg.push_str("</svg>");
        Some(figure(self.title, self.note, &svg, &legend))
    }
}

fn count(values: &[f64], lo: f64, hi: f64) -> [usize; BINS] {
    let mut bins = [0; BINS];
    for v in values.iter().filter(|v| v.is_finite()) {
        let share = ((v - lo) / (hi - lo)).clamp(0.0, 1.0);
        bins[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bin() {
        let bins = count(&[0.0, 0.049, 0.05, 0.999, 1.0, f64::NAN], 0.0, 1.0);
        assert_eq!((bins[0], bins[1], bins[BINS - 1]), (2, 1, 2));
        assert_eq!(bins.iter().sum::<usize>(), 5);
    }

    #[test]
    fn nothing_finite_is_no_chart() {
        let chart = |values: Vec<f64>| Histogram {
            title: "t",
            note: "",
            x_label: "x",
            unit: false,
            series: vec![Series { name: "<a>".into(), class: "c0".into(), values }],
        };
        assert!(chart(vec![f64::NAN]).render().is_none());
        let one = chart(vec![2.0, 2.0]).render().unwrap();
        assert!(one.contains("&lt;a&gt;") && !one.contains("NaN"));
    }
}
