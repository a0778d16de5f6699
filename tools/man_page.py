#!/usr/bin/env python3
"""Makes the manual pages: mqttd(8) from `mqttd --help` and parts of docs/operations.md, mqttd.yaml(5)
from docs/configuration.md, mqttctl(1) from its help and docs/mqttctl.md. What they are made from is itself made or tested, so they do not grow old."""

import argparse
import gzip
import re
import subprocess
import sys
from pathlib import Path


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def inline(text):
    """One line of Markdown: code and bold become bold, of links the text remains."""
    text = text.replace("[configuration.md](configuration.md)", "mqttd.yaml(5)")
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = escape(text)
    text = re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", lambda found: "\\fB" + (found[1] or found[2]) + "\\fP", text)
    return "\\&" + text if text[:1] in (".", "'") else text


def verbatim(lines):
    yield from (".PP", ".RS 4", ".nf")
    for line in lines:
        yield escape(line) or "\\&"
    yield from (".fi", ".RE")


def cells(row):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def table(rows):
    """A table as a list of terms: a manual page is too narrow for five columns."""
    heads = [head for head in cells(rows[0])]
    for row in rows[2:]:
        first, *middle, last = cells(row)
        yield ".TP"
        yield inline(first)
        facts = [f"{head}: {value}" for head, value in zip(heads[1:-1], middle) if value]
        yield inline(last)
        if facts:
            yield ".br"
            yield inline("; ".join(facts) + ".")


def markdown(text):
    """The lines of roff for a part of a document: headings, paragraphs, lists, tables, code."""
    lines = iter(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).splitlines() + [""])
    rows, paragraph, code = [], [], []
    for line in lines:
        if code and not line.startswith("    "):
            yield from verbatim(code)
            code = []
        if rows and not line.startswith("|"):
            yield from table(rows)
            rows = []
        if line.startswith("|"):
            yield from paragraph
            paragraph = []
            rows.append(line)
        elif line.startswith("```"):
            yield from paragraph
            paragraph = []
            yield from verbatim(iter(lambda: next(lines), "```"))
        elif line.startswith("    ") and not paragraph:
            code.append(line[4:])
        elif line.startswith("#"):
            depth, title = len(line) - len(line.lstrip("#")), line.lstrip("# ")
            if depth > 1:
                yield f'.{"SH" if depth == 2 else "SS"} "{escape(title.replace("`", ""))}"'
        elif line.startswith("- "):
            yield from paragraph
            paragraph = [".IP \\(bu 2", inline(line[2:])]
        elif line.strip():
            paragraph += ([] if paragraph else [".PP"]) + [inline(line.strip())]
        else:
            yield from paragraph
            paragraph = []
    if rows:
        yield from table(rows)


def section(document, title):
    """The text under a heading of the second level, without it."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"man_page: there is no section \"{title}\"")
    return found[1]


def flags(help_text):
    """`  --flag VALUE   text` and its continuation lines as a list of terms."""
    text = []
    for line in help_text.splitlines():
        if match := re.match(r"  (--[a-z-]+(?:, --[a-z-]+)*(?: [A-Z=]+)?)(?:\s+(.*))?$", line):
            yield from text
            text = [".TP", inline(f"`{match[1]}`"), inline(match[2] or "")]
        elif text and line.startswith("    "):
            text.append(inline(line.strip()))
    yield from (line for line in text if line)


def subcommands(help_text):
    """Those that a help of mqttctl lists."""
    return re.findall(r"^  (\w+) {2,}", help_text.partition("Subcommands:")[2], re.MULTILINE)


def page(name, number, version, what, body):
    head = [f'.TH {name.upper()} {number} "" "mqttd {version}"', ".SH NAME", f"{name} \\- {escape(what)}"]
    return "\n".join(head + list(body)) + "\n"


def pages(mqttd, mqttctl, docs):
    def ask(*arguments, program=mqttd):
        return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout

    version = ask("--version").split()[1]
    operations = (docs / "operations.md").read_text()
    configuration = (docs / "configuration.md").read_text()
    start = section(operations, "Start")
    codes = start[start.index("| exit code"):].split("\n\n")[0]

    def daemon():
        yield from (".SH SYNOPSIS", ".B mqttd", "[\\fB\\-\\-config\\fP \\fIFILE\\fP] [\\fIFLAGS\\fP]", ".SH DESCRIPTION")
        yield from ("A broker for MQTT 5.0, 3.1.1 and 3.1. It runs in the foreground; when clients may come it",
                    "prints one line on standard output, which begins with \\fBmqttd ready\\fP. The log goes to",
                    "standard error. Without arguments it listens on 127.0.0.1:1883, for this machine only, and",
                    "keeps its data in ./mqttd\\-data.", ".SH OPTIONS")
        yield from flags(ask("--help"))
        yield from (".PP", "Every key of the configuration is also a flag and an environment variable:",
                    ".BR mqttd.yaml (5).", '.SH "EXIT STATUS"')
        yield from markdown(codes)
        yield ".SH SIGNALS"
        yield from markdown(section(operations, "Signals"))
        yield ".SH HEALTH"
        yield from markdown(section(operations, "Health"))
        yield from (".SH FILES", ".TP", ".I /etc/mqttd/mqttd.yaml", "The configuration of the service.", ".TP",
                    ".I /var/lib/mqttd", "Its data: sessions, queued and retained messages. One process at a time.",
                    '.SH "SEE ALSO"', ".BR mqttd.yaml (5),", ".BR mosquitto_passwd (1)")

    def file():
        yield ".SH DESCRIPTION"
        yield from markdown(configuration)
        yield from ('.SH "SEE ALSO"', ".BR mqttd (8)")

    def client():
        yield from (".SH SYNOPSIS", ".B mqttctl", "\\fICOMMAND\\fP [\\fIOPTIONS\\fP]", ".SH DESCRIPTION")
        yield from markdown((docs / "mqttctl.md").read_text())
        commands = subcommands(ask("--help", program=mqttctl))
        for command in commands:
            text = ask(command, "--help", program=mqttctl)
            yield f'.SH "OPTIONS OF {command.upper()}"'
            yield from verbatim(text.strip().splitlines())
            for verb in subcommands(text) if command != "bench" else ():
                yield f'.SS "{command} {verb}"'
                yield from verbatim(ask(command, verb, "--help", program=mqttctl).strip().splitlines())
        yield from ('.SH "SEE ALSO"', ".BR mosquitto_pub (1),", ".BR mosquitto_sub (1),", ".BR mqttd (8)")

    return {"mqttctl.1": page("mqttctl", 1, version, "publish, subscribe and measure, with any MQTT broker", client()),
            "mqttd.8": page("mqttd", 8, version, "MQTT broker", daemon()),
            "mqttd.yaml.5": page("mqttd.yaml", 5, version, "configuration of the MQTT broker mqttd", file())}


def compress(path, data):
    with open(path, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mqttd", help="the program to ask for its flags")
    parser.add_argument("--mqttctl", help="and the other")
    parser.add_argument("--docs", type=Path, help="the directory of the documents")
    parser.add_argument("--compress", type=Path, help="make no pages, but OUT/NAME.gz of this file")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.compress:
        compress(options.out / f"{options.compress.name}.gz", options.compress.read_bytes())
        return
    for name, text in pages(options.mqttd, options.mqttctl, options.docs).items():
        compress(options.out / f"{name}.gz", text.encode())


if __name__ == "__main__":
    main()
