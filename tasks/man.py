"""Writes the man pages into a folder: `man.py VERSION TIME TRIPLET FOLDER`.

The settings of haproxy-vitals.toml(5) are the tables of docs/configuration.md, which a test of src/config holds against
the code. Fails where one of them is gone.
"""

import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "configuration.md"
PAGES = ("haproxy-vitals.7", "haproxy-vitals.toml.5", "haproxy-vitals-agent.8")
# The place in the page, and how the head of its table begins.
TABLES = {
    "SETTINGS": "| key | default | bounds | `OTEL_*` |",
    "RULES": "| key | what | bounds |",
    "BACKENDS": "| key | default | bounds |",
}
# What is written before a cell of these columns.
LABELS = {"default": "Default: ", "`OTEL_*`": "Variable: "}


def main(version, seconds, triplet, folder):
    document = DOCUMENT.read_text(encoding="utf-8").splitlines()
    values = {name: "\n".join(described(table(document, head))) for name, head in TABLES.items()}
    values |= {"VERSION": version, "TRIPLET": triplet, "DATE": time.strftime("%Y-%m-%d", time.gmtime(int(seconds)))}
    for page in PAGES:
        text = (ROOT / "package" / "man" / page).read_text(encoding="utf-8")
        text = re.sub(r"@([A-Z]+)@", lambda place: values[place[1]], text)
        (Path(folder) / page).write_text(text, encoding="utf-8")


def table(document, head):
    """The rows below the head: each a dictionary from the column's name to its cell."""
    if head not in document:
        sys.exit(f"{DOCUMENT}: no table that begins with {head}")
    start = document.index(head)
    columns = cells(head)
    rows = []
    for line in document[start + 2 :]:
        if not line.startswith("|"):
            return rows
        found = cells(line)
        if len(found) != len(columns):
            sys.exit(f"{DOCUMENT}: {len(found)} cells in place of {len(columns)}: {line}")
        rows.append(dict(zip(columns, found)))
    return rows


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def described(rows):
    for row in rows:
        told = [LABELS.get(column, "") + cell for column, cell in row.items() if column != "key" and cell]
        yield from (".TP", roff(row["key"]), roff("; ".join(told) + "." if told else "No default."))


def roff(text):
    """Markdown of one line as roff."""
    text = text.replace("\\|", "|").replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"\[([^]`]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    text = re.sub(r"\*\*([^*]*)\*\*", r"\\fB\1\\fR", text)
    # A line that begins so would be a command.
    return "\\&" + text if text[:1] in (".", "'") else text


main(*sys.argv[1:])
