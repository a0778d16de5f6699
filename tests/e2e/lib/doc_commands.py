"""The commands that the documents print: in blocks of code, as a reader would paste them, and in running text between backticks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "bench/*/README.md",
                                                                "deploy/k8s/mqttd/README.md") for path in ROOT.glob(pattern))
# What the first lines of blocks begin with that hold no commands.
TEXT = {
    "ARCHITECTURE.md": ["DATA_DIR/"],
    "CONTRIBUTING.md": ["area: what"],
    "docs/operations.md": ["mqttd ready pid=", "# admin.access_file", "# /etc/mqttd/acl"],
}
# What a command between backticks begins with, if it has arguments.
PROGRAMS = r"mqttctl|mqttd|\./dev|build/[^\s`]+|MQTTD_[A-Z_]+=[^\s`]+|kubectl|helm|docker|buildah|cmake|ninja|mosquitto_\w+|systemctl|apt|haproxy|curl|kill|ip|source"


@dataclass(frozen=True)
class Command:
    document: str
    line: int  # From 1.
    text: str

    def __str__(self):
        return f"{self.document}:{self.line}: {self.text}"


def blocks(text):
    """(number of the first line, language or None, lines) of each block of code."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.lstrip().startswith("```"):
            language = line.lstrip()[3:].strip()
            end = next(i for i in range(number + 1, len(lines)) if lines[i].lstrip().startswith("```"))
            yield number + 2, language, lines[number + 1:end]
            number = end + 1
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield number + 1, "", [each[4:] for each in lines[number:end]]
            number = end
        else:
            number += 1


def without_comment(line):
    return re.sub(r"(^|\s+)#( .*)?$", "", line).strip()


def commands():
    """Of all documents, in their order: what stands in a line, with the lines that continue it, between "&&"."""
    found = []
    for document in DOCUMENTS:
        for first, language, lines in blocks((ROOT / document).read_text()):
            if language not in ("", "sh", "bash", "shell", "console"):
                continue
            if any(lines[0].startswith(text) for text in TEXT.get(document, ())):
                continue
            begun, at = "", first
            for number, line in enumerate(lines, first):
                at = at if begun else number
                begun += without_comment(line)
                if begun.endswith("\\"):
                    begun = begun[:-1].rstrip() + " "
                    continue
                found += [Command(document, at, part.strip()) for part in begun.split(" && ") if part.strip()]
                begun = ""
    return found


def inline_commands():
    """Those between backticks."""
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        for first, _, lines in blocks(text):  # They are looked at elsewhere.
            text = text.replace("\n".join(lines), "\n" * (len(lines) - 1)) if first else text
        for match in re.finditer(rf"`((?:{PROGRAMS})(?: [^`\n]*)?)`", text):
            if " " in match[1]:
                found.append(Command(document, text.count("\n", 0, match.start()) + 1, match[1]))
    return found
