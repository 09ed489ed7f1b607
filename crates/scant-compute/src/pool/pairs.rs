//! Loops over rows read or written two by two.
//!
//! Sums and copies are left to the compiler as they are; choices between cells go sixteen pairs at a
//! time, since it does not turn them into vectors otherwise.
//!
//! All are inlined into their callers, and are fast where those are compiled for wide vectors.

/// Pairs per step where there are steps.
const PAIRS: usize = 16;

/// The largest of each window of `N` rows by two columns and which cell it was, counted in rows
/// first. The first of equals wins; a NaN wins over everything before it.
#[inline(always)]
pub(crate) fn largest<const N: usize>(rows: [&[f32]; N], y: &mut [f32], index: &mut [u8]) {
    let done = y.len() / PAIRS * PAIRS;
    let steps = rows.map(|row| row.as_chunks::<{ 2 * PAIRS }>().0);
    let y_steps = y.as_chunks_mut::<PAIRS>().0.iter_mut();
    for (step, (y, index)) in y_steps.zip(index.as_chunks_mut::<PAIRS>().0).enumerate() {
        let mut best: [f32; PAIRS] = std::array::from_fn(|l| steps[0][step][2 * l]);
        let mut at = [0_u32; PAIRS];
        for (row, steps) in steps.iter().enumerate() {
            let cells = &steps[step];
            for column in usize::from(row == 0)..2 {
                for l in 0..PAIRS {
                    let cell = cells[2 * l + column];
                    let wins = (cell > best[l]) | cell.is_nan();
                    best[l] = if wins { cell } else { best[l] };
                    at[l] = if wins { (2 * row + column) as u32 } else { at[l] };
                }
            }
        }
        *y = best;
        *index = at.map(|at| at as u8);
    }
    for (i, (y, index)) in y.iter_mut().zip(index).enumerate().skip(done) {
        (*y, *index) = (rows[0][2 * i], 0);
        for (row, cells) in rows.iter().enumerate() {
            for column in 0..2 {
                let cell = cells[2 * i + column];
                if cell > *y || cell.is_nan() {
                    (*y, *index) = (cell, (2 * row + column) as u8);
                }
            }
        }
    }
}

/// Where `cells[2 i]` beats `y[i]`, it takes its place and `tap` that of `index[i]`. Says how many
/// are done; the rest, which may lack the second of a pair, is left to the caller.
#[inline(always)]
pub(crate) fn offer_firsts(cells: &[f32], tap: u8, y: &mut [f32], index: &mut [u8]) -> usize {
    let cells = cells.as_chunks::<{ 2 * PAIRS }>().0;
    let (y, index) = (y.as_chunks_mut::<PAIRS>().0, index.as_chunks_mut::<PAIRS>().0);
    let done = cells.len().min(y.len());
    for ((cells, y), index) in cells.iter().zip(y).zip(index) {
        for l in 0..PAIRS {
            let cell = cells[2 * l];
            let wins = (cell > y[l]) | cell.is_nan();
            y[l] = if wins { cell } else { y[l] };
            index[l] = if wins { tap } else { index[l] };
        }
    }
    done * PAIRS
}

/// `dx[2 i + c] = dy[i]` where `index[i] = first + c`, zero elsewhere.
#[inline(always)]
pub(crate) fn hand_back(dy: &[f32], index: &[u8], first: u8, dx: &mut [f32]) {
    let (dx, end) = dx.split_at_mut(2 * dy.len());
    end.fill(0.0);
    let (dy, dy_rest) = dy.as_chunks::<PAIRS>();
    let (index, index_rest) = index.as_chunks::<PAIRS>();
    let (dx, dx_rest) = dx.as_chunks_mut::<{ 2 * PAIRS }>();
    for ((dy, index), dx) in dy.iter().zip(index).zip(dx) {
        let at = index.map(|i| u32::from(i.wrapping_sub(first)));
        for l in 0..PAIRS {
            dx[2 * l] = if at[l] == 0 { dy[l] } else { 0.0 };
            dx[2 * l + 1] = if at[l] == 1 { dy[l] } else { 0.0 };
        }
    }
    for ((dy, index), dx) in dy_rest.iter().zip(index_rest).zip(dx_rest.as_chunks_mut::<2>().0) {
        let at = index.wrapping_sub(first);
        *dx = [if at == 0 { *dy } else { 0.0 }, if at == 1 { *dy } else { 0.0 }];
    }
}

/// `sums[i] += row[2 i] + row[2 i + 1]`.
#[inline(always)]
pub(crate) fn add_pairs(row: &[f32], sums: &mut [f32]) {
    for (pair, sum) in row.as_chunks::<2>().0.iter().zip(sums) {
        *sum += pair[0] + pair[1];
    }
}

/// `row[2 i]` and `row[2 i + 1]` become `scale · values[i]`.
#[inline(always)]
pub(crate) fn double(values: &[f32], scale: f32, row: &mut [f32]) {
    for (value, pair) in values.iter().zip(row.as_chunks_mut::<2>().0) {
        *pair = [scale * value; 2];
    }
}
