"""Scenarios: the table in benches/cost/scenarios.toml, and the configuration that each gives."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "benches/cost"
LOADER = """\
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-prepend-path {module}/?.so cpath
  lua-load-per-thread {lua}/otel.lua {arguments}"""

EXPECTS = """\
  acl one req.fhdr_cnt(traceparent) eq 1
  http-request return status 500 content-type text/plain string "not one traceparent" unless one"""


@dataclass(frozen=True)
class Scenario:
    name: str
    load: str = "tiny"
    sampler: str | None = "always_on"
    argument: str = ""
    spans: float | None = None
    loader: str = ""
    frontend: tuple[str, ...] = ()

    @property
    def is_plain(self):
        return self.sampler is None

    @property
    def plain(self):
        """What this one is compared with."""
        return Scenario("plain" if self.load == "tiny" else f"plain-{self.load}", self.load, sampler=None)

    @property
    def sampled(self):
        """Whether callers say that their traces are sampled."""
        return self.sampler == "always_on"

    @property
    def spans_per_request(self):
        """How many the collector must get; `None` where chance decides."""
        if self.spans is None:
            return {"always_on": 2, "always_off": 0}.get(self.sampler)
        return self.spans

    def under(self, load):
        """The same under another load."""
        return replace(self, load=load)

    def configuration(self, port, upstream, module, lua):
        loader = LOADER.format(module=module, lua=lua, arguments=self.loader).rstrip()
        return filled(
            "base.cfg",
            LOADER="" if self.is_plain else loader,
            FRONT="\n".join(f"  {line}" for line in self.frontend),
            MODE="tcp" if self.load == "tcp" else "http",
            PORT=port,
            UPSTREAM=upstream,
        )

    def upstream_configuration(self, upstream):
        # Without a span to look for, nothing else tells a tracer at work from one that does nothing.
        traced = not self.is_plain and self.load != "tcp"
        expects = EXPECTS if traced else ""
        return filled("upstream.cfg", UPSTREAM=upstream, EXPECTS=expects)

    def environment(self, collector):
        if self.is_plain:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER": self.sampler,
        } | ({"OTEL_TRACES_SAMPLER_ARG": self.argument} if self.argument else {})


def scenarios():
    """All of the table, by name."""
    table = tomllib.loads((FOLDER / "scenarios.toml").read_text())
    return {
        name: Scenario(name, **(values | {"frontend": tuple(values.get("frontend", ()))}))
        for name, values in table.items()
    }


def filled(template, **marks):
    """A template without the lines that stay empty."""
    text = (FOLDER / template).read_text()
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@\n", f"{value}\n" if value != "" else "").replace(f"@{mark}@", str(value))
    return text
