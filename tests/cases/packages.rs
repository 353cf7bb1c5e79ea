//! Debian packages: what is in them, and that their man pages and the completion know what the programs know.
//! `tasks/package-check` installs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use haproxy_vitals_tests::agent_program::agent_binary;
use haproxy_vitals_tests::haproxy::{Builder, package};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, client};

#[test]
fn the_packages_hold_what_they_should_and_are_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = debs(package().parent().unwrap());
    let again = debs(&made_again(folder.path()));
    for (deb, again) in shipped.iter().zip(&again) {
        assert!(fs::read(deb).unwrap() == fs::read(again).unwrap(), "{} differs", deb.display());
    }
    let [module, agent] = [MODULE, AGENT].map(|files| files.replace("TRIPLET", &triplet()));
    for (deb, expected) in shipped.iter().zip([module, agent]) {
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(files(deb), expected, "{}", deb.display());
    }
    assert_eq!(field(&shipped[0], "Depends").split(" (>= 2.").next(), Some("haproxy (>= 3.0), libc6"));
    assert_eq!(field(&shipped[1], "Depends"), "", "it runs on any Debian");
    let root = unpacked(&shipped[1], folder.path());
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/haproxy-vitals-agent.service")).unwrap();
    let start = "ExecStart=/usr/bin/haproxy-vitals-agent --config /etc/haproxy-vitals-agent.toml";
    assert!(unit.lines().any(|line| line == start), "{unit}");
}

#[test]
fn the_agent_takes_its_packaged_settings_and_what_they_show() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file("package/haproxy-vitals-agent.toml");
    let all = uncommented(&settings);
    assert!(all.contains("\nallow_to = "), "{all}");
    for text in [settings, all] {
        let path = folder.path().join("agent.toml");
        fs::write(&path, &text).unwrap();
        let checked = Command::new(agent_binary()).arg("--check").arg("-c").arg(&path).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{text}\n{checked:?}");
    }
}

#[test]
fn the_snippet_before_a_configuration_that_knows_nothing_of_us_traces_it() {
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    let settings = file("package/haproxy-vitals.toml");
    let haproxy = with_the_snippet(&settings, &upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
        .start();
    assert_eq!(client::get(haproxy.addr("http"), "/bytes/3", &[]).status, 200);
    receiver.wait_spans(2, SOON);
    man_pages_have_what_it_tells(&haproxy);
    haproxy.finish();
    let all = uncommented(&settings);
    assert!(all.contains("\n[[health.backend]]"), "{all}");
    let check = with_the_snippet(&all, &upstream).check();
    assert!(check.ok, "{}", check.output);
}

fn man_pages_have_what_it_tells(haproxy: &Haproxy) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Command::new("python3");
    writer.arg("-B").arg(root().join("tasks/man.py")).args(["1.0", "0", &triplet()]).arg(folder.path());
    let written = writer.output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap().replace("\\-", "-");
    let (commands, settings) = (page("haproxy-vitals.7"), page("haproxy-vitals.toml.5"));
    let help = haproxy.cli("help");
    let ours: Vec<_> = help.lines().map(str::trim).filter(|line| line.contains("vitals")).collect();
    assert!(ours.len() >= 5, "{help}");
    for line in ours {
        let is_word = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase());
        let command = line.split_whitespace().take_while(is_word).collect::<Vec<_>>().join(" ");
        assert!(commands.contains(&command), "{command}");
    }
    for line in haproxy.cli("show vitals config").lines().filter(|line| line.contains(" = ")) {
        let key = line.split_whitespace().next().unwrap();
        assert!(settings.contains(&format!("\\fB{key}\\fR")), "{key}");
    }
}

#[test]
fn man_page_and_completion_have_every_flag_of_the_agent_and_no_other() {
    let help = Command::new(agent_binary()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let heads = |text: &str, head: fn(&str) -> bool| flags(text.lines().filter(|line| head(line)));
    let known = heads(&help, |line| line.trim_start().starts_with('-'));
    assert!(known.len() > 15, "{known:?}");
    let page = file("package/man/haproxy-vitals-agent.8").replace("\\-", "-");
    let options = page.split(".SH OPTIONS\n").nth(1).unwrap().split(".SH ").next().unwrap();
    assert_eq!(heads(options, |line| line.starts_with("\\fB")), known);
    assert_eq!(completed("--", "haproxy-vitals-agent"), known);
}

#[test]
fn completion_offers_what_a_flag_takes() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(completed("", "--log-format"), words(&["json", "pretty"]));
    assert_eq!(completed("d", "--log-level"), words(&["debug"]));
    let keys = ["agent.allow_any=", "agent.allow_from=", "agent.allow_to="];
    assert_eq!(completed("agent.allow_", "--set"), words(&keys));
}

/// What the completion offers for `word` behind the word `previous`.
fn completed(word: &str, previous: &str) -> BTreeSet<String> {
    // `compopt` works while bash completes, only.
    let script = r#"
        compopt() { :; }
        . "$1"
        COMP_WORDS=("$2" "$4" "$3") COMP_CWORD=2
        _haproxy_vitals_agent "$2" "$3" "$4"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["-euc", script, "bash"]).arg(root().join("package/haproxy-vitals-agent.bash-completion"));
    let output = bash.arg(agent_binary()).args([word, previous]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Long flags in lines: each line's own, not those of its description.
fn flags<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let is_end = |letter: char| !letter.is_ascii_lowercase() && letter != '-';
    let flag = |line: &str| line.find("--").map(|at| line[at..].split(is_end).next().unwrap().to_owned());
    lines.filter_map(flag).collect()
}

