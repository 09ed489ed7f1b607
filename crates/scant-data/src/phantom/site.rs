//! What differs between sites: the machine, its settings, and who is examined.

use rand::Rng;

use super::{PhantomConfig, generator};

/// How beams leave the probe. Lengths in millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Probe {
    /// Parallel beams.
    Linear,
    /// Beams fan out of an arc.
    Sector { radius: f64, half_angle: f64 },
}

/// A place in the body as the probe sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Sideways from the middle of the probe, in mm.
    pub(super) x: f64,
    /// Down from the middle of the probe, in mm.
    pub(super) z: f64,
    /// Along the beam, in mm.
    pub(super) depth: f64,
}

/// One site.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) probe: Probe,
    /// Length of a beam, in mm.
    pub(super) depth: f64,
    /// Pulse length as a standard deviation, in mm.
    pub(super) axial: f64,
    /// Beam width at the focus as a standard deviation, in mm.
    pub(super) lateral: f64,
    /// Depth of the focus, in mm.
    pub(super) focus: f64,
    /// What the time-gain compensation misses, in dB per cm (negative: too little gain).
    pub(super) compensation: f64,
    /// Brightness of the whole image, in dB.
    pub(super) gain: f64,
    /// Decibels between black and white.
    pub(super) dynamic_range: f64,
    /// Electronic noise at the skin, in dB below gland tissue.
    pub(super) noise: f64,
    /// Standard deviation of the low-pass behind the detector, in samples.
    pub(super) detector: f64,
    /// Smallest and largest mean radius of lesions, in mm.
    pub(super) lesion: [f64; 2],
    /// Probabilities of a cyst and of an irregular, shadowing lesion; the rest is solid and round.
    pub(super) kinds: [f64; 2],
    /// Probability of a second lesion.
    pub(super) second: f64,
    /// Strength of the streaky texture of the gland, in dB.
    pub(super) texture: f64,
    /// Thickness of the layers relative to the first site.
    pub(super) thickness: f64,
    /// Share of images without a lesion.
    pub(super) empty_share: f64,
}

impl Site {
    /// The first two sites are the extremes of what is common; the others lie around them.
    pub(super) fn new(config: &PhantomConfig, index: usize) -> Self {
        let [rows, columns] = config.size;
        let first = Self {
            rows,
            columns,
            probe: Probe::Linear,
            depth: 36.0,
            axial: 0.13,
            lateral: 0.24,
            focus: 15.0,
            compensation: -2.0,
            gain: 0.0,
            dynamic_range: 62.0,
            noise: 46.0,
            detector: 0.75,
            lesion: [2.6, 6.0],
            kinds: [0.30, 0.25],
            second: 0.12,
            texture: 4.5,
            thickness: 1.0,
            empty_share: 0.05,
        };
        if index == 0 {
            return first;
        }
        let other = Self::other(config, index, &first);
        first.moved_towards(&other, config.shift)
    }

    /// A site at full distance from the first.
    fn other(config: &PhantomConfig, index: usize, first: &Self) -> Self {
        let [rows, columns] = config.size;
        let mut rng = generator(config.seed, index, 0, usize::MAX);
        let mut about =
            |value: f64, share: f64| value * (1.0 + share * (rng.random::<f64>() * 2.0 - 1.0));
        let resized = |n: usize, factor: f64| (n as f64 * factor).round() as usize;
        if index % 2 == 1 {
            let shrink = if index == 1 { 0.95 } else { about(0.95, 0.06) };
            return Self {
                rows: resized(rows, shrink),
                columns: resized(columns, 1.05),
                probe: Probe::Sector { radius: about(32.0, 0.1), half_angle: about(0.52, 0.06) },
                depth: about(44.0, 0.06),
                axial: about(0.24, 0.1),
                lateral: about(0.45, 0.1),
                focus: about(24.0, 0.1),
                compensation: about(-3.6, 0.15),
                gain: about(-1.0, 0.5),
                dynamic_range: about(50.0, 0.05),
                noise: about(38.0, 0.05),
                detector: 0.5,
                lesion: [3.4, 8.5],
                kinds: [0.15, 0.50],
                second: 0.25,
                texture: about(3.0, 0.1),
                thickness: about(1.25, 0.05),
                empty_share: 0.08,
            };
        }
        Self {
            rows: resized(rows, about(1.05, 0.04)),
            columns: resized(columns, about(0.95, 0.04)),
            depth: about(30.0, 0.1),
            axial: about(0.17, 0.2),
            lateral: about(0.34, 0.2),
            focus: about(12.0, 0.2),
            compensation: about(1.2, 0.5),
            gain: about(4.0, 0.3),
            dynamic_range: about(74.0, 0.06),
            noise: about(42.0, 0.05),
            detector: 0.6,
            lesion: [2.0, 4.5],
            kinds: [0.45, 0.15],
            second: 0.2,
            texture: about(6.0, 0.15),
            thickness: about(0.85, 0.08),
            empty_share: 0.06,
            probe: first.probe,
        }
    }

