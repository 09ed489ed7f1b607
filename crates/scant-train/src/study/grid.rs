//! Every run of a study: methods x points x seeds.

use std::collections::{BTreeMap, BTreeSet};

use super::{Axis, StudyError, StudyFile};
use crate::{Recipe, RecipeError};

/// Longest part of a folder's name that stands for a value.
const LONGEST: usize = 40;

/// A place on the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Label on each axis.
    pub at: BTreeMap<String, String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRun {
    /// Its folder below that of the study, with `/` between parts.
    pub folder: String,
    /// The method.
    pub method: String,
    /// Where it stands: several points where an axis is not about its method.
    pub points: Vec<Point>,
    /// Its seed.
    pub seed: u64,
    /// Its recipe, filled in.
    pub recipe: Recipe,
}

/// All runs, in the order they are to be run: seed by seed, so that every method has a result early.
///
/// `recipes` holds the text of a recipe by what a method calls it.
///
/// # Errors
/// When the recipe of a run is missing or not possible, with the method and the point.
pub fn plan_runs(
    file: &StudyFile,
    recipes: &BTreeMap<String, String>,
) -> Result<Vec<PlannedRun>, StudyError> {
    let names: Vec<Vec<String>> = file.axis.iter().map(folder_names).collect();
    let mut runs: Vec<PlannedRun> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for &seed in &file.seeds {
        for position in positions(&file.axis) {
            let at: BTreeMap<String, String> = (file.axis.iter().zip(&position))
                .map(|(axis, &i)| (axis.name.clone(), axis.values[i].label()))
                .collect();
            for method in &file.methods {
                if !at.iter().all(|(axis, label)| method.stands_at(axis, label)) {
                    continue;
                }
                let point = Point { at: at.clone() };
                let mut set = file.set.clone();
                set.extend(method.set.iter().cloned());
                let mut folder = format!("runs/{}", method.name);
                let mut part = String::new();
                for (i, (axis, &value)) in file.axis.iter().zip(&position).enumerate() {
                    if axis.concerns(&method.name) {
                        set.push(format!("{}={}", axis.key, axis.values[value].value()));
                        let gap = if part.is_empty() { "" } else { "_" };
                        part += &format!("{gap}{}-{}", axis.name, names[i][value]);
                    }
                }
                if !part.is_empty() {
                    folder += &format!("/{part}");
                }
                folder += &format!("/s{seed}");
                if let Some(&known) = places.get(&folder) {
                    runs[known].points.push(point);
                    continue;
                }
                set.push(format!("seed={seed}"));
                let text = recipes.get(&method.recipe).ok_or_else(|| {
                    let key = format!("method.{}.recipe", method.name);
                    StudyError::value(&key, &method.recipe, "there is no such recipe")
                })?;
                let fail = |source: RecipeError| StudyError::Recipe {
                    method: method.name.clone(),
                    point: said(&at),
                    source: Box::new(source),
                };
                let recipe = Recipe::parse(text, &set).map_err(fail)?;
                if file.axis.iter().any(|a| a.key == "split.fold") && recipe.split.folds == 0 {
                    let allowed = "set = [\"split.folds=K\"] says how many folds there are";
                    return Err(StudyError::value("axes.fold", "[ .. ]", allowed));
                }
                places.insert(folder.clone(), runs.len());
                let method = method.name.clone();
                runs.push(PlannedRun { folder, method, points: vec![point], seed, recipe });
            }
        }
    }
    for method in &file.methods {
        if !runs.iter().any(|r| r.method == method.name) {
            let key = format!("method.{}.only", method.name);
            return Err(StudyError::value(&key, "{ .. }", "leaves no point of the grid"));
        }
    }
    Ok(runs)
}

/// A point in words.
pub(super) fn said(at: &BTreeMap<String, String>) -> String {
    if at.is_empty() {
        return "its only point".into();
    }
    let parts: Vec<String> = at.iter().map(|(axis, label)| format!("{axis} = {label}")).collect();
    parts.join(", ")
}

/// Every combination of positions, the last axis fastest; one empty combination without axes.
fn positions(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let longer = |before: &Vec<usize>, i: usize| {
            let mut next = before.clone();
            next.push(i);
            next
        };
        all.iter().flat_map(|b| (0..axis.values.len()).map(move |i| longer(b, i))).collect()
    })
}

