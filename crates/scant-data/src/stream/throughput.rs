//! How many images per second reach a consumer that does nothing else. No threshold: the figures
//! belong to the machine. Run with
//! `cargo test --release -p scant-data throughput -- --ignored --nocapture`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use scant_core::LabelMap;
use scant_io::{Limits, read_image};

use super::*;
use crate::augment::AugmentConfig;
use crate::phantom::{PhantomConfig, generate_pool};
use crate::preprocess::PreprocessConfig;

/// Image and mask files of one generated site.
struct Files {
    ids: Vec<SampleId>,
    folder: PathBuf,
}

impl Files {
    fn of(site: &Path) -> Self {
        let mut stems: Vec<String> = std::fs::read_dir(site.join("images"))
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
            .collect();
        stems.sort();
        let id = |stem: String| SampleId { source: "site".into(), group: stem.clone(), stem };
        Self { ids: stems.into_iter().map(id).collect(), folder: site.into() }
    }
}

impl CaseSource for Files {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, case: usize) -> &SampleId {
        &self.ids[case]
    }

    fn role(&self, _: usize) -> Role {
        Role::Base
    }

    fn load(&self, case: usize) -> Result<Sample, LoadError> {
        let read = |kind: &str| {
            let path = self.folder.join(kind).join(format!("{}.png", self.ids[case].stem));
            read_image(&path, &Limits::default())
                .map_err(|cause| LoadError::new(path.display().to_string(), cause))
        };
        let mask = read("masks")?.pixels.index_axis_move(ndarray::Axis(0), 0);
        Ok(Sample {
            id: self.ids[case].clone(),
            source: 0,
            role: Role::Base,
            image: read("images")?,
            label: Some(LabelMap { ids: mask.mapv(|v| (v * 255.0).round() as u8) }),
            annotated: Annotated::all(2),
        })
    }
}

#[test]
#[ignore = "prints figures of this machine"]
fn throughput() {
    let folder = tempfile::tempdir().unwrap();
    let phantoms = PhantomConfig { sites: 1, images_per_site: 120, ..Default::default() };
    let started = Instant::now();
    generate_pool(&folder.path().join("pool"), &phantoms).unwrap();
    println!("generate 120 phantoms of 160 x 160     {:7.2} s", started.elapsed().as_secs_f64());
    let source: Arc<dyn CaseSource> = Arc::new(Files::of(&folder.path().join("pool/site-1")));
    let light = vec!["flip", "rot90"];
    let heavy = vec!["flip", "rot90", "affine", "elastic", "intensity", "noise", "blur"];
    for (what, names) in [("decode, flips", &light), ("decode, all augmentations", &heavy)] {
        for (workers, cache) in [(0, false), (1, false), (2, false), (2, true)] {
            let config = StreamConfig {
                batch: 8,
                workers,
                cache,
                preprocess: PreprocessConfig { size: Some([256, 256]), ..Default::default() },
                augment: AugmentConfig::from_names(names).unwrap(),
                ..Default::default()
            };
            let stream = BatchStream::new(Arc::clone(&source), config).unwrap();
            let first = u64::from(cache);
            if cache {
                assert_eq!(stream.epoch(0).map(|b| b.unwrap().len()).sum::<usize>(), 120);
            }
            let started = Instant::now();
            let images: usize =
                (first..first + 3).flat_map(|e| stream.epoch(e)).map(|b| b.unwrap().len()).sum();
            assert_eq!(images, 360);
            println!(
                "{what:26} 3 x 256 x 256, workers {workers}, cache {cache:5} {:8.0} images/s",
                images as f64 / started.elapsed().as_secs_f64()
            );
        }
    }
}
