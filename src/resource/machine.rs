//! `host.*` and `os.*`. Semantic conventions, "Host" and "Operating System".

use nix::sys::utsname::uname;

use super::detect::{Found, texts};
use super::read;

pub(super) fn host() -> Found {
    let name = uname().ok().and_then(|names| read::value(names.nodename().to_str()?));
    texts([("host.name", name), ("host.id", id()), ("host.arch", Some(arch(std::env::consts::ARCH).to_owned()))])
}

pub(super) fn os() -> Found {
    let release = read::text("/etc/os-release").or_else(|| read::text("/usr/lib/os-release"));
    let description = release.and_then(|text| pretty_name(&text));
    texts([("os.type", Some("linux".to_owned())), ("os.description", description)])
}

/// `host.id`, "Collecting host.id from non-containerized systems": the machine id.
fn id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(|path| machine_id(&read::line(path)?))
}

/// machine-id(5): 32 hexadecimal digits, not all zero; `uninitialized` before the first boot.
pub(super) fn machine_id(line: &str) -> Option<String> {
    let hexadecimal = line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && line.bytes().any(|byte| byte != b'0')).then(|| line.to_ascii_lowercase())
}

/// The words of `host.arch`.
fn arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// os-release(5): `PRETTY_NAME`, in quotes or without.
pub(super) fn pretty_name(release: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.trim_start().strip_prefix("PRETTY_NAME="))?.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    read::value(&quoted.unwrap_or(value).replace('\\', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pretty_name_stands_in_quotes_or_without() {
        let name = |line: &str| pretty_name(&format!("ID=x\n{line}\nNAME=y\n"));
        assert_eq!(name("PRETTY_NAME=\"Debian GNU/Linux 12\"").as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(name("PRETTY_NAME='Arch'").as_deref(), Some("Arch"));
        assert_eq!(name("PRETTY_NAME=Alpine").as_deref(), Some("Alpine"));
        assert_eq!(name("PRETTY_NAME=\"\""), None);
        assert_eq!(name("MY_PRETTY_NAME=x"), None);
    }

    #[test]
    fn a_machine_without_an_id_has_none() {
        let id = "0123456789ABCDEF0123456789abcdef";
        assert_eq!(machine_id(id).as_deref(), Some("0123456789abcdef0123456789abcdef"));
        for no_id in ["uninitialized", "", "00000000000000000000000000000000", "0123"] {
            assert_eq!(machine_id(no_id), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_files_is_no_panic(text in "(PRETTY_NAME=)?.{0,200}") {
            let _ = (pretty_name(&text), machine_id(&text));
        }
    }
}
