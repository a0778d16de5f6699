#!/usr/bin/env python3
"""The libraries as others have them: installed, found by CMake and pkg-config, and the examples built on them."""

import re
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Broker, Certificates, Process, Skip, case, equal, holds, main, run, scratch  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(MQTTD_BIN).resolve().parent.parent
MQTTCTL = str(Path(MQTTD_BIN).with_name("mqttctl"))
# Kept with the build, so that only what has changed is compiled again.
PREFIX = BUILD / "client-package"
EXAMPLES = BUILD / "client-examples"


def usual_flags():
    cache = (BUILD / "CMakeCache.txt").read_text()
    if re.search(r"^MQTTD_SANITIZE:\w+=.+|^CMAKE_CXX_FLAGS:\w+=.*--coverage", cache, re.MULTILINE):
        raise Skip("the library is instrumented, and programs of others are not")


def pkg_config(*arguments, package="mqttd-client"):
    directory = next(PREFIX.rglob(f"{package}.pc")).parent
    process = run("pkg-config", *arguments, package, env={"PKG_CONFIG_PATH": str(directory)})
    return process.out.text().split()


@case("cmake --install --component client installs the library, and nothing else")
def _():
    run("cmake", "--install", BUILD, "--component", "client", "--prefix", PREFIX)
    holds((PREFIX / "include/mqttd/client/client.h").exists(), "client.h is missing")
    holds(not (PREFIX / "bin").exists(), "programs are no part of the library")


@case("cmake --install --component embed adds the broker to embed")
def _():
    run("cmake", "--install", BUILD, "--component", "embed", "--prefix", PREFIX)
    holds((PREFIX / "include/mqttd/embed/server.h").exists(), "server.h is missing")
    equal(len(list((PREFIX / "include/mqttd/embed").iterdir())), 4, "headers of the embedded broker")


@case("installed headers include installed headers only, and say their version")
def _():
    include = PREFIX / "include"
    headers = list((include / "mqttd").rglob("*.h"))
    holds(len(headers) >= 12, f"{len(headers)} headers")
    for header in headers:
        text = header.read_text()
        for included in re.findall(r'#include "((?!absl/)[^"]+)"', text):
            holds((include / included).exists() and included.startswith("mqttd/"), f"{header} includes {included}")
        for ours in re.findall(r"#include <((?:base|mqtt|client|embed|mqttd)/[^>]+)>", text):
            holds(False, f"{header} includes {ours}")
    version = re.search(r'MQTTD_CLIENT_VERSION "(.+)"', (include / "mqttd/client/version.h").read_text()).group(1)
    equal(pkg_config("--modversion"), [version], "version that pkg-config says")
    embedded = (include / "mqttd/embed/version.h").read_text()
    equal(re.search(r'MQTTD_EMBED_VERSION "(.+)"', embedded).group(1), version, "version of the embedded broker")


