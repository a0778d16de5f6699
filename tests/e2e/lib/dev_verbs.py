"""Whether `./dev` has a verb and its options, by what it says of itself: to run them would be to build and test everything."""

import re
import shlex
from functools import cache
from pathlib import Path

from doc_commands import ROOT
from e2e import equal, holds, run

# Verbs with options of their own: the program that tells of them.
PROGRAMS = {
    "bench": "bench/run/main.py", "bench --micro": "bench/run/micro.py", "bench --client": "bench/run/client.py",
    "chaos": "tools/chaos.py", "cluster": "tools/cluster.py", "crash": "tests/e2e/lib/crash_main.py", "image": "tools/image.py",
    "k8s": "deploy/k8s/e2e/run.py", "operator-load": "bench/run/operator_load.py",
}


@cache
def dev_help():
    return run(ROOT / "dev", "help").out.text()


@cache
def help_of(verb, mode, mqttd):
    program = PROGRAMS.get(f"{verb} {mode}") or PROGRAMS.get(verb)
    text = dev_help()
    if program:
        text += run("/usr/bin/python3", ROOT / program, "--help", env={"MQTTD_BIN": mqttd}).out.text()
    return text


@cache
def test_names(mqttd):
    """Of programs and scripts, by which `./dev test` may be told which to run."""
    build = Path(mqttd).resolve().parent.parent
    programs = re.findall(r"^ +Test +#\d+: (\S+)", run("ctest", "--test-dir", build, "-N").out.text(), re.MULTILINE)
    return programs + [path.stem for path in (ROOT / "tests/e2e").glob("*_test.*")]


def check_dev(command, mqttd):
    words = shlex.split(command.text)
    equal(words.pop(0), "./dev", command)
    verb = words.pop(0) if words else "help"
    verbs = re.search(r"^verb=.*", (ROOT / "dev").read_text(), re.MULTILINE | re.DOTALL)[0]
    holds(re.search(rf"^(?:[\w-]+ \| )*{verb}(?: \| [-\w]+)*\)", verbs, re.MULTILINE), f"{command}: no such verb")
    holds(re.search(rf"^  (?:\w+, )*{verb}\b", dev_help(), re.MULTILINE) or verb == "help", f"{command}: ./dev help does not name it")
    mode = next((word for word in words if word in ("--micro", "--client")), "")
    for word in words:
        if word.startswith("--"):
            holds(re.search(rf"(?<![\w-]){word}(?![\w-])", help_of(verb, mode, mqttd)), f"{command}: no option {word}")
    plain = [word for word in words if not word.startswith("-")]
    if verb in ("test", "asan", "tsan") and plain:
        holds(any(re.search(plain[0], name) for name in test_names(mqttd)), f"{command}: no test of that name")
    if verb == "build" and plain:
        holds(f" {plain[0]} " in re.search(r'\[\[ "( dev .*?)" ==', (ROOT / "dev").read_text())[1], f"{command}: no such preset")
    if verb == "fuzz" and plain and plain[0].islower():
        holds(plain[0] in test_names(mqttd) or any(Path(path).stem == plain[0] for path in (ROOT / "tests/fuzz").glob("*.cc")), command)
