//! From tissue to grey values.

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::anatomy::View;
use super::site::Site;
use crate::augment::smooth::Kernel;

/// Grey value of gland tissue at the skin with no gain.
const GLAND_GREY: f64 = 0.56;
/// Share of an accumulated attenuation that is seen: compounding looks around obstacles.
const SHADOW_SHARE: f64 = 2.0;

/// The complex echo signal on the grid of beams.
struct Signal {
    /// Rows are depths, columns beams.
    real: Vec<f32>,
    imaginary: Vec<f32>,
    depths: usize,
    beams: usize,
}

fn amplitude(db: f64) -> f32 {
    (db * (std::f64::consts::LN_10 / 20.0)).exp() as f32
}

/// Simulates one frame.
///
/// # Shapes
/// grey values and class ids, both `[rows, columns]`; outside the beams both are 0.
pub(super) fn render(
    site: &Site,
    view: &View<'_>,
    classes: usize,
    rng: &mut ChaCha8Rng,
) -> (Array2<u8>, Array2<u8>) {
    let mut signal = scatter(site, view, rng);
    focus(site, &mut signal);
    let grey = compress(site, view, &signal, rng);
    let mut image = Array2::zeros((site.rows, site.columns));
    let mut mask = Array2::zeros((site.rows, site.columns));
    for ((row, column), value) in image.indexed_iter_mut() {
        let Some((spot, share)) = site.pixel_spot(row, column) else { continue };
        let r = spot.depth / site.depth * signal.depths as f64 - 0.5;
        let c = share * signal.beams as f64 - 0.5;
        let shade = bilinear(&grey, (signal.depths, signal.beams), r, c);
        *value = (shade * 255.0).round().clamp(0.0, 255.0) as u8;
        let class = view.class(spot);
        mask[[row, column]] = if usize::from(class) <= classes { class } else { 0 };
    }
    (image, mask)
}

/// Random scatterers and mirror-like reflectors, weakened by what lies above them.
fn scatter(site: &Site, view: &View<'_>, rng: &mut ChaCha8Rng) -> Signal {
    // A little finer than the image, so that speckle is not undersampled.
    let (depths, beams) = (site.rows * 5 / 4, site.columns);
    let step = site.depth / depths as f64;
    let mut lost = vec![0.0_f64; beams];
    let mut signal = Signal {
        real: Vec::with_capacity(depths * beams),
        imaginary: Vec::with_capacity(depths * beams),
        depths,
        beams,
    };
    for k in 0..depths {
        let depth = (k as f64 + 0.5) * step;
        for (beam, lost) in lost.iter_mut().enumerate() {
            let share = (beam as f64 + 0.5) / beams as f64;
            let echo = view.echo(site.beam_spot(share, depth));
            let left = amplitude(-*lost);
            let diffuse = amplitude(echo.diffuse) * left * std::f32::consts::FRAC_1_SQRT_2;
            let specular = echo.specular as f32 * left;
            // Rough reflectors: the mirror-like part varies in strength but keeps its phase.
            let glitter: f32 = 0.75 + 0.5 * rng.random::<f32>();
            signal.real.push(diffuse * rng.sample::<f32, _>(StandardNormal) + specular * glitter);
            signal.imaginary.push(diffuse * rng.sample::<f32, _>(StandardNormal));
            *lost += SHADOW_SHARE * echo.attenuation * step;
        }
    }
    signal
}

/// Convolves with the point-spread function: the pulse along the beam, the beam's width across.
///
/// Diffuse echoes keep their mean power whatever the width; the signal is scaled accordingly.
fn focus(site: &Site, signal: &mut Signal) {
    let step = site.depth / signal.depths as f64;
    let pulse = Kernel::gaussian(site.axial / step);
    for plane in [&mut signal.real, &mut signal.imaginary] {
        pulse.down(plane, signal.beams);
        let mut padded = Vec::new();
        for (k, line) in plane.chunks_exact_mut(signal.beams).enumerate() {
            let depth = (k as f64 + 0.5) * step;
            let width = site.beam_width(depth) / site.beam_distance(signal.beams, depth);
            let beam = Kernel::gaussian(width);
            beam.along(line, &mut padded);
            let scale = 1.0 / (pulse.energy() * beam.energy()).sqrt();
            line.iter_mut().for_each(|v| *v *= scale);
        }
    }
}

/// Envelope, noise, gain along depth, logarithm: grey values `0..=1` on the grid of beams.
fn compress(site: &Site, view: &View<'_>, signal: &Signal, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let step = site.depth / signal.depths as f64;
    let mut envelope = Vec::with_capacity(signal.real.len());
    let lines = signal.real.chunks_exact(signal.beams);
    for (k, (real, imaginary)) in lines.zip(signal.imaginary.chunks_exact(signal.beams)).enumerate()
    {
        // Amplifying what comes late amplifies the electronics' noise with it.
        let depth = (k as f64 + 0.5) * step;
        let noise = amplitude(-site.noise + 0.75 * depth) * std::f32::consts::FRAC_1_SQRT_2;
        for (re, im) in real.iter().zip(imaginary) {
            let re = re + noise * rng.sample::<f32, _>(StandardNormal);
            let im = im + noise * rng.sample::<f32, _>(StandardNormal);
            envelope.push(re.hypot(im));
        }
    }
    // The low-pass behind the detector fills the deepest nulls of the speckle.
    Kernel::gaussian(site.detector).plane(&mut envelope, signal.beams);
    for (k, line) in envelope.chunks_exact_mut(signal.beams).enumerate() {
        let depth = (k as f64 + 0.5) * step;
        // The sliders of the compensation are never set quite evenly.
        let ripple = 1.2 * (depth / site.depth * 9.0).sin();
        let level = site.compensation * depth / 10.0 + ripple + site.gain + view.gain;
        for value in line {
            let db = 20.0 * f64::from(value.max(1e-6)).log10() + level;
            *value = (GLAND_GREY + db / site.dynamic_range).clamp(0.0, 1.0) as f32;
        }
    }
    envelope
}

