#!/usr/bin/env python3
"""What goes into the container image, as far as it can be tried without making one."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, Broker, Skip, case, equal, holds, main, run, scratch  # noqa: E402

DOCKER = Path(__file__).resolve().parent.parent.parent / "deploy" / "docker"
MQTTCTL = Path(MQTTD_BIN).with_name("mqttctl")
CONFIG = DOCKER / "mqttd.yaml"


@case("its configuration lets nobody in until it is told whom, and works when it is told")
def _():
    refused = run(MQTTD_BIN, "--config", CONFIG, "--check-config", status=2)
    holds("nothing says who may connect" in refused.err.text(), refused.err.text())
    run(MQTTD_BIN, "--config", CONFIG, "--check-config", env={"MQTTD_AUTH_ALLOW_ANONYMOUS": "true"})


@case("its health check follows /healthz, or /readyz, and fails without a broker")
def _():
    command = re.search(r"^HEALTHCHECK .* CMD (.*)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)[1]
    equal(json.loads(command), ["/usr/bin/mqttctl", "health"], "command")
    with Broker("--data-dir", scratch("data")) as broker:
        where = {"MQTTCTL_HTTP_URL": f"http://{broker.http}"}
        equal(run(MQTTCTL, "health", env=where).out.text(), "ok", "/healthz")
        equal(run(MQTTCTL, "health", "--ready", env=where).out.text(), "ready", "/readyz")
    gone = run(MQTTCTL, "health", env=where, status=1)
    holds("refused" in gone.err.text(), gone.err.text())


@case("its ports, volume and files are those of the configuration and of this tree")
def _():
    dockerfile, config = (DOCKER / "Dockerfile").read_text(), CONFIG.read_text()
    exposed = re.search(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)[1].split()
    for port in re.findall(r":(\d{4})\b", config):
        holds(port in exposed, f"{port} is not exposed")
    holds(f'VOLUME {re.search("data_dir: (.*)", config)[1]}\n' in dockerfile, "the volume is the data directory")
    for path in re.findall(r"^COPY (?!--)(deploy/\S+)", dockerfile, re.MULTILINE):
        holds((DOCKER.parent.parent / path).exists(), path)


@case("the image is made, and runs read-only and without rights")
def _():
    raise Skip("that takes a minute and the network: ./dev image --test")


main()
