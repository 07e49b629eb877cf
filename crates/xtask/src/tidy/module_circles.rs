//! No circles between the top-level modules of a crate.
//!
//! A module uses another when a path in it, in a `use` or anywhere else, leads there through `crate::` or `super::`.
//! Paths through a re-export of the root count as leading to the module that the re-export names.
//! There is no list of exceptions: a circle is one room, or a third one is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Item, UseTree};

use crate::module_tree::{self, Module};
use crate::workspace::{self, Manifest};

/// For each top-level module the ones it uses, with the file and the path by which it does so.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// Circles in the libraries and programs of all crates.
pub(crate) fn faults(manifests: &[Manifest]) -> Vec<String> {
    let mut faults = Vec::new();
    for manifest in manifests {
        for target in &manifest.targets {
            if !target
                .kind
                .iter()
                .any(|kind| kind == "lib" || kind == "bin")
            {
                continue;
            }
            match uses_of(&target.src_path) {
                Ok(uses) => faults.extend(
                    circles(&uses)
                        .iter()
                        .map(|circle| format!("`{}`: {}", manifest.name, tell(circle, &uses))),
                ),
                Err(error) => faults.push(format!("`{}`: {error:#}", manifest.name)),
            }
        }
    }
    faults
}

fn uses_of(root_file: &Path) -> anyhow::Result<Uses> {
    Ok(uses(&module_tree::read(root_file)?))
}

fn uses(modules: &[Module]) -> Uses {
    let top: BTreeSet<&str> = modules
        .iter()
        .filter_map(|module| module.path.first().map(String::as_str))
        .collect();
    let doors = root_names(modules, &top);
    let mut uses = Uses::new();
    for module in modules {
        let Some(user) = module.path.first() else {
            // The root names all of its modules; that is its work.
            continue;
        };
        let mut paths = Paths {
            inside: &module.path,
            found: BTreeMap::new(),
        };
        for item in &module.items {
            paths.visit_item(item);
        }
        for (first, path) in paths.found {
            let used = doors.get(&first).unwrap_or(&first);
            if used != user && top.contains(used.as_str()) {
                uses.entry(user.clone())
                    .or_default()
                    .entry(used.clone())
                    .or_insert_with(|| format!("{}: {path}", shown(&module.file)));
            }
        }
    }
    uses
}

fn shown(file: &Path) -> String {
    let inside = file.strip_prefix(workspace::root()).unwrap_or(file);
    inside.display().to_string()
}

/// Names that the root re-exports, with the module each comes from.
fn root_names(modules: &[Module], top: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let root = modules.iter().filter(|module| module.path.is_empty());
    for item in root.flat_map(|module| &module.items) {
        let Item::Use(item) = item else { continue };
        let mut leaves = Vec::new();
        collect_leaves(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            let path: Vec<&str> = path
                .iter()
                .map(String::as_str)
                .skip_while(|part| *part == "crate" || *part == "self")
                .collect();
            if let Some(first) = path.first().filter(|first| top.contains(*first)) {
                names.insert(name, (*first).to_owned());
            }
        }
    }
    names
}

/// Every path of a `use`, with the name it gets here.
fn collect_leaves(
    tree: &UseTree,
    above: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, String)>,
) {
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            collect_leaves(&path.tree, above, leaves);
            above.pop();
        }
        UseTree::Name(name) => leaf(above, name.ident.to_string(), None, leaves),
        UseTree::Rename(name) => leaf(
            above,
            name.ident.to_string(),
            Some(name.rename.to_string()),
            leaves,
        ),
        UseTree::Glob(_) => leaf(above, "*".to_owned(), None, leaves),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect_leaves(tree, above, leaves);
            }
        }
    }
}

fn leaf(
    above: &[String],
    last: String,
    rename: Option<String>,
    leaves: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = above.to_vec();
    path.push(last.clone());
    leaves.push((path, rename.unwrap_or(last)));
}

