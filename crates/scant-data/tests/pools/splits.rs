//! Splits: what must always hold, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use scant_core::{Annotated, Role, SampleId};
use scant_data::{Catalog, Entry, Folds, Part, Pool, Split, SplitSpec, make_split};

use super::builder::Folder;

/// A catalog without files: per source, its group sizes.
fn catalog(sources: &[Vec<usize>], unlabelled: &[usize]) -> (Pool, Catalog) {
    let mut text = "name = \"p\"\nclasses = [\"background\", \"x\"]\n".to_string();
    let mut catalog = Catalog::default();
    let all: Vec<(&[usize], Role)> = sources
        .iter()
        .map(|s| (s.as_slice(), Role::Base))
        .chain((!unlabelled.is_empty()).then_some((unlabelled, Role::Unlabelled)))
        .collect();
    for (index, (groups, role)) in all.iter().enumerate() {
        text += &format!("[[source]]\nname = \"s{index}\"\nimages = \"i\"\n");
        text += if *role == Role::Base { "masks = \"m\"\n" } else { "role = \"unlabelled\"\n" };
        for (group, size) in groups.iter().enumerate() {
            for image in 0..*size {
                catalog.entries.push(Entry {
                    id: id(index, group, image),
                    source: index,
                    role: *role,
                    image: PathBuf::new(),
                    masks: Vec::new(),
                    annotated: Annotated::all(2),
                    size: (1, 1),
                    spacing: None,
                });
            }
        }
    }
    (Pool::from_toml_str(&text, PathBuf::from(".")).unwrap(), catalog)
}

fn id(source: usize, group: usize, image: usize) -> SampleId {
    SampleId {
        source: format!("s{source}"),
        group: format!("g{group}"),
        stem: format!("g{group}_{image}"),
    }
}

fn groups_of(ids: &[SampleId], source: &str) -> BTreeSet<String> {
    ids.iter().filter(|i| i.source == source).map(|i| i.group.clone()).collect()
}

fn refused(sources: &[Vec<usize>], spec: &SplitSpec) -> String {
    let (pool, catalog) = catalog(sources, &[]);
    make_split(&catalog, &pool, spec).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn every_case_once_no_group_astride_shares_within_a_group(
        sources in prop::collection::vec(prop::collection::vec(1usize..9, 6..14), 1..4),
        unlabelled in prop::collection::vec(1usize..4, 0..4),
        test in 0.05f64..0.35,
        validation in 0.05f64..0.35,
        seed in any::<u64>(),
    ) {
        let (pool, catalog) = catalog(&sources, &unlabelled);
        let spec = SplitSpec { test, validation, seed, ..SplitSpec::default() };
        let (split, _) = make_split(&catalog, &pool, &spec).unwrap();
        // `check` refuses cases that are missing, doubled or unknown and groups astride; it is itself
        // tested below.
        split.check(&catalog).unwrap();
        prop_assert_eq!(split.unlabelled.len(), unlabelled.iter().sum::<usize>());
        for (index, sizes) in sources.iter().enumerate() {
            let name = format!("s{index}");
            let total: usize = sizes.iter().sum();
            let largest = *sizes.iter().max().unwrap() as f64;
            for (ids, share) in [(&split.test, test), (&split.validation, validation)] {
                let images = ids.iter().filter(|i| i.source == name).count();
                prop_assert!(images > 0);
                prop_assert!((images as f64 - share * total as f64).abs() <= largest);
            }
            prop_assert!(!groups_of(&split.train, &name).is_empty());
        }
        let (again, _) = make_split(&catalog, &pool, &spec).unwrap();
        prop_assert_eq!(again.hash(), split.hash());
        let read = Split::from_toml(&split.to_toml(), Path::new("split.toml")).unwrap();
        prop_assert_eq!(read, split);
    }

    #[test]
    fn folds_test_every_case_exactly_once(
        sources in prop::collection::vec(prop::collection::vec(1usize..6, 1..8), 1..4),
        k in 2usize..7,
        seed in any::<u64>(),
    ) {
        let groups: usize = sources.iter().map(Vec::len).sum();
        prop_assume!(groups >= 2);
        let (pool, catalog) = catalog(&sources, &[]);
        let mut tested: BTreeMap<SampleId, usize> = BTreeMap::new();
        for index in 0..k.min(groups) {
            let folds = Some(Folds { k, index });
            let spec = SplitSpec { validation: 0.0, seed, folds, ..SplitSpec::default() };
            let (split, messages) = make_split(&catalog, &pool, &spec).unwrap();
            prop_assert_eq!(groups < k, messages.iter().any(|m| m.contains("leaving one group out")));
            prop_assert!(!split.test.is_empty());
            for id in split.test {
                *tested.entry(id).or_default() += 1;
            }
        }
        prop_assert_eq!(tested.len(), catalog.entries.len());
        prop_assert!(tested.values().all(|n| *n == 1));
    }

    #[test]
    fn cases_kept_together_share_a_part(
        sources in prop::collection::vec(prop::collection::vec(1usize..4, 5..9), 2..4),
        pairs in prop::collection::vec((0usize..2, 0usize..5, 0usize..2, 0usize..5), 1..4),
        seed in any::<u64>(),
    ) {
        let (pool, catalog) = catalog(&sources, &[]);
        let keep_together: Vec<_> =
            pairs.iter().map(|p| (id(p.0, p.1, 0), id(p.2, p.3, 0))).collect();
        let spec = SplitSpec { seed, keep_together, ..SplitSpec::default() };
        // Joining may leave too few clusters, which is refused; otherwise pairs stay together.
        if let Ok((split, _)) = make_split(&catalog, &pool, &spec) {
            let parts = split.parts();
            for (a, b) in &spec.keep_together {
                prop_assert_eq!(parts[a], parts[b]);
            }
        }
    }
}

