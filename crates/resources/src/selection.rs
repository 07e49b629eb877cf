//! Which tools of a server a toolset shows, and under which names.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::ToolOverride;

/// Which tools of a server a toolset shows, and under which names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Put before the name of every tool and prompt.
    pub prefix: String,
    /// Names or globs of tools to show; empty for all.
    pub include: Vec<String>,
    /// Names or globs of tools not to show; stronger than `include`.
    pub exclude: Vec<String>,
    /// Changes to single tools, keyed by the server's own name for them.
    pub tools: BTreeMap<String, ToolOverride>,
}

impl Selection {
    /// Compiles `include` and `exclude`.
    ///
    /// # Errors
    /// A glob that cannot be read; `check` has refused it before a set exists.
    pub fn filter(&self) -> Result<Filter, globset::Error> {
        let include = if self.include.is_empty() {
            None
        } else {
            Some(globs(&self.include)?)
        };
        Ok(Filter {
            include,
            exclude: globs(&self.exclude)?,
        })
    }
}

/// The compiled globs of a [`Selection`].
#[derive(Debug, Clone)]
pub struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Says whether a tool of that name (the server's own) is shown.
    #[must_use]
    pub fn admits(&self, own_name: &str) -> bool {
        self.include
            .as_ref()
            .is_none_or(|set| set.is_match(own_name))
            && !self.exclude.is_match(own_name)
    }
}

/// Reads one glob, in which `*` also covers `/`: tool names are not paths.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(include: &[&str], exclude: &[&str], name: &str) -> bool {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Selection {
            include: owned(include),
            exclude: owned(exclude),
            ..Selection::default()
        }
        .filter()
        .unwrap()
        .admits(name)
    }

    #[test]
    fn exclude_is_stronger_than_include() {
        assert!(admits(&[], &[], "anything"));
        assert!(admits(&["read_*"], &[], "read_file"));
        assert!(!admits(&["read_*"], &[], "write_file"));
        assert!(!admits(&["read_*"], &["read_secret"], "read_secret"));
        assert!(!admits(&[], &["*"], "x"));
        assert!(admits(&["a*"], &[], "a/b"), "a star covers slashes");
    }
}
