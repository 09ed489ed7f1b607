//! The border of a class as a path that stays sharp at any size.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Raster;

/// The pixel borders of `class` as SVG path data in pixel units; empty when the class is absent.
///
/// Loops follow the borders with the class on their right hand; where two pixels touch only at a
/// corner the loops stay apart (4-connected objects).
pub(crate) fn path(labels: &Raster, class: u8) -> String {
    let (w, h) = (labels.width, labels.height);
    let inside = |r: usize, c: usize| labels.data[r * w + c] == class;
    // Directed unit edges by their start corner (row, column); at most two leave one corner.
    let mut edges: BTreeMap<(usize, usize), Vec<Step>> = BTreeMap::new();
    let mut add = |from: (usize, usize), step: Step| edges.entry(from).or_default().push(step);
    for r in 0..h {
        for c in 0..w {
            if !inside(r, c) {
                continue;
            }
            if r == 0 || !inside(r - 1, c) {
                add((r, c), Step::Right);
            }
            if c + 1 == w || !inside(r, c + 1) {
                add((r, c + 1), Step::Down);
            }
            if r + 1 == h || !inside(r + 1, c) {
                add((r + 1, c + 1), Step::Left);
            }
            if c == 0 || !inside(r, c - 1) {
                add((r + 1, c), Step::Up);
            }
        }
    }
    let mut out = String::new();
    while let Some((&start, _)) = edges.iter().next() {
        trace(&mut edges, start, &mut out);
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Right,
    Down,
    Left,
    Up,
}

impl Step {
    /// The turn to the right, which keeps corner-touching pixels apart.
    fn right_turn(self) -> Self {
        match self {
            Self::Right => Self::Down,
            Self::Down => Self::Left,
            Self::Left => Self::Up,
            Self::Up => Self::Right,
        }
    }
}

fn trace(edges: &mut BTreeMap<(usize, usize), Vec<Step>>, start: (usize, usize), out: &mut String) {
    let _ = write!(out, "M{} {}", start.1, start.0);
    let mut at = start;
    let mut last: Option<(Step, usize)> = None;
    while let Some(steps) = edges.get_mut(&at) {
        let wanted = last.map(|(s, _)| s.right_turn());
        let pick = steps.iter().position(|s| Some(*s) == wanted).unwrap_or(0);
        let step = steps.swap_remove(pick);
        if steps.is_empty() {
            edges.remove(&at);
        }
        match &mut last {
            Some((s, n)) if *s == step => *n += 1,
            _ => {
                if let Some((s, n)) = last {
                    emit(s, n, out);
                }
                last = Some((step, 1));
            }
        }
        match step {
            Step::Right => at.1 += 1,
            Step::Down => at.0 += 1,
            Step::Left => at.1 -= 1,
            Step::Up => at.0 -= 1,
        }
        if at == start {
            break;
        }
    }
    // The last straight piece is what closing the path draws.
    out.push('Z');
}

fn emit(step: Step, n: usize, out: &mut String) {
    let _ = match step {
        Step::Right => write!(out, "h{n}"),
        Step::Down => write!(out, "v{n}"),
        Step::Left => write!(out, "h-{n}"),
        Step::Up => write!(out, "v-{n}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raster(w: usize, data: &[u8]) -> Raster {
        Raster { width: w, height: data.len() / w, channels: 1, data: data.into() }
    }

    #[test]
    fn simple_shapes_have_simple_paths() {
        assert_eq!(path(&raster(1, &[1]), 1), "M0 0h1v1h-1Z");
        assert_eq!(path(&raster(3, &[0, 2, 2]), 2), "M1 0h2v1h-2Z");
        assert_eq!(path(&raster(2, &[0, 0]), 1), "");
        // Corner to corner: two loops, not a figure of eight.
        assert_eq!(path(&raster(2, &[1, 0, 0, 1]), 1).matches('M').count(), 2);
        // A ring has an outer and an inner border.
        assert_eq!(path(&raster(3, &[1, 1, 1, 1, 0, 1, 1, 1, 1]), 1).matches('M').count(), 2);
    }

    /// Signed area enclosed by the loops, by the shoelace rule on axis-parallel moves.
    fn area(path: &str) -> i64 {
        let mut total = 0;
        for piece in path.split('M').skip(1) {
            let body = piece.trim_end_matches('Z');
            let split = body.find(['h', 'v']).unwrap();
            let mut start = body[..split].split(' ').map(|n| n.parse::<i64>().unwrap());
            let (x0, y0) = (start.next().unwrap(), start.next().unwrap());
            let (mut x, mut y) = (x0, y0);
            let mut rest = &body[split..];
            while let Some(command) = rest.chars().next() {
                let end = rest[1..].find(['h', 'v']).map_or(rest.len(), |e| e + 1);
                let n: i64 = rest[1..end].parse().unwrap();
                if command == 'h' {
                    total -= n * y;
                    x += n;
                } else {
                    y += n;
                }
                rest = &rest[end..];
            }
            // The closing piece is axis-parallel too.
            assert!(x == x0 || y == y0);
            total -= (x0 - x) * y;
        }
        total
    }

    proptest! {
        /// Outer borders minus holes enclose exactly the pixels of the class.
        #[test]
        fn loops_enclose_the_pixels_of_the_class(
            w in 1usize..9, data in proptest::collection::vec(0u8..3, 1..72)
        ) {
            let rows = data.len() / w;
            prop_assume!(rows > 0);
            let labels = raster(w, &data[..rows * w]);
            let pixels = labels.data.iter().filter(|v| **v == 1).count();
            prop_assert_eq!(area(&path(&labels, 1)), i64::try_from(pixels).unwrap());
        }
    }
}
