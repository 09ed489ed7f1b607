//! Who comes when: pure functions of the seed and the epoch.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use scant_core::Role;

use super::{CaseSource, StreamConfig, StreamError, subset};

/// One place in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Draw {
    /// Position of the case in its [`CaseSource`].
    pub case: usize,
    /// How often the case came before in this epoch.
    pub copy: u32,
}

/// What a generator is for; keeps the streams of one (seed, epoch) apart.
#[derive(Clone, Copy)]
enum Purpose {
    Order = 1,
    Variation = 2,
    NovelCycle = 3,
    Noise = 4,
}

/// Seed, epoch, case, copy and purpose are the key itself, so no two streams can collide.
fn generator(seed: u64, epoch: u64, case: u64, copy: u32, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..24].copy_from_slice(&case.to_le_bytes());
    key[24..28].copy_from_slice(&copy.to_le_bytes());
    key[28] = purpose as u8;
    ChaCha8Rng::from_seed(key)
}

/// The generator of a case's piece and augmentation.
pub(super) fn variation(seed: u64, epoch: u64, draw: Draw) -> ChaCha8Rng {
    generator(seed, epoch, draw.case as u64, draw.copy, Purpose::Variation)
}

/// The generator of the noise on a case.
pub(super) fn noise(seed: u64, epoch: u64, draw: Draw) -> ChaCha8Rng {
    generator(seed, epoch, draw.case as u64, draw.copy, Purpose::Noise)
}

/// Cases of each source, sources by name.
fn by_source(source: &dyn CaseSource) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for case in 0..source.len() {
        groups.entry(source.id(case).source.as_str()).or_default().push(case);
    }
    groups.into_values().collect()
}

/// Cases of a role.
fn of_role(source: &dyn CaseSource, role: Role) -> Vec<usize> {
    (0..source.len()).filter(|&case| source.role(case) == role).collect()
}

/// Whether batches of base and novel cases have both to draw from, where they are asked for.
pub(super) fn check_roles(
    source: &dyn CaseSource,
    config: &StreamConfig,
) -> Result<(), StreamError> {
    let missing = |role| of_role(source, role).is_empty();
    if config.novel_per_batch > 0 && (missing(Role::Base) || missing(Role::Novel)) {
        return Err(StreamError::OneRole { there_are: subset::roles(source) });
    }
    Ok(())
}

/// Cases in an epoch, repeats included.
pub(super) fn epoch_length(source: &dyn CaseSource, config: &StreamConfig) -> usize {
    if config.novel_per_batch > 0 {
        let base = of_role(source, Role::Base).len();
        return base + config.novel_per_batch * rounds(base, config);
    }
    if !config.balance_sources {
        return source.len();
    }
    let groups = by_source(source);
    groups.len() * groups.iter().map(Vec::len).max().unwrap_or(0)
}

/// Batches that it takes to see every one of `base` cases.
fn rounds(base: usize, config: &StreamConfig) -> usize {
    base.div_ceil(config.batch - config.novel_per_batch)
}

/// The order of an epoch.
pub(super) fn order(source: &dyn CaseSource, epoch: u64, config: &StreamConfig) -> Vec<Draw> {
    if config.novel_per_batch > 0 {
        return two_streams(source, epoch, config);
    }
    let mut rng = generator(config.seed, epoch, 0, 0, Purpose::Order);
    if config.balance_sources {
        return balanced(source, &mut rng);
    }
    let mut cases: Vec<usize> = (0..source.len()).collect();
    cases.shuffle(&mut rng);
    cases.into_iter().map(|case| Draw { case, copy: 0 }).collect()
}

/// Batches that each hold base and novel cases, base first.
///
/// An epoch passes once over the base cases; the last batch holds those that are left, and as many
/// novel ones as every other. The novel cases are an endless line of shuffles of all of them, of which
/// every epoch takes the next stretch: over the epochs each comes equally often, however few there are
/// of one role or the other.
fn two_streams(source: &dyn CaseSource, epoch: u64, config: &StreamConfig) -> Vec<Draw> {
    let mut base = of_role(source, Role::Base);
    let novel = of_role(source, Role::Novel);
    base.shuffle(&mut generator(config.seed, epoch, 0, 0, Purpose::Order));
    let (share, size) = (config.novel_per_batch, novel.len() as u64);
    let stretch = share * rounds(base.len(), config);
    let first = epoch.wrapping_mul(stretch as u64);
    let shuffled = |cycle| {
        let mut cases = novel.clone();
        cases.shuffle(&mut generator(config.seed, cycle, 0, 0, Purpose::NovelCycle));
        cases
    };
    let mut seen: BTreeMap<usize, u32> = BTreeMap::new();
    let mut line = (first / size..).flat_map(shuffled).skip((first % size) as usize).map(|case| {
        let copy = *seen.entry(case).and_modify(|n| *n += 1).or_insert(0);
        Draw { case, copy }
    });
    let mut out = Vec::with_capacity(base.len() + stretch);
    for cases in base.chunks(config.batch - share) {
        out.extend(cases.iter().map(|&case| Draw { case, copy: 0 }));
        out.extend(line.by_ref().take(share));
    }
    out
}

/// The sources take turns (in an order drawn anew every round), so that every batch is as mixed as its
/// size allows. A source that runs out starts over in a new order.
fn balanced(source: &dyn CaseSource, rng: &mut ChaCha8Rng) -> Vec<Draw> {
    let groups = by_source(source);
    let rounds = groups.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines: Vec<std::vec::IntoIter<Draw>> = Vec::with_capacity(groups.len());
    for mut cases in groups {
        let mut line = Vec::with_capacity(rounds + cases.len());
        for copy in 0.. {
            if line.len() >= rounds {
                break;
            }
            cases.shuffle(rng);
            line.extend(cases.iter().map(|&case| Draw { case, copy }));
        }
        lines.push(line.into_iter());
    }
    let mut turns: Vec<usize> = (0..lines.len()).collect();
    let mut out = Vec::with_capacity(rounds * lines.len());
    for _ in 0..rounds {
        turns.shuffle(rng);
        out.extend(turns.iter().filter_map(|&line| lines[line].next()));
    }
    out
}
