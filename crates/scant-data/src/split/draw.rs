//! Drawing a split: clusters of groups, source by source, balanced by images.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use scant_core::{Role, SampleId};

use super::{Part, Split, SplitSpec, fixed};
use crate::{Catalog, DataError, Pool};

/// Groups that stay together, usually a single one.
#[derive(Debug, Default)]
struct Cluster {
    /// Labelled cases per source position.
    labelled: BTreeMap<usize, Vec<SampleId>>,
    /// Cases of unlabelled sources.
    unlabelled: Vec<SampleId>,
    part: Option<Part>,
}

impl Cluster {
    fn images(&self, source: usize) -> usize {
        self.labelled.get(&source).map_or(0, Vec::len)
    }

    /// The labelled source that has most images here; it decides the part.
    fn home(&self) -> Option<usize> {
        let most = self.labelled.iter().max_by(|a, b| a.1.len().cmp(&b.1.len()).then(b.0.cmp(a.0)));
        most.map(|(source, _)| *source)
    }
}

struct Draw<'a> {
    pool: &'a Pool,
    spec: &'a SplitSpec,
    clusters: Vec<Cluster>,
    /// Labelled images per source.
    totals: BTreeMap<usize, usize>,
    messages: Vec<String>,
    rng: ChaCha8Rng,
}

fn refuse(message: impl Into<String>, remedy: impl Into<String>) -> DataError {
    DataError::Split { message: message.into(), remedy: remedy.into() }
}

/// Divides a pool into train, validation and test, and tells what was worth telling.
///
/// Groups never straddle. Every labelled source is divided on its own, so that each one with at
/// least three groups takes part in all three; shares are of images and meet their target to within
/// one group where groups are plenty. Unlabelled sources go to `unlabelled` as a whole; an unlabelled
/// image that [`SplitSpec::keep_together`] ties to a tested or validated case is excluded. Sources
/// with a fixed split keep it; what their file does not list is excluded.
///
/// With [`SplitSpec::folds`], the fold of that index is tested on and validation is drawn from the
/// rest; with fewer clusters of groups than folds, every cluster becomes a fold (leave one group out).
///
/// # Errors
/// When the shares or folds cannot be meant, nothing labelled is there, or there are too few groups
/// for the parts asked for.
pub fn make_split(
    catalog: &Catalog,
    pool: &Pool,
    spec: &SplitSpec,
) -> Result<(Split, Vec<String>), DataError> {
    check_spec(pool, spec)?;
    catalog.require_usable(pool)?;
    let mut draw = Draw {
        pool,
        spec,
        clusters: clusters(catalog, spec)?,
        totals: BTreeMap::new(),
        messages: Vec::new(),
        rng: ChaCha8Rng::seed_from_u64(spec.seed),
    };
    for entry in catalog.entries.iter().filter(|e| e.role != Role::Unlabelled) {
        *draw.totals.entry(entry.source).or_default() += 1;
    }
    draw.refuse_too_few_groups()?;
    let mut excluded = draw.take_fixed(catalog)?;
    draw.hold_out();
    if spec.folds.is_some() {
        draw.draw_folds()?;
    }
    for source in draw.totals.keys().copied().collect::<Vec<_>>() {
        draw.draw_source(source);
    }
    let mut split = draw.finish(&mut excluded);
    split.excluded.append(&mut excluded);
    for part in Part::ALL {
        split.part_mut(part).sort();
    }
    draw.refuse_empty_parts(&split)?;
    split.check(catalog)?;
    Ok((split, draw.messages))
}

fn check_spec(pool: &Pool, spec: &SplitSpec) -> Result<(), DataError> {
    for (name, share) in [("test", spec.test), ("validation", spec.validation)] {
        if !(0.0..1.0).contains(&share) {
            return Err(refuse(
                format!("{name} = {share} is not a share"),
                format!("give a number from 0 up to but not including 1, e.g. {name} = 0.2"),
            ));
        }
    }
    if spec.folds.is_none() && spec.test + spec.validation >= 1.0 {
        return Err(refuse(
            format!(
                "test {} + validation {} leave nothing to train on",
                spec.test, spec.validation
            ),
            "lower one of them",
        ));
    }
    if let Some(folds) = spec.folds
        && (folds.k < 2 || folds.index >= folds.k)
    {
        return Err(refuse(
            format!("fold {} of {} does not exist", folds.index, folds.k),
            "use k of at least 2 and an index from 0 to k - 1",
        ));
    }
    if spec.folds.is_some() && !spec.held_out.is_empty() {
        return Err(refuse("folds and held-out sources exclude each other", "use one of them"));
    }
    for name in &spec.held_out {
        let known = pool.source_index(name).filter(|i| pool.sources[*i].is_labelled());
        if known.is_none() {
            let names: Vec<&str> =
                pool.sources.iter().filter(|s| s.is_labelled()).map(|s| s.name.as_str()).collect();
            return Err(refuse(
                format!("held-out source \"{name}\" is not a labelled source of the pool"),
                format!("labelled sources: {}", names.join(", ")),
            ));
        }
    }
    Ok(())
}

