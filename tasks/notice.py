"""Prints NOTICE: the crates that the shipped artefacts contain, and the licence texts that go with them.

Fails, and names the crate, where a licence is not in ALLOWED or a crate holds a licence file that nobody has looked at.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter

# What is shipped, by the package that builds it, and where it runs.
ARTEFACTS = {"haproxy-vitals-module": "module", "haproxy-vitals-agent": "agent"}
TARGETS = os.environ["TARGETS"].split()

# Licences that may be shipped. Where a crate leaves the choice, the first of these is taken.
ALLOWED = (
    "Apache-2.0",
    "MIT",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
)

# A sentence that each text has and no other.
MARKS = {
    "Apache-2.0": "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    "MIT": "Permission is hereby granted, free of charge, to any person obtaining a copy",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "
    "granted, provided that",
    "BSD-3-Clause": "may be used to endorse or promote products derived",
    "BSD-2-Clause": "Redistributions in binary form must reproduce",
    "Zlib": "This software is provided 'as-is', without any express or implied warranty",
    "0BSD": "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "
    "granted. THE",
    "Unlicense": "This is free and unencumbered software released into the public domain",
    "GPL-2.0": "GNU GENERAL PUBLIC LICENSE",
    "Unicode-3.0": "UNICODE LICENSE V3",
    "MPL-2.0": "Mozilla Public License Version 2.0",
    "CDLA-Permissive-2.0": "Community Data License Agreement - Permissive - Version 2.0",
}

# Licence files beside those of the crate's own expression: True, it covers code that is shipped; False, it does not, or only
# says where the other files are.
LOOKED_AT = {
    "atomic-waker": {"LICENSE-THIRD-PARTY": True},
    "bstr": {"COPYING": False},
    "memchr": {"COPYING": False},
    "miniz_oxide": {"LICENSE": False},
    "opentelemetry-proto": {"src/proto/opentelemetry-proto/LICENSE": True},
    "rand": {"COPYRIGHT": True},
    "rand_chacha": {"COPYRIGHT": True},
    "rand_core": {"COPYRIGHT": True},
    "ring": {
        "LICENSE": True,
        "LICENSE-BoringSSL": True,
        "LICENSE-other-bits": True,
        "src/polyfill/once_cell/LICENSE-APACHE": True,
        "src/polyfill/once_cell/LICENSE-MIT": False,
        "third_party/fiat/LICENSE": True,
    },
    "rustls-native-certs": {"LICENSE": False},
    "tracing-core": {"src/spin/LICENSE": True},
    # The library in C: BSD-3-Clause or GPL-2.0.
    "zstd-sys": {"LICENSE.BSD-3-Clause": True, "zstd/COPYING": False, "zstd/LICENSE": True},
}

HEAD = """\
haproxy-vitals

Licensed under the Apache License, Version 2.0: see LICENSE.

haproxy_vitals.so (module) and haproxy-vitals-agent (agent) for Linux on x86_64 or aarch64 contain the
crates below. Where a crate offers several licences, the one behind the arrow was chosen. The licence
texts follow, each once, below the crates that it covers and their copyright lines.

Both files also contain Rust's standard library (MIT OR Apache-2.0 -> Apache-2.0, by the contributors
of the Rust project) and compiler-rt and libunwind (Apache-2.0 WITH LLVM-exception, by the LLVM
project); the agent also contains musl, the C library (MIT). Neither contains Lua: the module uses
HAProxy's.

Written by tasks/notice from Cargo.lock: do not edit.
"""

RULE = "=" * 100
FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
COPYRIGHT = re.compile(r"\s*(portions )?copyright\s+(\(c\)\s|©|\d)", re.IGNORECASE)
TITLE = re.compile(r"\s*(the )?(mit|isc|bsd|bsd 3-clause) licen[cs]e( \((mit|isc)\))?:?\s*", re.IGNORECASE)


class Refused(Exception):
    """What must be decided before anything is shipped."""


class Crate:
    def __init__(self, package, artefacts):
        self.name, self.version = package["name"], package["version"]
        self.title = f"{self.name} {self.version}"
        self.expression = package["license"] or ""
        self.repository = package["repository"]
        self.artefacts = artefacts
        self.folder = os.path.dirname(package["manifest_path"])
        own, self.others = self.files()
        self.licences = self.choose(own)
        self.texts = {licence: own.get(licence) for licence in self.licences}

    def files(self):
        """Texts of the crate's own licences by identifier, and texts of what it contains."""
        named = set(re.findall(r"[\w.+-]+", self.expression))
        looked_at = LOOKED_AT.get(self.name, {})
        own, others = {}, []
        for path in licence_files(self.folder):
            text = read(os.path.join(self.folder, path))
            licence = identify(text)
            if path in looked_at:
                if looked_at[path]:
                    others.append((path, text))
            elif os.path.dirname(path) or licence not in named:
                raise Refused(f"{self.title}: {path} ({licence or 'unknown'}) is not in LOOKED_AT of tasks/notice.py")
            else:
                own.setdefault(licence, text)
        return own, others

    def choose(self, own):
        """Of the allowed alternatives the first one whose text is there."""
        allowed = [one for one in alternatives(self.expression) if one <= set(ALLOWED)]
        if not allowed:
            raise Refused(f"{self.title}: the licence `{self.expression}` is not in ALLOWED of tasks/notice.py")

        def rank(one):
            return not one <= set(own), sorted(map(ALLOWED.index, one))

        return sorted(min(allowed, key=rank), key=ALLOWED.index)

    def line(self):
        chosen = " AND ".join(self.licences)
        choice = "" if chosen == self.expression else f" -> {chosen}"
        return f"{self.title}: {self.expression}{choice} ({', '.join(self.artefacts)})"


