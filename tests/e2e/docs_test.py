#!/usr/bin/env python3
"""Every command that the documents print runs here, or is in a short list that says why it cannot.

Each line of a block of code belongs to one of the cases below, by RULES; a line that belongs to none fails the first case. What is
not on this machine (addresses, /etc, a registry) is replaced, the rest of a line stays as it is printed.
"""

import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import MQTTCTL, Admin  # noqa: E402
from admin_examples import Examples, made  # noqa: E402
from dev_verbs import check_dev, test_names  # noqa: E402
from doc_commands import ROOT, commands, inline_commands  # noqa: E402
from e2e import (MQTTD_BIN, PATIENCE_S, Broker, Certificates, Process, Skip, case, equal, holds, main, run,  # noqa: E402
                 scratch, write)
from local_cluster import free_ports  # noqa: E402

BUILD = Path(MQTTD_BIN).resolve().parent.parent
TOOLS = Path(os.environ.get("KUBE3_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mqttd-k8s")
PATH = f"{Path(MQTTCTL).resolve().parent}:{os.environ['PATH']}"

RULES = [  # (case, documents, commands); the first that fits.
    ("cluster", "operations", r"mqttd --cluster |mqttctl cluster |mqttctl --endpoint \S+ cluster join|mqttctl explain loss \d"),
    ("cluster", "mqttctl", r"mqttctl (--endpoint \S+ )?cluster (join|forget) "),
    ("elsewhere", "mqttctl", r"mqttctl --endpoint broker\.example\.org|mqttctl pub -L mqtts:"),
    ("clients", "", r"(journalctl -f \| )?(build/release/bin/)?mqttctl (pub|sub) "),
    ("bench", "mqttctl", r"mqttctl bench "),
    ("health", "mqttctl|operations", r"mqttctl (health|drain)\b"),
    ("admin", "mqttctl|operations", r"(echo \w+ \| )?mqttctl |curl "),
    ("broker", "", r"(build/release/bin/)?mqttd\b"),
    ("dev", "", r"\./dev "),
    ("build", "", r"cmake --install |ninja -C |(MQTTD_\w+=\d+ )?build/\w+/tests/|bench/run/document\.py "),
    ("docker", "containers", r"docker (run|kill) "),
    ("kubernetes", "kubernetes", r"helm |kubectl |mosquitto_passwd "),
    ("passwords", "operations", r"mosquitto_passwd "),
]
NOT_RUN = {  # What a command begins with: why it is not run.
    "docker tag": "needs Docker's daemon, and the image",
    "docker push": "needs a registry",
    "sudo apt install ./build/package/": "package_test.py installs the package in a root directory of its own",
    "cmake -S . -B BUILD": "compiles mqload alone for minutes; its directory is the one that the whole build compiles",
    "cmake --build BUILD": "likewise",
}


def case_of(command):
    for name, documents, pattern in RULES:
        if re.search(documents, command.document) and re.match(pattern, command.text):
            return name
    return None


def lines(name):
    found = [command for command in commands() if case_of(command) == name]
    holds(found, f"no document has a command for this case: {name}")
    return found


def shell(line, directory, status=0, env=None, **replaced):
    """A line as a reader's shell has it, to its end."""
    process = Process(["bash", "-o", "pipefail", "-c", line], cwd=directory, env={"PATH": PATH, **(env or {})}, **replaced)
    got = process.wait()
    if status is not None:
        equal(got, status, f"exit status of: {line}\n{process.out.text()}\n{process.err.text()}")
    return process


@case("each line of a block of code is a command that runs here, or has a reason why not")
def _():
    unknown = [str(command) for command in commands()
               if case_of(command) is None and not any(command.text.startswith(begin) for begin in NOT_RUN)]
    equal(unknown, [], "commands that no case runs")
    for begin in NOT_RUN:
        holds(any(command.text.startswith(begin) for command in commands()), f"no document has: {begin}")
    for number in range(len(RULES)):
        holds(any(case_of(command) == RULES[number][0] for command in commands()), f"no document has: {RULES[number]}")


# ---- mqttctl ------------------------------------------------------------------------------------


def plain(line, directory):
    """What stands for things of the reader's machine."""
    return line.replace("build/release/bin/", "").replace("/var/backups", str(directory))


@case("commands to the admin API of a broker that runs do what they say")
def _():
    examples = Examples()
    directories = {}
    found = lines("admin")
    holds(len(found) > 60, f"{len(found)} commands")
    for command in found:
        directory = directories.setdefault(command.document, None) or made("documents")
        directories[command.document] = directory
        line = plain(command.text, directory).replace("http://127.0.0.1:9883", f"http://{examples.broker.http}")
        if line.startswith("mqttctl ban ") and "operations" in command.document:
            examples.run_line(line, directory)  # One after the other, they keep away whom the others need.
            continue
        client = examples.prepare(directory)
        if re.match(r"mqttctl (trace|events|top)\b", line) and ("--watch" in line or not re.search(r"--(count|seconds) ", line)):
            client.close()
            examples.run_endless(line, directory)
        else:
            examples.run_line(line, directory)
            client.close()
    examples.broker.terminate()


@case("commands to a broker elsewhere reach it by TLS, with a token and a password")
def _():
    authority, directory = Certificates(), made("elsewhere")
    shutil.copy(authority.ca, directory / "ca.crt")
    (directory / ".mqttctl-token").write_text("0123456789abcdef-viewer\n")
    access = write("access", "token watcher viewer 0123456789abcdef-viewer\n")
    passwords = write("passwords", "")
    run(MQTTCTL, "passwd", passwords, "alice", stdin=b"secret\n")
    broker = Broker(config=f"""
data_dir: "{{data}}"
tls: {{cert_file: {authority.server}, key_file: {authority.server_key}}}
auth: {{password_file: {passwords}}}
listeners: ["mqtts://127.0.0.1:0"]
admin: {{access_file: {access}, cert_file: {authority.server}, key_file: {authority.server_key}}}
""")
    for command in lines("elsewhere"):
        line = command.text.replace("broker.example.org:9884", broker.admin.replace("127.0.0.1", "localhost"))
        line = line.replace("@broker/", f"@localhost:{broker.port}/")
        if "mqttctl pub" in line:
            line += f" --cafile {authority.ca}"
        shell(line, directory, env={"HOME": str(directory)})
    broker.terminate()


@case("pub and sub do what they say")
def _():
    examples, directory = Examples(), made("clients")
    (directory / "journalctl").write_text("#!/bin/sh\nprintf 'one\\ntwo\\n'\n")  # It would go on for ever.
    (directory / "journalctl").chmod(0o755)
    there = f"-h 127.0.0.1 -p {examples.broker.port} "
    for command in lines("clients"):
        line = re.sub(r"\b(mqttctl (?:pub|sub)) ", rf"\1 {there}", plain(command.text, directory))
        if "mqttctl sub" in line:
            examples.run_endless(line, directory)
        else:
            shell(line, directory, env={"PATH": f"{directory}:{PATH}"})
    examples.broker.terminate()


@case("bench measures, in less of everything")
def _():
    broker, directory = Broker(), made("bench")
    for command in lines("bench"):
        line = re.sub(r"(--publishers|--subscribers|--connections|--rate) (\d+)", lambda match:
                      f"{match[1]} {min(int(match[2]), 50 if match[1] == '--rate' else 5)}", command.text)
        line = re.sub(r" --seconds \d+", "", line) + " --seconds 1"
        line = line.replace("-h broker", f"-h 127.0.0.1 -p {broker.port}").replace("http://127.0.0.1:9883", f"http://{broker.http}")
        shell(line, directory)
    broker.terminate()


@case("health and drain ask the broker of this machine")
def _():
    broker, directory = Broker(), made("health")
    for command in sorted(lines("health"), key=lambda command: "drain" in command.text):  # That is the end of it.
        shell(command.text.replace("--pid 1", f"--pid {broker.pid}"), directory, env={"MQTTCTL_HTTP_URL": f"http://{broker.http}"})
    holds("drained" in broker.get("/readyz")[1], "its clients are gone")
    broker.terminate()


class Several:
    """The nodes of the documents' cluster, by the addresses that stand there."""

    def __init__(self):
        self._ports, self._taken = {}, set()
        self.nodes = []  # (process, HOST:PORT of its admin API, once it is known)

    def _here(self, address):
        return f"127.0.0.1:{self._ports.setdefault(address, free_ports(1)[0])}"

    def to_here(self, line):
        return re.sub(r"10\.0\.0\.\d:9885", lambda match: self._here(match[0]), line).removesuffix(" ...")

    def start(self, line, own, admin="127.0.0.1:0"):
        """One node; `own` is its address. What another one had before it stands for an address of its own."""
        if own in self._taken:
            del self._ports[own]
        self._taken.add(own)
        line = re.sub(r"--cluster \S+", f"--cluster {own}", re.sub(r" --admin \S+", "", line))
        process = Process(["bash", "-c", f"exec {self.to_here(line)} --listen mqtt://127.0.0.1:0 --http 127.0.0.1:0 --admin {admin} "
                                         f"--data-dir {scratch('node')}"], env={"PATH": PATH})
        self.nodes.append(process)
        return process


def ready(process):
    """Where its admin API is."""
    return process.out.wait_for(r"^mqttd ready .* admin=(\S+)").group(1).decode()


@case("the commands of a cluster found it, look at it, let nodes join and forget them")
def _():
    cluster, directory = Several(), made("cluster")
    asked, waiting, joins, fourth = None, None, None, None

    def ctl(line, endpoint, status=0):
        return shell(re.sub(r" --endpoint \S+", "", cluster.to_here(line)), directory, status=status, env={"MQTTCTL_ENDPOINT": endpoint})

    def wait_to_be_told(line):
        admin = f"127.0.0.1:{free_ports(1)[0]}"  # It is served before the node is ready.
        process = cluster.start(line, "10.0.0.4:9885", admin=admin)
        process.err.wait_for(r"no cluster yet.*mqttctl cluster join")
        return process, admin
    found = lines("cluster")
    found = [each for each in found if "operations" in each.document] + [each for each in found if "operations" not in each.document]
    for command in found:
        line = command.text
        if "--expected-size 3" in line:
            founders = [cluster.start(line, f"10.0.0.{number}:9885") for number in (1, 2, 3)]
            asked = [ready(each) for each in founders][0]
        elif line.startswith("mqttd ") and "--join" in line:
            fourth = cluster.start(line, "10.0.0.4:9885")
            ready(fourth)
        elif line.startswith("mqttd "):
            joins = line
            waiting = wait_to_be_told(joins)
        elif "cluster join" in line:
            waiting = waiting or wait_to_be_told(joins)
            ctl(line, waiting[1])
            ready(waiting[0])
            waiting = None
        elif "cluster forget" in line:
            fourth.kill()
            deadline = time.monotonic() + PATIENCE_S
            while ctl(line, asked, status=None).wait() != 0:  # It has to be given up first.
                holds(time.monotonic() < deadline, line)
        else:
            ctl(line, asked)
    for process in cluster.nodes:
        process.kill()


# ---- mqttd --------------------------------------------------------------------------------------

FREE = "--listen mqtt://127.0.0.1:0 --http 127.0.0.1:0 --admin 127.0.0.1:0"


def inline_yaml(document):
    return re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@case("mqttd starts as the documents say, and restores a backup")
def _():
    examples, directory = Examples(), made("broker")
    examples.admin.text("retained", "set", "house/door", "-m", "open")
    examples.admin.text("backup", "create", directory / "mqttd" / "monday")
    examples.broker.terminate()
    (directory / "etc").mkdir()
    shutil.copy(ROOT / "deploy/debian/mqttd.yaml", directory / "etc/mqttd.yaml")
    (directory / "deploy").symlink_to(ROOT / "deploy")
    for command in lines("broker"):
        line = plain(command.text, directory).replace("/etc/mqttd/", f"{directory}/etc/").replace("/tmp/d", f"{directory}/d")
        if "--restore" in line:
            line = line.replace("/var/lib/mqttd", f"{directory}/restored")
            shell(line, directory)
            with Broker(data_dir=directory / "restored") as restored:
                equal(Admin(restored).json("retained", "get", "house/door")["payload"], "open", "what was backed up")
            continue
        own = "" if "--data-dir" in line else f" --data-dir {scratch('data')}"
        if line == "mqttd":
            own = ""  # ./mqttd-data
        process = Process(["bash", "-c", f"exec {line} {FREE}{own}"], cwd=directory, env={"PATH": PATH})
        ready(process)
        process.signal(15)
        equal(process.wait(), 0, f"exit status of: {line}")
    holds((directory / "mqttd-data/state").exists(), "mqttd alone keeps its data in ./mqttd-data")


def with_password(line, directory, password=b"secret"):
    """mosquitto_passwd, which asks for it twice on the terminal."""
    import pty  # pylint: disable=import-outside-toplevel
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execvp("bash", ["bash", "-c", f"exec {line}"])
    said = b""
    for _ in range(2):
        while said.count(b": ") == 0:
            said += os.read(terminal, 1000)
        said = said.partition(b": ")[2]
        os.write(terminal, password + b"\n")
    try:
        while os.read(terminal, 1000):
            pass
    except OSError:  # The terminal is gone with the process.
        pass
    equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, f"exit status of: {line}")