@case("the examples build with find_package(mqttd COMPONENTS client embed)")
def _():
    usual_flags()
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run("cmake", "-S", ROOT / "examples", "-B", EXAMPLES, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={PREFIX}", *launcher)
    run("cmake", "--build", EXAMPLES)


@case("a program builds with what pkg-config says")
def _():
    usual_flags()
    source = scratch("version.cc")
    source.write_text('#include <mqttd/client/core/endpoint.h>\n#include <mqttd/client/version.h>\n#include <cstdio>\n'
                      'int main() {\n  const auto endpoint = mqttd::client::ParseEndpoint("mqtts://broker");\n'
                      '  std::printf("%s %s\\n", MQTTD_CLIENT_VERSION, endpoint->ToString().c_str());\n}\n')
    program = source.with_suffix("")
    run("c++", "-std=c++20", "-o", program, source, *pkg_config("--cflags", "--libs"))
    equal(run(program).out.text().split()[1], "mqtts://broker:8883", "what it prints")


@case("the device prints what comes, and connects again when the broker is killed")
def _():
    usual_flags()
    url = f"unix:{scratch('mqttd.sock')}"
    broker = Broker(listen=(url,))
    device = Process([EXAMPLES / "device", url, "device-7"])
    device.out.wait_for(r"^status published: OK")
    command = [MQTTCTL, "pub", "--unix", url.removeprefix("unix:"), "-q", "1", "-t", "device-7/commands/blink", "-m"]
    run(*command, "twice")
    device.out.wait_for(r"^device-7/commands/blink twice")
    broker.kill()
    device.out.wait_for(r"^disconnected")
    seen = len(device.out)
    broker.start()
    device.out.wait_for(r"^connected", after=seen)
    run(*command, "again")
    device.out.wait_for(r"^device-7/commands/blink again")
    device.signal(signal.SIGTERM)
    equal(device.wait(), 0, "exit status")
    broker.kill()


@case("the service answers requests, and the benchmark measures")
def _():
    usual_flags()
    with Broker() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        service = Process([EXAMPLES / "service", url, "serve"])
        service.out.wait_for(r"^serving")
        # The subscription is made with the connection: until the broker has it, nobody is there.
        while (answer := Process([EXAMPLES / "service", url, "ask", "12"])).wait() != 0:
            holds("NOT_FOUND" in answer.out.text(), answer.out.text())
        equal(answer.out.text(), "144", "answer")
        service.kill()
        measured = run(EXAMPLES / "benchmark", url, "2000")
        holds(re.match(r"[\d.e+]+ messages per second", measured.out.text()), measured.out.text())



@case("a program that embeds the broker builds with what pkg-config says")
def _():
    usual_flags()
    source = scratch("embedded.cc")
    source.write_text('#include <mqttd/embed/server.h>\n#include <cstdio>\n'
                      'int main() {\n  mqttd::Server server({.settings = {{"no.such", "key"}}});\n'
                      '  std::puts(server.ListenAndServe().ToString().c_str());\n}\n')
    program = source.with_suffix("")
    run("c++", "-std=c++20", "-o", program, source, *pkg_config("--cflags", "--libs", package="mqttd-embed"))
    holds("no such key" in run(program).out.text(), "what it prints")


def subscriber(*arguments):
    process = Process(["stdbuf", "-oL", "mosquitto_sub", "-d", "-q", "1", *arguments])
    process.out.wait_for(r"^Subscribed")
    return process


@case("the broker with hooks stamps, refuses, answers, and ends in order")
def _():
    usual_flags()
    broker = Process([EXAMPLES / "broker_with_hooks", "mqtt://127.0.0.1:0", scratch("hooks-data")])
    port = broker.out.wait_for(r"^listening on .*:(\d+)").group(1).decode()
    reader = subscriber("-p", port, "-V", "5", "-i", "reader", "-t", "#", "-F", "got %t %p %P")
    publish = ["mosquitto_pub", "-p", port, "-V", "5", "-i", "writer", "-q", "1"]
    run(*publish, "-t", "open", "-m", "x")
    reader.out.wait_for(r"^got open x number:1")
    run(*publish, "-t", "secret/1", "-m", "x", status=None)
    # Its will is shown to the hook before it is connected.
    willing = subscriber("-p", port, "-V", "5", "-i", "willing", "--will-topic", "gone", "--will-payload", "w", "-t", "b")
    willing.kill()
    reader.out.wait_for(r"^got gone w number:1")
    run(*publish, "-t", "ask", "-m", "why?")
    reader.out.wait_for(r"^got answer You said: why\?")
    holds("secret" not in reader.out.text(), reader.out.text())
    broker.out.wait_for(r"^writer left: disconnect")
    broker.signal(signal.SIGTERM)
    equal(broker.wait(), 0, "exit status")
    holds("server closed" in broker.out.text(), broker.out.text())


@case("the authentication back end lets in whom it knows, to topics of their own")
def _():
    usual_flags()
    path = scratch("backend.sock")
    broker = Process([EXAMPLES / "authentication_backend", f"unix:{path}", scratch("backend-data")])
    while not path.exists():
        holds(broker.running(), broker.err.text())
    reader = subscriber("--unix", path, "-u", "ann", "-P", "apple", "-t", "ann/#")
    publish = [MQTTCTL, "pub", "--unix", path, "-t", "ann/x", "-m", "hello", "-q", "1", "-u", "bob", "-P"]
    run(*publish, "banana")
    reader.out.wait_for(r"^hello")
    holds(Process([*publish, "apple"]).wait() != 0, "a bad password is let in")
    refused = Process(["stdbuf", "-oL", "mosquitto_sub", "-d", "--unix", path, "-u", "bob", "-P", "banana", "-t", "ann/#"])
    refused.out.wait_for(r"^Subscribed.*: (128|135)|All subscription requests were denied")
    broker.kill()


@case("the server with four listeners serves all of them")
def _():
    usual_flags()
    certificates = Certificates()
    server = Process([EXAMPLES / "four_listeners", certificates.server, certificates.server_key, scratch("four-data")])
    server.out.wait_for(r"^ready")
    listeners = re.findall(r"^(\w+)://.*:(\d+)", server.out.text(), re.MULTILINE)
    equal([scheme for scheme, _ in listeners], ["mqtt", "mqtts", "ws", "wss"], "listeners")
    reader = subscriber("-p", listeners[0][1], "-t", "t")
    for scheme, port in listeners:
        transport = ["--ws"] if scheme.startswith("ws") else []
        if scheme in ("mqtts", "wss"):
            transport += ["--cafile", certificates.ca]
        run(MQTTCTL, "pub", "-h", "localhost", "-p", port, *transport, "-t", "t", "-m", scheme, "-q", "1")
        reader.out.wait_for(f"^{scheme}$")
    server.signal(signal.SIGTERM)
    equal(server.wait(), 0, "exit status")


main()
