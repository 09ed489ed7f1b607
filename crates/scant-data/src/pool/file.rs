//! The pool file: TOML in, TOML out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use regex::Regex;
use scant_core::{Annotated, LabelError, LabelSpace, Role};
use toml::{Table, Value};

use super::{DEFAULT_MASK_SUFFIX, MaskValue, Pool, Source, ValueMap};
use crate::DataError;
use crate::error::{key_hint, nearest};

const POOL_KEYS: [&str; 3] = ["name", "classes", "source"];
const SOURCE_KEYS: [&str; 10] = [
    "name",
    "role",
    "images",
    "masks",
    "mask_suffix",
    "values",
    "annotated",
    "group",
    "split",
    "spacing_mm",
];
const ROLES: [&str; 3] = ["base", "novel", "unlabelled"];

/// A table of the file together with where it stands, for messages.
struct Section<'a> {
    path: &'a Path,
    place: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    fn refuse(&self, message: impl Into<String>, remedy: impl Into<String>) -> DataError {
        DataError::Setting {
            path: self.path.into(),
            place: self.place.clone(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    fn classes(&self, what: &str, error: LabelError) -> DataError {
        let place = format!("{}, {what}", self.place);
        DataError::Classes { path: self.path.into(), place, error }
    }

    fn only_keys(&self, known: &[&str]) -> Result<(), DataError> {
        match self.table.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(key) => Err(DataError::UnknownKey {
                path: self.path.into(),
                key: key.clone(),
                place: self.place.clone(),
                hint: key_hint(key, known),
            }),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, DataError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(s)) if !s.trim().is_empty() => Ok(Some(s)),
            Some(other) => Err(self.refuse(
                format!("`{key}` must be a non-empty text, not {}", shown(other)),
                format!("write {key} = \"...\""),
            )),
        }
    }

    fn required(&self, key: &str, example: &str) -> Result<&'a str, DataError> {
        self.text(key)?.ok_or_else(|| {
            self.refuse(format!("`{key}` is missing"), format!("add e.g. {key} = {example}"))
        })
    }

    fn texts(&self, key: &str, example: &str) -> Result<Option<Vec<String>>, DataError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let all = value.as_array().and_then(|array| {
            array.iter().map(|v| v.as_str().map(str::to_string)).collect::<Option<Vec<_>>>()
        });
        all.map(Some).ok_or_else(|| {
            self.refuse(
                format!("`{key}` must be a list of texts, not {}", shown(value)),
                format!("write e.g. {key} = {example}"),
            )
        })
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        format!("{}...", text.chars().take(57).collect::<String>())
    } else {
        text
    }
}

/// Reads the text of the pool file at `path`.
pub(super) fn parse(text: &str, path: &Path, root: PathBuf) -> Result<Pool, DataError> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| DataError::Syntax {
        path: path.into(),
        message: e.to_string().trim().to_string(),
    })?;
    let top = Section { path, place: "the top level".into(), table: &table };
    top.only_keys(&POOL_KEYS)?;
    let name = top.required("name", "\"nuclei\"")?.to_string();
    let example = "[\"background\", \"nucleus\"]";
    let names = top.texts("classes", example)?.ok_or_else(|| {
        top.refuse("`classes` is missing", format!("add e.g. classes = {example}"))
    })?;
    let classes = LabelSpace::new(names).map_err(|e| top.classes("`classes`", e))?;

    let blocks = match table.get("source") {
        Some(Value::Array(blocks)) if !blocks.is_empty() => blocks.as_slice(),
        _ => {
            return Err(top.refuse(
                "there is no [[source]]",
                "add at least one [[source]] block with name, images, masks and values",
            ));
        }
    };
    let mut notes = Vec::new();
    let mut sources: Vec<Source> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let Some(table) = block.as_table() else {
            return Err(top.refuse(
                format!("`source` number {} is {}, not a block", index + 1, shown(block)),
                "write [[source]] on a line of its own",
            ));
        };
        let place = match table.get("name").and_then(Value::as_str) {
            Some(name) => format!("[[source]] \"{name}\""),
            None => format!("[[source]] number {}", index + 1),
        };
        let section = Section { path, place, table };
        let source = parse_source(&section, &classes, &mut notes)?;
        if sources.iter().any(|s| s.name == source.name) {
            return Err(section.refuse(
                "the name stands twice",
                "give every source a name of its own: it is part of every case's name",
            ));
        }
        sources.push(source);
    }
    Ok(Pool { name, classes, sources, root, notes })
}

