//! Layered breast tissue with lesions, in millimetres.

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::site::{Site, Spot};
use crate::augment::smooth::Kernel;

/// Amplitude of a reflection of strength 1 relative to gland tissue (7 dB).
const SPECULAR: f64 = 2.24;

/// `exp(-t^2)`, cut off where it no longer matters.
fn bell(t: f64) -> f64 {
    if t.abs() > 3.5 { 0.0 } else { (-t * t).exp() }
}

/// Smooth Gaussian noise of unit variance over the body, read by position.
#[derive(Debug, Clone)]
struct Texture {
    values: Vec<f32>,
    columns: usize,
    rows: usize,
}

impl Texture {
    /// Distance between values, in mm.
    const STEP: f64 = 0.4;
    /// Extent, in mm.
    const WIDTH: f64 = 88.0;
    const HEIGHT: f64 = 64.0;

    /// Correlation lengths sideways and down, in mm.
    fn grow(sideways: f64, down: f64, rng: &mut ChaCha8Rng) -> Self {
        let columns = (Self::WIDTH / Self::STEP) as usize;
        let rows = (Self::HEIGHT / Self::STEP) as usize;
        let mut values: Vec<f32> =
            (0..columns * rows).map(|_| rng.sample::<f32, _>(StandardNormal)).collect();
        let across = Kernel::gaussian(sideways / Self::STEP);
        let along = Kernel::gaussian(down / Self::STEP);
        let mut padded = Vec::new();
        for line in values.chunks_exact_mut(columns) {
            across.along(line, &mut padded);
        }
        along.down(&mut values, columns);
        let scale = 1.0 / (across.energy() * along.energy()).sqrt();
        values.iter_mut().for_each(|v| *v *= scale);
        Self { values, columns, rows }
    }

    fn at(&self, x: f64, z: f64) -> f64 {
        let place = |mm: f64, n: usize| (mm / Self::STEP).clamp(0.0, n as f64 - 1.001);
        let c = place(x + Self::WIDTH / 2.0, self.columns);
        let r = place(z + 6.0, self.rows);
        let (right, down) = (c.fract() as f32, r.fract() as f32);
        let corner = r as usize * self.columns + c as usize;
        let v = &self.values;
        let low = corner + self.columns;
        let top = v[corner] + right * (v[corner + 1] - v[corner]);
        let bottom = v[low] + right * (v[low + 1] - v[low]);
        f64::from(top + down * (bottom - top))
    }
}

/// An undulating border between layers, tabulated because every sample asks for it.
#[derive(Debug, Clone)]
struct Border {
    depth: f64,
    table: Vec<f64>,
}

impl Border {
    /// Distance between entries, in mm.
    const STEP: f64 = 0.2;

    fn draw(depth: f64, height: f64, rng: &mut ChaCha8Rng) -> Self {
        let waves = [1.0, 2.0, 3.5].map(|k: f64| {
            let length = rng.random_range(32.0..60.0) / k;
            (rng.random_range(0.2..0.6) * height / k, TAU / length, rng.random_range(0.0..TAU))
        });
        let at = |x: f64| depth + waves.iter().map(|(a, k, p)| a * (k * x + p).sin()).sum::<f64>();
        let entries = (Texture::WIDTH / Self::STEP) as usize + 2;
        let table =
            (0..entries).map(|i| at(i as f64 * Self::STEP - Texture::WIDTH / 2.0)).collect();
        Self { depth, table }
    }

    fn at(&self, x: f64) -> f64 {
        let last = self.table.len() as f64 - 1.001;
        let place = ((x + Texture::WIDTH / 2.0) / Self::STEP).clamp(0.0, last);
        let i = place as usize;
        self.table[i] + place.fract() * (self.table[i + 1] - self.table[i])
    }
}

/// What a lesion is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Cyst,
    Solid,
    Irregular,
}

