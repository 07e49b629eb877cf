//! The table "Who may use whom" of docs/architecture.md, and the manifests held against it.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{Dependency, Manifest};

const HEADING: &str = "## Who may use whom";
/// Crates that no other crate may ship.
const NEVER_SHIPPED: [&str; 2] = ["testkit", "xtask"];

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    planned: bool,
    may_use: Use,
    third_party: BTreeSet<String>,
}

#[derive(Debug)]
enum Use {
    Everybody,
    Named(BTreeSet<String>),
}

/// The rows by crate.
pub(crate) type Table = BTreeMap<String, Row>;

/// Reads the table out of the document's text.
pub(crate) fn parse(document: &str) -> Result<Table, String> {
    let (_, section) = document
        .split_once(HEADING)
        .ok_or_else(|| format!("no section \"{HEADING}\""))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut table = Table::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, state, may_use, third_party] = cells[..] else {
            return Err(format!(
                "a row has {} cells instead of 4: {line}",
                cells.len()
            ));
        };
        let planned = match state {
            "here" => false,
            "planned" => true,
            other => return Err(format!("state `{other}` is neither `here` nor `planned`")),
        };
        let may_use = if may_use == "everybody" {
            Use::Everybody
        } else {
            Use::Named(quoted(may_use))
        };
        let row = Row {
            planned,
            may_use,
            third_party: quoted(third_party),
        };
        let name = name.trim_matches('`').to_owned();
        if table.insert(name.clone(), row).is_some() {
            return Err(format!("`{name}` has two rows"));
        }
    }
    if table.is_empty() {
        return Err(format!("no rows under \"{HEADING}\""));
    }
    Ok(table)
}

/// The words between backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// What the manifests do that the table does not allow.
pub(crate) fn faults(table: &Table, manifests: &[Manifest]) -> Vec<String> {
    let mut faults = Vec::new();
    for manifest in manifests {
        let name = &manifest.name;
        match table.get(name) {
            None => faults.push(format!("crate `{name}` has no row in the crate table")),
            Some(row) if row.planned => {
                faults.push(format!(
                    "crate `{name}` is here, but the crate table says planned"
                ));
            }
            Some(row) => {
                for dependency in shipped(manifest) {
                    faults.extend(fault_of(table, name, row, dependency));
                }
            }
        }
    }
    for (name, row) in table {
        let here = manifests.iter().any(|manifest| manifest.name == *name);
        if !here && !row.planned {
            faults.push(format!(
                "the crate table says `{name}` is here, but there is no such crate"
            ));
        }
    }
    faults
}

/// Dependencies that end up in what others build; development ones are exempt.
fn shipped(manifest: &Manifest) -> impl Iterator<Item = &Dependency> {
    manifest
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
}

fn fault_of(table: &Table, name: &str, row: &Row, dependency: &Dependency) -> Option<String> {
    let used = &dependency.name;
    if dependency.path.is_some() {
        if NEVER_SHIPPED.contains(&used.as_str()) {
            return Some(format!(
                "`{name}` ships `{used}`, which is for development only"
            ));
        }
        let allowed = match &row.may_use {
            Use::Everybody => true,
            Use::Named(named) => named.contains(used),
        };
        return (!allowed).then(|| format!("`{name}` may not use `{used}` (crate table)"));
    }
    let owners: Vec<&str> = table
        .iter()
        .filter(|(_, owner)| owner.third_party.contains(used))
        .map(|(owner, _)| owner.as_str())
        .collect();
    let foreign = !owners.is_empty() && !row.third_party.contains(used);
    foreign.then(|| {
        let owners = owners.join(", ");
        format!("`{name}` uses the package `{used}`, which belongs to {owners} only (crate table)")
    })
}

#[cfg(test)]
mod tests {
    use super::{faults, parse};
    use crate::workspace::{Dependency, Manifest};

    const TABLE: &str = "## Who may use whom\n\n\
        | crate | state | may use | third party, only here |\n|---|---|---|---|\n\
        | `words` | here | – | – |\n\
        | `door` | here | – | `hyper`, `tokio` |\n\
        | `plane` | here | `words`, `door` | `tokio` |\n\
        | `later` | planned | `words` | – |\n\
        | `roof` | here | everybody | – |\n\n## Next\n| `not` | a | row | – |\n";

    fn manifest(name: &str, ours: &[&str], theirs: &[&str], dev: &[&str]) -> Manifest {
        let line = |kind: Option<&str>, path: bool, name: &&str| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: path.then(|| "crates".into()),
        };
        Manifest {
            name: name.to_owned(),
            dependencies: ours
                .iter()
                .map(|name| line(None, true, name))
                .chain(theirs.iter().map(|name| line(None, false, name)))
                .chain(dev.iter().map(|name| line(Some("dev"), true, name)))
                .collect(),
            targets: Vec::new(),
        }
    }

    fn house() -> Vec<Manifest> {
        vec![
            manifest("words", &[], &["serde"], &["testkit"]),
            manifest("door", &[], &["hyper"], &[]),
            manifest("plane", &["words", "door"], &["tokio"], &[]),
            manifest("roof", &["words", "plane"], &[], &[]),
        ]
    }

    fn check(changed: Manifest, expected: &[&str]) {
        let table = parse(TABLE).expect("the table is well formed");
        let mut house = house();
        house.retain(|manifest| manifest.name != changed.name);
        house.push(changed);
        assert_eq!(faults(&table, &house), expected);
    }

    #[test]
    fn a_house_after_the_table_has_no_faults() {
        check(manifest("words", &[], &[], &[]), &[]);
    }

    #[test]
    fn a_floor_may_not_use_the_one_above() {
        check(
            manifest("words", &["door"], &[], &[]),
            &["`words` may not use `door` (crate table)"],
        );
    }

    #[test]
    fn a_heavy_package_stays_with_its_owners() {
        check(
            manifest("plane", &["words"], &["hyper"], &[]),
            &["`plane` uses the package `hyper`, which belongs to door only (crate table)"],
        );
    }

    #[test]
    fn the_testkit_is_never_shipped_not_even_by_the_roof() {
        check(
            manifest("roof", &["testkit"], &[], &[]),
            &["`roof` ships `testkit`, which is for development only"],
        );
    }

    #[test]
    fn a_crate_without_a_row_or_still_planned_is_a_fault() {
        check(
            manifest("later", &[], &[], &[]),
            &["crate `later` is here, but the crate table says planned"],
        );
        check(
            manifest("shed", &[], &[], &[]),
            &["crate `shed` has no row in the crate table"],
        );
    }

    #[test]
    fn a_row_without_its_crate_is_a_fault() {
        let table = parse(TABLE).expect("the table is well formed");
        let mut house = house();
        house.remove(1);
        assert_eq!(
            faults(&table, &house),
            ["the crate table says `door` is here, but there is no such crate"]
        );
    }

    #[test]
    fn a_broken_table_is_said_to_be_broken() {
        for (text, word) in [
            ("nothing", "no section"),
            ("## Who may use whom\n| `a` | here | – |\n", "3 cells"),
            ("## Who may use whom\n| `a` | soon | – | – |\n", "neither"),
            ("## Who may use whom\nprose\n", "no rows"),
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.contains(word), "{fault}");
        }
    }
}
