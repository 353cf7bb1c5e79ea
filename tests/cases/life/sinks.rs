//! Exporters without a collector: standard error and files, alone and beside a collector.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::{Builder, Haproxy};
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::{Behaviour, Mode, OtlpReceiver, SOON, SpanView, Upstream, poll};
use nix::sys::stat;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::{Door, PER_THREAD, config, count, field, proxy, traced};

#[test]
fn console_says_a_line_for_each_span_on_standard_error() {
    let upstream = Upstream::start();
    let haproxy = traced(Door::ZeroLines, &upstream).env("OTEL_TRACES_EXPORTER", "console").start();
    assert_eq!(client::get(haproxy.addr("http"), "/seen%1bhere", &[]).status, 200);
    poll::until(SOON, "two spans on the console", || written(&haproxy, "console") == 2);
    let log = haproxy.log();
    let line = |kind: &str| log.lines().find(|line| line.contains(kind)).unwrap_or_else(|| panic!("{log}")).to_owned();
    let (server, client) = (line(" SERVER \"GET\" "), line(" CLIENT \"GET\" "));
    for part in ["ms trace=", " span=", " http.response.status_code=200", " url.path=/seen%1bhere"] {
        assert!(server.contains(part), "{server}");
    }
    let (_, id) = server.split_once(" span=").unwrap();
    let id = id.split(' ').next().unwrap();
    assert!(client.contains(&format!(" parent={id}")), "{server}\n{client}");
    assert_eq!((count(&haproxy, "spans.created"), count(&haproxy, "spans.exported")), (2, 0));
    haproxy.finish();
}

#[test]
fn a_daemon_has_no_console_and_counts_what_is_lost() {
    let upstream = Upstream::start();
    let haproxy = traced(Door::ZeroLines, &upstream)
        .env("OTEL_TRACES_EXPORTER", "console")
        .mode(Mode::MasterWorkerDaemon)
        .start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    let lost = || haproxy.cli("show vitals traces").contains("console.dropped.failed           2");
    poll::until(SOON, "two spans lost", lost);
    assert_eq!(field(&haproxy, "console.last_error"), "standard error is closed or goes to /dev/null");
    haproxy.wait_log("exporter console: standard error is closed", SOON);
    haproxy.finish();
}

#[test]
fn a_file_has_a_line_of_json_for_each_batch() {
    for mode in [Mode::Foreground, Mode::MasterWorkerDaemon] {
        let upstream = Upstream::start();
        let haproxy = filing(&upstream, &[], "export.exporter=file").mode(mode).start();
        for _ in 0..3 {
            assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        }
        poll::until(SOON, "six spans in the file", || written(&haproxy, "file") == 6);
        let spans = spans_in(&haproxy.dir().join(NAME));
        assert_eq!(spans.iter().filter(|span| span.kind == SpanKind::Server).count(), 3, "{mode:?}");
        assert_eq!(spans[0].resource.str("service.name"), Some("edge"));
        let permissions = fs::metadata(haproxy.dir().join(NAME)).unwrap().permissions().mode();
        assert_eq!(permissions & 0o137, 0, "{permissions:o}");
        haproxy.finish();
    }
}

#[test]
fn a_file_is_rotated_by_an_unprivileged_user_in_a_chroot() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let upstream = Upstream::start();
    let user = ["chroot ${dir}", "user nobody", "group nogroup"];
    let haproxy = filing(&upstream, &user, "export.exporter=file export.file.max_bytes=4096 export.file.max_files=3")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 2)
        .start();
    for number in 1..=10 {
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        poll::until(SOON, "the spans in a file", || written(&haproxy, "file") == 2 * number);
    }
    let files = files_in(haproxy.dir());
    assert_eq!(files, [NAME.to_owned(), format!("{NAME}.1"), format!("{NAME}.2")]);
    let spans: Vec<_> = files.iter().flat_map(|name| spans_in(&haproxy.dir().join(name))).collect();
    assert!((6..20).contains(&spans.len()), "the oldest are gone: {}", spans.len());
    assert_eq!(field(&haproxy, "file.last_error"), "");
    haproxy.finish();
}

#[test]
fn a_full_file_that_cannot_be_rotated_takes_no_more_and_says_so() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join(NAME);
    let load =
        format!("{PER_THREAD} export.exporter=file export.file.max_bytes=8192 export.file.path={}", path.display());
    let global = ["nbthread 2", "chroot ${dir}", "user nobody", "group nogroup", &load];
    let haproxy = proxy(&config(Door::ZeroLines, &global), &upstream).env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 2).start();
    let mut requests = 0;
    poll::until(SOON, "the file to be full", || {
        requests += 1;
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        poll::until(SOON, "the spans to be settled", || {
            let settled = |name: &str| haproxy.cli("show vitals traces").contains(&format!("file.{name}"));
            settled("written")
                && count(&haproxy, "file.written") + count(&haproxy, "file.dropped.failed") == 2 * requests
        });
        count(&haproxy, "file.dropped.failed") > 0
    });
    assert!(fs::metadata(&path).unwrap().len() <= 8192);
    assert_eq!(spans_in(&path).len() as u64, count(&haproxy, "file.written"));
    haproxy.wait_log("exporter file: the file is full and cannot be rotated: Permission denied", SOON);
    haproxy.finish();
}