/// A lesion with a Fourier-perturbed outline.
#[derive(Debug, Clone)]
struct Lesion {
    x: f64,
    z: f64,
    /// Radii sideways and down, in mm.
    radii: [f64; 2],
    tilt: f64,
    /// Relative amplitude and phase of the 2nd, 3rd, ... harmonic of the radius.
    outline: Vec<(f64, f64)>,
    /// Echogenicity in dB relative to gland.
    echo: f64,
    /// Extra attenuation along the beam in dB per mm; negative brightens what is below.
    attenuation: f64,
    /// Extra echo of the rim in dB.
    rim: f64,
    /// Width over which the border fades, in mm.
    softness: f64,
}

impl Lesion {
    fn draw(site: &Site, kind: Kind, place: (f64, f64), size: f64, rng: &mut ChaCha8Rng) -> Self {
        let taller = if kind == Kind::Irregular { 0.85..1.35 } else { 0.55..0.85 };
        let aspect: f64 = rng.random_range(taller);
        let roughness = match kind {
            Kind::Cyst => 0.02,
            Kind::Solid => 0.05,
            Kind::Irregular => 0.13,
        };
        let harmonics = if kind == Kind::Irregular { 11 } else { 4 };
        let outline = (0..harmonics)
            .map(|k| {
                let fall = (k as f64 + 1.0).powf(if kind == Kind::Irregular { 0.6 } else { 1.0 });
                let amplitude: f64 = rng.sample(StandardNormal);
                (roughness * amplitude / fall, rng.random_range(0.0..TAU))
            })
            .collect();
        let (echo, attenuation, rim, softness) = match kind {
            Kind::Cyst => (rng.random_range(-36.0..-27.0), rng.random_range(-1.1..-0.6), 4.0, 0.15),
            // Some solid lesions are nearly as bright as their surroundings.
            Kind::Solid => (
                if rng.random_bool(0.2) { -5.0 } else { rng.random_range(-15.0..-9.0) },
                rng.random_range(-0.35..0.15),
                3.0,
                0.3,
            ),
            Kind::Irregular => {
                (rng.random_range(-20.0..-12.0), rng.random_range(0.4..1.0), 0.0, 0.7)
            }
        };
        let radii = [size / aspect.sqrt(), size * aspect.sqrt()];
        let tilt = rng.random_range(-0.35..0.35);
        let limit = 0.8 * site.half_width();
        let x = place.0.clamp(-limit, limit);
        Self { x, z: place.1, radii, tilt, outline, echo, attenuation, rim, softness }
    }

    /// Signed distance from the outline, about in mm; negative inside.
    fn distance(&self, x: f64, z: f64) -> f64 {
        let (sin, cos) = self.tilt.sin_cos();
        let (dx, dz) = (x - self.x, z - self.z);
        let (u, v) = ((cos * dx + sin * dz) / self.radii[0], (cos * dz - sin * dx) / self.radii[1]);
        let (rho, angle) = (u.hypot(v), v.atan2(u));
        if rho > 2.0 {
            return (rho - 1.0) * self.radii[0].min(self.radii[1]);
        }
        let wobble: f64 = self
            .outline
            .iter()
            .enumerate()
            .map(|(k, (a, phase))| a * ((k as f64 + 2.0) * angle + phase).cos())
            .sum();
        (rho - 1.0 - wobble) * (self.radii[0] * self.radii[1]).sqrt()
    }
}

/// What a place returns to the probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    /// Diffuse scattering in dB relative to gland.
    pub(super) diffuse: f64,
    /// Amplitude of the mirror-like reflection relative to gland.
    pub(super) specular: f64,
    /// Attenuation beyond the average of tissue, in dB per mm of beam.
    pub(super) attenuation: f64,
}

/// Everything about a patient that all frames share.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    skin: f64,
    fat: Border,
    gland: Border,
    muscle: Border,
    streaks: Texture,
    lobules: Texture,
    patches: Texture,
    fibres: f64,
    lesions: Vec<Lesion>,
    texture: f64,
}

