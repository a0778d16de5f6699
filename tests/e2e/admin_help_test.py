#!/usr/bin/env python3
"""Every example of mqttctl's help runs; contexts, output forms, completion."""

import json
import re
import shlex
import sys
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, durable
from admin_examples import Examples, made, verbs
from e2e import MQTTD_BIN, Process, case, equal, holds, main, run, scratch, write
from relay import Relay

examples = Examples()
broker, admin, ENVIRONMENT = examples.broker, examples.admin, examples.environment


@case("the example of each verb's help runs")
def _():
    directory = made("examples")
    found = list(verbs())
    holds(len(found) > 35, f"{len(found)} verbs")
    for words, text in found:
        found_in = re.findall(r"Example: (.*(?:\n  .*)?)", text)
        equal(len(found_in), 1, f"examples of {' '.join(words)}")
        client = examples.prepare(directory)
        examples.run_line(re.sub(r"\s+", " ", found_in[0]).strip(), directory)
        client.close()


@case("contexts name brokers; what is given goes before what they say")
def _():
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "MQTTCTL_ENDPOINT"}
    environment["HOME"] = str(scratch("contexts"))
    environment["MQTTCTL_ENDPOINT"] = ""

    def ctl(*arguments, status=0):
        return run("env", "-u", "MQTTCTL_ENDPOINT", MQTTCTL, *arguments, status=status, env=environment)
    ctl("context", "set", "lab", "--endpoint", broker.admin)
    ctl("context", "set", "nowhere", "--endpoint", "127.0.0.1:1", "--token", "0123456789abcdef")
    equal(json.loads(ctl("cluster", "status", "-o", "json").out.text())["state"], "ready", "the first one is the current one")
    ctl("cluster", "status", "--context", "nowhere", status=3)
    ctl("context", "use", "nowhere")
    ctl("cluster", "status", status=3)
    ctl("cluster", "status", "--endpoint", broker.admin)
    listed = ctl("context", "list", "-o", "json").out.text()
    equal([(each["name"], each["current"]) for each in json.loads(listed)], [("lab", False), ("nowhere", True)], "list")
    holds("0123456789abcdef" not in listed, "a token is not shown")
    file = Path(environment["HOME"]) / ".config/mqttctl/contexts.json"
    equal(file.stat().st_mode & 0o777, 0o600, "mode of the file")
    ctl("context", "delete", "nowhere")
    ctl("context", "use", "nowhere", status=5)


@case("jsonpath, wide and yaml")
def _():
    client = durable(broker, "form-1")
    equal(admin.text("cluster", "status", "-o", "jsonpath={.members[0].state} {.members[0].partitions}"), "ready 16", "paths")
    equal(admin.text("client", "list", "-o", 'jsonpath={range [*]}{.client_id}={.protocol}{"\\n"}{end}').strip(), "form-1=5.0", "range")
    equal(admin.text("client", "list", "-o", "jsonpath={[-1]['client_id']}{.nothing}"), "form-1", "from the end")
    holds("a } is missing" in admin.text("client", "list", "-o", "jsonpath={.x", status=1), "a mistake")
    table, wide = admin.text("client", "list"), admin.text("client", "list", "-o", "wide")
    holds("KEEP_ALIVE_S" in wide and "KEEP_ALIVE_S" not in table, "wide")
    client.close()


def cells(text):
    """How many a terminal shows it in."""
    return sum(0 if unicodedata.category(each) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(each) in "WF" else 1
               for each in text)


@case("columns stand below each other whatever names are made of, and a name is shown as it is")
def _():
    names = ["plain", "кухня", "厨房", "부엌", "ｶﾅ", "ＡＢ", "cafe\u0301", "नमस्ते", "🚀", "a\u200db", "か\u3099",
             "it's", '"quoted"', "back\\slash", "an\\n as it is", "größer"]
    for name in names:
        admin.text("retained", "set", f"{name}/wide", "-m", "x", "-q", "1")
    lines = admin.text("retained", "list", "+/wide").splitlines()
    column = lines[0].index("QOS")
    seen = {}
    for line in lines[1:]:
        topic, _, rest = line.partition("/wide")
        seen[topic] = cells(f"{topic}/wide") + len(rest) - len(rest.lstrip())
    equal(seen, {name: column for name in names}, "where the second column begins")
    admin.text("retained", "set", "turned\u202e/steers\t\x1b[2J/2", "-m", "x")
    listed = admin.text("retained", "list", "+/+/2")
    holds(r"turned\u202e/steers\t\033[2J/2  " in listed, listed)
    admin.text("retained", "delete", "#", "--yes")