#[test]
fn other_seeds_give_other_splits() {
    let (pool, catalog) = catalog(&[vec![1; 20]], &[]);
    let test = |seed| {
        let spec = SplitSpec { seed, ..SplitSpec::default() };
        make_split(&catalog, &pool, &spec).unwrap().0.test
    };
    assert_eq!(test(1).len(), 4);
    assert_ne!(test(1), test(2));
}

#[test]
fn a_source_with_too_few_groups_is_told_and_the_others_carry_on() {
    let (pool, catalog) = catalog(&[vec![2; 10], vec![5], vec![4, 4]], &[]);
    let (split, messages) = make_split(&catalog, &pool, &SplitSpec::default()).unwrap();
    assert_eq!(groups_of(&split.train, "s1").len(), 1);
    assert_eq!(groups_of(&split.test, "s2").len(), 1);
    assert!(messages.iter().any(|m| m.contains("\"s1\"") && m.contains("test or validation")));
    assert!(messages.iter().any(|m| m.contains("\"s2\"") && m.contains("no validation part")));
}

#[test]
fn impossible_splits_say_what_to_do() {
    let one = refused(&[vec![12]], &SplitSpec::default());
    assert!(one.contains("12 labelled image(s) in 1 group(s) cannot be divided"), "{one}");
    assert!(one.contains("`group` rule"), "{one}");
    let two = refused(&[vec![3, 3]], &SplitSpec::default());
    assert!(two.contains("set validation = 0"), "{two}");
    let spec = |test, validation| SplitSpec { test, validation, ..SplitSpec::default() };
    assert!(refused(&[vec![1; 9]], &spec(1.5, 0.0)).contains("test = 1.5 is not a share"));
    assert!(refused(&[vec![1; 9]], &spec(f64::NAN, 0.0)).contains("is not a share"));
    assert!(refused(&[vec![1; 9]], &spec(0.5, 0.5)).contains("leave nothing to train on"));
    let folds = |k, index| SplitSpec { folds: Some(Folds { k, index }), ..SplitSpec::default() };
    assert!(refused(&[vec![1; 9]], &folds(5, 5)).contains("fold 5 of 5 does not exist"));
    assert!(refused(&[vec![1; 9]], &folds(1, 0)).contains("k of at least 2"));
    assert!(refused(&[vec![1; 4]], &folds(5, 4)).contains("use an index from 0 to 3"));
    let held = SplitSpec { held_out: vec!["s9".into()], ..SplitSpec::default() };
    assert!(refused(&[vec![1; 9]], &held).contains("labelled sources: s0"));
    let (pool, catalog) = catalog(&[], &[3]);
    let none = make_split(&catalog, &pool, &SplitSpec::default()).unwrap_err().to_string();
    assert!(none.contains("no usable labelled image (3 unlabelled image(s))"), "{none}");
}

#[test]
fn a_held_out_source_is_tested_on_as_a_whole() {
    let (pool, catalog) = catalog(&[vec![2; 6], vec![2; 5]], &[]);
    let spec = SplitSpec { held_out: vec!["s1".into()], ..SplitSpec::default() };
    let (split, _) = make_split(&catalog, &pool, &spec).unwrap();
    assert_eq!(split.test.len(), 10);
    assert!(split.test.iter().all(|i| i.source == "s1"));
    assert!(!split.validation.is_empty() && split.validation.iter().all(|i| i.source == "s0"));
}

