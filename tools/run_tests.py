#!/usr/bin/env python3
"""Runs the tests of one build and counts their cases; `./dev test` is the way to call it.

  ctest programs    googletest cases are counted from the XML that each program leaves behind;
                    any other program is one case
  e2e scripts       tests/e2e/*_test.{sh,py,js}; each case is a line "ok NAME" or "not ok NAME"
                    (TAP); a script that prints none is one case, by its exit status. They find
                    MQTTD_BIN, MQLOAD_BIN and TEST_TMPDIR (an empty directory, removed after
                    success) in the environment, choose no fixed port, and run side by side unless
                    one of their first ten lines says "runs: alone"
  lint (--lint)     one case per rule

The last line is "N passed, N failed"; the exit status is 0 only if nothing failed and something ran.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Sanitized programs are some times slower; `./dev` says so here.
SCRIPT_TIMEOUT_S = 900 * int(os.environ.get("MQTTD_TEST_SLOWDOWN", "1"))


class Tally:
    def __init__(self):
        self.passed = 0
        self.failures = []  # (name, output)

    def ok(self, count=1):
        self.passed += count

    def fail(self, name, output=""):
        self.failures.append((name, output))


def run_ctest(build, jobs, filter_regex, tally):
    results = build / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    report = results / "ctest.junit"
    listed = subprocess.run(["ctest", "--test-dir", str(build), "-N"], capture_output=True, text=True)
    names = re.findall(r"^ +Test +#\d+: (\S+)", listed.stdout, re.MULTILINE)
    environment = dict(os.environ, MQTTD_BIN=str(build / "bin" / "mqttd"),
                       MQLOAD_BIN=str(build / "bin" / "mqload"))
    command = ["ctest", "--test-dir", str(build), "-j", str(jobs), "--output-junit", str(report),
               "--output-on-failure"]
    if filter_regex:
        if any(re.search(filter_regex, name) for name in names):
            command += ["-R", filter_regex]
        elif script_paths(filter_regex):
            return
        else:
            environment["GTEST_FILTER"] = f"*{filter_regex}*"
            command += ["-LE", "fuzz-smoke|python"]
    if not names:
        return
    log = results / "ctest.log"
    with log.open("w") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    if not report.exists():
        tally.fail("ctest", log.read_text(errors="replace")[-4000:])
        return
    for case in ElementTree.parse(report).iter("testcase"):
        name, status = case.get("name"), case.get("status")
        xml = results / f"{name}.xml"
        system_out = case.findtext("system-out") or ""
        failed_before = len(tally.failures)
        if xml.exists():
            count_googletest(name, xml, tally)
        elif status == "run":
            tally.ok()
        if status != "run" and len(tally.failures) == failed_before:
            tally.fail(name, system_out[-4000:])  # Crashed, timed out, or not built.


def count_googletest(program, xml, tally):
    try:
        tree = ElementTree.parse(xml)
    except ElementTree.ParseError as error:
        tally.fail(program, f"{xml}: {error}")
        return
    for case in tree.iter("testcase"):
        if case.get("status") != "run" or case.get("result") == "suppressed":
            continue
        problems = [failure.get("message") or "" for failure in case.findall("failure")]
        if problems:
            tally.fail(f"{program}: {case.get('classname')}.{case.get('name')}", "\n".join(problems))
        elif case.find("skipped") is None:
            tally.ok()


def script_paths(filter_regex):
    paths = sorted(path for path in (ROOT / "tests" / "e2e").glob("*_test.*")
                   if path.suffix in (".sh", ".py", ".js"))
    if filter_regex:
        paths = [path for path in paths if re.search(filter_regex, path.stem)]
    return paths


def case_text(text, result):
    """What a script said of the case with that line: up to the next one's."""
    said = text[text.index(result):]
    following = re.search(r"^(?:not )?ok\b", said[len(result):], re.MULTILINE)
    return said[:len(result) + following.start()] if following else said


