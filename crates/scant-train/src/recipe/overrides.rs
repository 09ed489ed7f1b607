//! `--set key=value` and hints for mistyped keys.

use toml::{Table, Value};

use super::RecipeError;

/// Sets one dotted key. Phases are addressed by position or name: `phase.0.epochs=5`,
/// `phase.warm-up.epochs=5`. A value that is not TOML is taken as a string.
pub(super) fn apply(table: &mut Table, given: &str) -> Result<(), RecipeError> {
    let fail = |reason: &str| RecipeError::Override { given: given.into(), reason: reason.into() };
    let (key, value) = given.split_once('=').ok_or_else(|| fail("write key=value"))?;
    let value = parse_value(value.trim());
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, path) = parts.split_last().ok_or_else(|| fail("write key=value"))?;
    if parts.iter().any(|p| p.is_empty()) {
        return Err(fail("the key has an empty part"));
    }
    let mut here = table;
    let mut walk = path.iter().peekable();
    while let Some(part) = walk.next() {
        let next = here.entry((*part).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        here = match next {
            Value::Table(t) => t,
            Value::Array(items) => {
                let which = walk.next().ok_or_else(|| fail("name the list item to change"))?;
                let index = match which.parse::<usize>() {
                    Ok(i) => Some(i),
                    Err(_) => items
                        .iter()
                        .position(|i| i.get("name").and_then(Value::as_str) == Some(which)),
                };
                let there: Vec<String> = items
                    .iter()
                    .filter_map(|i| Some(format!("\"{}\"", i.get("name")?.as_str()?)))
                    .collect();
                let absent = || {
                    let there = there.join(", ");
                    fail(&format!("there is no {part} called \"{which}\"; there are {there}"))
                };
                index
                    .and_then(|i| items.get_mut(i))
                    .and_then(Value::as_table_mut)
                    .ok_or_else(absent)?
            }
            _ => return Err(fail(&format!("{part} is a value, not a section"))),
        };
    }
    here.insert((*last).to_owned(), value);
    Ok(())
}

fn parse_value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Adds "did you mean" to a message of the form ``unknown field `x`, expected one of `a`, `b` ``.
pub(crate) fn with_suggestion(message: &str) -> String {
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let Some(start) = message.find("unknown field").or_else(|| message.find("unknown variant"))
    else {
        return message.trim_end().to_owned();
    };
    let words = quoted(&message[start..]);
    let suggestion = words
        .split_first()
        .and_then(|(wrong, known)| nearest(wrong, known.iter().map(String::as_str)))
        .map_or(String::new(), |n| format!("\ndid you mean `{n}`?"));
    format!("{}{suggestion}", message.trim_end())
}

/// The most similar of `known`, if any is similar at all.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
