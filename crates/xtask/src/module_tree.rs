//! A crate's modules with their items, followed from the root file through `mod` statements; tests left out.

use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::{Attribute, Item, Meta};

/// One module and what stands directly in it.
pub(crate) struct Module {
    /// Names from the crate's root; empty for the root itself.
    pub(crate) path: Vec<String>,
    /// Its items, without tests and without inner modules, which are modules of their own.
    pub(crate) items: Vec<Item>,
    /// The file it stands in.
    pub(crate) file: PathBuf,
}

/// All modules of the crate whose root module is `root_file`.
pub(crate) fn read(root_file: &Path) -> anyhow::Result<Vec<Module>> {
    let folder = root_file.parent().context("a file lies in a folder")?;
    let mut modules = Vec::new();
    read_file(root_file, folder, Vec::new(), &mut modules)?;
    Ok(modules)
}

/// `folder` is where the files of this module's own children lie.
fn read_file(
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
    add(parsed.items, file, folder, path, modules)
}

fn add(
    items: Vec<Item>,
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> anyhow::Result<()> {
    let mut own = Vec::new();
    for item in items {
        let Item::Mod(child) = item else {
            if !is_test(attributes(&item)) {
                own.push(item);
            }
            continue;
        };
        if is_test(&child.attrs) {
            continue;
        }
        let name = child.ident.to_string();
        let mut child_path = path.clone();
        child_path.push(name.clone());
        let child_folder = folder.join(&name);
        if let Some((_, items)) = child.content {
            add(items, file, &child_folder, child_path, modules)?;
            continue;
        }
        let beside = folder.join(format!("{name}.rs"));
        let inside = child_folder.join("mod.rs");
        let child_file = if beside.is_file() { beside } else { inside };
        read_file(&child_file, &child_folder, child_path, modules)?;
    }
    modules.push(Module {
        path,
        items: own,
        file: file.to_path_buf(),
    });
    Ok(())
}

/// Whether an item is there for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

/// The attributes of the items that can carry `#[cfg(test)]` in practice.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
