//! What every page must be: one file, and well formed.

/// Nothing that a browser would fetch or run: no address but `data:` and `#`, no script, no frame.
#[allow(unreachable_pub)]
pub fn assert_self_contained(html: &str) {
    let lower = html.to_lowercase();
    for forbidden in
        ["http:", "https:", "<script", "<link", "<iframe", "@import", "url(", "javascript:"]
    {
        assert!(!lower.contains(forbidden), "{forbidden} in the page");
    }
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1) {
            assert!(
                value.starts_with('#') || value.starts_with("data:image/png;base64,"),
                "{attribute}{}",
                &value[..40.min(value.len())]
            );
        }
    }
    assert!(html.contains(
        "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:;"
    ));
}

/// Every element that opens closes, in order: names cannot have broken the markup.
#[allow(unreachable_pub)]
pub fn assert_well_formed(html: &str) {
    let body = html.split("</style>").nth(1).unwrap();
    // The head is still open here, inside html.
    let mut open: Vec<&str> = vec!["html", "head"];
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag that ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "at {piece:.60}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}
