//! How well two sets can be told apart by a small classifier.
//!
//! A logistic regression learns to say from which of two sources a case comes, and is judged on groups it
//! has not seen, by the area under the ROC curve: 0.5, as good as chance; 1, always right. Whatever
//! such a simple rule finds, a network can find as well and may learn the source instead of the disease.
//! A classifier between sources as a cheap measure of their shift stands in Shen, Raji and Chen, The Data
//! Addition Dilemma, MLHC 2024, arXiv:2408.04154; judging it by groups and by AUC is ours.
//!
//! Legend: x features of a case, standardised on the training part · y 1 for the second set · w weights, b
//! intercept · p = 1 / (1 + exp(-(w x + b)))

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Most Newton steps of a fit; a handful is enough.
const STEPS: usize = 50;
/// Change of a weight below which a fit is done.
const SETTLED: f64 = 1e-9;

/// One case: its features, whether it is of the second set, and its group.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// As many for every case.
    pub features: Vec<f64>,
    /// Whether it is of the second set.
    pub second: bool,
    /// What must not stand on both sides of the judgement; groups of different sets differ.
    pub group: usize,
}

/// How well two sets can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Separability {
    /// Mean area under the ROC curve over the folds.
    pub auc: f64,
    /// The lowest and the highest of them.
    pub range: (f64, f64),
    /// Folds of groups.
    pub folds: usize,
    /// Cases.
    pub cases: usize,
    /// Groups of the first and of the second set.
    pub groups: (usize, usize),
}

/// Cross-validated separability: groups of each set are dealt to at most `folds` folds after a seeded
/// shuffle; each fold is judged by a classifier of all others.
///
/// `None` when one of the sets has fewer than two groups, when features differ in number or one is not
/// finite.
#[must_use]
pub fn separability(cases: &[Labelled], folds: usize, l2: f64, seed: u64) -> Option<Separability> {
    let width = cases.first()?.features.len();
    let fine = |c: &Labelled| c.features.len() == width && c.features.iter().all(|v| v.is_finite());
    if width == 0 || !cases.iter().all(fine) {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups = |second: bool| {
        let mut of: Vec<usize> =
            cases.iter().filter(|c| c.second == second).map(|c| c.group).collect();
        of.sort_unstable();
        of.dedup();
        of.shuffle(&mut rng);
        of
    };
    let (first, second) = (groups(false), groups(true));
    let folds = folds.min(first.len()).min(second.len());
    if folds < 2 {
        return None;
    }
    let fold_of = |case: &Labelled| {
        let of = if case.second { &second } else { &first };
        of.iter().position(|g| *g == case.group).map(|at| at % folds)
    };
    let place: Vec<Option<usize>> = cases.iter().map(fold_of).collect();
    let mut aucs = Vec::with_capacity(folds);
    for fold in 0..folds {
        let of = |inside: bool| {
            let chosen = cases.iter().zip(&place).filter(|(_, at)| (**at == Some(fold)) == inside);
            chosen.map(|(case, _)| case).collect::<Vec<&Labelled>>()
        };
        let rule = Logistic::fit(&of(false), l2)?;
        let judged = of(true);
        let scores: Vec<f64> = judged.iter().map(|c| rule.score(&c.features)).collect();
        let labels: Vec<bool> = judged.iter().map(|c| c.second).collect();
        aucs.push(auc(&scores, &labels)?);
    }
    let mean = super::mean(&aucs)?;
    let low = aucs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = aucs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let groups = (first.len(), second.len());
    Some(Separability { auc: mean, range: (low, high), folds, cases: cases.len(), groups })
}

/// Area under the ROC curve: how often a case of the second set scores higher than one of the first,
/// ties counted half (Mann and Whitney 1947). `None` when one of them is empty.
#[must_use]
pub fn auc(scores: &[f64], second: &[bool]) -> Option<f64> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(second.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut positives) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let ones = tied.iter().filter(|t| t.1).count() as f64;
        let zeros = tied.len() as f64 - ones;
        wins += ones * (below + zeros / 2.0);
        below += zeros;
        positives += ones;
    }
    (positives > 0.0 && below > 0.0).then(|| wins / (positives * below))
}

/// A logistic regression with both sets given the same weight and a penalty `l2 |w|^2 / 2`.
#[derive(Debug, Clone, PartialEq)]
struct Logistic {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// The intercept last; it is not penalised.
    weights: Vec<f64>,
}

