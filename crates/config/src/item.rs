//! Types of single values: how each is read, printed and called.

use crate::nearest::nearest;
use crate::value::{self, Mode, Size};
use culver_base::Network;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// What was wrong with a value, and what to write.
pub struct Wrong {
    pub what: String,
    pub instead: String,
}

impl Wrong {
    fn kind<T: Item>(value: &DeValue<'_>) -> Self {
        Self { what: format!("this is {}, but {} is wanted", name_of(value), T::KIND), instead: T::hint() }
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A single value.
pub trait Item: Sized {
    /// What it is, for people: "a length of time".
    const KIND: &'static str;
    /// How to write one.
    fn hint() -> String;
    /// Reads one.
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;
    /// Prints it as TOML.
    fn print(&self) -> String;
}

/// A text as TOML.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Item for String {
    const KIND: &'static str = "text";
    fn hint() -> String {
        "put it in \"quotes\"".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_str().map(str::to_owned).ok_or_else(|| Wrong::kind::<Self>(value))
    }
    fn print(&self) -> String {
        quoted(self)
    }
}

impl Item for PathBuf {
    const KIND: &'static str = "a path";
    fn hint() -> String {
        "put it in \"quotes\", beginning with /".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_str().map(Self::from).ok_or_else(|| Wrong::kind::<Self>(value))
    }
    fn print(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Item for bool {
    const KIND: &'static str = "true or false";
    fn hint() -> String {
        "write `true` or `false`, without quotes".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| Wrong::kind::<Self>(value))
    }
    fn print(&self) -> String {
        self.to_string()
    }
}

impl Item for u32 {
    const KIND: &'static str = "a whole number";
    fn hint() -> String {
        "write a number from 0 to 4294967295, without quotes".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let number = value.as_integer().ok_or_else(|| Wrong::kind::<Self>(value))?;
        Self::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| Wrong { what: "this number is out of range".to_owned(), instead: Self::hint() })
    }
    fn print(&self) -> String {
        self.to_string()
    }
}

impl Item for Duration {
    const KIND: &'static str = "a length of time";
    fn hint() -> String {
        "write a number with a unit, such as \"30s\", \"5m\", \"1h\" or \"7d\"".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        if let Some(number) = value.as_integer() {
            let what = "this length of time has no unit".to_owned();
            return Err(Wrong {
                what,
                instead: format!("write \"{}s\" if seconds are meant", number.as_str()),
            });
        }
        let text = value.as_str().ok_or_else(|| Wrong::kind::<Self>(value))?;
        let wrong = || Wrong { what: "this is no length of time".to_owned(), instead: Self::hint() };
        value::duration(text).ok_or_else(wrong)
    }
    fn print(&self) -> String {
        quoted(&value::print_duration(*self))
    }
}

impl Item for Size {
    const KIND: &'static str = "a size";
    fn hint() -> String {
        "write a number with a unit, such as \"64MiB\", \"1GiB\" or \"0\"".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong { what: "this is no size".to_owned(), instead: Self::hint() };
        if let Some(number) = value.as_integer() {
            return u64::from_str_radix(number.as_str(), number.radix()).map(Self).map_err(|_| wrong());
        }
        let text = value.as_str().ok_or_else(|| Wrong::kind::<Self>(value))?;
        value::size(text).ok_or_else(wrong)
    }
    fn print(&self) -> String {
        quoted(&value::print_size(*self))
    }
}

impl Item for SocketAddr {
    const KIND: &'static str = "an address with a port";
    fn hint() -> String {
        "write \"0.0.0.0:143\" for IPv4, \"[::]:143\" for IPv6; host names are not looked up".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = value.as_str().ok_or_else(|| Wrong::kind::<Self>(value))?;
        let wrong = || Wrong { what: format!("`{text}` is no address with a port"), instead: Self::hint() };
        text.parse().map_err(|_| wrong())
    }
    fn print(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Item for Network {
    const KIND: &'static str = "a network";
    fn hint() -> String {
        "write \"192.0.2.0/24\", \"2001:db8::/32\", or an address alone".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = value.as_str().ok_or_else(|| Wrong::kind::<Self>(value))?;
        let wrong = || Wrong { what: format!("`{text}` is no network"), instead: Self::hint() };
        Self::parse(text).ok_or_else(wrong)
    }
    fn print(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Item for Mode {
    const KIND: &'static str = "permissions";
    fn hint() -> String {
        "write them in octal as a text, such as \"0660\"".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = value.as_str().ok_or_else(|| Wrong::kind::<Self>(value))?;
        let wrong = || Wrong { what: format!("`{text}` are no permissions"), instead: Self::hint() };
        value::mode(text).ok_or_else(wrong)
    }
    fn print(&self) -> String {
        quoted(&format!("{:04o}", self.0))
    }
}

impl<T: Item> Item for Vec<T> {
    const KIND: &'static str = "a list";
    fn hint() -> String {
        format!("put it in [brackets], separated by commas; {}", T::hint())
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let list = value.as_array().ok_or_else(|| Wrong::kind::<Self>(value))?;
        list.iter().map(|v| T::read(v.get_ref())).collect()
    }
    fn print(&self) -> String {
        format!("[{}]", self.iter().map(Item::print).collect::<Vec<_>>().join(", "))
    }
}

/// Reads one of a few words.
pub fn word<T: Copy>(value: &DeValue<'_>, words: &[(&'static str, T)]) -> Result<T, Wrong> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let all = names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    let Some(text) = value.as_str() else {
        let what = format!("this is {}, but one of a few words is wanted", name_of(value));
        return Err(Wrong { what, instead: format!("write one of {all}") });
    };
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| Wrong {
        what: format!("`{text}` is not known here"),
        instead: match nearest(text, &names) {
            Some(near) => format!("write \"{near}\"; known are {all}"),
            None => format!("write one of {all}"),
        },
    })
}

/// An enum whose values are words.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $word:literal => $variant:ident,)* } default $default:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[doc = $vdoc])* $variant,)* }

        impl Default for $name {
            fn default() -> Self { Self::$default }
        }

        impl $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];

            /// The word for it in a configuration.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::item::Item for $name {
            const KIND: &'static str = concat!("one of" $(, " `", $word, "`")*);
            fn hint() -> String { Self::KIND.to_owned() }
            fn read(value: &toml::de::DeValue<'_>) -> Result<Self, $crate::item::Wrong> {
                $crate::item::word(value, Self::WORDS)
            }
            fn print(&self) -> String { $crate::item::quoted(self.word()) }
        }
    };
}
pub(crate) use choice;
