//! Who comes when: pure functions of the seed and the epoch.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::CaseSource;

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

/// Cases of each source, sources by name.
fn by_source(source: &dyn CaseSource) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for case in 0..source.len() {
        groups.entry(source.id(case).source.as_str()).or_default().push(case);
    }
    groups.into_values().collect()
}

/// Cases in an epoch, repeats included.
pub(super) fn epoch_length(source: &dyn CaseSource, balance: bool) -> usize {
    if !balance {
        return source.len();
    }
    let groups = by_source(source);
    groups.len() * groups.iter().map(Vec::len).max().unwrap_or(0)
}

/// The order of an epoch.
///
/// Balanced, the sources take turns (in an order drawn anew every round), so that every batch is
/// as mixed as its size allows. A source that runs out starts over in a new order.
pub(super) fn order(source: &dyn CaseSource, seed: u64, epoch: u64, balance: bool) -> Vec<Draw> {
    let mut rng = generator(seed, epoch, 0, 0, Purpose::Order);
    if !balance {
        let mut cases: Vec<usize> = (0..source.len()).collect();
        cases.shuffle(&mut rng);
        return cases.into_iter().map(|case| Draw { case, copy: 0 }).collect();
    }
    let groups = by_source(source);
    let rounds = groups.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines: Vec<std::vec::IntoIter<Draw>> = Vec::with_capacity(groups.len());
    for mut cases in groups {
        let mut line = Vec::with_capacity(rounds + cases.len());
        for copy in 0.. {
            if line.len() >= rounds {
                break;
            }
            cases.shuffle(&mut rng);
            line.extend(cases.iter().map(|&case| Draw { case, copy }));
        }
        lines.push(line.into_iter());
    }
    let mut turns: Vec<usize> = (0..lines.len()).collect();
    let mut out = Vec::with_capacity(rounds * lines.len());
    for _ in 0..rounds {
        turns.shuffle(&mut rng);
        out.extend(turns.iter().filter_map(|&line| lines[line].next()));
    }
    out
}
