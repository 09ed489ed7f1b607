//! Time: recipes, phases, optimisers, schedules, checkpoints and the training loop.
//!
//! A run is a pure function of (pool, split, recipe, seed, thread count): the same four give the
//! same bits, interrupted or not. Everything that changes over time lives here; losses and models
//! are stateless and borrowed from `scant-nn`.

mod average;
mod checkpoint;
mod error;
mod evaluate;
mod events;
mod fit;
mod means;
mod objective;
mod optimizer;
mod recipe;
mod run_folder;
mod schedule;
mod step;
pub mod study;
mod tensorboard;

pub use average::Ema;
pub use error::TrainError;
pub use evaluate::{
    CaseOutcome, EvaluateOptions, case_discrepancy, evaluate_cases, validation_dice,
};
pub use events::{Observer, Progress, Silent};
pub use fit::{
    Data, Ended, FitOptions, Outcome, Surroundings, check, check_phases, check_weights, fit,
};
pub use optimizer::Optimizer;
pub use recipe::{
    DataSection, Difference, EmaSection, From, HarmoniseSection, LimitSection, ModelSection,
    OptimSection, OptimizerName, Phase, PhaseLoss, PrecisionName, Recipe, RecipeError,
    ScheduleName, SplitSection,
};
pub use run_folder::RunFolder;
pub use schedule::Schedule;
pub use step::RepeatedStep;