    /// The share `by` of the way to another site; more than 1 goes beyond it.
    fn moved_towards(&self, other: &Self, by: f64) -> Self {
        // Exactly the other site at 1: its images must not depend on rounding.
        if by == 1.0 {
            return other.clone();
        }
        // What multiplies is moved by factors, so that nothing falls below 0.
        let factor = |a: f64, b: f64| a * (b / a).powf(by);
        let along = |a: f64, b: f64| a + (b - a) * by;
        let share = |a: f64, b: f64| along(a, b).clamp(0.0, 1.0);
        let pixels = |a: usize, b: usize| factor(a as f64, b as f64).round() as usize;
        Self {
            rows: pixels(self.rows, other.rows),
            columns: pixels(self.columns, other.columns),
            probe: match other.probe {
                // Parallel beams are a fan of no angle from infinitely far away.
                Probe::Sector { radius, half_angle } if by > 0.0 => {
                    Probe::Sector { radius: radius / by, half_angle: half_angle * by }
                }
                _ => Probe::Linear,
            },
            depth: factor(self.depth, other.depth),
            axial: factor(self.axial, other.axial),
            lateral: factor(self.lateral, other.lateral),
            focus: factor(self.focus, other.focus),
            compensation: along(self.compensation, other.compensation),
            gain: along(self.gain, other.gain),
            dynamic_range: factor(self.dynamic_range, other.dynamic_range),
            noise: factor(self.noise, other.noise),
            detector: factor(self.detector, other.detector),
            lesion: std::array::from_fn(|i| factor(self.lesion[i], other.lesion[i])),
            kinds: {
                let [a, b] = std::array::from_fn(|i| share(self.kinds[i], other.kinds[i]));
                let most = f64::max(1.0, a + b);
                [a / most, b / most]
            },
            second: share(self.second, other.second),
            texture: factor(self.texture, other.texture),
            thickness: factor(self.thickness, other.thickness),
            empty_share: share(self.empty_share, other.empty_share),
        }
    }

    /// Millimetres between pixels, the same in rows and columns.
    pub(super) fn pixel(&self) -> f64 {
        (self.depth - self.top()) / self.rows as f64
    }

    /// Where the image begins: an arc bulges towards the patient, its ends lie higher.
    fn top(&self) -> f64 {
        match self.probe {
            Probe::Linear => 0.0,
            Probe::Sector { radius, half_angle } => radius * (half_angle.cos() - 1.0),
        }
    }

    /// Half the width of the image, in mm.
    pub(super) fn half_width(&self) -> f64 {
        self.pixel() * self.columns as f64 / 2.0
    }

    /// Where a pixel's centre lies, and at which share `0..=1` of the fan of beams; `None` outside
    /// what the beams reach.
    pub(super) fn pixel_spot(&self, row: usize, column: usize) -> Option<(Spot, f64)> {
        let pixel = self.pixel();
        let x = (column as f64 + 0.5) * pixel - self.half_width();
        let z = self.top() + (row as f64 + 0.5) * pixel;
        match self.probe {
            Probe::Linear => Some((Spot { x, z, depth: z }, 0.5 + x / (2.0 * self.half_width()))),
            Probe::Sector { radius, half_angle } => {
                let depth = x.hypot(z + radius) - radius;
                let share = 0.5 + x.atan2(z + radius) / (2.0 * half_angle);
                let reached = (0.0..=self.depth).contains(&depth) && (0.0..=1.0).contains(&share);
                reached.then_some((Spot { x, z, depth }, share))
            }
        }
    }

    /// Where a sample lies: `share` of the fan of beams, `depth` along the beam.
    pub(super) fn beam_spot(&self, share: f64, depth: f64) -> Spot {
        match self.probe {
            Probe::Linear => Spot { x: (share - 0.5) * 2.0 * self.half_width(), z: depth, depth },
            Probe::Sector { radius, half_angle } => {
                let angle = (share - 0.5) * 2.0 * half_angle;
                let r = radius + depth;
                Spot { x: r * angle.sin(), z: r * angle.cos() - radius, depth }
            }
        }
    }

    /// Millimetres between neighbouring beams of `beams` at a depth.
    pub(super) fn beam_distance(&self, beams: usize, depth: f64) -> f64 {
        match self.probe {
            Probe::Linear => 2.0 * self.half_width() / beams as f64,
            Probe::Sector { radius, half_angle } => {
                (radius + depth) * 2.0 * half_angle / beams as f64
            }
        }
    }

    /// Standard deviation of the beam at a depth, in mm: smallest at the focus, and growing like a
    /// Gaussian beam on either side.
    pub(super) fn beam_width(&self, depth: f64) -> f64 {
        let off = (depth - self.focus) / self.focus;
        self.lateral * (1.0 + (1.3 * off).powi(2)).sqrt()
    }
}
