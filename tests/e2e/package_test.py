#!/usr/bin/env python3
"""The Debian package, as `./dev package` makes it: its fields, and installed, used, removed and purged.

Installing happens in a mount namespace, on an overlay of this machine's root file system that is gone
afterwards, and in a network namespace, where port 1883 is free whatever runs outside.
"""

import fcntl
import gzip
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import MQTTD_BIN, SCRATCH, SLOWDOWN, Process, Skip, case, equal, holds, main, run  # noqa: E402

BUILD = Path(MQTTD_BIN).resolve().parent.parent
ROOT = SCRATCH / "overlay" / "root"  # Inside of the namespaces: the machine's root, ours to change.
INSIDE = "--inside"


def command_output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def package():
    """The package, made on first use."""
    found = list(SCRATCH.glob("*.deb"))
    if not found:
        # gzip: the one that `./dev package` makes is packed more tightly, for seconds of work.
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip", "-B", SCRATCH)
        found = list(SCRATCH.glob("*.deb"))
    return found[0]


def outside():
    @case("its fields: version, architecture, what it depends on by the libraries that it links")
    def _():
        version = command_output(MQTTD_BIN, "--version").split()[1]

        def field(name):
            return command_output("dpkg-deb", "--field", package(), name).strip()

        equal(field("Package"), "mqttd", "Package")
        equal(field("Version"), version, "Version")
        changelog = (Path(__file__).resolve().parents[2] / "deploy/debian/changelog").read_text()
        equal(re.match(r"mqttd \((.*?)\)", changelog)[1], version, "the version in deploy/debian/changelog")
        equal(field("Architecture"), command_output("dpkg", "--print-architecture").strip(), "Architecture")
        depends = field("Depends")
        for library in ("libc6", "libssl3", "librocksdb", "libyaml-cpp", "systemd-sysusers"):
            holds(re.search(rf"(^|[ ,]){library}", depends), f"{library} in {depends}")
        holds("-dev" not in depends, depends)

    @case("lintian finds no error in it")
    def _():
        if not shutil.which("lintian"):
            raise Skip("lintian is missing: ./dev setup")
        run("lintian", "--allow-root", "--fail-on", "error,warning", package())

    @case("its manual pages have every flag of --help and every key of --print-config")
    def _():
        unpacked = SCRATCH / "unpacked"
        run("dpkg-deb", "-x", package(), unpacked)

        def page(path):
            return gzip.decompress((unpacked / "usr/share/man" / path).read_bytes()).decode().replace("\\-", "-")

        daemon, file = page("man8/mqttd.8.gz"), page("man5/mqttd.yaml.5.gz")
        client = page("man1/mqttctl.1.gz")
        for command in ("pub", "sub", "bench"):
            holds(f"mqttctl {command} [OPTIONS]" in client, f"{command} in mqttctl(1)")
        for flag in re.findall(r"^  (--[a-z-]+)", command_output(MQTTD_BIN, "--help"), re.MULTILINE):
            holds(flag in daemon, f"{flag} in mqttd(8)")
        keys = re.findall(r"^(?:  )?([a-z_0-9]+):", command_output(MQTTD_BIN, "--print-config"), re.MULTILINE)
        holds(len(keys) > 50, keys)
        for key in keys:
            holds(key in file, f"{key} in mqttd.yaml(5)")

    @case("completion for bash knows commands, flags, their values, and keys for --set")
    def _():
        program = MQTTD_BIN
        script = SCRATCH / "unpacked/usr/share/bash-completion/completions/mqttd"

        def complete(*words):
            ask = (f'. {script}; COMP_WORDS=({program} "$@"); COMP_CWORD=$#; _{script.name}; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
            return command_output("bash", "-c", ask, "bash", *words).split()

        equal(complete("--durab"), ["--durability", "--durability-interval"], "flags")
        equal(complete("--durability", ""), ["sync", "interval", "none"], "values")
        equal(complete("--durability", "=", "int"), ["interval"], "values behind =")
        equal(complete("--set", "mqtt.receive_m"), ["mqtt.receive_maximum="], "keys")
        script, program = script.with_name("mqttctl"), Path(MQTTD_BIN).with_name("mqttctl")
        equal(sorted(complete("p")), ["passwd", "pub"], "commands")
        equal(complete("sub", "--retain-h"), ["--retain-handling"], "a command's flags")

    @case("installed: the broker serves as its own user; removed: its data stays; purged: nothing stays")
    def _():
        if os.geteuid() != 0:
            raise Skip("needs root, to install on an overlay of this machine")
        flags = ("--mount", "--net", "--pid", "--fork", "--kill-child")
        can_overlay(flags)
        package()
        inside = run("unshare", *flags, sys.executable, "-B", Path(__file__).resolve(), INSIDE,
                     env={"TEST_TMPDIR": str(SCRATCH)})
        print("".join(f"#   {line}\n" for line in inside.out.text().splitlines()), end="")


def can_overlay(flags):
    """Containers often may not mount."""
    place = SCRATCH / "probe"
    place.mkdir()
    steps = (f"mount --make-rprivate / && mount -t tmpfs none {place} && cd {place} && mkdir upper work root && "
             "mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work none root && mount -t proc proc root/proc")
    tried = subprocess.run(["unshare", *flags, "sh", "-c", steps], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise Skip(f"no overlay of this machine can be mounted here: {tried.stderr.strip()}")


def here(*command, **arguments):
    """A command on the overlay."""
    return run("chroot", ROOT, *command, **arguments)


def owner(path):
    return command_output("chroot", str(ROOT), "stat", "-c", "%U:%G %a", path).strip()


def dpkg(*arguments):
    return here("dpkg", "--force-unsafe-io", *arguments, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))


def make_overlay():
    overlay = SCRATCH / "overlay"
    overlay.mkdir()
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "none", overlay)
    for name in ("upper", "work", "root"):
        (overlay / name).mkdir()
    run("mount", "-t", "overlay", "-o", f"lowerdir=/,upperdir={overlay}/upper,workdir={overlay}/work", "none", ROOT)
    run("mount", "--rbind", "/dev", ROOT / "dev")
    run("mount", "-t", "proc", "proc", ROOT / "proc")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # ip link set lo up
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 1))
    shutil.copy(package(), ROOT / "mqttd.deb")
    # Else every step below makes the index of all this machine's manual pages anew.
    (ROOT / "var/lib/man-db/auto-update").unlink(missing_ok=True)
    if (ROOT / "var/lib/dpkg/info/mqttd.list").exists():
        dpkg("--purge", "mqttd")