class Text:
    """A licence text and the crates, or files of theirs, that it covers."""

    def __init__(self, body):
        self.body, self.owners = body, []


def main():
    try:
        crates = [Crate(package, artefacts) for package, artefacts in shipped()]
        bodies = sorted(texts(crates), key=lambda text: -len(text.owners))
    except Refused as why:
        sys.exit(f"error: {why}")
    print(HEAD)
    for crate in crates:
        print(crate.line())
    for text in bodies:
        print(f"\n{RULE}\n")
        for owner, copyright_lines in sorted(text.owners):
            print(owner)
            for line in copyright_lines:
                print(f"    {line}")
        print(f"\n{text.body}")


def shipped():
    """The third-party packages in the artefacts: no build scripts, macros or tests."""
    found = {}
    for package, artefact in ARTEFACTS.items():
        for target in TARGETS:
            tree = cargo(
                "tree", "--package", package, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none"
            )
            for name, version in re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE):
                found.setdefault((name, version), {})[artefact] = True
    known = {}
    for target in TARGETS:
        for package in json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))["packages"]:
            if package["source"]:
                known[package["name"], package["version"]] = package
    return [(known[key], list(found[key])) for key in sorted(found) if key in known]


def texts(crates):
    """Every text once. The repository's own LICENSE stands for the Apache License."""
    apache = read("LICENSE")
    found = {plain(terms(apache)): Text(apache)}

    def add(owner, text):
        body, copyright_lines = split(text)
        found.setdefault(plain(body), Text(body)).owners.append((owner, copyright_lines))

    for crate in crates:
        covered = {identify(text) for path, text in crate.others if "/" not in path}
        for licence, text in crate.texts.items():
            if text:
                add(crate.title, text)
            elif licence not in covered:
                owner, text = stand_in(crate, licence, crates, apache)
                add(f"{crate.title}: comes without a licence text; this is {owner}", text)
        for path, text in crate.others:
            add(f"{crate.title}, {path}", text)
    found[plain(usual("MIT", crates))].owners.append(("musl", ["Copyright © 2005-2020 Rich Felker, et al."]))
    return found.values()


def stand_in(crate, licence, crates, apache):
    """The text of a crate from the same repository, else the one that most crates have."""
    if licence == "Apache-2.0":
        return "the standard text", apache
    having = [other for other in crates if other.texts.get(licence)]
    if not having:
        raise Refused(f"{crate.title}: has no licence text, and no other crate has one of {licence}")
    for other in having:
        if other.repository and other.repository == crate.repository:
            return f"that of {other.name}, from the same repository", other.texts[licence]
    return "the one that most crates have", usual(licence, having)


def usual(licence, crates):
    """The text that most of the crates have."""
    bodies = [split(crate.texts[licence])[0] for crate in crates if crate.texts.get(licence)]
    common = Counter(map(plain, bodies)).most_common(1)[0][0]
    return next(body for body in bodies if plain(body) == common)


def alternatives(expression):
    """An SPDX expression as the sets of licences of which one must be kept."""
    tokens = re.findall(r"[()]|OR|AND|[\w.+-]+(?: WITH [\w.-]+)?", expression.replace("/", " OR "))

    def either():
        found = both()
        while tokens[:1] == ["OR"]:
            tokens.pop(0)
            found = found + both()
        return found

    def both():
        found = single()
        while tokens[:1] == ["AND"]:
            tokens.pop(0)
            found = [one | other for one, other in itertools.product(found, single())]
        return found

    def single():
        if not tokens:
            return []
        token = tokens.pop(0)
        if token != "(":
            return [frozenset([token])]
        found = either()
        tokens.pop(0)
        return found

    return either()


def identify(text):
    words = plain(text)
    return next((licence for licence, mark in MARKS.items() if plain(mark) in words), None)


def split(text):
    """A text without its title, and its copyright lines; the Apache License without its appendix."""
    lines = terms(text).splitlines() if is_apache(text) else text.splitlines()
    copyright_lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if COPYRIGHT.match(line)))
    body = [line.rstrip() for line in lines if not COPYRIGHT.match(line) and not TITLE.fullmatch(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(body)).strip("\n"), copyright_lines


def is_apache(text):
    """The Apache License alone: longer files have other licences behind it."""
    return identify(text) == "Apache-2.0" and len(text.splitlines()) < 220


def terms(apache):
    return apache.partition("END OF TERMS AND CONDITIONS")[0]


def plain(text):
    """For comparing: neither lines, quotes, case nor the Apache License's address make another text."""
    text = re.sub(r"https?://www\.apache\.org/licenses/(LICENSE-2\.0)?", "", text)
    return re.sub(r"[\s\"'“”`*-]+", " ", text).strip().casefold()


def licence_files(folder):
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            if FILE.match(name) and not name.endswith((".rs", ".c", ".h", ".py")):
                yield os.path.relpath(os.path.join(where, name), folder)


def read(path):
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("\r\n", "\n").replace("\f", "")
    return re.sub(r"^// ?", "", text, flags=re.MULTILINE)


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked", "--quiet"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


if __name__ == "__main__":
    main()
