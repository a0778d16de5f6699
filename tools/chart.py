#!/usr/bin/env python3
"""Makes what is made in the Helm chart (deploy/k8s/mqttd): README.md from the comments of values.yaml, and the copies of
the alerts and the dashboard, which Helm reads only from inside the chart.

  chart.py            writes them
  chart.py --check    exit 1 if one is not what would be written
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/k8s/mqttd"
MONITORING = ROOT / "deploy/monitoring"
HEAD = """\
# mqttd on Kubernetes: the chart's values

<!-- Made from values.yaml by ./dev spec: do not edit. -->

How to install, upgrade and look after it: [docs/kubernetes.md](../../../docs/kubernetes.md).

| value | default | what for |
| --- | --- | --- |
"""


def rows(text):
    """[(path, default, comment)] of values.yaml: a key's comment is above it, and holds for the keys directly below
    that have none. Of a list as default only its place is told."""
    found, path, comment = [], [], ""
    lines = [line for line in text.splitlines() if line.strip()]
    for at, line in enumerate(lines):
        if match := re.match(r" *# (.*)", line):
            comment = f"{comment} {match[1]}".strip()
            continue
        match = re.match(r"( *)([A-Za-z]+):(?: (.*))?$", line)
        if not match or (found and found[-1][1] == "see values.yaml" and len(match[1]) > len(path) - 1):
            continue
        depth = len(match[1]) // 2
        path = path[:depth] + [match[2]]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if match[3] is not None:
            found.append((".".join(path), f"`{match[3]}`", comment))
        elif following.lstrip().startswith("- "):
            found.append((".".join(path), "see values.yaml", comment))
        elif comment:
            found.append((".".join(path), "", comment))
        comment = ""
    return found


def made():
    """{path: content} of what is made."""
    table = "".join(f"| `{path}` | {default} | {comment.replace('|', chr(92) + '|')} |\n"
                    for path, default, comment in rows((CHART / "values.yaml").read_text()))
    copies = {CHART / "files" / name: (MONITORING / name).read_text()
              for name in ("mqttd.rules.yaml", "mqttd.dashboard.json")}
    return {CHART / "README.md": HEAD + table, **copies}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = [path for path, content in made().items() if not path.exists() or path.read_text() != content]
    for path in stale:
        if options.check:
            print(f"{path.relative_to(ROOT)} is not what is made of its sources: ./dev spec")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made()[path])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
