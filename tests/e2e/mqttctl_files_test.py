#!/usr/bin/env python3
"""What mqttctl reads from files and writes to them, where that does not go well."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin
from e2e import Broker, case, equal, holds, main, run, scratch, write

broker = Broker()
admin = Admin(broker)


def shell(line, status=0):
    """By bash, in which mqttctl finds the broker."""
    return run("bash", "-c", line.replace("mqttctl ", f"{MQTTCTL} ", 1), status=status, env={"MQTTCTL_ENDPOINT": broker.admin})


@case("an export takes the place of the earlier one when it is whole, and not before")
def _():
    file = Path(write("retained.jsonl", "the export of yesterday\n"))
    file.chmod(0o640)
    link = file.with_name("link")
    link.symlink_to(file)
    admin.text("retained", "set", "kept/a", "-m", "x" * 4000)
    run(MQTTCTL, "--endpoint", "127.0.0.1:1", "retained", "export", file, status=3)
    said = shell(f"trap '' XFSZ; ulimit -f 1; exec mqttctl retained export {file}", status=1).err.text()
    holds("File too large" in said, said)
    equal(file.read_text(), "the export of yesterday\n", "after two that failed")
    equal(sorted(each.name for each in file.parent.iterdir()), ["link", "retained.jsonl"], "what is left")
    equal(admin.text("retained", "export", link), f"1 message in {link}", "export")
    equal(json.loads(file.read_text())["topic"], "kept/a", "its line")
    equal((file.stat().st_mode & 0o777, link.is_symlink()), (0o640, True), "its mode, and the link to it")
    equal(json.loads(shell("mqttctl retained export /dev/stdout").out.all()[0])["topic"], "kept/a", "what is no file is written to")
    holds("Is a directory" in admin.text("retained", "export", file.parent, status=1), "a directory")


@case("output that cannot be written ends every command with 1, and one that goes on at once")
def _():
    admin.text("retained", "set", "kept/a", "-m", "x")
    for command in ("retained export", "client list -o json", "cluster status", "cluster status --watch 0.1", "--help",
                    f"health --url http://{broker.http}", "topic watch 'a/#' -o json", "events -o json", "trace --client a -o json"):
        said = shell(f"mqttctl {command} > /dev/full", status=1).err.text()
        holds("cannot write the output" in said, f"{command}: {said}")
        # What prints the help keeps the reason to itself.
        holds("No space left on device" in said or command == "--help", f"{command}: {said}")
    said = shell("trap '' PIPE; exec 3> >(exec true); wait $!; mqttctl events -o json >&3", status=1).err.text()
    holds("cannot write the output: Broken pipe" in said, said)


@case("input that cannot be read is no input that has ended")
def _():
    directory = scratch("directory")
    directory.mkdir()
    for file in (directory, "/proc/self/mem"):
        said = admin.text("retained", "import", file, status=1)
        holds(f"cannot read {file}: " in said and "0 before it are set" in said, said)
    broken = ["-h", "127.0.0.1", "-p", broker.port, "-t", "a"]
    for command in ("retained import -", f"pub {' '.join(map(str, broken))} -l", f"pub {' '.join(map(str, broken))} -s"):
        said = shell(f"mqttctl {command} < {directory}", status=1).err.text()
        holds("cannot read standard input: Is a directory" in said, f"{command}: {said}")


@case("a directory in the place of a file is said in words")
def _():
    directory = scratch("directory")
    directory.mkdir()
    for command in (f"topic publish a -f {directory}", f"retained set a -f {directory}", f"config validate {directory}",
                    *(f"cluster status {option} {directory}" for option in ("--token-file", "--ca-file", "--cert-file")),
                    f"pub -h 127.0.0.1 -p {broker.port} -t a -f {directory}"):
        said = shell(f"mqttctl {command}", status=1).err.text()
        holds(f"cannot read {directory}: Is a directory" in said, f"{command}: {said}")
    for command in ("cluster status", "context list", "context set lab"):
        said = admin.ctl(*command.split(), env={"MQTTCTL_CONTEXTS": str(directory)}, status=1).err.text()
        holds(f"cannot read {directory}: Is a directory" in said, f"{command}: {said}")


@case("a pipe is as good as a file")
def _():
    admin.text("retained", "set", "kept/piped", "-m", "before")
    shell("mqttctl retained set kept/piped -f <(printf 'through a pipe')")
    equal(admin.json("retained", "get", "kept/piped")["payload"], "through a pipe", "payload")


def patiently(*arguments):
    """Again while it is not answered in time: that much work takes its time on a machine with other work."""
    for _ in range(20):
        process = admin.ctl(*arguments, "--timeout", "40", status=None)
        if process.wait() != 3:
            break
    equal(process.wait(), 0, process.err.text())
    return process.out.text()


@case("messages above 64 MiB are exported and imported, with what is behind them, read and watched")
def _():
    payload = "x" * (65 << 20)
    there = write("payload", payload)
    shell(f"mqttctl pub -h 127.0.0.1 -p {broker.port} -t large/1 -q 1 -r -f {there}")
    for number in range(2, 5):
        patiently("retained", "set", f"large/{number}", "-m", "small")
    file = scratch("large.jsonl")
    equal(patiently("retained", "export", file, "--filter", "large/#"), f"4 messages in {file}", "export")
    patiently("retained", "delete", "large/#", "--yes")
    equal(patiently("retained", "import", file), "4 messages set", "import")
    equal(patiently("retained", "get", "large/1", "-o", "jsonpath={.payload_bytes}"), str(len(payload)), "get")
    shell("mqttctl topic watch 'large/#' --retained --count 4 -o json > /dev/null")


main()
