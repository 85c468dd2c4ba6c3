//! LANG (RFC 6856 §3).

use crate::context::Context;
use crate::stop::{Stop, no};
use culver_pop3::language::{Language, Text};
use culver_pop3::response::{self, Characters, Voice};

/// LANG: a language is chosen, or all are listed.
pub fn run(range: Option<&str>, cx: &mut Context) -> Result<(), Stop> {
    let Some(range) = range else {
        cx.ok(&Text::ListFollows);
        for language in Language::ALL {
            let line = format!("{} {}\r\n", language.tag(), language.name());
            cx.wire.out.extend_from_slice(line.as_bytes());
        }
        response::end(&mut cx.wire.out);
        return Ok(());
    };
    let chosen = match range {
        "*" => Some(cx.service.settings.language),
        range => Language::find(range),
    };
    let Some(language) = chosen else { return no(Text::LanguageUnknown) };
    cx.voice = Voice { language, characters: Characters::Utf8 };
    response::language_chosen(&mut cx.wire.out, language, &Text::LanguageChosen);
    Ok(())
}
