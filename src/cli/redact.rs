//! Taking passwords out of what others say of a command line.

/// What stands for what was taken out.
const GONE: &str = "[REDACTED]";

/// `text` without what may be the password of an address in it, mistyped ones too. In an address
/// that has no account what follows a `:` goes too: better too much than a password.
pub(super) fn redacted(text: &str) -> String {
    let mut safe = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("//") {
        let ends = |c: char| c == '\n' || matches!(c, '\'' | '"' | '`');
        let (address, beyond) = after.split_at(after.find(ends).unwrap_or(after.len()));
        safe.push_str(before);
        safe.push_str("//");
        match address.split_once(':') {
            Some((user, secret)) => {
                let host = secret.rsplit_once('@').map_or("", |(_, host)| host);
                let at = if host.is_empty() { "" } else { "@" };
                safe.push_str(&[user, ":", GONE, at, host].concat());
            }
            None => safe.push_str(address),
        }
        rest = beyond;
    }
    safe + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_password_wherever_it_stands() {
        for (text, safe) in [
            ("nothing here", "nothing here"),
            (
                "unexpected 'dav://ann:s3cret@host/x' found",
                "unexpected 'dav://ann:[REDACTED]@host/x' found",
            ),
            ("'s3://ID:s3/cr@et@b/x'", "'s3://ID:[REDACTED]@b/x'"),
            (
                "dav://ann:s3 cret@host\nnext dav://ann:s3cret",
                "dav://ann:[REDACTED]@host\nnext dav://ann:[REDACTED]",
            ),
            ("dav://ann@host/x", "dav://ann@host/x"),
            ("s3://b/x", "s3://b/x"),
            ("https//ann:s3cret@host", "https//ann:[REDACTED]@host"),
        ] {
            assert_eq!(redacted(text), safe);
        }
    }
}