@case("--watch does it again")
def _():
    watch = Process([MQTTCTL, "--endpoint", broker.admin, "cluster", "members", "--watch", "0.1", "-o", "jsonpath={[0].state}"])
    seen = 0
    for _ in range(3):
        watch.out.wait_for("ready", after=seen)
        seen = len(watch.out)
    watch.kill()


@case("--watch goes on after an error that may pass, and ends with one that will not")
def _():
    relay = Relay(int(broker.admin.rpartition(":")[2]))
    watch = Process([MQTTCTL, "--endpoint", f"127.0.0.1:{relay.port}", "--timeout", "1", "--watch", "0.1", "cluster", "members",
                     "-o", "jsonpath={[0].state}"])
    watch.out.wait_for("ready")
    relay.lose_answers = True
    watch.err.wait_for("There was no answer in time")
    seen = len(watch.out)
    relay.cut()
    watch.out.wait_for("ready", after=seen)
    relay.close()
    seen = len(watch.err)
    watch.err.wait_for("no broker answers", after=seen)
    seen = len(watch.err)
    watch.err.wait_for("no broker answers", after=seen)
    watch.kill()
    client = durable(broker, "comes-and-goes")
    watch = Process([MQTTCTL, "--endpoint", broker.admin, "--watch", "0.1", "client", "show", "comes-and-goes", "-o", "jsonpath={.client_id}"])
    watch.out.wait_for("comes-and-goes")
    client.close()
    watch.err.wait_for('no client "comes-and-goes" is connected')
    seen = len(watch.out)
    client = durable(broker, "comes-and-goes")
    watch.out.wait_for("comes-and-goes", after=seen)
    watch.kill()
    client.close()
    admin.ctl("--watch", "0.1", "client", "show", "never-here", status=5)
    admin.ctl("--watch", "0.1", "retained", "list", "a/#/b", status=1)


@case("completion for bash offers nouns, verbs and options")
def _():
    script = write("completion.bash", admin.text("completion", "bash") + "\n")

    def offers(*words):
        line = " ".join(shlex.quote(word) for word in words)
        out = run("bash", "-c", f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _mqttctl; "
                                'echo "${COMPREPLY[@]}"').out.text()
        return out.split()
    holds("session" in offers("mqttctl", "") and "retained" in offers("mqttctl", "re"), "nouns")
    equal(offers("mqttctl", "client", "k"), ["kick"], "verbs")
    equal(offers("mqttctl", "client", "kick", "sensor-7", "--rea"), ["--reason"], "options")
    holds("--endpoint" in offers("mqttctl", "-o", "json", "client", "list", "--e"), "options of all verbs")
    holds(admin.text("completion", "zsh").startswith("#compdef mqttctl"), "zsh")
    holds("complete -c mqttctl" in admin.text("completion", "fish"), "fish")


@case("passwd makes password files that the broker takes")
def _():
    file = Path(write("passwords", "# kept\n"))
    for user, algorithm in (("alice", "pbkdf2"), ("bob", "argon2id"), ("alice", "pbkdf2")):
        run(MQTTCTL, "passwd", file, user, "--algorithm", algorithm, stdin=b"secret of " + user.encode() + b"\n")
    lines = file.read_text().splitlines()
    equal([line.partition(":")[0] for line in lines], ["# kept", "alice", "bob"], "lines")
    holds("the configuration is right" in run(MQTTD_BIN, "--check-config", "--set", f"auth.password_file={file}").out.text(),
          "the broker reads it")
    run(MQTTCTL, "passwd", file, "bob", "--delete")
    run(MQTTCTL, "passwd", file, "bob", "--delete", status=5)


@case("passwd leaves a password file alone that it cannot read")
def _():
    file = Path(write("passwords", ""))
    file.unlink()
    file.symlink_to("/proc/self/mem")  # It opens, and cannot be read from its beginning.
    refused = run(MQTTCTL, "passwd", file, "alice", stdin=b"secret\n", status=1).err.text()
    holds(f"cannot read {file}: Input/output error" in refused, refused)
    holds(file.is_symlink(), "it is what it was")


main()
