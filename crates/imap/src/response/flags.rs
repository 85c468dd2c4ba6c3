//! Flags on the wire. The five system flags have 32 combinations, whose texts are made when we are compiled.

use culver_base::SystemFlags;

/// The text of one combination.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 44],
    len: usize,
}

const TEXTS: [Text; 32] = texts();

const fn texts() -> [Text; 32] {
    let mut texts = [Text { bytes: [0; 44], len: 0 }; 32];
    let mut bits = 0;
    while bits < texts.len() {
        let mut text = Text { bytes: [0; 44], len: 0 };
        let mut i = 0;
        while i < SystemFlags::NAMES.len() {
            let (flag, name) = SystemFlags::NAMES[i];
            if bits as u8 & flag.bits() != 0 {
                if text.len > 0 {
                    text.bytes[text.len] = b' ';
                    text.len += 1;
                }
                let name = name.as_bytes();
                let mut j = 0;
                while j < name.len() {
                    text.bytes[text.len] = name[j];
                    text.len += 1;
                    j += 1;
                }
            }
            i += 1;
        }
        texts[bits] = text;
        bits += 1;
    }
    texts
}

/// The names of the system flags that are set.
pub fn system_flags(set: SystemFlags) -> impl Iterator<Item = &'static str> {
    SystemFlags::NAMES.into_iter().filter(move |(flag, _)| set.contains(*flag)).map(|(_, name)| name)
}

/// System flags, then others, divided by spaces.
pub(super) fn flag_words<'a>(
    out: &mut Vec<u8>,
    system: SystemFlags,
    others: impl IntoIterator<Item = &'a str>,
) {
    let text = &TEXTS[usize::from(system.bits() & 31)];
    out.extend_from_slice(&text.bytes[..text.len]);
    let mut first = text.len == 0;
    for other in others {
        if !first {
            out.push(b' ');
        }
        first = false;
        out.extend_from_slice(other.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_names_of_the_flags() {
        for bits in 0..32 {
            let set = SystemFlags::from_bits(bits);
            let mut out = Vec::new();
            flag_words(&mut out, set, []);
            let names: Vec<_> = system_flags(set).collect();
            assert_eq!(String::from_utf8_lossy(&out), names.join(" "));
            flag_words(&mut out, set, ["a", "b"]);
            assert!(out.ends_with(if bits == 0 { b"a b" } else { b" a b" }));
        }
    }
}
