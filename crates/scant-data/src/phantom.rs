//! Ultrasound-like phantoms: something to train on when there is nothing else at hand.
//!
//! Every frame is simulated, not painted. A field of random scatterers, weighted by the
//! echogenicity of layered breast tissue, is convolved with a point-spread function that widens
//! away from the focus; the envelope of the resulting complex signal has the Rayleigh statistics
//! of fully developed speckle (Burckhardt 1978). Attenuation accumulates along each beam, so a
//! solid lesion casts a shadow and a cyst brightens what lies below; an imperfect time-gain
//! compensation, electronic noise, log compression and scan conversion follow.
//!
//! Sites differ in probe geometry, resolution, gain, dynamic range, compensation and in the size,
//! number and kind of lesions: a real shift between sources, entirely given by the seed.

mod anatomy;
mod render;
mod site;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use scant_io::IoError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use anatomy::Patient;
use site::Site;

/// How many phantoms of which kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhantomConfig {
    /// Number of sites; the first is the base, the others are novel.
    pub sites: usize,
    /// Images of each site.
    pub images_per_site: usize,
    /// Rows and columns at the first site; other sites differ by a few per cent.
    pub size: [usize; 2],
    /// Seed of everything.
    pub seed: u64,
    /// 1: lesion; 2: lesion and pectoral muscle.
    pub classes: usize,
    /// How far the other sites are from the first: 0 all alike, 1 as real ones are.
    pub shift: f64,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self { sites: 2, images_per_site: 60, size: [160, 160], seed: 0, classes: 1, shift: 1.0 }
    }
}

/// Why no phantoms were made.
#[derive(Debug, Error)]
pub enum PhantomError {
    /// A number out of its range.
    #[error("phantom.{field} = {value} is not possible: {rule}")]
    OutOfRange {
        /// Key of [`PhantomConfig`].
        field: &'static str,
        /// The value as written.
        value: String,
        /// The values that are possible.
        rule: &'static str,
    },
    /// Something is there already.
    #[error("{path}: the folder is not empty; nothing is overwritten, choose another one")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{path}: cannot be written: {cause}")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// An image could not be encoded or written.
    #[error(transparent)]
    Image(#[from] IoError),
}

/// One phantom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// File stem: patient and frame, such as `p003_f2`.
    pub stem: String,
    /// Grey values, `[rows, columns]`.
    pub image: Array2<u8>,
    /// 0 background, 1 lesion, 2 muscle (with two classes), `[rows, columns]`.
    pub mask: Array2<u8>,
}

/// What a frame will show.
#[derive(Debug, Clone)]
struct Plan {
    site: usize,
    patient: usize,
    frame: usize,
    /// The probe has slid off the lesion, or there is none.
    empty: bool,
}

impl PhantomConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// Names the first one out of its range.
    pub fn validate(&self) -> Result<(), PhantomError> {
        let check = |field, value: String, possible: bool, rule| {
            if possible { Ok(()) } else { Err(PhantomError::OutOfRange { field, value, rule }) }
        };
        let sites = (1..=20).contains(&self.sites);
        check("sites", self.sites.to_string(), sites, "1 to 20 sites")?;
        let images = (1..=100_000).contains(&self.images_per_site);
        let count = self.images_per_site.to_string();
        check("images_per_site", count, images, "1 to 100000 images")?;
        let sides = self.size.iter().all(|n| (32..=2048).contains(n));
        let [rows, columns] = self.size;
        check("size", format!("[{rows}, {columns}]"), sides, "32 to 2048 rows and columns")?;
        let shift = (0.0..=1.5).contains(&self.shift);
        check("shift", self.shift.to_string(), shift, "0 to 1.5")?;
        check("classes", self.classes.to_string(), (1..=2).contains(&self.classes), "1 or 2")
    }

    /// Class names, background first.
    #[must_use]
    pub fn class_names(&self) -> Vec<&'static str> {
        ["background", "lesion", "muscle"][..=self.classes.min(2)].to_vec()
    }

    /// Simulates all frames of one site (counted from 0) without touching any file.
    ///
    /// # Errors
    /// When the configuration is invalid.
    ///
    /// # Panics
    /// When `site >= sites`.
    pub fn frames(&self, site: usize) -> Result<Vec<Frame>, PhantomError> {
        self.validate()?;
        assert!(site < self.sites, "there are {} sites", self.sites);
        let plans: Vec<Plan> = self.plans().into_iter().filter(|p| p.site == site).collect();
        let patients: Vec<&[Plan]> = plans.chunk_by(|a, b| a.patient == b.patient).collect();
        Ok(patients.into_par_iter().flat_map_iter(|plans| self.examine(plans)).collect())
    }

    /// Patients are numbered through all sites, so that a name never means two people.
    fn plans(&self) -> Vec<Plan> {
        let mut plans = Vec::with_capacity(self.sites * self.images_per_site);
        let mut patient = 0;
        for site in 0..self.sites {
            let mut rng = generator(self.seed, site, 0, 0);
            // Few images should still come from several patients, or no split by patient exists.
            let most = (self.images_per_site / 6).clamp(1, 4);
            let first = plans.len();
            let first_patient = patient;
            while plans.len() < first + self.images_per_site {
                let left = first + self.images_per_site - plans.len();
                let frames = rng.random_range(most.min(2)..=most).min(left);
                let shown = |frame| Plan { site, patient, frame, empty: false };
                plans.extend((0..frames).map(shown));
                patient += 1;
            }
            let share = Site::new(self, site).empty_share;
            let mut wanted = (share * self.images_per_site as f64).round() as usize;
            let mut order: Vec<usize> = (first_patient..patient).collect();
            order.shuffle(&mut rng);
            for chosen in order {
                for plan in plans[first..].iter_mut().filter(|p| p.patient == chosen) {
                    plan.empty = wanted > 0;
                    wanted = wanted.saturating_sub(1);
                }
            }
        }
        plans
    }

    /// The frames of one patient.
    fn examine(&self, plans: &[Plan]) -> Vec<Frame> {
        let Some(Plan { site: index, patient: number, .. }) = plans.first() else {
            return Vec::new();
        };
        let site = Site::new(self, *index);
        let patient = Patient::draw(&site, &mut generator(self.seed, *index, *number, 1));
        plans
            .iter()
            .map(|plan| {
                let mut rng = generator(self.seed, plan.site, plan.patient, 2 + plan.frame);
                let view = patient.view(&site, plan.empty, &mut rng);
                let (image, mask) = render::render(&site, &view, self.classes, &mut rng);
                Frame { stem: format!("p{:03}_f{}", plan.patient + 1, plan.frame + 1), image, mask }
            })
            .collect()
    }
}

