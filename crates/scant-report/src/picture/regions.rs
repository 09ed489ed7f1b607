//! Connected regions in which truth and prediction differ.

use super::Raster;

/// Boxes drawn at most, the largest regions first.
const MOST: usize = 8;
/// Smaller regions, as a share of all pixels, are the wobble of any border.
const SMALLEST: f64 = 0.0008;

/// The box around one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorBox {
    pub left: usize,
    pub top: usize,
    /// Exclusive.
    pub right: usize,
    /// Exclusive.
    pub bottom: usize,
    pub pixels: usize,
    /// Whether most of it is foreground that was missed, rather than background that was taken or a
    /// class that was confused.
    pub missed: bool,
}

/// Boxes around 8-connected regions of error, largest first; none when the sizes differ.
pub(crate) fn boxes(truth: &Raster, prediction: &Raster) -> Vec<ErrorBox> {
    let (w, h) = (truth.width, truth.height);
    if (prediction.width, prediction.height) != (w, h) {
        return Vec::new();
    }
    let wrong: Vec<bool> = truth.data.iter().zip(&prediction.data).map(|(t, p)| t != p).collect();
    let mut seen = vec![false; w * h];
    let mut found = Vec::new();
    for start in 0..w * h {
        if !wrong[start] || seen[start] {
            continue;
        }
        let mut b = ErrorBox { left: w, top: h, right: 0, bottom: 0, pixels: 0, missed: false };
        let mut missed = 0;
        let mut open = vec![start];
        seen[start] = true;
        while let Some(i) = open.pop() {
            let (x, y) = (i % w, i / w);
            b.left = b.left.min(x);
            b.right = b.right.max(x + 1);
            b.top = b.top.min(y);
            b.bottom = b.bottom.max(y + 1);
            b.pixels += 1;
            missed += usize::from(prediction.data[i] == 0);
            for ny in y.saturating_sub(1)..(y + 2).min(h) {
                for nx in x.saturating_sub(1)..(x + 2).min(w) {
                    let n = ny * w + nx;
                    if wrong[n] && !seen[n] {
                        seen[n] = true;
                        open.push(n);
                    }
                }
            }
        }
        b.missed = missed * 2 > b.pixels;
        found.push(b);
    }
    let smallest = ((w * h) as f64 * SMALLEST).ceil().max(2.0) as usize;
    found.retain(|b| b.pixels >= smallest);
    found.sort_by(|a, b| b.pixels.cmp(&a.pixels).then((a.top, a.left).cmp(&(b.top, b.left))));
    found.truncate(MOST);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(width: usize, data: &[u8]) -> Raster {
        Raster { width, height: data.len() / width, channels: 1, data: data.to_vec() }
    }

    #[test]
    fn regions_by_hand() {
        let truth = raster(5, &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let guess = raster(5, &[0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1]);
        let got = boxes(&truth, &guess);
        // Four pixels that touch by a corner on the right, two missed ones on the left.
        assert_eq!(got.len(), 2);
        let ErrorBox { left, top, right, bottom, pixels, missed } = got[0];
        assert_eq!((left, top, right, bottom, pixels, missed), (3, 0, 5, 3, 4, false));
        let ErrorBox { left, top, right, bottom, pixels, missed } = got[1];
        assert_eq!((left, top, right, bottom, pixels, missed), (0, 0, 2, 1, 2, true));
    }

    #[test]
    fn a_single_pixel_is_no_region_and_sizes_must_agree() {
        let truth = raster(3, &[0; 9]);
        let guess = raster(3, &[0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert!(boxes(&truth, &guess).is_empty());
        assert!(boxes(&truth, &raster(1, &[1])).is_empty());
    }
}