impl Patient {
    pub(super) fn draw(site: &Site, rng: &mut ChaCha8Rng) -> Self {
        let t = site.thickness;
        let fat = rng.random_range(6.5..11.0) * t;
        let gland = fat + rng.random_range(8.5..13.0) * t;
        let muscle = gland + rng.random_range(5.0..8.0) * t;
        let mut lesions = Vec::new();
        let wanted = 1 + usize::from(rng.random_bool(site.second));
        for nth in 0..wanted {
            let roll: f64 = rng.random();
            let kind = if roll < site.kinds[0] {
                Kind::Cyst
            } else if roll < site.kinds[0] + site.kinds[1] {
                Kind::Irregular
            } else {
                Kind::Solid
            };
            let [small, large] = site.lesion;
            // Sizes are skewed: small lesions are the common ones.
            let size = small + (large - small) * rng.random::<f64>().powf(1.5);
            let size = if nth == 0 { size } else { 0.6 * size };
            let side: f64 = rng.sample(StandardNormal);
            let z = rng.random_range(fat + 0.3 * size..gland - 0.2 * size.min(gland - fat));
            let place = (0.32 * site.half_width() * side, z.max(size + site_skin(t)));
            lesions.push(Lesion::draw(site, kind, place, size, rng));
        }
        Self {
            skin: rng.random_range(1.2..2.0),
            fat: Border::draw(fat, 2.6, rng),
            gland: Border::draw(gland, 2.0, rng),
            muscle: Border::draw(muscle, 1.2, rng),
            streaks: Texture::grow(2.6, 0.32, rng),
            lobules: Texture::grow(3.2, 1.3, rng),
            patches: Texture::grow(4.0, 2.5, rng),
            fibres: rng.random_range(-0.12..0.12),
            lesions,
            texture: site.texture,
        }
    }

    /// The patient as one frame sees it: the probe has moved a little, the lesion is cut a little
    /// differently, or not at all.
    pub(super) fn view(&self, site: &Site, empty: bool, rng: &mut ChaCha8Rng) -> View<'_> {
        let mut normal = |deviation: f64| deviation * rng.sample::<f64, _>(StandardNormal);
        let mut lesions = if empty { Vec::new() } else { self.lesions.clone() };
        for lesion in &mut lesions {
            let grown = (1.0 + normal(0.07)).clamp(0.8, 1.2);
            lesion.radii = lesion.radii.map(|r| r * grown);
            lesion.tilt += normal(0.06);
            lesion.z += normal(0.3);
            for (amplitude, phase) in &mut lesion.outline {
                *amplitude *= 1.0 + normal(0.15);
                *phase += normal(0.12);
            }
        }
        let slide = normal(0.05 * site.half_width()).clamp(-4.0, 4.0);
        let press = (1.0 + normal(0.03)).clamp(0.92, 1.08);
        View { patient: self, lesions, slide, press, gain: normal(1.3) }
    }
}

impl Patient {
    /// Thin sheets between lobules of fat; the more they face the probe the more they reflect.
    fn septum(&self, x: f64, depth: f64) -> f64 {
        let value = self.lobules.at(x, depth);
        if value.abs() > 0.6 {
            return 0.0;
        }
        let step = 0.3;
        let across = (self.lobules.at(x + step, depth) - value) / step;
        let along = (self.lobules.at(x, depth + step) - value) / step;
        let slope = across.hypot(along).max(1e-6);
        let facing = along.abs() / slope;
        let wane = (0.55 + 0.6 * self.patches.at(1.4 * x, 1.4 * depth)).clamp(0.1, 1.0);
        0.5 * wane * (0.15 + 0.85 * facing * facing) * bell(value / slope / 0.17)
    }
}

/// Lesions start below the skin.
fn site_skin(thickness: f64) -> f64 {
    2.5 * thickness
}

/// One patient seen in one frame.
#[derive(Debug)]
pub(super) struct View<'a> {
    patient: &'a Patient,
    lesions: Vec<Lesion>,
    /// How far the probe was moved sideways, in mm.
    slide: f64,
    /// How much the tissue is compressed.
    press: f64,
    /// How far the operator turned the gain, in dB.
    pub(super) gain: f64,
}

