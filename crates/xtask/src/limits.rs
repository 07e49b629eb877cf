//! docs/reference/limits.md, made from the constants and defaults that the limits are.
//!
//! A limit is a constant of a module whose name ends in `_MAX` or `_WAIT`, or a field that `impl Default` of a type
//! whose name ends in `Limits` or `Waits` sets.
//! Its doc comment says what it holds and what happens beyond; the value is read from the code.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use syn::{Attribute, Expr, Item, Lit, Meta};

use crate::module_tree::{self, Module};
use crate::workspace::{self, Manifest};

const FILE: &str = "docs/reference/limits.md";
const BEGIN: &str = "<!-- made by cargo xtask generate: begin -->";
const END: &str = "<!-- made by cargo xtask generate: end -->";
/// Crates that do not ship.
const ASIDE: [&str; 2] = ["testkit", "xtask"];

/// Writes the page.
pub(crate) fn write() -> anyhow::Result<()> {
    let (page, faults) = page(&workspace::manifests()?)?;
    for fault in faults {
        println!("fault: {fault}");
    }
    std::fs::write(workspace::root().join(FILE), page)?;
    println!("wrote {FILE}");
    Ok(())
}

/// Limits that nobody explains, and a page that is not what the code says.
pub(crate) fn faults(manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
    let (page, mut faults) = page(manifests)?;
    if std::fs::read_to_string(workspace::root().join(FILE))? != page {
        faults.push(format!(
            "{FILE} is not what the code says: run cargo xtask generate"
        ));
    }
    Ok(faults)
}

fn page(manifests: &[Manifest]) -> anyhow::Result<(String, Vec<String>)> {
    let document = std::fs::read_to_string(workspace::root().join(FILE)).context(FILE)?;
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("{FILE}: no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{FILE}: no line {END}"))?;
    let mut tables = String::new();
    let mut faults = Vec::new();
    for manifest in manifests
        .iter()
        .filter(|manifest| !ASIDE.contains(&manifest.name.as_str()))
    {
        let limits = limits_of(manifest)?;
        faults.extend(limits.iter().filter_map(Limit::fault));
        tables.push_str(&table(&manifest.name, &limits));
    }
    Ok((format!("{before}{BEGIN}\n\n{tables}{END}{after}"), faults))
}

/// One row.
struct Limit {
    name: String,
    value: Option<Value>,
    text: String,
}

impl Limit {
    fn fault(&self) -> Option<String> {
        let name = &self.name;
        if self.value.is_none() {
            return Some(format!(
                "the limit {name} is not a plain value; write it as one"
            ));
        }
        (self.text.is_empty())
            .then(|| format!("the limit {name} has no doc comment that says what happens beyond"))
    }
}

fn table(of: &str, limits: &[Limit]) -> String {
    if limits.is_empty() {
        return String::new();
    }
    let mut table = format!(
        "## `{of}`\n\n| limit | value | what it holds, and what happens beyond |\n|---|---|---|\n"
    );
    for Limit { name, value, text } in limits {
        let value = value.as_ref().map_or_else(String::new, Value::shown);
        writeln!(table, "| `{name}` | {value} | {text} |").expect("a string takes every text");
    }
    table.push('\n');
    table
}

fn limits_of(manifest: &Manifest) -> anyhow::Result<Vec<Limit>> {
    let mut limits = Vec::new();
    for target in &manifest.targets {
        if !target
            .kind
            .iter()
            .any(|kind| kind == "lib" || kind == "bin")
        {
            continue;
        }
        let mut modules = module_tree::read(&target.src_path)?;
        modules.sort_by(|a, b| a.path.cmp(&b.path));
        for module in &modules {
            limits.extend(limits_in(module));
        }
    }
    Ok(limits)
}