impl Logistic {
    /// Newton's method on the mean log-loss, with steps halved until they help.
    fn fit(cases: &[&Labelled], l2: f64) -> Option<Self> {
        let width = cases.first()?.features.len();
        let n = cases.len() as f64;
        let mut mean = vec![0.0; width];
        let mut scale = vec![0.0; width];
        for case in cases {
            for (m, v) in mean.iter_mut().zip(&case.features) {
                *m += v / n;
            }
        }
        for case in cases {
            for ((s, m), v) in scale.iter_mut().zip(&mean).zip(&case.features) {
                *s += (v - m).powi(2) / n;
            }
        }
        for s in &mut scale {
            // A constant feature says nothing.
            *s = if *s > 1e-24 { s.sqrt() } else { f64::INFINITY };
        }
        let mut rule = Self { mean, scale, weights: vec![0.0; width + 1] };
        let rows: Vec<Vec<f64>> = cases.iter().map(|c| rule.standardised(&c.features)).collect();
        let ones = cases.iter().filter(|c| c.second).count() as f64;
        if ones == 0.0 || ones == n {
            return None;
        }
        let balance: Vec<f64> =
            cases.iter().map(|c| 0.5 / if c.second { ones } else { n - ones }).collect();
        let labels: Vec<f64> = cases.iter().map(|c| f64::from(u8::from(c.second))).collect();
        let problem = Problem { rows, balance, labels, l2 };
        let mut loss = problem.loss(&rule.weights);
        for _ in 0..STEPS {
            let step = problem.newton_step(&rule.weights)?;
            let mut factor = 1.0;
            let (next, lower) = loop {
                let next: Vec<f64> =
                    rule.weights.iter().zip(&step).map(|(w, s)| w - factor * s).collect();
                let value = problem.loss(&next);
                if value <= loss || factor < 1e-6 {
                    break (next, value);
                }
                factor /= 2.0;
            };
            let moved = step.iter().fold(0.0_f64, |m, s| m.max((factor * s).abs()));
            (rule.weights, loss) = (next, lower);
            if moved < SETTLED {
                break;
            }
        }
        Some(rule)
    }

    fn standardised(&self, features: &[f64]) -> Vec<f64> {
        let scaled =
            features.iter().zip(&self.mean).zip(&self.scale).map(|((v, m), s)| (v - m) / s);
        scaled.chain([1.0]).collect()
    }

    /// w x + b
    fn score(&self, features: &[f64]) -> f64 {
        dot(&self.weights, &self.standardised(features))
    }
}

/// What is minimised: the balanced mean log-loss with its penalty.
struct Problem {
    rows: Vec<Vec<f64>>,
    balance: Vec<f64>,
    labels: Vec<f64>,
    l2: f64,
}

impl Problem {
    fn loss(&self, weights: &[f64]) -> f64 {
        let of = |((row, y), balance): ((&Vec<f64>, &f64), &f64)| {
            let z = dot(weights, row);
            // log(1 + exp(z)) - y z, without overflow.
            balance * (z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z)
        };
        let data: f64 = self.rows.iter().zip(&self.labels).zip(&self.balance).map(of).sum();
        let last = weights.len() - 1;
        data + 0.5 * self.l2 * dot(&weights[..last], &weights[..last])
    }

    /// Inverse Hessian times gradient.
    fn newton_step(&self, weights: &[f64]) -> Option<Vec<f64>> {
        let width = weights.len();
        let mut gradient = vec![0.0; width];
        let mut hessian = vec![vec![0.0; width]; width];
        for ((row, y), balance) in self.rows.iter().zip(&self.labels).zip(&self.balance) {
            let p = 1.0 / (1.0 + (-dot(weights, row)).exp());
            let (slope, curve) = (balance * (p - y), balance * p * (1.0 - p));
            for i in 0..width {
                gradient[i] += slope * row[i];
                let scaled = curve * row[i];
                for j in 0..=i {
                    hessian[i][j] += scaled * row[j];
                }
            }
        }
        for i in 0..width - 1 {
            gradient[i] += self.l2 * weights[i];
            hessian[i][i] += self.l2;
        }
        // The intercept has no penalty; where every p is 0 or 1 its curvature vanishes.
        hessian[width - 1][width - 1] += 1e-12;
        solve(hessian, gradient)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves a symmetric positive definite system, of which the lower triangle is given, by Cholesky's
/// factors; `None` when it is not positive definite.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for j in 0..n {
        let pivot = a[j][j] - dot(&a[j][..j], &a[j][..j]);
        if !pivot.is_finite() || pivot <= 0.0 {
            return None;
        }
        a[j][j] = pivot.sqrt();
        let (above, below) = a.split_at_mut(j + 1);
        let row = &above[j];
        for other in below {
            other[j] = (other[j] - dot(&other[..j], &row[..j])) / row[j];
        }
    }
    for i in 0..n {
        b[i] = (b[i] - dot(&a[i][..i], &b[..i])) / a[i][i];
    }
    for i in (0..n).rev() {
        let later: f64 = (i + 1..n).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - later) / a[i][i];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(values: &[(f64, bool)]) -> Vec<Labelled> {
        let one = |(i, (v, second)): (usize, &(f64, bool))| Labelled {
            features: vec![*v],
            second: *second,
            group: i,
        };
        values.iter().enumerate().map(one).collect()
    }

