//! Numbers as people read them.

/// What stands where no number can.
pub(crate) const ABSENT: &str = "–";

/// `value` with `digits` decimals, or a dash when it is not finite. A minus is a minus sign.
pub(crate) fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        // "-0.00" says nothing that "0.00" does not.
        Some(rest) if rest.bytes().all(|b| b == b'0' || b == b'.') => rest.to_string(),
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

/// Like [`fixed`] for a value that may be undefined.
pub(crate) fn fixed_opt(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| ABSENT.into(), |v| fixed(v, digits))
}

/// About three significant digits, scientific when very small or large.
pub(crate) fn brief(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        ABSENT.into()
    } else if size == 0.0 {
        "0".into()
    } else if !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.1e}");
        text.replace(".0e", "e").replace('-', "\u{2212}")
    } else if size >= 100.0 {
        fixed(value, 0)
    } else if size >= 10.0 {
        fixed(value, 1)
    } else if size >= 1.0 {
        fixed(value, 2)
    } else {
        fixed(value, 3)
    }
}

/// A count with thin spaces between thousands.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// A parameter count in words: `31.0 million`.
pub(crate) fn parameters(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let x = n as f64;
    if x >= 1e6 {
        format!("{:.1} million", x / 1e6)
    } else if x >= 1e4 {
        format!("{:.0} thousand", x / 1e3)
    } else {
        count(n)
    }
}

/// A duration in words: `1 h 12 min`, `34 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "an unknown time".into();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let total = seconds.round() as u64;
    let (h, m, s) = (total / 3600, total / 60 % 60, total % 60);
    if h > 0 {
        format!("{h} h {m} min")
    } else if m > 0 {
        format!("{m} min {s} s")
    } else {
        format!("{s} s")
    }
}

/// `1 case`, `2 cases`.
pub(crate) fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n as u64), if n == 1 { one } else { many })
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => "nothing".into(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(fixed(-0.0004, 2), "0.00");
        assert_eq!(fixed(-1.25, 1), "\u{2212}1.2");
        assert_eq!(fixed(f64::NAN, 2), ABSENT);
        assert_eq!(brief(1e-4), "1e\u{2212}4");
        assert_eq!(brief(123.4), "123");
        assert_eq!(brief(0.1234), "0.123");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(parameters(31_042_369), "31.0 million");
        assert_eq!(duration(4321.0), "1 h 12 min");
        assert_eq!(duration(f64::NAN), "an unknown time");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