@case("passwords made with mosquitto's tool are the broker's")
def _():
    if not shutil.which("mosquitto_passwd"):
        raise Skip("mosquitto_passwd is missing: ./dev setup")
    directory = made("passwords")
    for command in lines("passwords"):
        with_password(command.text.replace("/etc/mqttd/", f"{directory}/"), directory)
    with Broker("--set", f"auth.password_file={directory}/passwords") as broker:
        run(MQTTCTL, "pub", "-h", "127.0.0.1", "-p", broker.port, "-u", "alice", "-P", "secret", "-t", "t", "-m", "x", "-q", "1")


# ---- Building -----------------------------------------------------------------------------------


def is_test(name, command):
    holds(name in test_names(MQTTD_BIN), f"{command}: there is no test program {name}")


@case("./dev has the verbs and options that the documents name")
def _():
    for command in lines("dev"):
        check_dev(command, MQTTD_BIN)


@case("what installs, builds one test and repeats a test with other seeds works")
def _():
    for command in lines("build"):
        line = re.sub(r"build/(release|dev)\b", str(BUILD), command.text)
        if line.startswith("cmake --install"):
            prefix = scratch("prefix")
            shell(line.replace("/usr/local", str(prefix)), ROOT)
            holds(any(prefix.rglob("*.a")) and any(prefix.rglob("*.h")), f"{command} installs nothing")
        elif line.startswith("ninja"):
            is_test(line.split()[-1], command)
        elif line.startswith("bench/run/document.py"):
            shell(line.replace("figures.json", "docs/performance.json") + " --check", ROOT)
        else:
            program = Path(shlex.split(line)[-1])
            is_test(program.name, command)
            if program.exists():
                shell(re.sub(r"^(MQTTD_SEEDS)=\d+", r"\1=20", line), ROOT)


