//! Which training images a phase draws, and how they are mixed: `[data]` with what the phase overrides.

use scant_data::stream::{Roles, Selection};

use super::{Recipe, RecipeError};

/// What the batches of a phase are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Supply {
    /// Which images.
    pub(crate) selection: Selection,
    /// How many of every batch are novel; 0 draws from all alike.
    pub(crate) novel_per_batch: usize,
}

impl Recipe {
    /// What the batches of a phase are drawn from, by its position.
    pub(crate) fn supply(&self, phase: usize) -> Supply {
        let own = &self.phase[phase];
        Supply {
            selection: Selection {
                train_on: own.train_on.unwrap_or(self.data.train_on),
                novel_fraction: self.data.novel_fraction,
                seed: self.split.seed.unwrap_or(self.seed),
            },
            novel_per_batch: own.novel_per_batch.unwrap_or(self.data.novel_per_batch),
        }
    }

    /// The key that decides the roles of a phase.
    pub(crate) fn train_on_key(&self, phase: usize) -> String {
        match self.phase[phase].train_on {
            Some(_) => format!("phase.{phase}.train_on"),
            None => "data.train_on".into(),
        }
    }

    pub(super) fn validate_supply(&self, phase: usize) -> Result<(), RecipeError> {
        let supply = self.supply(phase);
        let novel = supply.novel_per_batch;
        if novel == 0 {
            return Ok(());
        }
        let key = match self.phase[phase].novel_per_batch {
            Some(_) => format!("phase.{phase}.novel_per_batch"),
            None => "data.novel_per_batch".into(),
        };
        if novel >= self.data.batch {
            let batch = self.data.batch;
            let allowed = format!("below data.batch = {batch}: a batch has base images too");
            return Err(RecipeError::value(&key, novel, &allowed));
        }
        if self.data.balance_sources {
            let allowed = "data.balance_sources decides what a batch holds as well; choose one";
            return Err(RecipeError::value(&key, novel, allowed));
        }
        let roles = supply.selection.train_on;
        if roles != Roles::All {
            let roles_key = self.train_on_key(phase);
            let allowed = format!(
                "{roles_key} = \"{roles}\" leaves one role; set phase.{phase}.novel_per_batch = 0"
            );
            return Err(RecipeError::value(&key, novel, &allowed));
        }
        Ok(())
    }
}