def run_script(path, build):
    scratch = tempfile.mkdtemp(prefix=f"mqttd-{path.stem}-")
    environment = dict(os.environ, MQTTD_BIN=str(build / "bin" / "mqttd"),
                       MQLOAD_BIN=str(build / "bin" / "mqload"), TEST_TMPDIR=scratch)
    # The distribution's Python, which sees its paho-mqtt, whatever else is on PATH.
    interpreter = {".py": "/usr/bin/python3", ".sh": "bash", ".js": "node"}[path.suffix]
    command = [interpreter, str(path)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                                   env=environment, start_new_session=True)
        try:
            status = process.wait(timeout=SCRIPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            status = "timeout"
        output.seek(0)
        text = output.read()
    tally = Tally()
    for line in text.splitlines():
        if match := re.match(r"ok\b[ \d-]*(.*) # SKIP (.*)", line):
            print(f"  skipped  {path.stem}: {match.group(1)}: {match.group(2)}", flush=True)
        elif re.match(r"ok\b", line):
            tally.ok()
        elif match := re.match(r"not ok\b[ \d-]*(.*)", line):
            tally.fail(f"{path.stem}: {match.group(1)}", case_text(text, line)[-4000:])
    if status != 0 and not tally.failures:
        tally.fail(path.stem, f"{text[-4000:]}\nended with {status}")
    elif status == 0 and not tally.passed and not tally.failures:
        tally.ok()
    if tally.failures:
        tally.failures[-1] = (tally.failures[-1][0], f"{tally.failures[-1][1]}\nfiles are kept in {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    return path, tally, time.monotonic() - started


def runs_alone(path):
    with path.open(errors="replace") as lines:
        return any("runs: alone" in line for _, line in zip(range(10), lines))


def run_scripts(build, jobs, filter_regex, tally):
    paths = script_paths(filter_regex)
    together = [path for path in paths if not runs_alone(path)]
    alone = [path for path in paths if runs_alone(path)]

    def absorb(result):
        path, own, seconds = result
        tally.passed += own.passed
        tally.failures += own.failures
        print(f"  {'FAILED' if own.failures else 'passed'}  {path.stem}  {seconds:.1f} s", flush=True)

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(jobs, 4))) as pool:
        for result in pool.map(lambda path: run_script(path, build), together):
            absorb(result)
    for path in alone:
        absorb(run_script(path, build))


def collect_findings(directory, tally):
    """What the sanitizers wrote. A process that was killed, or whose exit status nobody looks at, counts too."""
    for path in sorted(directory.iterdir()):
        tally.fail(f"finding: {path.name}", path.read_text(errors="replace")[:20000])


def run_lint(tally):
    sys.path.insert(0, str(ROOT / "tools"))
    import lint
    for name, problems in lint.run_all():
        if problems:
            tally.fail(f"lint: {name}", "\n".join(problems))
        else:
            tally.ok()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--filter", default="")
    parser.add_argument("--lint", action="store_true")
    parser.add_argument("--findings", type=Path, help="directory of the sanitizers' reports, each one a failure")
    options = parser.parse_args()
    build = options.build.resolve()
    tally = Tally()

    def phase(name, function, *arguments):
        before, failed, started = tally.passed, len(tally.failures), time.monotonic()
        print(f"{name} …", flush=True)
        function(*arguments, tally)
        print(f"{name}: {tally.passed - before} passed, {len(tally.failures) - failed} failed, "
              f"{time.monotonic() - started:.1f} s", flush=True)

    if options.lint:
        phase("lint", run_lint)
    phase("unit and spec", run_ctest, build, options.jobs, options.filter)
    phase("end to end", run_scripts, build, options.jobs, options.filter)
    if options.findings:
        phase("findings", collect_findings, options.findings)

    for name, output in tally.failures:
        print(f"\n--- FAILED {name}\n{output}")
    if tally.failures:
        print("\nfailed:")
        for name, _ in tally.failures:
            print(f"  {name}")
        print("next: ./dev test NAME runs one of them")
    elif not tally.passed:
        print("no test matched")
    print(f"{tally.passed} passed, {len(tally.failures)} failed", flush=True)
    return 0 if tally.passed and not tally.failures else 1


if __name__ == "__main__":
    sys.exit(main())