# ---- Containers ---------------------------------------------------------------------------------


def docker_run(line):
    """({option: values}, command behind the image) of `docker run`."""
    words, options, flags = shlex.split(line)[2:], {}, {"-d", "--read-only"}
    if shutil.which("docker"):
        known = run("docker", "run", "--help").out.text()
        for word in words:
            holds(not word.startswith("-") or re.search(rf"(?<![\w-]){word}(?![\w-])", known), f"docker run has no {word}")
    while words[0].startswith("-"):
        name = words.pop(0)
        options.setdefault(name, []).append("" if name in flags else words.pop(0))
    equal(words[0], "mqttd", f"the image in: {line}")
    return options, words[1:]


def dockerfile(instruction):
    """Its value, which is a list."""
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    return yaml.safe_load(re.search(rf"^{instruction} (\[.*\])$", text, re.MULTILINE)[1])


@case("a container starts as the documents say: the image's program, its configuration, what is mounted and set")
def _():
    authority, process = Certificates(), None
    secured = inline_yaml("README.md")[1]
    for command in lines("docker"):
        if command.text.startswith("docker kill"):
            equal(command.text.split(), ["docker", "kill", "--signal", "HUP", "mqttd"], "command")
            process.signal(1)
            process.err.wait_for(r" info reloaded$")
            continue
        options, arguments = docker_run(command.text)
        etc, data = made("etc"), made("data")
        if any(volume.startswith("/srv/mqttd:/etc/mqttd") for volume in options["-v"]):
            shutil.copy(authority.server, etc / "server.crt")
            shutil.copy(authority.server_key, etc / "server.key")
            run(MQTTCTL, "passwd", etc / "passwords", "alice", stdin=b"secret\n")
            (etc / "acl").write_text("user alice\ntopic readwrite #\n")
            config = "data_dir: /var/lib/mqttd\nhttp: {listen: '127.0.0.1:0'}\n" + secured
        else:
            config = (ROOT / "deploy/docker/mqttd.yaml").read_text()
        here = [("/etc/mqttd", str(etc)), ("/var/lib/mqttd", str(data)), ("0.0.0.0:9883", "127.0.0.1:0")]
        config = re.sub(r"(://\*):\d+", r"\1:0", config)
        for there, path in here:
            config = config.replace(there, path)
        (etc / "mqttd.yaml").write_text(config)
        words = [*dockerfile("ENTRYPOINT"), *(arguments or dockerfile("CMD")), "--admin", "127.0.0.1:0"]
        words = [word.replace("/usr/bin/mqttd", MQTTD_BIN).replace("/etc/mqttd", str(etc)) for word in words]
        ports = [int(each.split(":")[-1]) for each in options["-p"]]
        exposed = [int(each) for each in re.search(r"^EXPOSE (.*)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)[1].split()]
        holds(set(ports) <= set(exposed), f"{ports} of {exposed}")
        if process is not None:
            process.kill()
        process = Process(words, env=dict(each.split("=", 1) for each in options.get("-e", ())))
        ready(process)
        if "-e" in options:
            said = run(*words, "--data-dir", scratch("data"), status=2).err.text()
            holds("allow_anonymous" in said, "without a word on who may connect it does not start")
    process.kill()


@case("the commands for Kubernetes fit the chart")
def _():
    helm = TOOLS / "bin" / "helm"
    if not helm.exists():
        raise Skip("helm is not built: deploy/k8s/e2e/tools.sh chart (needs go)")
    directory = made("kubernetes")
    kubectl = shutil.which("kubectl")
    home = {name: str(scratch("helm")) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    home["PATH"] = f"{helm.parent}:{PATH}"
    secrets, namespace, text = {}, None, None
    for command in lines("kubernetes"):
        line = command.text
        if line.startswith("mosquitto_passwd"):
            if not shutil.which("mosquitto_passwd"):
                raise Skip("mosquitto_passwd is missing: ./dev setup")
            with_password(line, directory)
            run(MQTTD_BIN, "--check-config", "--set", f"auth.password_file={directory}/users")
        elif line.startswith("kubectl"):
            if kubectl:
                shell(f"{line} --dry-run=client -o yaml", directory)
            if match := re.search(r"create namespace (\S+)", line):
                namespace = match[1]
            if match := re.search(r"create secret generic (\S+) --from-file=(\w+)=(\w+)", line):
                holds((directory / match[3]).exists(), f"{line}: no file {match[3]}")
                secrets[match[1]] = match[2]
        elif line.startswith("helm install"):
            equal(re.search(r"--namespace (\S+)", line)[1], namespace, "namespace")
            options_exist([word for word in line.split() if word.startswith("--")], run(helm, "install", "--help").out.text(), command)
            line = line.replace("helm install", "helm template --kube-version 1.37.2").replace(" --wait", "")
            text = shell(line, ROOT, env=home).out.text()
        elif line.startswith("helm test"):
            holds("helm.sh/hook: test" in text or '"helm.sh/hook": test' in text, "the chart has no test")
    rendered = [each for each in yaml.safe_load_all(text) if each]
    pod = next(each for each in rendered if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    mounted = str(pod["volumes"])
    for name, key in secrets.items():
        holds(f"'{name}'" in mounted and key in mounted, f"no volume of the secret {name} with {key}: {mounted}")
    check_names(rendered)


def check_names(rendered):
    """What kubectl's commands in the text speak of."""
    names = {(each["kind"].lower(), each["metadata"]["name"]) for each in rendered}
    labels = next(each for each in rendered if each["kind"] == "StatefulSet")["spec"]["selector"]["matchLabels"]
    seen = 0
    for command in inline_commands():
        if not command.text.startswith("kubectl"):
            continue
        seen += 1
        for match in re.finditer(r"\b(pod[ /]|exec )(\w+)-0\b", command.text):
            holds(("statefulset", match[2]) in names, f"{command}: no such pod")
        if match := re.search(r"statefulset/(\w+)", command.text):
            holds(("statefulset", match[1]) in names, f"{command}: no such StatefulSet")
        if match := re.search(r"--selector (\S+)=(\S+)", command.text):
            equal(labels.get(match[1]), match[2], f"{command}: label")
    holds(seen > 5, "commands of kubectl")


# ---- In running text ----------------------------------------------------------------------------


def options_exist(words, text, command):
    for word in words:
        name = word.split("=")[0]
        holds(not re.match(r"--?\w", name) or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{command}: no option {name}")


def check_mqttctl(words, command):
    """The verb exists, and each of its options."""
    verb = []
    while words and re.fullmatch(r"[a-z]+", words[0]):
        below = re.findall(r"^  (\w+) {2,}", run(MQTTCTL, *verb, "--help").out.text().partition("Subcommands:")[2], re.MULTILINE)
        if not below:
            break
        holds(words[0] in below, f"{command}: mqttctl {' '.join(verb)} has no verb {words[0]}")
        verb.append(words.pop(0))
    options_exist(words, run(MQTTCTL, *verb, "--help").out.text() + run(MQTTCTL, "--help").out.text(), command)


@case("what is named in running text exists: verbs, options, tests, targets")
def _():
    for command in inline_commands():
        words = [word for word in command.text.replace("…", "").split() if word != "..."]
        while words and re.fullmatch(r"\w+=\S+", words[0]):
            words.pop(0)
        if words[0] == "source":
            shell(command.text, ROOT)
        elif words[0] in ("docker", "kubectl") and words[1] == "exec" and "mqttctl" in words:
            words = words[words.index("mqttctl"):]
        if not words:
            continue
        if words[0] == "mqttctl":
            check_mqttctl([word.strip("'") for word in words[1:]], command)
        elif words[0] == "mqttd":
            options_exist(words[1:], run(MQTTD_BIN, "--help").out.text(), command)
        elif words[0] == "./dev":
            check_dev(command, MQTTD_BIN)
        elif words[0].startswith("build/"):
            is_test(Path(words[0]).name, command)
        elif words[0] == "cmake":
            if re.search(r"^MQTTD_SANITIZE:\w+=.+", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE):
                continue  # Instrumented programs have no manual pages.
            shell(command.text.replace("build/release", str(BUILD)).replace("/usr", str(scratch("prefix"))), ROOT)
        elif words[0] == "systemctl":
            holds("ExecReload=" in (ROOT / "deploy/systemd/mqttd.service").read_text(), command)


main()
