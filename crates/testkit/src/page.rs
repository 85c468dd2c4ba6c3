//! Pages of the documentation, whose examples tests read and run.

use std::fs;
use std::path::Path;

/// A fenced block.
struct Block {
    /// What stands behind the fence: `toml`.
    kind: String,
    /// The line before the fence.
    before: String,
    text: String,
}

/// A page of docs/.
pub struct Page(Vec<Block>);

impl Page {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not there.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let (mut blocks, mut inside, mut before) = (Vec::new(), None::<Block>, String::new());
        for line in text.lines() {
            match &mut inside {
                Some(_) if line.starts_with("```") => blocks.extend(inside.take()),
                Some(block) => block.text.push_str(&format!("{line}\n")),
                None => match line.strip_prefix("```") {
                    Some(kind) => {
                        let (kind, before) = (kind.to_owned(), std::mem::take(&mut before));
                        inside = Some(Block { kind, before, text: String::new() });
                    }
                    None => before = line.to_owned(),
                },
            }
        }
        Self(blocks)
    }

    /// The blocks of a kind, in their order.
    pub fn all(&self, kind: &str) -> Vec<&str> {
        self.0.iter().filter(|block| block.kind == kind).map(|block| &block.text[..]).collect()
    }

    /// The block that begins with this line.
    ///
    /// # Panics
    /// When there is none.
    pub fn block(&self, first: &str) -> &str {
        let found = self.0.iter().find(|block| block.text.lines().next() == Some(first));
        &found.unwrap_or_else(|| panic!("the page has no block {first}")).text
    }

    /// The quotation that begins with this text, in one line.
    ///
    /// # Panics
    /// When there is none.
    pub fn quotes(&self, start: &str) -> String {
        let found = self.0.iter().find(|block| block.text.starts_with(start));
        found.unwrap_or_else(|| panic!("the page quotes no {start}")).text.trim_end().to_owned()
    }

    /// The quotation behind this comment.
    ///
    /// # Panics
    /// When there is none.
    pub fn marked(&self, comment: &str) -> String {
        let found = self.0.iter().find(|block| block.before == format!("<!-- {comment} -->"));
        found.unwrap_or_else(|| panic!("the page has no {comment}")).text.trim_end().to_owned()
    }
}
