//! The cases of a pool as a stream reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use scant_core::{Role, Sample, SampleId};
use scant_io::Limits;

use crate::stream::{CaseSource, LoadError};
use crate::{Catalog, DataError, Entry, Pool};

/// Some entries of a catalogue, decoded when asked for.
#[derive(Debug, Clone)]
pub struct PoolCases {
    pool: Arc<Pool>,
    entries: Vec<Entry>,
    limits: Limits,
}

impl PoolCases {
    /// The cases named by `ids`, in that order.
    ///
    /// # Errors
    /// When an id is not in the catalogue.
    pub fn new(
        pool: &Arc<Pool>,
        catalog: &Catalog,
        ids: &[SampleId],
        limits: Limits,
    ) -> Result<Self, DataError> {
        let by_id: BTreeMap<&SampleId, &Entry> =
            catalog.entries.iter().map(|e| (&e.id, e)).collect();
        let entries = ids
            .iter()
            .map(|id| {
                by_id
                    .get(id)
                    .map(|e| (*e).clone())
                    .ok_or_else(|| DataError::UnknownCase { id: (*id).clone() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pool: Arc::clone(pool), entries, limits })
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl CaseSource for PoolCases {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn id(&self, case: usize) -> &SampleId {
        &self.entries[case].id
    }

    fn role(&self, case: usize) -> Role {
        self.entries[case].role
    }

    fn load(&self, case: usize) -> Result<Sample, LoadError> {
        let entry = &self.entries[case];
        entry.load(&self.pool, &self.limits).map_err(|e| LoadError::new(entry.id.to_string(), e))
    }
}
