//! What has grown large: a report, never a fault.

use syn::spanned::Spanned;
use syn::visit::Visit;

use super::SourceFile;
use crate::module_tree;

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Files and functions past the size at which one asks what second thing they do.
pub(crate) fn remarks(files: &[SourceFile]) -> Vec<String> {
    let mut remarks = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            remarks.push(format!("{}: {lines} lines", file.path));
        }
        // A file that does not parse is the compiler's to report.
        if let Ok(parsed) = syn::parse_file(&file.text) {
            let mut functions = Functions {
                path: &file.path,
                remarks: &mut remarks,
            };
            functions.visit_file(&parsed);
        }
    }
    remarks
}

struct Functions<'a> {
    path: &'a str,
    remarks: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn look(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        let lines = body.span().end().line + 1 - first;
        if lines > FUNCTION_LINES {
            let (path, name) = (self.path, &signature.ident);
            self.remarks
                .push(format!("{path}:{first}: fn {name} has {lines} lines"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // A long table of cases is a good test.
        if !module_tree::is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FUNCTION_LINES, SourceFile, remarks};

    fn function_of(lines: usize) -> Vec<String> {
        let body = "    f();\n".repeat(lines - 2);
        remarks(&[SourceFile {
            path: "a.rs".to_owned(),
            text: format!("struct S;\nimpl S {{\nfn long() {{\n{body}}}\n}}\n"),
        }])
    }

    #[test]
    fn a_function_is_remarked_past_the_limit_and_not_before() {
        assert_eq!(function_of(FUNCTION_LINES), Vec::<String>::new());
        assert_eq!(
            function_of(FUNCTION_LINES + 1),
            [format!("a.rs:3: fn long has {} lines", FUNCTION_LINES + 1)]
        );
    }
}