fn parse_source(
    section: &Section<'_>,
    classes: &LabelSpace,
    notes: &mut Vec<String>,
) -> Result<Source, DataError> {
    section.only_keys(&SOURCE_KEYS)?;
    let name = section.required("name", "\"site-a\"")?.to_string();
    if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err(section.refuse(
            format!("`name` {name:?} holds a slash or a control character"),
            "use letters, digits, dashes and underscores: names become folder names",
        ));
    }
    let role = parse_role(section)?;
    let images = section.required("images", "\"images\"")?.to_string();
    let masks = section.text("masks")?.map(str::to_string);
    if role != Role::Unlabelled && masks.is_none() {
        return Err(section.refuse(
            "`masks` is missing",
            "add masks = \"...\", or say role = \"unlabelled\" if nobody has drawn these images",
        ));
    }
    if role == Role::Unlabelled && masks.is_some() {
        notes.push(format!(
            "source \"{name}\": role = \"unlabelled\", so its masks are not read for training"
        ));
    }
    let mask_suffix = match section.text("mask_suffix")? {
        Some(suffix) => suffix.to_string(),
        None => DEFAULT_MASK_SUFFIX.into(),
    };
    let values = parse_values(section, classes, role, &name, notes)?;
    let annotated = parse_annotated(section, classes, role, &values, &name, notes)?;
    let group = match section.text("group")? {
        None => None,
        Some(rule) => Some(Regex::new(rule).map_err(|e| {
            let last = e.to_string().lines().last().unwrap_or_default().trim().to_string();
            section.refuse(
                format!("`group` = \"{rule}\" is not a valid regular expression ({last})"),
                "write e.g. group = \"^([0-9]+)_\": the part in brackets names the patient or slide",
            )
        })?),
    };
    let spacing_mm = parse_spacing(section)?;
    let split = section.text("split")?.map(str::to_string);
    if role == Role::Unlabelled && split.is_some() {
        return Err(section.refuse(
            "an unlabelled source cannot have a `split`",
            "remove `split`: unlabelled images are never validated or tested on",
        ));
    }
    Ok(Source {
        name,
        role,
        images,
        masks,
        mask_suffix,
        values,
        annotated,
        group,
        split,
        spacing_mm,
    })
}

fn parse_role(section: &Section<'_>) -> Result<Role, DataError> {
    match section.text("role")? {
        None | Some("base") => Ok(Role::Base),
        Some("novel") => Ok(Role::Novel),
        Some("unlabelled") => Ok(Role::Unlabelled),
        Some(other) => {
            let hint = nearest(other, ROLES)
                .map(|r| format!("did you mean \"{r}\"? "))
                .unwrap_or_default();
            Err(section.refuse(
                format!("`role` = \"{other}\" is not a role"),
                format!("{hint}roles: {}", ROLES.join(", ")),
            ))
        }
    }
}