/// Joins groups through `keep_together` and returns the clusters in the order of their first group.
fn clusters(catalog: &Catalog, spec: &SplitSpec) -> Result<Vec<Cluster>, DataError> {
    let mut number: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &catalog.entries {
        let next = number.len();
        number.entry((&entry.id.source, &entry.id.group)).or_insert(next);
    }
    let mut parent: Vec<usize> = (0..number.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for pair in &spec.keep_together {
        let find = |id: &SampleId| {
            number.get(&(id.source.as_str(), id.group.as_str())).copied().ok_or_else(|| {
                refuse(
                    format!("keep_together names {id}, which is no usable case of the pool"),
                    "scan the pool and its duplicates again",
                )
            })
        };
        let (a, b) = (root(&mut parent, find(&pair.0)?), root(&mut parent, find(&pair.1)?));
        parent[a.max(b)] = a.min(b);
    }
    let mut by_root: BTreeMap<usize, Cluster> = BTreeMap::new();
    for entry in &catalog.entries {
        let group = number[&(entry.id.source.as_str(), entry.id.group.as_str())];
        let cluster = by_root.entry(root(&mut parent, group)).or_default();
        if entry.role == Role::Unlabelled {
            cluster.unlabelled.push(entry.id.clone());
        } else {
            cluster.labelled.entry(entry.source).or_default().push(entry.id.clone());
        }
    }
    Ok(by_root.into_values().collect())
}

impl Draw<'_> {
    fn name(&self, source: usize) -> &str {
        &self.pool.sources[source].name
    }

    /// Indices of the labelled clusters.
    fn labelled(&self) -> Vec<usize> {
        (0..self.clusters.len()).filter(|i| !self.clusters[*i].labelled.is_empty()).collect()
    }

    fn images_in(&self, source: usize, part: Part) -> usize {
        self.clusters.iter().filter(|c| c.part == Some(part)).map(|c| c.images(source)).sum()
    }

    fn refuse_too_few_groups(&self) -> Result<(), DataError> {
        let fixed = self.pool.sources.iter().any(|s| s.is_labelled() && s.split.is_some());
        let tested =
            self.spec.folds.is_some() || self.spec.test > 0.0 || !self.spec.held_out.is_empty();
        let needed = 1 + usize::from(tested) + usize::from(self.spec.validation > 0.0);
        let clusters = self.labelled().len();
        if fixed || clusters >= needed {
            return Ok(());
        }
        let parts = match (tested, self.spec.validation > 0.0) {
            (true, true) => "train, validation and test",
            (true, false) => "train and test",
            _ => "train and validation",
        };
        let whole: usize = self.totals.values().sum();
        Err(refuse(
            format!(
                "{whole} labelled image(s) in {clusters} group(s) cannot be divided into {parts}: a \
                 group (patient, slide) never straddles"
            ),
            if clusters == 1 {
                "add images of other patients or slides; if the `group` rule matches too much (one \
                 group for all), correct it"
            } else {
                "add images of other patients or slides, set validation = 0 (no best epoch is then \
                 chosen), or correct the `group` rule if it matches too much"
            },
        ))
    }

    /// Gives the cases of fixed splits their part; returns what those files leave out.
    fn take_fixed(&mut self, catalog: &Catalog) -> Result<Vec<SampleId>, DataError> {
        let mut excluded = Vec::new();
        for (index, source) in self.pool.sources.iter().enumerate() {
            let Some(file) = source.split.as_ref().filter(|_| source.is_labelled()) else {
                continue;
            };
            let path = self.pool.root.join(file);
            let ids: Vec<&SampleId> =
                catalog.entries.iter().filter(|e| e.source == index).map(|e| &e.id).collect();
            let listed = fixed::read(&path, &source.name, &ids)?;
            let mut split_twins = 0;
            for cluster in &mut self.clusters {
                let Some(cases) = cluster.labelled.get_mut(&index) else { continue };
                let mut parts = BTreeSet::new();
                cases.retain(|id| match listed.get(id) {
                    None | Some(Part::Excluded) => {
                        excluded.push(id.clone());
                        false
                    }
                    Some(part) => {
                        parts.insert(*part);
                        true
                    }
                });
                if cases.is_empty() {
                    cluster.labelled.remove(&index);
                    continue;
                }
                parts.extend(cluster.part);
                split_twins += usize::from(parts.len() > 1);
                // The strictest part wins: what is tested must not be learned from through a twin.
                cluster.part = parts.into_iter().next_back();
            }
            let left_out = ids.iter().filter(|id| !listed.contains_key(*id)).count();
            if left_out > 0 {
                self.messages.push(format!(
                    "source \"{}\": {} does not list {left_out} of {} cases; they take no part",
                    source.name,
                    path.display(),
                    ids.len()
                ));
            }
            if split_twins > 0 {
                self.messages.push(format!(
                    "source \"{}\": {} separates {split_twins} cluster(s) of duplicate images; each was \
                     moved as a whole to the most protected of its parts",
                    source.name,
                    path.display()
                ));
            }
            self.totals.insert(index, listed.values().filter(|p| **p != Part::Excluded).count());
            self.messages.push(format!(
                "source \"{}\": split fixed by {}",
                source.name,
                path.display()
            ));
        }
        Ok(excluded)
    }

    fn is_fixed(&self, source: usize) -> bool {
        self.pool.sources[source].split.is_some()
    }

    fn hold_out(&mut self) {
        let held: Vec<usize> =
            self.spec.held_out.iter().filter_map(|n| self.pool.source_index(n)).collect();
        for cluster in &mut self.clusters {
            if held.iter().any(|s| cluster.labelled.contains_key(s)) {
                cluster.part = Some(Part::Test);
            }
        }
    }

    fn draw_folds(&mut self) -> Result<(), DataError> {
        let Some(folds) = self.spec.folds else { return Ok(()) };
        let open: Vec<usize> =
            self.labelled().into_iter().filter(|i| self.clusters[*i].part.is_none()).collect();
        let k = folds.k.min(open.len());
        if open.is_empty() {
            self.messages
                .push("every source has a fixed split, so the folds change nothing".into());
            return Ok(());
        }
        if k < folds.k {
            self.messages.push(format!(
                "{} folds asked for but there are only {k} groups: leaving one group out at a time \
                 (folds 0 to {})",
                folds.k,
                k - 1
            ));
        }
        if folds.index >= k || k < 2 {
            return Err(refuse(
                format!(
                    "fold {} does not exist: with {k} group(s) there are {k} fold(s)",
                    folds.index
                ),
                if k < 2 {
                    "add images of other patients or slides".to_string()
                } else {
                    format!("use an index from 0 to {}", k - 1)
                },
            ));
        }
        let mut global = vec![0usize; k];
        for source in self.totals.keys().copied().collect::<Vec<_>>() {
            let mut own: Vec<usize> =
                open.iter().copied().filter(|i| self.clusters[*i].home() == Some(source)).collect();
            if own.is_empty() {
                continue;
            }
            if own.len() < k {
                self.messages.push(format!(
                    "source \"{}\": {} group(s) for {k} folds, so some folds test nothing of it",
                    self.name(source),
                    own.len()
                ));
            }
            // Largest first into the emptiest fold; the shuffle decides among equals.
            own.shuffle(&mut self.rng);
            own.sort_by_key(|i| std::cmp::Reverse(self.clusters[*i].images(source)));
            let mut filled = vec![0usize; k];
            for i in own {
                let fold = (0..k).min_by_key(|f| (filled[*f], global[*f], *f)).unwrap_or_default();
                filled[fold] += self.clusters[i].images(source);
                global[fold] += self.clusters[i].labelled.values().map(Vec::len).sum::<usize>();
                if fold == folds.index {
                    self.clusters[i].part = Some(Part::Test);
                }
            }
        }
        Ok(())
    }

    /// Divides what is still open of a source.
    fn draw_source(&mut self, source: usize) {
        let mut open: Vec<usize> = self
            .labelled()
            .into_iter()
            .filter(|i| {
                self.clusters[*i].part.is_none() && self.clusters[*i].home() == Some(source)
            })
            .collect();
        if open.is_empty() {
            return;
        }
        open.shuffle(&mut self.rng);
        let total = self.totals.get(&source).copied().unwrap_or_default() as f64;
        let own_test = self.spec.folds.is_none() && self.spec.held_out.is_empty();
        let mut wanted = Vec::new();
        if own_test && self.spec.test > 0.0 {
            wanted.push((Part::Test, self.spec.test * total));
        }
        if self.spec.validation > 0.0 {
            wanted.push((Part::Validation, self.spec.validation * total));
        }
        let room = open.len().saturating_sub(1);
        if wanted.len() > room && !self.is_fixed(source) {
            let missing: Vec<&str> = wanted[room..].iter().map(|(p, _)| p.name()).collect();
            self.messages.push(format!(
                "source \"{}\": {} group(s) to divide, so it has no {} part",
                self.name(source),
                open.len(),
                missing.join(" or ")
            ));
            wanted.truncate(room);
        }
        while let Some((part, target)) = wanted.first().copied() {
            wanted.remove(0);
            // Train and the parts still to come keep a cluster each.
            let reserve = 1 + wanted.len();
            let mut have = self.images_in(source, part) as f64;
            let started_empty = have == 0.0;
            let mut taken = Vec::new();
            for &i in &open {
                if open.len() - taken.len() <= reserve {
                    break;
                }
                let size = self.clusters[i].images(source) as f64;
                // Taken when that brings the part closer to its target.
                if have + size / 2.0 <= target {
                    have += size;
                    taken.push(i);
                }
            }
            if taken.is_empty() && started_empty {
                // Better a small part than none.
                taken.extend(open.iter().copied().min_by_key(|i| self.clusters[*i].images(source)));
            }
            for &i in &taken {
                self.clusters[i].part = Some(part);
            }
            open.retain(|i| !taken.contains(i));
        }
        for i in open {
            self.clusters[i].part = Some(Part::Train);
        }
    }

    fn finish(&mut self, excluded: &mut Vec<SampleId>) -> Split {
        let mut split = Split { seed: self.spec.seed, how: self.how(), ..Split::default() };
        let mut tied = 0;
        for cluster in std::mem::take(&mut self.clusters) {
            let part = cluster.part.unwrap_or(Part::Train);
            for ids in cluster.labelled.into_values() {
                split.part_mut(part).extend(ids);
            }
            if matches!(part, Part::Test | Part::Validation) {
                tied += cluster.unlabelled.len();
                excluded.extend(cluster.unlabelled);
            } else {
                split.unlabelled.extend(cluster.unlabelled);
            }
        }
        if tied > 0 {
            self.messages.push(format!(
                "{tied} unlabelled image(s) share a duplicate group with validated or tested images and \
                 take no part"
            ));
        }
        split
    }

    fn how(&self) -> String {
        let SplitSpec { test, validation, seed, folds, held_out, .. } = self.spec;
        let tested = match folds {
            Some(f) => format!("fold {} of {} tested", f.index, f.k),
            None if !held_out.is_empty() => format!("{} held out for test", held_out.join(", ")),
            None => format!("test {test}"),
        };
        let mut how = format!(
            "by group, each source on its own, {tested}, validation {validation}, seed {seed}"
        );
        let fixed: Vec<&str> = self
            .pool
            .sources
            .iter()
            .filter(|s| s.is_labelled() && s.split.is_some())
            .map(|s| s.name.as_str())
            .collect();
        if !fixed.is_empty() {
            how.push_str(&format!("; fixed by file: {}", fixed.join(", ")));
        }
        if !self.spec.keep_together.is_empty() {
            how.push_str(&format!(
                "; {} duplicate pair(s) kept together",
                self.spec.keep_together.len()
            ));
        }
        how
    }

    fn refuse_empty_parts(&self, split: &Split) -> Result<(), DataError> {
        let tested =
            self.spec.folds.is_some() || self.spec.test > 0.0 || !self.spec.held_out.is_empty();
        for (part, asked) in [
            (Part::Train, true),
            (Part::Validation, self.spec.validation > 0.0),
            (Part::Test, tested),
        ] {
            if asked && split.part(part).is_empty() {
                return Err(refuse(
                    format!("the {} part would be empty ({})", part.name(), split.how),
                    "add images of other patients or slides, ask for fewer parts (validation = 0), or \
                     correct the `group` rule or the fixed split file",
                ));
            }
        }
        Ok(())
    }
}