fn limits_in(module: &Module) -> Vec<Limit> {
    let constants: BTreeMap<String, Value> = module
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Const(item) => Some((
                item.ident.to_string(),
                value_of(&item.expr, &BTreeMap::new())?,
            )),
            _ => None,
        })
        .collect();
    let named = |name: &str| {
        let path = module.path.iter().map(String::as_str).chain([name]);
        path.collect::<Vec<_>>().join("::")
    };
    let mut limits = Vec::new();
    for item in &module.items {
        match item {
            Item::Const(item) if is_limit(&item.ident.to_string()) => {
                let name = item.ident.to_string();
                let value = constants
                    .get(&name)
                    .map(|value| value.clone().in_bytes_if(name.contains("BYTES")));
                limits.push(Limit {
                    name: named(&name),
                    value,
                    text: told(&item.attrs),
                });
            }
            Item::Impl(item) => limits.extend(defaults(item, module, &constants).into_iter().map(
                |mut limit| {
                    limit.name = named(&limit.name);
                    limit
                },
            )),
            _ => {}
        }
    }
    limits
}

fn is_limit(name: &str) -> bool {
    name.ends_with("_MAX") || name.ends_with("_WAIT")
}

/// The fields that `impl Default for …Limits` sets, with the doc comments of the struct's fields.
fn defaults(
    item: &syn::ItemImpl,
    module: &Module,
    constants: &BTreeMap<String, Value>,
) -> Vec<Limit> {
    let syn::Type::Path(of) = item.self_ty.as_ref() else {
        return Vec::new();
    };
    let of = of
        .path
        .segments
        .last()
        .map(|part| part.ident.to_string())
        .unwrap_or_default();
    let is_default = item
        .trait_
        .as_ref()
        .is_some_and(|named| named.0.is_ident("Default"));
    if !is_default || !(of.ends_with("Limits") || of.ends_with("Waits")) {
        return Vec::new();
    }
    let declared = module.items.iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == of => Some(&item.fields),
        _ => None,
    });
    let Some(literal) = item.items.iter().find_map(literal_of) else {
        return Vec::new();
    };
    literal
        .fields
        .iter()
        .filter_map(|field| {
            let syn::Member::Named(name) = &field.member else {
                return None;
            };
            let text = declared
                .and_then(|fields| {
                    fields
                        .iter()
                        .find(|declared| declared.ident.as_ref() == Some(name))
                })
                .map(|declared| told(&declared.attrs))
                .unwrap_or_default();
            let value = value_of(&field.expr, constants)
                .map(|value| value.in_bytes_if(name.to_string().contains("bytes")));
            Some(Limit {
                name: format!("{of}.{name}"),
                value,
                text,
            })
        })
        .collect()
}

/// The struct that a function ends with.
fn literal_of(item: &syn::ImplItem) -> Option<&syn::ExprStruct> {
    let syn::ImplItem::Fn(function) = item else {
        return None;
    };
    match function.block.stmts.last()? {
        syn::Stmt::Expr(Expr::Struct(literal), None) => Some(literal),
        _ => None,
    }
}

/// The doc comment in one line, without the default, which is read from the code.
fn told(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value().trim().to_owned()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.split(" Default: ").next().unwrap_or_default();
    // A pipe would end the cell; a link of rustdoc leads nowhere on this page.
    text.replace('|', "\\|")
        .replace("[`", "`")
        .replace("`]", "`")
        .trim()
        .to_owned()
}

/// What a limit can be.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Count(u64),
    Bytes(u64),
    Millis(u64),
}

impl Value {
    fn in_bytes_if(self, bytes: bool) -> Self {
        match self {
            Self::Count(count) if bytes => Self::Bytes(count),
            other => other,
        }
    }