fn parse_values(
    section: &Section<'_>,
    classes: &LabelSpace,
    role: Role,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<ValueMap, DataError> {
    let remedy = "write e.g. values = { 0 = \"background\", 255 = \"lesion\" }, or \
                  \"#ff0000\" = \"lesion\" for colour masks";
    let Some(value) = section.table.get("values") else {
        let identity = (0..classes.len()).filter_map(|i| u8::try_from(i).ok());
        if role != Role::Unlabelled {
            notes.push(format!(
                "source \"{name}\": no `values`, so mask value = class position (0 = \"{}\", ...)",
                classes.name(0)
            ));
        }
        return Ok(ValueMap::new(identity.map(|id| (MaskValue::Level(u32::from(id)), id))));
    };
    let Some(table) = value.as_table().filter(|t| !t.is_empty()) else {
        return Err(section.refuse(
            format!("`values` must map mask values to classes, not be {}", shown(value)),
            remedy,
        ));
    };
    let mut pairs = Vec::new();
    let mut seen = BTreeSet::new();
    for (key, class) in table {
        let mask_value: MaskValue =
            key.parse().map_err(|e| section.refuse(format!("`values`: {e}"), remedy))?;
        if !seen.insert(mask_value) {
            return Err(section.refuse(
                format!("`values` lists {mask_value} twice"),
                "keep one of the two lines",
            ));
        }
        let Some(class) = class.as_str() else {
            return Err(section.refuse(
                format!("`values`: {key} = {} is not a class name", shown(class)),
                remedy,
            ));
        };
        let id = classes.id(class).map_err(|e| section.classes("`values`", e))?;
        pairs.push((mask_value, id));
    }
    Ok(ValueMap::new(pairs))
}

fn parse_annotated(
    section: &Section<'_>,
    classes: &LabelSpace,
    role: Role,
    values: &ValueMap,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<Annotated, DataError> {
    let listed = section.texts("annotated", "[\"nucleus\"]")?;
    if role == Role::Unlabelled {
        return Ok(Annotated::none(classes.len()));
    }
    let mapped: BTreeSet<u8> = values.iter().map(|(_, id)| id).filter(|id| *id != 0).collect();
    let Some(listed) = listed else {
        if mapped.is_empty() {
            return Err(section.refuse(
                "`values` leads to no class but the background",
                "map at least one mask value to a class, or list `annotated` to say which classes \
                 were looked for and never found",
            ));
        }
        return Ok(Annotated::only(classes.len(), &mapped.into_iter().collect::<Vec<_>>()));
    };
    let mut ids = BTreeSet::new();
    for class in &listed {
        let id = classes.id(class).map_err(|e| section.classes("`annotated`", e))?;
        // Whether the background was drawn follows from the other classes.
        if id != 0 {
            ids.insert(id);
        }
    }
    if ids.is_empty() {
        return Err(section.refuse(
            "`annotated` lists no foreground class",
            "list the classes drawn here, or say role = \"unlabelled\"",
        ));
    }
    for id in ids.difference(&mapped) {
        notes.push(format!(
            "source \"{name}\": \"{}\" is annotated but no mask value leads to it, so it counts as \
             looked for and absent on every image",
            classes.name(*id)
        ));
    }
    Ok(Annotated::only(classes.len(), &ids.into_iter().collect::<Vec<_>>()))
}

fn parse_spacing(section: &Section<'_>) -> Result<Option<[f64; 2]>, DataError> {
    let Some(value) = section.table.get("spacing_mm") else { return Ok(None) };
    let number = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
    let pair: Option<Vec<f64>> =
        value.as_array().and_then(|array| array.iter().map(number).collect());
    match pair.as_deref() {
        Some([row, column]) if [row, column].iter().all(|v| v.is_finite() && **v > 0.0) => {
            Ok(Some([*row, *column]))
        }
        _ => Err(section.refuse(
            format!("`spacing_mm` must be two positive numbers, not {}", shown(value)),
            "write spacing_mm = [row, column] in millimetres, e.g. [0.25, 0.25]",
        )),
    }
}

/// Writes a pool so that [`parse`] gives it back; `place` rewrites paths.
pub(super) fn print(pool: &Pool, place: impl Fn(&str) -> String) -> String {
    let quoted = |text: &str| Value::String(text.into()).to_string();
    let list = |names: &[String]| {
        let all: Vec<String> = names.iter().map(|n| quoted(n)).collect();
        format!("[{}]", all.join(", "))
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "{key} = {value}");
    };
    line("name", quoted(&pool.name));
    line("classes", list(pool.classes.names()));
    for (index, source) in pool.sources.iter().enumerate() {
        line("\n[[source]]\nname", quoted(&source.name));
        let role = match source.role {
            Role::Base => "base",
            Role::Novel => "novel",
            Role::Unlabelled => "unlabelled",
        };
        line("role", quoted(role));
        line("images", quoted(&place(&source.images)));
        if let Some(masks) = &source.masks {
            line("masks", quoted(&place(masks)));
        }
        if source.mask_suffix != DEFAULT_MASK_SUFFIX {
            line("mask_suffix", quoted(&source.mask_suffix));
        }
        if source.is_labelled() {
            let pairs: Vec<String> = source
                .values
                .iter()
                .map(|(value, id)| format!("{value} = {}", quoted(pool.classes.name(id))))
                .collect();
            line("values", format!("{{ {} }}", pairs.join(", ")));
            line("annotated", list(&pool.annotated_names(index)));
        }
        if let Some(group) = &source.group {
            line("group", quoted(group.as_str()));
        }
        if let Some(split) = &source.split {
            line("split", quoted(&place(split)));
        }
        if let Some([row, column]) = source.spacing_mm {
            line("spacing_mm", format!("[{row:?}, {column:?}]"));
        }
    }
    out
}