    #[test]
    fn auc_by_hand() {
        // Pairs (second, first): 3>1, 3>2, 2>1, 2=2: 3.5 of 4.
        let got = auc(&[1.0, 2.0, 2.0, 3.0], &[false, false, true, true]);
        assert_eq!(got, Some(0.875));
        assert_eq!(auc(&[1.0, 2.0], &[true, false]), Some(0.0));
        assert_eq!(auc(&[5.0; 4], &[true, false, true, false]), Some(0.5));
        assert_eq!(auc(&[1.0, 2.0], &[true, true]), None);
    }

    #[test]
    fn a_system_by_hand() {
        // 4 x + 2 y = 10, 2 x + 3 y = 9.
        let got = solve(vec![vec![4.0, 0.0], vec![2.0, 3.0]], vec![10.0, 9.0]).unwrap();
        assert!((got[0] - 1.5).abs() < 1e-12 && (got[1] - 2.0).abs() < 1e-12, "{got:?}");
        assert_eq!(solve(vec![vec![1.0, 0.0], vec![2.0, 1.0]], vec![1.0, 1.0]), None);
    }

    #[test]
    fn logistic_regression_pinned_to_scikit_learn() {
        // x = [0, 1, 2, 3, 1.5, 4]; y = [0, 0, 0, 1, 1, 1]; z = (x - x.mean()) / x.std()
        // LogisticRegression(C=1 / (6 * 0.5), class_weight="balanced", tol=1e-12)
        //     .fit(z[:, None], y) -> coef_, intercept_
        let data = cases(&[
            (0.0, false),
            (1.0, false),
            (2.0, false),
            (3.0, true),
            (1.5, true),
            (4.0, true),
        ]);
        let rule = Logistic::fit(&data.iter().collect::<Vec<_>>(), 0.5).unwrap();
        let (coefficient, intercept) = SKLEARN;
        assert!((rule.weights[0] - coefficient).abs() < 1e-6, "{rule:?}");
        assert!((rule.weights[1] - intercept).abs() < 1e-6, "{rule:?}");
    }

    const SKLEARN: (f64, f64) = (0.474_099_89, 0.001_587_2);

    #[test]
    fn sets_apart_are_told_apart_and_equal_sets_are_not() {
        let apart: Vec<(f64, bool)> = (0..20).map(|i| (f64::from(i), i >= 10)).collect();
        let got = separability(&cases(&apart), 5, 0.01, 1).unwrap();
        assert_eq!((got.auc, got.range, got.folds), (1.0, (1.0, 1.0), 5));
        assert_eq!((got.cases, got.groups), (20, (10, 10)));
        // The same values in both.
        let same: Vec<(f64, bool)> =
            (0..40).map(|i| (f64::from((i / 2 * 7) % 20), i % 2 == 0)).collect();
        let got = separability(&cases(&same), 5, 0.01, 1).unwrap();
        assert!((0.2..0.8).contains(&got.auc), "{got:?}");
    }

    #[test]
    fn a_group_never_teaches_about_itself() {
        // The feature names the group and nothing else: images of a group are all alike, so a rule
        // judged on images would be right always.
        let many = |i: u32, second| {
            let value = f64::from((i * 13) % 17);
            (0..6).map(move |_| (i, value, second))
        };
        let all = (0..8).flat_map(|i| many(i, i % 2 == 0));
        let data: Vec<Labelled> = all
            .map(|(i, v, second)| Labelled { features: vec![v], second, group: i as usize })
            .collect();
        let got = separability(&data, 10, 0.01, 0).unwrap();
        assert_eq!((got.folds, got.groups), (4, (4, 4)));
    }

    #[test]
    fn too_little_is_no_answer() {
        assert_eq!(separability(&[], 5, 0.1, 0), None);
        assert_eq!(
            separability(&cases(&[(1.0, true), (2.0, false), (3.0, false)]), 5, 0.1, 0),
            None
        );
        let odd = [(1.0, true), (2.0, true), (f64::NAN, false), (3.0, false)];
        assert_eq!(separability(&cases(&odd), 5, 0.1, 0), None);
        // A constant feature beside a telling one.
        let mut data = cases(&[(1.0, true), (1.1, true), (3.0, false), (3.1, false)]);
        data.iter_mut().for_each(|c| c.features.push(7.0));
        assert_eq!(separability(&data, 5, 0.1, 0).unwrap().auc, 1.0);
    }
}
