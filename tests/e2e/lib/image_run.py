"""A container image's files, run as Kubernetes' restricted profile would: `./dev image --test`.

tools/image.py starts it in mount, network and process namespaces of its own, with IMAGE_ROOT (where the
files are) and IMAGE_CONFIG (the image's configuration, as JSON).
"""

import fcntl
import json
import os
import re
import socket
import struct
from pathlib import Path

from e2e import SCRATCH, Process, case, equal, holds, main, run

CONFIG = json.loads(os.environ["IMAGE_CONFIG"])
ROOT = SCRATCH / "root"
VOLUME = SCRATCH / "volume"
NUMBER = CONFIG["User"].split(":")[0]


def mount_it():
    run("mount", "--make-rprivate", "/")
    ROOT.mkdir()
    VOLUME.mkdir()
    os.chown(VOLUME, int(NUMBER), int(NUMBER))
    run("mount", "--bind", os.environ["IMAGE_ROOT"], ROOT)
    run("mount", "-t", "proc", "proc", ROOT / "proc")
    run("mount", "--rbind", "/dev", ROOT / "dev")
    run("mount", "--bind", VOLUME, ROOT / next(iter(CONFIG["Volumes"])).lstrip("/"))
    run("mount", "-o", "remount,bind,ro", ROOT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # ip link set lo up
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 1))


def inside(*command):
    """A command in the image: its user, no capability, no way to more."""
    user, group = CONFIG["User"].split(":")
    return ["chroot", ROOT, "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", "--no-new-privs", "env", "-i", *CONFIG["Env"], *command]


def start():
    broker = Process(inside("MQTTD_AUTH_ALLOW_ANONYMOUS=true", *CONFIG["Entrypoint"], *CONFIG["Cmd"]))
    broker.out.wait_for(r"^mqttd ready .*")
    return broker


def stop(broker):
    broker.signal({"SIGTERM": 15}[CONFIG["StopSignal"]])
    equal(broker.wait(), 0, "exit status")


mount_it()


@case("what the image says of itself: a user by number, volume, signal, health check")
def _():
    holds(re.fullmatch(r"[1-9]\d*:[1-9]\d*", CONFIG["User"]), CONFIG["User"])
    equal(list(CONFIG["Volumes"]), ["/var/lib/mqttd"], "volumes")
    equal(CONFIG["StopSignal"], "SIGTERM", "signal")
    equal(CONFIG["Healthcheck"]["Test"][0], "CMD", "health check")


@case("there is no program in it that gives more rights")
def _():
    for directory, _, names in os.walk(os.environ["IMAGE_ROOT"]):
        for path in (Path(directory) / name for name in names):
            if path.is_symlink() or not path.is_file():
                continue
            holds(not path.stat().st_mode & 0o6000, f"{path} is setuid or setgid")


@case("without a word on who may connect it does not start, and says what to do")
def _():
    refused = run(*inside(*CONFIG["Entrypoint"], *CONFIG["Cmd"]), status=2)
    holds("nothing says who may connect" in refused.err.text(), refused.err.text())


@case("it serves with everything but its volume read-only, and is healthy")
def _():
    broker = start()
    run(*inside("mqttctl", "pub", "-h", "127.0.0.1", "-t", "image/kept", "-m", "still here", "-q", "1", "-r"))
    run(*inside(*CONFIG["Healthcheck"]["Test"][1:]))
    equal(run(*inside("/usr/bin/mqttctl", "health", "--ready")).out.text().strip(), "ready", "/readyz")
    stop(broker)
    holds(run(*inside(*CONFIG["Healthcheck"]["Test"][1:]), status=None).wait() != 0, "healthy although it is stopped")


@case("stopped and started on the same volume it has what it had")
def _():
    broker = start()
    got = run(*inside("mqttctl", "sub", "-h", "127.0.0.1", "-t", "image/#", "-q", "1", "-C", "1")).out.text().strip()
    equal(got, "still here", "message")
    stop(broker)
    holds((VOLUME / "log").is_dir(), "the volume has the data")


main()
