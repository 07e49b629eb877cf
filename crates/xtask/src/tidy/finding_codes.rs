//! Every code that a finding can carry has a row in the operator's table, and no row is left over.

use std::collections::BTreeSet;

use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Expr, Lit, Token};

use super::SourceFile;
use crate::module_tree;

const TABLE: &str = "docs/errors/codes.md";
/// The crates that make findings.
const CRATES: [&str; 4] = ["cli", "gateway", "resources", "source-files"];
/// What makes a finding or hands a code on to where one is made; the code is the first of its arguments that looks like one.
const FUNCTIONS: [&str; 6] = [
    "Finding::error",
    "Finding::note",
    "Finding::warning",
    "Finding::new",
    "Fault::new",
    "refuse",
];
/// The same, as methods.
const METHODS: [&str; 2] = ["error", "tell"];
/// The field in which problems keep it.
const FIELD: &str = "code";

/// Codes without a row, rows without a code, and codes with two rows.
pub(crate) fn faults(files: &[SourceFile]) -> Vec<String> {
    let Some(table) = files.iter().find(|file| file.path == TABLE) else {
        return vec![format!("{TABLE} is missing")];
    };
    let used: BTreeSet<String> = files
        .iter()
        .filter(|file| makes_findings(&file.path))
        .flat_map(|file| codes_of(&file.text))
        .collect();
    let mut faults = Vec::new();
    let mut told = BTreeSet::new();
    for code in rows(&table.text) {
        if !used.contains(code) {
            faults.push(format!("{TABLE}: no finding has the code `{code}`"));
        }
        if !told.insert(code) {
            faults.push(format!("{TABLE}: two rows for the code `{code}`"));
        }
    }
    for code in used.iter().filter(|code| !told.contains(code.as_str())) {
        faults.push(format!("{TABLE}: no row for the code `{code}`"));
    }
    faults
}

fn makes_findings(path: &str) -> bool {
    let of_ours = CRATES
        .iter()
        .any(|name| path.starts_with(&format!("crates/{name}/src/")));
    of_ours && path.ends_with(".rs") && !path.ends_with("/tests.rs") && !path.contains("/tests/")
}

/// The codes in the first cells of the tables.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(code, _)| code)
}

fn codes_of(text: &str) -> BTreeSet<String> {
    let mut codes = Codes::default();
    // A file that does not parse is the compiler's to report.
    if let Ok(parsed) = syn::parse_file(text) {
        codes.visit_file(&parsed);
    }
    codes.0
}

#[derive(Default)]
struct Codes(BTreeSet<String>);

impl Codes {
    fn take<'e>(&mut self, arguments: impl IntoIterator<Item = &'e Expr>) {
        self.0.extend(arguments.into_iter().find_map(code));
    }
}

impl<'ast> Visit<'ast> for Codes {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(function) = &*call.func {
            let names: Vec<String> = function
                .path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            let last_two = names[names.len().saturating_sub(2)..].join("::");
            if FUNCTIONS.contains(&last_two.as_str()) {
                self.take(&call.args);
            }
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if METHODS.iter().any(|method| call.method == method) {
            self.take(&call.args);
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if matches!(&field.member, syn::Member::Named(name) if name == FIELD) {
            self.take([&field.expr]);
        }
        syn::visit::visit_field_value(self, field);
    }

    /// Macros such as `vec!` hold expressions; others are passed over.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(called.tokens.clone());
        for expression in list.iter().flatten() {
            Self::visit_expr(self, expression);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !module_tree::is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }
}

/// The text of a literal if it is lower-case words joined by hyphens; a message is no code.
fn code(expression: &Expr) -> Option<String> {
    let Expr::Lit(literal) = expression else {
        return None;
    };
    let Lit::Str(text) = &literal.lit else {
        return None;
    };
    let text = text.value();
    let is_code = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    is_code.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, codes_of, faults};

    #[test]
    fn codes_are_found_wherever_findings_are_made() {
        let code = r#"
            fn f(&mut self, why: String, code: &'static str) -> Vec<Finding> {
                self.error("a-method", why, &path);
                self.tell(Severity::Note, "b-method", why);
                let fault = Fault::new(position, "c-fault64", "some text");
                let problem = Problem { code: "d-field", message: "word" };
                let passed_on = Finding::error(code, "some text");
                vec![resources::Finding::warning("e-in-macro", "word").help("word")]
            }
            fn g() -> Result<(), Refusal> { refuse("f-form", "some text", "word") }
            #[cfg(test)]
            mod tests { fn h() { Finding::note("only-in-a-test", "word"); } }
        "#;
        let found: Vec<String> = codes_of(code).into_iter().collect();
        assert_eq!(
            found,
            [
                "a-method",
                "b-method",
                "c-fault64",
                "d-field",
                "e-in-macro",
                "f-form"
            ]
        );
    }

    fn check(table: &str, expected: &[&str]) {
        let file = |path: &str, text: &str| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let code = r#"fn f() { Finding::error("bad-name", "x"); }"#;
        let other = r#"fn f() { Finding::error("other", "x"); }"#;
        let files = [
            file("crates/cli/src/a.rs", code),
            file("crates/xtask/src/a.rs", other),
            file("crates/cli/src/a/tests.rs", other),
            file("docs/errors/codes.md", table),
        ];
        assert_eq!(faults(&files), expected, "{table}");
    }

    #[test]
    fn codes_and_rows_are_the_same() {
        check("| code |\n|---|\n| `bad-name` | error |\n", &[]);
        check(
            "# Codes\n",
            &["docs/errors/codes.md: no row for the code `bad-name`"],
        );
        check(
            "| `bad-name` | error |\n| `gone` | error |\n| `bad-name` | note |\n",
            &[
                "docs/errors/codes.md: no finding has the code `gone`",
                "docs/errors/codes.md: two rows for the code `bad-name`",
            ],
        );
    }

    #[test]
    fn the_table_may_not_be_missing() {
        assert_eq!(faults(&[]), ["docs/errors/codes.md is missing"]);
    }
}