impl View<'_> {
    /// Place in the patient of a place under the probe.
    fn body(&self, spot: Spot) -> Spot {
        Spot { x: spot.x + self.slide, z: spot.z * self.press, depth: spot.depth * self.press }
    }

    /// The class of a place: 0 background, 1 lesion, 2 muscle.
    pub(super) fn class(&self, spot: Spot) -> u8 {
        let Spot { x, z, depth } = self.body(spot);
        if self.lesions.iter().any(|l| l.distance(x, z) < 0.0) {
            return 1;
        }
        let p = self.patient;
        if depth >= p.gland.at(x) && depth < p.muscle.at(x) { 2 } else { 0 }
    }

    /// What a place returns.
    pub(super) fn echo(&self, spot: Spot) -> Echo {
        let Spot { x, z, depth } = self.body(spot);
        let p = self.patient;
        let (fat, gland, muscle) = (p.fat.at(x), p.gland.at(x), p.muscle.at(x));
        let line = |at: f64, width: f64| bell((depth - at) / width);
        let mut reflections = 0.0;
        let mut attenuation = 0.0;
        let mut diffuse = if depth < p.skin {
            reflections += line(0.25, 0.3) + 0.9 * line(p.skin, 0.22);
            4.0
        } else if depth < fat {
            reflections += p.septum(x, depth);
            -9.0 + 1.5 * p.patches.at(x, depth)
        } else if depth < gland {
            // Islands of fat among the glandular tissue.
            let island = ((p.lobules.at(x, depth) - 0.7) * 1.6).clamp(0.0, 1.0);
            let strength = 1.0 - 0.6 * island;
            let texture = p.texture * p.streaks.at(x, depth) + 3.2 * p.patches.at(x, depth);
            0.5 - 6.0 * island + strength * texture
        } else if depth < muscle {
            let fibre = p.streaks.at(0.8 * x, 1.8 * (depth - 0.6 * gland) + p.fibres * x);
            reflections += 0.3 * ((fibre - 1.3) / 0.8).clamp(0.0, 1.0);
            -12.0 + 3.5 * fibre + 1.5 * p.patches.at(x, depth)
        } else {
            // Chest wall: little comes back from below it.
            attenuation += 0.9;
            -14.0 + 2.0 * p.patches.at(x, depth)
        };
        // Fasciae wax and wane along their length.
        for (border, at, strength, width) in
            [(&p.fat, fat, 0.4, 0.2), (&p.gland, gland, 0.8, 0.22), (&p.muscle, muscle, 1.1, 0.28)]
        {
            let bright = line(at, width);
            if bright > 0.0 {
                let glint = (p.patches.at(x * 1.9, border.depth) + 0.2).clamp(-1.0, 1.0);
                reflections += strength * (0.5 + 0.5 * glint) * bright;
            }
        }
        for lesion in &self.lesions {
            let distance = lesion.distance(x, z);
            if distance > 8.0 * lesion.softness + 2.0 {
                continue;
            }
            let inside = 1.0 / (1.0 + (distance / lesion.softness * 2.2).clamp(-30.0, 30.0).exp());
            let texture = 0.35 * p.texture * p.patches.at(2.0 * x, 2.0 * z);
            let within = lesion.echo + if lesion.echo > -25.0 { texture } else { 0.0 };
            diffuse += inside * (within - diffuse);
            diffuse += lesion.rim * bell(distance / 0.45 - 0.6);
            reflections *= 1.0 - inside;
            attenuation += inside * lesion.attenuation;
            // Smooth rims bend the beam away at their flanks: thin edge shadows.
            if lesion.rim > 0.0 {
                let flank = ((x - lesion.x) / lesion.radii[0]).abs();
                if flank > 0.85 {
                    attenuation += 1.2 * bell(distance / 0.4);
                }
            }
        }
        Echo { diffuse, specular: SPECULAR * reflections, attenuation }
    }
}