/// The key holds every number, so no two streams can collide.
fn generator(seed: u64, site: usize, patient: usize, purpose: usize) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    for (part, value) in
        key.chunks_exact_mut(8).zip([seed, site as u64, patient as u64, purpose as u64])
    {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Writes a pool of phantoms and returns the path of its `pool.toml`.
///
/// Images and masks are 8-bit grey PNGs; mask values are class ids. `pool.toml` is written last:
/// a folder without it is incomplete.
///
/// # Errors
/// When the configuration is invalid, `folder` exists and is not empty, or a file cannot be
/// written.
pub fn generate_pool(folder: &Path, config: &PhantomConfig) -> Result<PathBuf, PhantomError> {
    config.validate()?;
    let refused = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| PhantomError::Write { path, cause }
    };
    fs::create_dir_all(folder).map_err(refused(folder))?;
    if fs::read_dir(folder).map_err(refused(folder))?.next().is_some() {
        return Err(PhantomError::NotEmpty { path: folder.to_path_buf() });
    }
    for site in 0..config.sites {
        for kind in ["images", "masks"] {
            let path = folder.join(site_name(site)).join(kind);
            fs::create_dir_all(&path).map_err(refused(&path))?;
        }
    }
    let plans = config.plans();
    let patients: Vec<&[Plan]> = plans.chunk_by(|a, b| a.patient == b.patient).collect();
    patients.into_par_iter().try_for_each(|plans| {
        for (plan, frame) in plans.iter().zip(config.examine(plans)) {
            let name = format!("{}.png", frame.stem);
            for (kind, pixels) in [("images", &frame.image), ("masks", &frame.mask)] {
                let path = folder.join(site_name(plan.site)).join(kind).join(&name);
                // Not flushed one by one: the folder counts only once pool.toml is there.
                let bytes = scant_io::encode_grey8_png(pixels.view())?;
                fs::write(&path, bytes).map_err(refused(&path))?;
            }
        }
        Ok::<(), PhantomError>(())
    })?;
    let path = folder.join("pool.toml");
    scant_io::write_atomic(&path, pool_toml(config).as_bytes())?;
    Ok(path)
}

fn site_name(site: usize) -> String {
    format!("site-{}", site + 1)
}

fn pool_toml(config: &PhantomConfig) -> String {
    let names = config.class_names();
    let quoted: Vec<String> = names.iter().map(|n| format!("\"{n}\"")).collect();
    let values: Vec<String> =
        names.iter().enumerate().map(|(id, name)| format!("{id} = \"{name}\"")).collect();
    let mut text = format!(
        "# Simulated ultrasound phantoms (seed {}): no patient was involved.\n\
         name    = \"phantoms\"\nclasses = [{}]\n",
        config.seed,
        quoted.join(", ")
    );
    for site in 0..config.sites {
        let name = site_name(site);
        let role = if site == 0 { "base" } else { "novel" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[source]]\nname   = \"{name}\"\nrole   = \"{role}\"\nimages = \"{name}/images\"\n\
             masks  = \"{name}/masks\"\nvalues = {{ {} }}\ngroup  = '^(p[0-9]+)_'\n",
            values.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests;
