//! Small pools in temporary folders.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use scant_data::{Catalog, DataError, Pool};
use scant_io::Limits;
use tempfile::TempDir;

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn place(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn text(&self, name: &str, text: &str) -> &Self {
        fs::write(self.place(name), text).unwrap();
        self
    }

    /// A picture whose texture depends on `seed`.
    pub(crate) fn image(&self, name: &str, size: (usize, usize), seed: u64) -> &Self {
        scant_io::write_grey8(&self.place(name), texture(size, seed).view()).unwrap();
        self
    }

    pub(crate) fn grey(&self, name: &str, pixels: &Array2<u8>) -> &Self {
        scant_io::write_grey8(&self.place(name), pixels.view()).unwrap();
        self
    }

    pub(crate) fn rgb(&self, name: &str, pixels: &Array3<u8>) -> &Self {
        scant_io::write_rgb8(&self.place(name), pixels.view()).unwrap();
        self
    }

    /// A mask with `value` in its upper left quarter and 0 elsewhere.
    pub(crate) fn mask(&self, name: &str, size: (usize, usize), value: u8) -> &Self {
        self.grey(name, &quarter(size, value))
    }

    /// Pairs `images/<stem>.png` and `masks/<stem>.png` of 24 x 32 pixels with values 0 and 1.
    pub(crate) fn pairs(&self, stems: &[&str]) -> &Self {
        for (seed, stem) in stems.iter().enumerate() {
            self.image(&format!("images/{stem}.png"), (24, 32), seed as u64);
            self.mask(&format!("masks/{stem}.png"), (24, 32), 1);
        }
        self
    }

    pub(crate) fn open(&self) -> Result<Pool, DataError> {
        Pool::open(self.path())
    }

    /// The pool file's text with the usual head in front.
    pub(crate) fn pool(&self, sources: &str) -> Result<Pool, DataError> {
        let head = "name = \"p\"\nclasses = [\"background\", \"lesion\", \"vessel\"]\n";
        Pool::from_toml_str(&format!("{head}{sources}"), self.path().into())
    }
}

pub(crate) fn texture(size: (usize, usize), seed: u64) -> Array2<u8> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    // Coarse cells survive the thumbnail.
    let coarse = Array2::from_shape_fn((size.0 / 4 + 1, size.1 / 4 + 1), |_| rng.random::<u8>());
    Array2::from_shape_fn(size, |(r, c)| coarse[[r / 4, c / 4]])
}

pub(crate) fn quarter(size: (usize, usize), value: u8) -> Array2<u8> {
    Array2::from_shape_fn(size, |(r, c)| if r < size.0 / 2 && c < size.1 / 2 { value } else { 0 })
}

/// One labelled source over `images/` and `masks/` with values 0 and 1.
pub(crate) const ONE_SOURCE: &str = r#"
[[source]]
name = "site"
images = "images"
masks = "masks"
values = { 0 = "background", 1 = "lesion" }
"#;

pub(crate) fn scan(pool: &Pool) -> Catalog {
    pool.scan(&Limits::default()).unwrap()
}