    fn shown(&self) -> String {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        const SPANS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "min"), (1000, "s")];
        let (amount, units, smallest) = match self {
            Self::Count(count) => return grouped(*count),
            Self::Bytes(bytes) => (*bytes, UNITS, "bytes"),
            Self::Millis(millis) => (*millis, SPANS, "ms"),
        };
        let whole = units
            .iter()
            .find(|(size, _)| amount >= *size && amount % size == 0);
        whole.map_or_else(
            || format!("{} {smallest}", grouped(amount)),
            |(size, unit)| format!("{} {unit}", grouped(amount / size)),
        )
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The value of a plain expression: literals, products, sums, shifts, durations, other constants of the module.
fn value_of(expression: &Expr, constants: &BTreeMap<String, Value>) -> Option<Value> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok().map(Value::Count),
            // Rates, such as lines per second, are written with a point.
            Lit::Float(number) => number
                .base10_digits()
                .strip_suffix(".0")?
                .parse()
                .ok()
                .map(Value::Count),
            _ => None,
        },
        Expr::Paren(inner) => value_of(&inner.expr, constants),
        Expr::Path(path) => constants.get(&path.path.get_ident()?.to_string()).cloned(),
        Expr::Binary(pair) => {
            let (Value::Count(left), Value::Count(right)) = (
                value_of(&pair.left, constants)?,
                value_of(&pair.right, constants)?,
            ) else {
                return None;
            };
            match pair.op {
                syn::BinOp::Mul(_) => left.checked_mul(right),
                syn::BinOp::Add(_) => left.checked_add(right),
                syn::BinOp::Sub(_) => left.checked_sub(right),
                syn::BinOp::Shl(_) => left.checked_shl(u32::try_from(right).ok()?),
                _ => None,
            }
            .map(Value::Count)
        }
        Expr::Call(call) => called(call, constants),
        _ => None,
    }
}

/// `Duration::from_…(n)` and `Some(n)`.
fn called(call: &syn::ExprCall, constants: &BTreeMap<String, Value>) -> Option<Value> {
    let Expr::Path(function) = call.func.as_ref() else {
        return None;
    };
    let value = value_of(call.args.first()?, constants)?;
    let millis = match function.path.segments.last()?.ident.to_string().as_str() {
        "Some" => return Some(value),
        "from_millis" => 1,
        "from_secs" => 1000,
        "from_mins" => 60_000,
        "from_hours" => 3_600_000,
        _ => return None,
    };
    match value {
        Value::Count(count) => count.checked_mul(millis).map(Value::Millis),
        Value::Bytes(_) | Value::Millis(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Module, limits_in};

    fn check(source: &str, expected: &[(&str, &str, &str)]) {
        let module = Module {
            path: vec!["door".to_owned()],
            items: syn::parse_file(source).expect("the source parses").items,
            file: "door.rs".into(),
        };
        let limits = limits_in(&module);
        let rows: Vec<(&str, String, &str)> = limits
            .iter()
            .map(|limit| {
                let value = limit
                    .value
                    .as_ref()
                    .map_or_else(String::new, super::Value::shown);
                (limit.name.as_str(), value, limit.text.as_str())
            })
            .collect();
        let rows: Vec<(&str, &str, &str)> = rows
            .iter()
            .map(|(name, value, text)| (*name, value.as_str(), *text))
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn constants_are_read_with_their_value_and_their_words() {
        check(
            "/// Bytes of a body.\n/// Beyond: 413.\nconst BODY_BYTES_MAX: usize = 16 * 1024 * 1024;\n\
             /// Calls.\npub const CALLS_MAX: usize = 10_000;\n\
             /// For an answer.\nconst ANSWER_WAIT: Duration = Duration::from_millis(1500);\n\
             /// Not a limit.\nconst PORT: u16 = 8484;\n",
            &[
                (
                    "door::BODY_BYTES_MAX",
                    "16 MiB",
                    "Bytes of a body. Beyond: 413.",
                ),
                ("door::CALLS_MAX", "10,000", "Calls."),
                ("door::ANSWER_WAIT", "1,500 ms", "For an answer."),
            ],
        );
    }

    #[test]
    fn defaults_of_limits_are_read_with_the_words_of_their_fields() {
        check(
            "struct Limits {\n/// Fields of a head. Beyond: 431. Default: 100.\ncount: usize,\n/// Rest. Default: 2 min.\nidle: Option<Duration>,\n}\n\
             const COUNT: usize = 100;\n\
             impl Default for Limits { fn default() -> Self { Self { count: COUNT, idle: Some(Duration::from_secs(120)) } } }\n",
            &[
                (
                    "door::Limits.count",
                    "100",
                    "Fields of a head. Beyond: 431.",
                ),
                ("door::Limits.idle", "2 min", "Rest."),
            ],
        );
    }
}
