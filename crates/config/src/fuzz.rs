//! Fuzz targets: any bytes, no panic.

/// Any text: it is parsed, its problems can be shown, and settings without errors survive being shown and read again.
pub fn fuzz_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = crate::parse(text);
    for problem in &parsed.problems {
        let _ = problem.render("fuzz.toml", text);
    }
    if !parsed.has_errors() {
        let shown = crate::show(&parsed.settings, &parsed.origins, "fuzz.toml", text);
        let again = crate::parse(&shown);
        assert!(!again.has_errors(), "{shown}\n{:?}", again.problems);
        assert_eq!(again.settings, parsed.settings);
    }
}
