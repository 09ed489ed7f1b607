//! Which of the training cases take part: by the role of their source, and how many novel ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use scant_core::{Role, Sample, SampleId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CaseSource, LoadError, StreamError};

/// Shares such as 0.1 are not exact in binary; what is this near to a whole number of cases is meant
/// to be one.
const ROUNDING: f64 = 1e-9;

/// The roles whose cases are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roles {
    /// Every case.
    #[default]
    All,
    /// Cases of base sources.
    Base,
    /// Cases of novel sources.
    Novel,
}

impl Roles {
    /// As a recipe writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Base => "base",
            Self::Novel => "novel",
        }
    }

    /// Whether cases of a role take part.
    #[must_use]
    pub fn takes(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Base => role == Role::Base,
            Self::Novel => role == Role::Novel,
        }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which cases take part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// By role.
    pub train_on: Roles,
    /// Share of the cases of every novel source, from 0 to 1; rounded up.
    pub novel_fraction: f64,
    /// Seed of the choice among novel cases.
    pub seed: u64,
}

impl Selection {
    /// Whether every case of any source takes part.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.train_on == Roles::All && self.novel_fraction >= 1.0
    }

    /// Positions of the cases that take part, in order.
    ///
    /// The novel cases of each source are shuffled by the seed and the name of the source, and the
    /// first `ceil(fraction x n)` of them are kept. So a larger fraction holds the smaller one, and
    /// another source beside them changes nothing.
    #[must_use]
    pub fn of(&self, source: &dyn CaseSource) -> Vec<usize> {
        let mut novel: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut chosen = Vec::with_capacity(source.len());
        for case in (0..source.len()).filter(|&case| self.train_on.takes(source.role(case))) {
            if source.role(case) == Role::Novel {
                novel.entry(source.id(case).source.as_str()).or_default().push(case);
            } else {
                chosen.push(case);
            }
        }
        for (name, mut cases) in novel {
            let keep = (self.novel_fraction * cases.len() as f64 - ROUNDING).ceil().max(0.0);
            cases.shuffle(&mut self.generator(name));
            cases.truncate(keep as usize);
            chosen.extend(cases);
        }
        chosen.sort_unstable();
        chosen
    }

    /// Seed and name are hashed into the key, so that no two sources share their draws.
    fn generator(&self, name: &str) -> ChaCha8Rng {
        let key = Sha256::new()
            .chain_update(b"novel fraction")
            .chain_update(self.seed.to_le_bytes())
            .chain_update(name.as_bytes())
            .finalize();
        ChaCha8Rng::from_seed(key.into())
    }
}

/// Some of the cases of another source of cases.
pub struct Subset {
    source: Arc<dyn CaseSource>,
    cases: Vec<usize>,
}

impl Subset {
    /// The selected cases, in their order.
    ///
    /// # Errors
    /// When none is selected; the message names the roles there are.
    pub fn new(source: Arc<dyn CaseSource>, selection: &Selection) -> Result<Self, StreamError> {
        let cases = selection.of(&*source);
        if cases.is_empty() {
            return Err(StreamError::NothingSelected {
                there_are: roles(&*source),
                fraction: selection.novel_fraction.to_string(),
            });
        }
        Ok(Self { source, cases })
    }
}

impl fmt::Debug for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subset")
            .field("cases", &self.cases.len())
            .field("of", &self.source.len())
            .finish()
    }
}

impl CaseSource for Subset {
    fn len(&self) -> usize {
        self.cases.len()
    }

    fn id(&self, case: usize) -> &SampleId {
        self.source.id(self.cases[case])
    }

    fn role(&self, case: usize) -> Role {
        self.source.role(self.cases[case])
    }

    fn load(&self, case: usize) -> Result<Sample, LoadError> {
        self.source.load(self.cases[case])
    }
}

/// How many cases of which role there are, in words.
pub(super) fn roles(source: &dyn CaseSource) -> String {
    let count = |role| (0..source.len()).filter(|&case| source.role(case) == role).count();
    let (base, novel) = (count(Role::Base), count(Role::Novel));
    format!("{base} base and {novel} novel image(s)")
}
