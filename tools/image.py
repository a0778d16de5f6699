#!/usr/bin/env python3
"""Makes the container image of deploy/docker/Dockerfile; `./dev image` is the way to call it.

It takes docker, podman or buildah, the first of them that works here. Where no registry can be reached,
--local-base makes the base from Debian's packages. --test builds with buildah, in its own store below
build/, and runs what comes out as Kubernetes would: read-only, as a user without rights. The last line
says what was done, or what was not and why.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
BASE_TAR = BUILD / "image-base.tar"
LOCAL_BASE = "localhost/mqttd-base"
STORE = ["buildah", "--storage-driver", "vfs", "--root", str(BUILD / "image-store"), "--runroot", str(BUILD / "image-run")]


class NotHere(Exception):
    """What is missing on this machine."""


def call(*command, **arguments):
    return subprocess.run([str(part) for part in command], check=True, **arguments)


def ask(*command):
    return call(*command, capture_output=True, text=True).stdout.strip()


def works(*command):
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def tool(only=None):
    """The command that builds, without its arguments."""
    for name, probe, build in (
            ("docker", ("docker", "info", "--format", "{{.ServerVersion}}"), ["docker", "build"]),
            ("podman", ("podman", "info"), ["podman", "build", "--format", "docker"]),
            ("buildah", ("buildah", "--version"), [*STORE, "build", "--isolation", "chroot", "--format", "docker"])):
        # `docker info` ends with 0 where there is no daemon, and then has no version to tell.
        if only in (None, name) and works(*probe) and (name != "docker" or ask(*probe)):
            return name, build
    raise NotHere(f"{only or 'docker, podman or buildah'} does not work here")


def make_local_base(name):
    """A minimal Debian of this machine's release as an image; its packages are fetched once."""
    if not BASE_TAR.exists():
        if not shutil.which("mmdebstrap"):
            raise NotHere("mmdebstrap is missing, which makes a base where no registry can be reached")
        release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)[1]
        print(f"making {BASE_TAR.relative_to(ROOT)} of Debian's packages", flush=True)
        half = BASE_TAR.with_suffix(".half.tar")
        call("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=path-exclude=/usr/share/doc/*",
             "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", release, half,
             "http://deb.debian.org/debian")
        half.rename(BASE_TAR)
    if name == "buildah":
        if works(*STORE, "inspect", "--type", "image", LOCAL_BASE):
            return
        container = ask(*STORE, "from", "scratch")
        call(*STORE, "add", "--quiet", container, BASE_TAR, "/", stdout=subprocess.DEVNULL)
        call(*STORE, "commit", "--quiet", "--rm", container, LOCAL_BASE, stdout=subprocess.DEVNULL)
    else:
        call(name, "import", BASE_TAR, LOCAL_BASE)


def build(options, only=None):
    """The name of the tool that did it, and the image's size in bytes."""
    name, command = tool(only)
    arguments = ["--file", DOCKERFILE, "--tag", options.tag]
    if options.local_base:
        make_local_base(name)
        options.base = LOCAL_BASE
    if options.base:
        arguments += ["--build-arg", f"BASE={options.base}"]
    if options.prebuilt:
        if not list((BUILD / "package").glob("*.deb")):
            raise NotHere("build/package has no Debian package: ./dev package")
        arguments += ["--build-arg", "PACKAGE=prebuilt"]
    call(*command, *arguments, ROOT)
    if name == "buildah":
        return name, sum(path.stat().st_size for path in files(mounted(options.tag)))
    return name, int(ask(name, "image", "inspect", "--format", "{{.Size}}", options.tag))


def files(directory):
    return (path for path in Path(directory).rglob("*") if path.is_file() and not path.is_symlink())


_containers = {}


def mounted(image):
    """The directory in which buildah shows the image's files."""
    if image not in _containers:
        _containers[image] = ask(*STORE, "from", "--pull-never", image)
    return ask(*STORE, "mount", _containers[image])


def test(image):
    """Runs tests/e2e/lib/image_run.py on the image's files, in namespaces of its own."""
    inspected = json.loads(ask(*STORE, "inspect", "--type", "image", image))["Docker"]["config"]
    with tempfile.TemporaryDirectory() as scratch:
        environment = dict(os.environ, IMAGE_ROOT=mounted(image), IMAGE_CONFIG=json.dumps(inspected),
                           TEST_TMPDIR=scratch)
        return subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", sys.executable, "-B",
             str(ROOT / "tests" / "e2e" / "lib" / "image_run.py")], env=environment, check=False).returncode


def main():
    parser = argparse.ArgumentParser(prog="./dev image", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tag", default="mqttd", help="the image's name")
    parser.add_argument("--base", help="another base than the Dockerfile's")
    parser.add_argument("--local-base", action="store_true", help="a base made of Debian's packages, without a registry")
    parser.add_argument("--prebuilt", action="store_true", help="with the package in build/package; compiles nothing")
    parser.add_argument("--with", dest="only", choices=("docker", "podman", "buildah"), help="this tool and no other")
    parser.add_argument("--test", action="store_true", help="build with buildah (--local-base --prebuilt) and run it")
    options = parser.parse_args()
    try:
        if options.test:
            if os.geteuid() != 0:
                raise NotHere("--test needs root, for namespaces and mounts")
            options.local_base = options.prebuilt = True
        name, size = build(options, "buildah" if options.test else options.only)
        done = f"image {options.tag}: {size / 1e6:.0f} MB, made by {name}"
        if options.test and test(options.tag) != 0:
            print(f"{done}; its test failed")
            return 1
        print(done + ("; its test passed" if options.test else ""))
        return 0
    except NotHere as missing:
        print(f"image not made: {missing}")
        return 3
    except subprocess.CalledProcessError as failed:
        print(f"image not made: {' '.join(failed.cmd[:2])} ended with {failed.returncode}"
              + (f": {failed.stderr.strip()}" if failed.stderr else ""))
        return 1
    finally:
        for container in _containers.values():
            subprocess.run([*STORE, "rm", container], capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