/// The part of a folder's name for each value; it does not depend on the other values unless it
/// has to be told apart from one of them.
fn folder_names(axis: &Axis) -> Vec<String> {
    let mut taken = BTreeSet::new();
    axis.values
        .iter()
        .map(|value| {
            let plain =
                |c: char| if c.is_ascii_alphanumeric() || "-.+".contains(c) { c } else { '-' };
            let name: String = value.label().chars().map(plain).take(LONGEST).collect();
            let mut unique = name.clone();
            let mut n = 2;
            while !taken.insert(unique.to_lowercase()) {
                unique = format!("{name}-{n}");
                n += 1;
            }
            unique
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "
[model]
name = \"unet\"
[[phase]]
name = \"warm-up\"
epochs = 3
[[phase]]
name = \"second\"
epochs = 2
";

    fn file(more: &str) -> StudyFile {
        let text = format!("name = \"t\"\nreference = \"a\"\nseeds = [1, 2]\n{more}");
        StudyFile::parse(&text).unwrap()
    }

    fn recipes() -> BTreeMap<String, String> {
        BTreeMap::from([("r".to_owned(), RECIPE.to_owned())])
    }

    fn folders(file: &StudyFile) -> Vec<String> {
        plan_runs(file, &recipes()).unwrap().into_iter().map(|r| r.folder).collect()
    }

    #[test]
    fn every_combination_once_and_seed_by_seed() {
        let study = file(
            "[axes]\nmodel = [\"unet\", \"attention-unet\"]\n[[axis]]\nname = \"lr\"\n\
             key = \"optim.lr\"\nvalues = [1e-3, 1e-2]\n[[method]]\nname = \"a\"\nrecipe = \"r\"\n\
             [[method]]\nname = \"b\"\nrecipe = \"r\"\nset = [\"optim.name=sgd\"]\n\
             only = { lr = [0.01], model = [\"unet\"] }",
        );
        let one = |s: u64| {
            vec![
                format!("runs/a/model-unet_lr-0.001/s{s}"),
                format!("runs/a/model-unet_lr-0.01/s{s}"),
                format!("runs/b/model-unet_lr-0.01/s{s}"),
                format!("runs/a/model-attention-unet_lr-0.001/s{s}"),
                format!("runs/a/model-attention-unet_lr-0.01/s{s}"),
            ]
        };
        assert_eq!(folders(&study), [one(1), one(2)].concat());
        let runs = plan_runs(&study, &recipes()).unwrap();
        let b = &runs[7];
        assert_eq!((b.method.as_str(), b.seed, b.recipe.seed), ("b", 2, 2));
        assert_eq!(b.recipe.optim.lr, 0.01);
        assert_eq!(b.recipe.optim.name, crate::OptimizerName::Sgd);
        assert_eq!(b.points.len(), 1);
        assert_eq!(b.points[0].at["model"], "unet");
    }

    #[test]
    fn a_method_that_an_axis_is_not_about_has_one_run_at_all_its_values() {
        let study = file(
            "[[axis]]\nname = \"e\"\nkey = \"phase.second.epochs\"\nvalues = [3, 4]\n\
             methods = [\"b\"]\n[[method]]\nname = \"a\"\nrecipe = \"r\"\n[[method]]\nname = \"b\"\n\
             recipe = \"r\"",
        );
        let runs = plan_runs(&study, &recipes()).unwrap();
        let of = |seed: u64| runs.iter().filter(move |r| r.seed == seed).collect::<Vec<_>>();
        let first = of(1);
        assert_eq!(first.len(), 3);
        assert_eq!(first[0].folder, "runs/a/s1");
        let labels: Vec<&str> = first[0].points.iter().map(|p| p.at["e"].as_str()).collect();
        assert_eq!(labels, ["3", "4"]);
        assert_eq!(first[0].recipe.phase[1].epochs, 2, "the axis is not about it");
        assert_eq!(first[2].recipe.phase[1].epochs, 4);
    }

    #[test]
    fn folders_of_values_are_readable_and_differ() {
        let axis = file(
            "[[axis]]\nname = \"x\"\nkey = \"data.augment\"\nvalues = [[\"flip\", \"rot90\"], \"a b\", \"a/b\"]\n\
             [[method]]\nname = \"a\"\nrecipe = \"r\"",
        );
        assert_eq!(folder_names(&axis.axis[0]), ["flip+rot90", "a-b", "a-b-2"]);
    }

    #[test]
    fn an_impossible_recipe_names_method_and_point() {
        let study = file(
            "[axes]\nnoise = [0.05]\n[[axis]]\nname = \"lr\"\nkey = \"optim.rate\"\nvalues = [1]\n\
             [[method]]\nname = \"a\"\nrecipe = \"r\"",
        );
        let message = plan_runs(&study, &recipes()).unwrap_err().to_string();
        for word in ["method \"a\"", "lr = 1", "noise = 0.05"] {
            assert!(message.contains(word), "no {word} in {message}");
        }
        let study = file("[axes]\nfold = [0, 1]\n[[method]]\nname = \"a\"\nrecipe = \"r\"");
        let message = plan_runs(&study, &recipes()).unwrap_err().to_string();
        assert!(message.contains("split.folds"), "{message}");
    }
}