/// Value between the samples; the outermost continue outwards.
fn bilinear(plane: &[f32], (rows, columns): (usize, usize), row: f64, column: f64) -> f32 {
    let (r, c) = (row.clamp(0.0, rows as f64 - 1.0), column.clamp(0.0, columns as f64 - 1.0));
    let (down, right) = (r.fract() as f32, c.fract() as f32);
    let (top, left) = (r as usize, c as usize);
    let (bottom, side) = ((top + 1).min(rows - 1), (left + 1).min(columns - 1));
    let at = |r: usize, c: usize| plane[r * columns + c];
    let above = at(top, left) + right * (at(top, side) - at(top, left));
    let below = at(bottom, left) + right * (at(bottom, side) - at(bottom, left));
    above + down * (below - above)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::PhantomConfig;
    use super::super::anatomy::Patient;
    use super::*;

    /// The envelope of homogeneous tissue of unit strength, without attenuation and noise.
    fn envelope(site: &Site, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (depths, beams) = (site.rows, site.columns);
        let mut white = || -> Vec<f32> {
            (0..depths * beams).map(|_| rng.sample::<f32, _>(StandardNormal)).collect()
        };
        let mut signal = Signal { real: white(), imaginary: white(), depths, beams };
        focus(site, &mut signal);
        signal.real.iter().zip(&signal.imaginary).map(|(a, b)| a.hypot(*b)).collect()
    }

    #[test]
    fn speckle_is_rayleigh_distributed() {
        let config = PhantomConfig { size: [256, 256], ..Default::default() };
        for index in 0..2 {
            let values = envelope(&Site::new(&config, index), 5);
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
            // A Rayleigh variable has mean / deviation = sqrt(pi / (4 - pi)) = 1.913, and here
            // both parts of the signal have variance 1: mean = sqrt(pi / 2).
            assert!((mean / variance.sqrt() - 1.913).abs() < 0.06, "site {index}");
            assert!((mean - (std::f32::consts::PI / 2.0).sqrt()).abs() < 0.05, "site {index}");
        }
    }

    #[test]
    fn speckle_widens_away_from_the_focus() {
        let config = PhantomConfig { size: [256, 256], ..Default::default() };
        let site = Site::new(&config, 0);
        let values = envelope(&site, 6);
        // Correlation of neighbours sideways, in a band of rows.
        let correlation = |depth: f64| {
            let middle = (depth / site.depth * site.rows as f64) as usize;
            let band = &values[(middle - 14) * site.columns..(middle + 14) * site.columns];
            let mean = band.iter().sum::<f32>() / band.len() as f32;
            let product = |lag: usize| {
                let lines = band.chunks_exact(site.columns);
                lines
                    .flat_map(|l| l.iter().zip(&l[lag..]).map(|(a, b)| (a - mean) * (b - mean)))
                    .sum::<f32>()
            };
            product(3) / product(0)
        };
        assert!(correlation(33.0) > correlation(site.focus) + 0.15);
    }

    #[test]
    fn cysts_brighten_and_irregular_lesions_shade_what_lies_below() {
        let config = PhantomConfig { size: [128, 128], ..Default::default() };
        let below = |kinds: [f64; 2]| {
            let site = Site { kinds, second: 0.0, lesion: [4.0, 5.0], ..Site::new(&config, 0) };
            let mut differences = Vec::new();
            for seed in 0..12 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let patient = Patient::draw(&site, &mut rng);
                let view = patient.view(&site, false, &mut rng);
                let (image, mask) = render(&site, &view, 1, &mut rng);
                // The band of ten rows under the lesion, inside its columns and outside.
                let drawn: Vec<(usize, usize)> =
                    mask.indexed_iter().filter(|(_, v)| **v == 1).map(|(at, _)| at).collect();
                let bottom = drawn.iter().map(|at| at.0).max().unwrap();
                let low = drawn.iter().map(|at| at.1).min().unwrap();
                let high = drawn.iter().map(|at| at.1).max().unwrap();
                let (mut under, mut beside) = (Vec::new(), Vec::new());
                for r in bottom + 2..(bottom + 12).min(site.rows) {
                    for c in 0..site.columns {
                        let value = f64::from(image[[r, c]]);
                        if c > low + 4 && c + 4 < high {
                            under.push(value);
                        } else if c + 4 < low || c > high + 4 {
                            beside.push(value);
                        }
                    }
                }
                let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
                differences.push(mean(&under) - mean(&beside));
            }
            differences.iter().sum::<f64>() / differences.len() as f64
        };
        let (cyst, irregular) = (below([1.0, 0.0]), below([0.0, 1.0]));
        assert!(cyst > 15.0, "under cysts {cyst}");
        assert!(irregular < -15.0, "under irregular lesions {irregular}");
    }
}