#[test]
fn reloads_lose_no_span_and_tear_no_line_while_workers_rotate_one_file() {
    let upstream = Upstream::start();
    let rotate = "export.exporter=file export.file.max_bytes=20000 export.file.max_files=100";
    let haproxy =
        filing(&upstream, &[], rotate).env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 8).mode(Mode::MasterWorker).start();
    let load = Load::new(4, Until::Stopped, "/delay/5").spawn(haproxy.addr("http"));
    for _ in 0..4 {
        load.wait_for(30);
        haproxy.reload();
    }
    let report = load.stop();
    haproxy.wait_one_worker(SOON);
    haproxy.soft_stop();
    haproxy.wait_exit(SOON);
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    let files = files_in(haproxy.dir());
    assert!((2..100).contains(&files.len()), "{files:?}");
    let spans: Vec<_> = files.iter().flat_map(|name| spans_in(&haproxy.dir().join(name))).collect();
    let servers = spans.iter().filter(|span| span.kind == SpanKind::Server).count() as u64;
    assert_eq!(servers, report.total());
    assert_eq!(spans.len() as u64, 2 * servers);
    haproxy.finish();
}

#[test]
fn a_collector_that_hangs_does_not_stop_the_file() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.behave(Behaviour::Hang);
    let haproxy = filing(&upstream, &[], "export.exporter=otlp,file")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_MAX_QUEUE_SIZE", 20)
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 10)
        .env("HAPROXY_VITALS_RUNTIME_TERM_TIMEOUT", "10ms")
        .start();
    let mut session = client::Session::connect(haproxy.addr("http"));
    for number in 1..=50 {
        assert_eq!(session.get("/", &[]).unwrap().status, 200);
        // The file's queue is as short as the collector's.
        if number % 5 == 0 {
            poll::until(SOON, "the spans in the file", || written(&haproxy, "file") == 2 * number);
        }
    }
    assert_eq!(spans_in(&haproxy.dir().join(NAME)).len(), 100);
    assert_eq!((count(&haproxy, "spans.exported"), count(&haproxy, "file.dropped.queue_full")), (0, 0));
    assert!(count(&haproxy, "spans.dropped.queue_full") >= 80);
    haproxy.finish();
}

#[test]
fn several_exporters_have_every_span_each() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = filing(&upstream, &[], "export.exporter=file,console,otlp")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    let sent = receiver.wait_spans(2, SOON);
    poll::until(SOON, "the spans in the file", || written(&haproxy, "file") == 2);
    poll::until(SOON, "the spans on the console", || written(&haproxy, "console") == 2);
    let ids = |spans: &[SpanView]| spans.iter().map(|span| span.span_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&spans_in(&haproxy.dir().join(NAME))), ids(&sent));
    assert!(ids(&sent).iter().all(|id| haproxy.log_contains(&format!(" span={id}"))), "{}", haproxy.log());
    poll::until(SOON, "the collector's answer", || count(&haproxy, "spans.exported") == 2);
    haproxy.finish();
    receiver.assert_clean();
}

#[test]
fn every_kind_of_end_writes_the_spans_still_queued() {
    for stop in [Haproxy::soft_stop, Haproxy::terminate] {
        let upstream = Upstream::start();
        let haproxy = filing(&upstream, &[], "export.exporter=file").env("OTEL_BSP_SCHEDULE_DELAY", 60_000).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        poll::until(SOON, "the end of the request", || count(&haproxy, "requests.ended") == 1);
        stop(&haproxy);
        haproxy.wait_exit(SOON);
        assert_eq!(spans_in(&haproxy.dir().join(NAME)).len(), 2);
        haproxy.finish();
    }
}

#[test]
fn a_file_that_cannot_be_opened_stops_haproxy() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, stat::Mode::S_IRWXU).unwrap();
    let load = format!("{PER_THREAD} export.exporter=file export.file.path={}", pipe.display());
    let refusal = proxy(&config(Door::ZeroLines, &[&load]), &upstream).try_start().err().unwrap();
    assert!(refusal.contains(&format!("`export.file.path`: cannot open {}", pipe.display())), "{refusal}");
    let check = proxy(&config(Door::ZeroLines, &[&format!("{PER_THREAD} export.exporter=file")]), &upstream).check();
    assert!(!check.ok && check.output.contains("`export.file.path` (default): expected"), "{}", check.output);
}

/// A proxy whose spans go to [`NAME`] in its folder.
fn filing(upstream: &Upstream, global: &[&str], settings: &str) -> Builder {
    let load = format!("{PER_THREAD} {settings} export.file.path=${{dir}}/{NAME}");
    let global = [&["nbthread 2"], global, &[&load]].concat();
    proxy(&config(Door::ZeroLines, &global), upstream)
}

/// What a sink has written; none before it was used.
fn written(haproxy: &Haproxy, sink: &str) -> u64 {
    let answer = haproxy.cli("show vitals traces");
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{sink}.written ")));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// Every span of a file, each line of which must be a whole export request.
#[track_caller]
fn spans_in(path: &Path) -> Vec<SpanView> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{}", path.display());
    let request = |line: &str| serde_json::from_str::<ExportTraceServiceRequest>(line).unwrap();
    text.lines().flat_map(|line| SpanView::flatten(&request(line))).collect()
}

/// Names of the exporter's files, sorted.
fn files_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(NAME)).collect();
    names.sort();
    names
}

const NAME: &str = "spans.jsonl";
