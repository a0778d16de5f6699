#!/usr/bin/env python3
"""Every example of mqttctl's help, and every command of docs/mqttctl.md about the admin API, runs; contexts, output forms, completion."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin, durable, mqtt_client
from e2e import MQTTD_BIN, Broker, Process, case, equal, holds, main, publish_packet, run, scratch, subscribe_packet, write

DOCS = Path(__file__).resolve().parents[2] / "docs"

broker = Broker(config="""
listeners:
  - url: mqtt://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    name: lab
  - url: mqtt://127.0.0.1:0
    name: cellar
data_dir: "{data}"
auth: {allow_anonymous: true}
""")
admin = Admin(broker)
HOME = scratch("home")
ENVIRONMENT = {**os.environ, "MQTTCTL_ENDPOINT": broker.admin, "HOME": str(HOME), "XDG_CONFIG_HOME": "", "MQTTCTL_CONTEXTS": "",
               "PATH": f"{Path(MQTTCTL).parent}:{os.environ['PATH']}"}


def subcommands(*command):
    """Of a command, as its help lists them."""
    text = run(MQTTCTL, *command, "--help").out.text().partition("Subcommands:")[2]
    return re.findall(r"^  (\w+) {2,}", text, re.MULTILINE)


def verbs():
    """All verbs of the admin API: (words, help)."""
    for noun in subcommands():
        if noun in ("pub", "sub", "bench", "health", "drain", "version"):
            continue
        for verb in subcommands(noun) or [None]:
            words = [noun] + ([verb] if verb else [])
            yield words, run(MQTTCTL, *words, "--help").out.text()


def made(name):
    directory = scratch(name)
    directory.mkdir()
    return directory


def prepare(directory):
    """What the examples speak of."""
    (directory / "mqttd.yaml").write_text("mqtt:\n  receive_maximum: 50\n")
    (directory / "retained.jsonl").write_text('{"topic":"house/lamp","payload":"b24="}\n')
    if not (directory / "friday").exists():
        admin.text("backup", "create", directory / "friday")
    admin.text("retained", "set", "house/door", "-m", "open")
    admin.text("retained", "set", "house/old/x", "-m", "1")
    admin.text("ban", "add", "--user", "mallory")
    admin.post("Listeners/Start", {"name": "lab"})
    admin.post("Listeners/Stop", {"name": "cellar"})
    for user in ("alice", "bob"):  # Whatever an example before has made of them.
        admin.post("Users/Remove", {"name": user})
    admin.post("Users/Add", {"name": "bob", "password": {"text": "secret"}})
    admin.post("Acl/Remove", {"rule": {"userName": "alice", "access": "ACCESS_READ", "filter": "house/#"}})
    admin.post("Acl/Remove", {"rule": {"userName": "alice", "access": "ACCESS_READWRITE", "filter": "house/#"}})
    admin.post("Acl/Add", {"rule": {"everyone": True, "access": "ACCESS_DENY", "filter": "secret/#"}})
    run(MQTTCTL, "context", "set", "lab", "--endpoint", broker.admin, env=ENVIRONMENT)
    client = durable(broker, "sensor-7")
    client.send(subscribe_packet(1, "house/#", 1))
    equal(client.packet()[0], 0x90, "SUBACK")
    return client


def run_line(line, directory):
    """A command as it is printed, as a shell has it."""
    process = Process(["bash", "-o", "pipefail", "-c", line], env=ENVIRONMENT, cwd=directory)
    if "topic watch" in line:  # It ends when ten have come.
        for number in range(2000):
            if not process.running():
                break
            admin.text("topic", "publish", "house/watched", "-m", str(number), "-q", "1")
    if "mqttctl events" in line or "mqttctl trace" in line:  # They end when two have come.
        for number in range(20000):
            if not process.running():
                break
            mqtt_client(broker, f"sensor-{number}-passes").close()
    status = process.wait()
    alone = "cluster forget" in line or "cluster join" in line  # Here is no cluster: that is said in words.
    equal(status, 6 if alone else 0, f"exit status of: {line}\n{process.err.text()}")


@case("the example of each verb's help runs")
def _():
    directory = made("examples")
    found = list(verbs())
    holds(len(found) > 35, f"{len(found)} verbs")
    for words, text in found:
        examples = re.findall(r"Example: (.*(?:\n  .*)?)", text)
        equal(len(examples), 1, f"examples of {' '.join(words)}")
        client = prepare(directory)
        run_line(re.sub(r"\s+", " ", examples[0]).strip(), directory)
        client.close()


@case("the commands of docs/mqttctl.md about the admin API run")
def _():
    directory = made("docs")
    section = (DOCS / "mqttctl.md").read_text().partition("## The admin API\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^    ((?:echo \w+ \| )?mqttctl .*)$", section, re.MULTILINE)
    holds(len(lines) > 20, f"{len(lines)} commands")
    for line in lines:
        command = line.partition("  #")[0].rstrip()
        if "example.org" in command:
            continue
        client = prepare(directory)
        run_line(command, directory)
        client.close()


def commands(document):
    """Of the shell blocks of a document, those that speak to a broker that runs."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", (DOCS / document).read_text(), re.MULTILINE | re.DOTALL)
    text = re.sub(r"\\\n *", "", "\n".join(blocks))
    return [line.partition("  #")[0].strip() for line in text.splitlines() if re.match(r"(mqttctl|curl) ", line)]


def run_endless(line, directory):
    """One that goes on until it is told to stop: until it has said something."""
    process = Process(["bash", "-c", f"exec {line}"], env=ENVIRONMENT, cwd=directory)
    for number in range(20000):
        if not process.running() or process.out.text().strip():
            break
        client = durable(broker, "sensor-7")
        client.send(subscribe_packet(1, "house/#", 1))
        admin.text("topic", "publish", "house/watched", "-m", str(number), "-q", "1")
        client.close()
    holds(process.running() and process.out.text().strip(), f"{line}\n{process.err.text()}")
    process.kill()


@case("the commands of docs/operations.md to a broker that runs do what they say")
def _():
    directory = made("operations")
    found = commands("operations.md")
    holds(len(found) > 20, f"{len(found)} commands")
    for command in found:
        if command.startswith("mqttctl ban "):  # One after the other, they keep away whom the others need.
            run_line(command, directory)
            continue
        client = prepare(directory)
        line = command.replace("http://127.0.0.1:9883", f"http://{broker.http}").replace("/var/backups", str(directory))
        line = line.replace("--endpoint 127.0.0.1:9884 ", "")
        if re.match(r"mqttctl (trace|events|top)\b", line) and not re.search(r" -n ", line):
            client.close()
            run_endless(line, directory)
            continue
        if "explain loss 2" in line:  # Of a cluster.
            line = line.replace("explain loss 2", "explain loss")
        run_line(line, directory)
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


@case("--watch does it again")
def _():
    watch = Process([MQTTCTL, "--endpoint", broker.admin, "cluster", "members", "--watch", "0.1", "-o", "jsonpath={[0].state}"])
    seen = 0
    for _ in range(3):
        watch.out.wait_for("ready", after=seen)
        seen = len(watch.out)
    watch.kill()


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


main()
