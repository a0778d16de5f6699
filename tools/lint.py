#!/usr/bin/env python3
"""All checks that need no build: the rules of tidy.py and the format. `./dev lint` runs them."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import tidy

ROOT = Path(__file__).resolve().parent.parent


def check_format(tree):
    """The files are as clang-format leaves them (`./dev format`)."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if tool is None:
        return ["clang-format is missing: ./dev setup"]
    paths = [file.path for file in tree.files if file.is_cpp]
    chunks = [paths[at::8] for at in range(8) if paths[at::8]]

    def check(chunk):
        return subprocess.run([tool, "--dry-run", "-Werror", *chunk], cwd=ROOT, capture_output=True,
                              text=True).stderr

    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        output = "".join(pool.map(check, chunks))
    first = {}
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: error:", output, re.MULTILINE):
        first[path] = min(int(line), first.get(path, int(line)))
    return [f"{path}:{line}: not formatted: ./dev format" for path, line in sorted(first.items())]


def check_made(tool):
    """A page is what that tool makes of its sources (`./dev spec`)."""
    result = subprocess.run([sys.executable, str(ROOT / "tools" / tool), "--check"],
                            capture_output=True, text=True)
    return [] if result.returncode == 0 else (result.stdout + result.stderr).strip().splitlines()


def run_all():
    """Yields (name of a check, its problems)."""
    tree = tidy.load(ROOT)
    yield from tidy.run(tree)
    yield "format", check_format(tree)
    if (ROOT / "docs" / "conformance.md").exists():
        yield "conformance", check_made("conformance.py")
    yield "reference", check_made("reference.py")
    yield "chart", check_made("chart.py")


def main():
    failed = 0
    for name, problems in run_all():
        for problem in problems:
            print(problem)
        failed += bool(problems)
        print(f"{'FAILED' if problems else 'ok'}  {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
