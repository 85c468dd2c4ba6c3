//! Sections: groups of settings, each written once with all that is known of it.
//!
//! [`section!`] makes of one listing the typed struct with its defaults, the reader, and the walk that printing and
//! the documentation use. So a setting cannot be read and not documented, or documented with another default.

use crate::Origins;
use crate::item::Item;
use crate::nearest::nearest;
use crate::problem::Problem;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// When a changed setting counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applies {
    /// After `culver` got SIGHUP (`systemctl reload culver`): for new sessions.
    Reload,
    /// After a restart.
    Restart,
}

/// What is known of one setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name within its section.
    pub name: &'static str,
    /// What it is: "a length of time".
    pub kind: &'static str,
    /// Its documentation, lines beginning with a blank.
    pub doc: &'static str,
    /// An example, as TOML.
    pub example: &'static str,
    /// When a change counts.
    pub applies: Applies,
}

/// Walks through a section.
pub trait Visitor {
    /// A setting with its value, printed as TOML.
    fn value(&mut self, row: &Row, printed: String);
    /// A section within.
    fn table(&mut self, name: &'static str, doc: &'static str, inside: &dyn Section);
    /// A list of sections within; `blank` has the defaults of one.
    fn list(
        &mut self,
        name: &'static str,
        doc: &'static str,
        elements: Vec<&dyn Section>,
        blank: &dyn Section,
    );
}

/// A group of settings.
pub trait Section {
    /// Takes over what the text says.
    fn read(&mut self, table: &DeTable<'_>, reader: &mut Reader);
    /// Walks through the settings in their order.
    fn visit(&self, visitor: &mut dyn Visitor);
}

/// What reading found.
#[derive(Default)]
pub struct Reader {
    pub problems: Vec<Problem>,
    pub origins: Origins,
    path: String,
}

impl Reader {
    fn inside(&mut self, step: &str, run: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        if !self.path.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        run(self);
        self.path.truncate(before);
    }

    /// A single value.
    pub fn item<T: Item>(&mut self, name: &str, value: &Spanned<DeValue<'_>>, into: &mut T) {
        self.inside(name, |reader| {
            reader.origins.insert(reader.path.clone(), value.span());
            match T::read(value.get_ref()) {
                Ok(value) => *into = value,
                Err(wrong) => {
                    let what = format!("{}: {}", reader.path, wrong.what);
                    reader.problems.push(Problem::error(Some(value.span()), what, wrong.instead));
                }
            }
        });
    }

    /// A section within.
    pub fn table<T: Section>(&mut self, name: &str, value: &Spanned<DeValue<'_>>, into: &mut T) {
        self.inside(name, |reader| match value.get_ref().as_table() {
            Some(table) => {
                reader.origins.insert(reader.path.clone(), value.span());
                into.read(table, reader);
            }
            None => {
                let what = format!("`{}` is a section, not a setting", reader.path);
                let instead = format!("write [{}] on a line of its own and its settings below", reader.path);
                reader.problems.push(Problem::error(Some(value.span()), what, instead));
            }
        });
    }

    /// A list of sections within: what the text says replaces the default list.
    pub fn list<T: Section + Default>(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        into: &mut Vec<T>,
    ) {
        self.inside(name, |reader| {
            let instead = format!(
                "write [[{}]] on a line of its own and its settings below, once for each",
                reader.path
            );
            let Some(list) = value.get_ref().as_array() else {
                let what = format!("`{}` is a list of sections", reader.path);
                reader.problems.push(Problem::error(Some(value.span()), what, instead));
                return;
            };
            into.clear();
            for (index, element) in list.iter().enumerate() {
                reader.inside(&format!("[{index}]"), |reader| {
                    reader.origins.insert(reader.path.clone(), element.span());
                    let mut one = T::default();
                    match element.get_ref().as_table() {
                        Some(table) => one.read(table, reader),
                        None => {
                            let what = format!("`{}` is a list of sections", reader.path);
                            reader.problems.push(Problem::error(Some(element.span()), what, instead.clone()));
                        }
                    }
                    into.push(one);
                });
            }
        });
    }

    /// A name that no setting of this section has.
    pub fn unknown(&mut self, name: &str, span: Range<usize>, known: &[&str]) {
        let full = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let instead = match nearest(name, known) {
            Some(near) => format!("write `{near}`"),
            None => format!("known here are {}", known.join(", ")),
        };
        self.problems.push(Problem::error(Some(span), format!("there is no setting `{full}`"), instead));
    }
}

/// Defines a section. In this order: single values, sections within, lists of sections; each with its documentation.
macro_rules! section {
    (
        $(#[doc = $sdoc:literal])*
        $section:ident {
            $($(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $applies:ident, $example:literal;)*
            $([$table:ident]: $tty:ty;)*
            $([[$list:ident]]: $lty:ty = $ldefault:expr;)*
        }
    ) => {
        $(#[doc = $sdoc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $section {
            $($(#[doc = $doc])* pub $name: $ty,)*
            $(#[doc = concat!("`[", stringify!($table), "]`")] pub $table: $tty,)*
            $(#[doc = concat!("`[[", stringify!($list), "]]`")] pub $list: Vec<$lty>,)*
        }

        impl $section {
            /// Documentation of the section as a whole.
            pub(crate) const DOC: &'static str = concat!($($sdoc, "\n"),*);
        }

        impl Default for $section {
            fn default() -> Self {
                Self {
                    $($name: $default,)*
                    $($table: Default::default(),)*
                    $($list: $ldefault,)*
                }
            }
        }

        impl $crate::section::Section for $section {
            fn read(&mut self, table: &toml::de::DeTable<'_>, reader: &mut $crate::section::Reader) {
                const KNOWN: &[&str] = &[$(stringify!($name),)* $(stringify!($table),)* $(stringify!($list),)*];
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        $(stringify!($name) => reader.item(stringify!($name), value, &mut self.$name),)*
                        $(stringify!($table) => reader.table(stringify!($table), value, &mut self.$table),)*
                        $(stringify!($list) => reader.list(stringify!($list), value, &mut self.$list),)*
                        other => reader.unknown(other, key.span(), KNOWN),
                    }
                }
            }

            fn visit(&self, visitor: &mut dyn $crate::section::Visitor) {
                $(visitor.value(
                    &$crate::section::Row {
                        name: stringify!($name),
                        kind: <$ty as $crate::item::Item>::KIND,
                        doc: concat!($($doc, "\n"),*),
                        example: $example,
                        applies: $crate::section::Applies::$applies,
                    },
                    $crate::item::Item::print(&self.$name),
                );)*
                $(visitor.table(stringify!($table), <$tty>::DOC, &self.$table);)*
                $(visitor.list(
                    stringify!($list),
                    <$lty>::DOC,
                    self.$list.iter().map(|e| e as &dyn $crate::section::Section).collect(),
                    &<$lty>::default(),
                );)*
            }
        }
    };
}
pub(crate) use section;