def serve():
    """The broker as the installed unit starts it: ready when this returns."""
    unit = (ROOT / "usr/lib/systemd/system/mqttd.service").read_text()
    user = re.search(r"^User=(.*)$", unit, re.MULTILINE)[1]
    as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    check = re.search(r"^ExecStartPre=(.*)$", unit, re.MULTILINE)[1].split()
    here(*as_user, *check)
    start = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    broker = Process(["chroot", ROOT, *as_user, *start])
    broker.out.wait_for(r"^mqttd ready .*")
    return broker


def inside():
    make_overlay()

    @case("installed: user, directories, unit")
    def _():
        dpkg("--install", "/mqttd.deb")
        holds(here("id", "mqttd"), "the user")
        equal(owner("/etc/mqttd"), "root:mqttd 750", "/etc/mqttd")
        equal(owner("/etc/mqttd/mqttd.yaml"), "root:root 644", "mqttd.yaml")
        equal(owner("/var/lib/mqttd"), "mqttd:mqttd 700", "/var/lib/mqttd")
        equal(owner("/var/backups/mqttd"), "mqttd:mqttd 700", "/var/backups/mqttd")
        holds(os.path.lexists(ROOT / "etc/systemd/system/multi-user.target.wants/mqttd.service"), "enabled")

    @case("it serves as its own user, and keeps a retained message over a restart")
    def _():
        broker = serve()
        status = (ROOT / "proc" / str(broker.pid) / "status").read_text()
        number = here("id", "-u", "mqttd").out.text().strip()
        equal(re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1], number, "user")
        here("mqttctl", "pub", "-t", "package/kept", "-m", "still here", "-q", "1", "-r")
        broker.signal(15)
        equal(broker.wait(), 0, "exit status")
        broker = serve()
        got = here("mqttctl", "sub", "-t", "package/#", "-q", "1", "-C", "1").out.text().strip()
        equal(got, "still here", "message")
        here("mqttctl", "backup", "create", "/var/backups/mqttd/monday")
        broker.signal(15)
        equal(broker.wait(), 0, "exit status")

    @case("installed again: a configuration that was changed stays, and so do rights")
    def _():
        with (ROOT / "etc/mqttd/mqttd.yaml").open("a") as file:
            file.write("# changed\n")
        here("chmod", "0770", "/etc/mqttd")
        dpkg("--install", "/mqttd.deb")
        holds((ROOT / "etc/mqttd/mqttd.yaml").read_text().endswith("# changed\n"), "the change")
        equal(owner("/etc/mqttd"), "root:mqttd 770", "/etc/mqttd")

    @case("removed: program and unit are gone, data and configuration stay")
    def _():
        dpkg("--remove", "mqttd")
        holds(not (ROOT / "usr/bin/mqttd").exists(), "the program is gone")
        holds((ROOT / "var/lib/mqttd/log").is_dir(), "the data stays")
        holds((ROOT / "etc/mqttd/mqttd.yaml").exists(), "the configuration stays")

    @case("purged: nothing of it stays, and that the data is deleted is said")
    def _():
        said = dpkg("--purge", "mqttd").out.text()
        holds("deleting /var/lib/mqttd" in said, said)
        for path in ("etc/mqttd", "var/lib/mqttd", "usr/share/doc/mqttd",
                     "etc/systemd/system/multi-user.target.wants/mqttd.service"):
            holds(not os.path.lexists(ROOT / path), f"/{path} is gone")
        holds((ROOT / "var/backups/mqttd/monday/node").exists(), "a backup stays")
        holds("has backups and is kept" in said, said)


if SLOWDOWN > 1:
    print("ok 1 - the package # SKIP it is made of the release build only")
    sys.exit(0)
if INSIDE in sys.argv:
    sys.argv.remove(INSIDE)
    inside()
else:
    outside()
main()