/// The snippet as it is but for the places of the loader, the module and the settings; then a user's own.
fn with_the_snippet(settings: &str, upstream: &Upstream) -> Builder {
    let snippet = file("package/haproxy-vitals.cfg")
        .replace("    lua-load-per-thread", "    lua-prepend-path ${module}/?.so cpath\n    lua-load-per-thread")
        .replace("/usr/share/haproxy-vitals/otel.lua", "${lua}/otel.lua")
        .replace("/etc/haproxy/haproxy-vitals.toml", "${dir}/haproxy-vitals.toml");
    let configuration = Haproxy::config(&(snippet + CONFIG)).module().upstream(upstream);
    configuration.file("haproxy-vitals.toml", settings)
}

/// Settings whose lines `# key = value` are in force.
fn uncommented(settings: &str) -> String {
    let line = |line: &str| {
        let setting = line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with("[["));
        format!("{}\n", setting.unwrap_or(line))
    };
    settings.lines().map(line).collect()
}

/// The packages that `tasks/package-deb` makes of what the archive holds.
fn made_again(folder: &Path) -> PathBuf {
    let archive = package();
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder).status().unwrap();
    assert!(tar.success());
    let out = folder.join("made");
    let content = folder.join(archive.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz"));
    let made = Command::new(root().join("tasks/package-deb")).arg("--out").arg(&out).arg(content).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    out
}

/// In a folder: the module's, the agent's.
fn debs(folder: &Path) -> [PathBuf; 2] {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => panic!("no packages for {other}"),
    };
    let version = env!("CARGO_PKG_VERSION").replacen('-', "~", 1);
    ["haproxy-vitals", "haproxy-vitals-agent"].map(|name| folder.join(format!("{name}_{version}_{architecture}.deb")))
}

fn unpacked(deb: &Path, folder: &Path) -> PathBuf {
    let root = folder.join("root");
    let status = Command::new("dpkg-deb").arg("-x").arg(deb).arg(&root).status().unwrap();
    assert!(status.success(), "{}", deb.display());
    root
}

/// Mode and name of everything in a package that is no folder, by its name. All is root's.
fn files(deb: &Path) -> Vec<String> {
    let listed = Command::new("dpkg-deb").arg("-c").arg(deb).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut files = Vec::new();
    for line in listed.lines().filter(|line| !line.starts_with('d')) {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "root/root", "{line}");
        files.push(format!("{}:{}", words[5].trim_start_matches("./"), words[0]));
    }
    files.sort();
    files
}

fn field(deb: &Path, name: &str) -> String {
    let output = Command::new("dpkg-deb").arg("-f").arg(deb).arg(name).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

const MODULE: &str = "
    etc/haproxy/haproxy-vitals.toml:-rw-r--r--
    usr/lib/TRIPLET/haproxy-vitals/haproxy_vitals.so:-rw-r--r--
    usr/lib/TRIPLET/lua/5.4/haproxy_vitals.so:lrwxrwxrwx
    usr/share/doc/haproxy-vitals/CHANGELOG.md.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals/NOTICE.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals/README.Debian:-rw-r--r--
    usr/share/doc/haproxy-vitals/README.md:-rw-r--r--
    usr/share/doc/haproxy-vitals/changelog.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals/copyright:-rw-r--r--
    usr/share/doc/haproxy-vitals/examples/complete/haproxy-vitals.toml:-rw-r--r--
    usr/share/doc/haproxy-vitals/examples/complete/haproxy.cfg:-rw-r--r--
    usr/share/doc/haproxy-vitals/examples/minimal/haproxy.cfg:-rw-r--r--
    usr/share/haproxy-vitals/haproxy-vitals.cfg:-rw-r--r--
    usr/share/haproxy-vitals/otel.lua:-rw-r--r--
    usr/share/man/man5/haproxy-vitals.toml.5.gz:-rw-r--r--
    usr/share/man/man7/haproxy-vitals.7.gz:-rw-r--r--
";

const AGENT: &str = "
    etc/haproxy-vitals-agent.toml:-rw-r--r--
    usr/bin/haproxy-vitals-agent:-rwxr-xr-x
    usr/lib/systemd/system/haproxy-vitals-agent.service:-rw-r--r--
    usr/share/bash-completion/completions/haproxy-vitals-agent:-rw-r--r--
    usr/share/doc/haproxy-vitals-agent/CHANGELOG.md.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals-agent/NOTICE.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals-agent/README.md:-rw-r--r--
    usr/share/doc/haproxy-vitals-agent/changelog.gz:-rw-r--r--
    usr/share/doc/haproxy-vitals-agent/copyright:-rw-r--r--
    usr/share/lintian/overrides/haproxy-vitals-agent:-rw-r--r--
    usr/share/man/man8/haproxy-vitals-agent.8.gz:-rw-r--r--
";

const CONFIG: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s

frontend www
    bind 127.0.0.1:${port:http}
    default_backend app

backend app
    server app1 ${upstream}

backend grpc-services
    server one ${upstream}
";