/// Collects the first name below the root of every path that starts with `crate` or `super`.
struct Paths<'a> {
    inside: &'a [String],
    /// The first name, with one whole path that starts so.
    found: BTreeMap<String, String>,
}

impl Paths<'_> {
    fn add(&mut self, path: &[String]) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let name = match path.first().map(String::as_str) {
            Some("crate") => path.get(1),
            // `super` as often as there are modules around us leads to the root.
            Some("super") if supers == self.inside.len() => path.get(supers),
            _ => None,
        };
        if let Some(name) = name {
            self.found
                .entry(name.clone())
                .or_insert_with(|| path.join("::"));
        }
    }

    /// Bodies of macros are tokens: look for `crate :: name` and `super :: … :: name` among them.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    if word == "crate" || (word == "super" && path.is_empty()) {
                        path = vec![word];
                    } else if !path.is_empty() {
                        path.push(word);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                TokenTree::Group(group) => {
                    self.add(&path);
                    path.clear();
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.add(&path);
                    path.clear();
                }
            }
        }
        self.add(&path);
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        collect_leaves(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, _) in leaves {
            self.add(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        self.add(&names);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !module_tree::is_test(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }
}

/// The shortest circle through each module that stands in one, each circle once.
fn circles(uses: &Uses) -> Vec<Vec<String>> {
    let mut circles: Vec<Vec<String>> = Vec::new();
    for start in uses.keys() {
        let known = circles.iter().any(|circle| circle.contains(start));
        if let Some(circle) = way_back(uses, start).filter(|_| !known) {
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from a module back to itself.
fn way_back(uses: &Uses, start: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        for next in uses.get(here).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way = vec![here.to_owned()];
                let mut at = here;
                while at != start {
                    at = came_from[at];
                    way.push(at.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    None
}

fn tell(circle: &[String], uses: &Uses) -> String {
    let steps = circle.iter().zip(circle.iter().cycle().skip(1));
    let told: Vec<String> = steps
        .map(|(user, used)| format!("{user} uses {used} ({})", uses[user][used]))
        .collect();
    format!("a circle of modules: {}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Module, circles, uses};

    /// Modules by path, `""` for the root.
    fn check(sources: &[(&str, &str)], expected: &[&[&str]]) {
        let modules: Vec<Module> = sources
            .iter()
            .map(|(path, text)| Module {
                path: path
                    .split("::")
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                items: syn::parse_file(text).expect("the source parses").items,
                file: format!("{path}.rs").into(),
            })
            .collect();
        assert_eq!(circles(&uses(&modules)), expected);
    }

    #[test]
    fn one_direction_is_no_circle() {
        check(
            &[
                ("a", "use crate::b::B; fn f() { super::c::g() }"),
                ("b", "use super::c; use super::c::*;"),
                ("c", "pub fn g() {}"),
            ],
            &[],
        );
    }

    #[test]
    fn every_way_to_write_a_path_closes_a_circle() {
        for back in [
            "use crate::a::A;",
            "use crate::{c::C, a as other};",
            "use super::a::*;",
            "fn f() -> crate::a::A { loop {} }",
            "fn f() { print(format!(\"{}\", crate::a::NAME)) }",
            "fn f() { pick!(x => { super::a::run() }) }",
            "use crate::Shown;",
        ] {
            check(
                &[
                    ("", "pub use a::Shown;"),
                    ("a", "use crate::b;"),
                    ("b", back),
                    ("c", ""),
                ],
                &[&["a", "b"]],
            );
        }
    }

    #[test]
    fn inner_modules_count_for_their_top_module() {
        check(
            &[
                ("a::inner", "use super::super::b::B; use super::Other;"),
                ("a", ""),
                ("b::deep", "use crate::c::C;"),
                ("c", "use crate::a::inner::I;"),
            ],
            &[&["a", "b", "c"]],
        );
    }

    #[test]
    fn super_that_stays_inside_is_no_use_of_the_root() {
        check(
            &[
                ("a::inner", "use super::b::B;"),
                ("a::b", ""),
                ("b", "use crate::a::inner::I;"),
            ],
            &[],
        );
    }
}
