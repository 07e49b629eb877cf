//! What a toolset says it can do: the union of its servers, limited to what the gateway carries.

use std::fmt::Write as _;
use std::sync::Arc;

use protocol::mcp::Era;
use serde_json::{Map, Value};

use crate::binding::Binding;
use crate::inventory::Inventory;

/// The longest merged instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;
/// Extensions that are carried: tasks (modern), apps, skills.
const EXTENSIONS: [&str; 2] = [
    "io.modelcontextprotocol/ui",
    "io.modelcontextprotocol/tasks",
];

/// Which features are offered. A method works exactly when its feature is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "MCP capabilities are independent flags"
)]
pub(crate) struct Offers {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) subscribe: bool,
    pub(crate) logging: bool,
    pub(crate) completions: bool,
    pub(crate) tasks: bool,
}

impl Offers {
    /// While a server has not answered yet, it may offer anything.
    pub(super) fn of<'a>(
        parts: &(impl Iterator<Item = &'a Inventory> + Clone),
        waiting: bool,
    ) -> Self {
        let any = |capability: &str| waiting || parts.clone().any(|part| part.has(capability));
        let subscribe = |part: &Inventory| {
            part.capabilities.pointer("/resources/subscribe") == Some(&Value::Bool(true))
        };
        Self {
            tools: any("tools"),
            prompts: any("prompts"),
            resources: any("resources"),
            subscribe: waiting || parts.clone().any(subscribe),
            logging: any("logging"),
            completions: any("completions"),
            tasks: parts
                .clone()
                .any(|part| extension(part, EXTENSIONS[1]).is_some() || becomes_task(part)),
        }
    }

    /// The capabilities object, raw JSON.
    pub(super) fn render<'a>(
        self,
        era: Era,
        parts: &(impl Iterator<Item = &'a Inventory> + Clone),
    ) -> String {
        let mut all = Map::new();
        let mut add = |offered: bool, name: &str, value: Value| {
            if offered {
                all.insert(name.to_owned(), value);
            }
        };
        let changes = serde_json::json!({"listChanged": true});
        add(self.tools, "tools", changes.clone());
        add(self.prompts, "prompts", changes);
        add(
            self.resources,
            "resources",
            serde_json::json!({"listChanged": true, "subscribe": self.subscribe}),
        );
        add(self.logging, "logging", Value::Object(Map::new()));
        add(self.completions, "completions", Value::Object(Map::new()));
        let extensions: Map<String, Value> = EXTENSIONS
            .iter()
            .filter(|name| era == Era::Modern || **name != EXTENSIONS[1])
            .filter_map(|name| {
                let said = parts.clone().find_map(|part| extension(part, name));
                let held = || *name == EXTENSIONS[1] && parts.clone().any(becomes_task);
                let said = said.cloned();
                let said = said.or_else(|| held().then(|| Value::Object(Map::new())));
                Some(((*name).to_owned(), said?))
            })
            .collect();
        add(
            !extensions.is_empty(),
            "extensions",
            Value::Object(extensions),
        );
        Value::Object(all).to_string()
    }
}

/// A legacy server's calls are held as tasks where its modern client knows those.
fn becomes_task(part: &Inventory) -> bool {
    part.version.era() == Era::Legacy && part.has("tools")
}

fn extension<'a>(part: &'a Inventory, name: &str) -> Option<&'a Value> {
    part.capabilities.get("extensions")?.get(name)
}

/// The servers' own instructions, each under its name.
pub(super) fn instructions(parts: &[(usize, &Binding, &Arc<Inventory>)]) -> Option<String> {
    let given: Vec<_> = parts
        .iter()
        .filter_map(|(_, binding, part)| Some((&binding.label, part.instructions.as_deref()?)))
        .collect();
    if let ([(_, only)], [_]) = (given.as_slice(), parts) {
        return Some((*only).to_owned());
    }
    let mut out = String::new();
    for (label, text) in given {
        if out.len() + text.len() > INSTRUCTIONS_BYTES_MAX {
            break;
        }
        let gap = if out.is_empty() { "" } else { "\n\n" };
        write!(out, "{gap}# {label}\n\n{text}").expect("writing to a string cannot fail");
    }
    (!out.is_empty()).then_some(out)
}