#[test]
fn unlabelled_twins_of_tested_cases_take_no_part() {
    let (pool, catalog) = catalog(&[vec![1; 5]], &[1; 5]);
    let keep_together: Vec<_> = (0..5).map(|g| (id(0, g, 0), id(1, g, 0))).collect();
    let spec = SplitSpec { keep_together, ..SplitSpec::default() };
    let (split, messages) = make_split(&catalog, &pool, &spec).unwrap();
    assert_eq!(split.excluded.len(), split.test.len() + split.validation.len());
    assert_eq!(split.unlabelled.len(), split.train.len());
    assert!(messages.iter().any(|m| m.contains("2 unlabelled image(s)")), "{messages:?}");
    assert_eq!(split.summary(&catalog).images["excluded"]["s1"], 2);
}

#[test]
fn check_sees_what_is_wrong() {
    let (pool, catalog) = catalog(&[vec![2; 6]], &[2]);
    let (good, _) = make_split(&catalog, &pool, &SplitSpec::default()).unwrap();
    let wrong = |change: &dyn Fn(&mut Split)| {
        let mut split = good.clone();
        change(&mut split);
        split.check(&catalog).unwrap_err().to_string()
    };
    assert!(good.check(&catalog).is_ok());
    assert!(wrong(&|s| drop(s.train.pop())).contains("1 case(s) of the pool are in no part"));
    assert!(wrong(&|s| s.test.push(s.train[0].clone())).contains("stands in train and in test"));
    assert!(wrong(&|s| s.train.push(id(0, 77, 0))).contains("is not a usable case"));
    assert!(wrong(&|s| s.train.append(&mut s.unlabelled)).contains("its source is Unlabelled"));
    let moved = wrong(&|s| {
        let one = s.train.remove(0);
        s.test.push(one);
    });
    assert!(moved.contains("group") && moved.contains("stands in train and in test"), "{moved}");
    let counts = good.summary(&catalog);
    assert_eq!(counts.images["unlabelled"]["s1"], 2);
    assert_eq!(counts.groups["train"]["s0"] * 2, counts.images["train"]["s0"]);
    assert_eq!(counts.hash.len(), 64);
}

#[test]
fn fixed_split_files_are_honoured_in_both_layouts() {
    let folder = Folder::new();
    let (mut pool, catalog) = catalog(&[vec![2; 4], vec![1; 6]], &[]);
    pool.root = folder.path().into();
    pool.sources[0].split = Some("fixed.toml".into());
    let plain = "train = [\"g0\", \"g3_0\"]\nvalidation = [\"g1\"]\ntest = [\"g2\"]\n";
    folder.text("fixed.toml", plain);
    let spec = SplitSpec::default();
    let (split, messages) = make_split(&catalog, &pool, &spec).unwrap();
    assert_eq!(groups_of(&split.test, "s0"), BTreeSet::from(["g2".to_string()]));
    assert_eq!(split.excluded, [id(0, 3, 1)]);
    assert!(messages.iter().any(|m| m.contains("does not list 1 of 8 cases")), "{messages:?}");
    assert_eq!(split.part(Part::Test).iter().filter(|i| i.source == "s1").count(), 1);
    split.write(&folder.path().join("fixed.toml")).unwrap();
    let (again, _) = make_split(&catalog, &pool, &spec).unwrap();
    assert_eq!(again.hash(), split.hash());

    let refused = |text: &str| {
        folder.text("fixed.toml", text);
        make_split(&catalog, &pool, &spec).unwrap_err().to_string()
    };
    let message = refused("train = [\"g0\", \"g33_1\"]");
    assert!(message.contains("lists \"g33_1\"") && message.contains("did you mean"), "{message}");
    assert!(refused("train = [\"g0\"]\ntest = [\"g0\"]").contains("is listed twice"));
    let message = refused("train = [\"g0_0\"]\ntest = [\"g0_1\"]");
    assert!(message.contains("group \"g0\" stands in train and in test"), "{message}");
    assert!(refused("trian = [\"g0\"]").contains("did you mean \"train\"?"));
    assert!(refused("train = ").contains("not valid TOML"));
    assert!(refused("[train.s0]\ng0 = [\"nope\"]").contains("is not a usable case"));
}
