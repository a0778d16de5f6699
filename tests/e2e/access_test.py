#!/usr/bin/env python3
"""Who may do what: owners of sessions, rights that come and go, logins under attack, and the files on disk."""

import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from e2e import (Broker, case, connect_packet, equal, holds, main, publish_packet, scratch,  # noqa: E402
                 subscribe_packet, Wire)

CONNACK, SUBACK, PUBACK = 0x20, 0x90, 0x40


def modes(directory):
    """{path: permissions} of all below, and of the directory itself."""
    paths = [directory, *directory.rglob("*")]
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in paths}


def store_something(broker, client_id):
    with Wire(broker.port) as wire:
        wire.send(connect_packet(client_id, clean=False, properties=b"\x11\0\0\x0e\x10"))
        equal(wire.packet()[0], CONNACK, "CONNACK")
        wire.send(subscribe_packet(1, "kept/#", 1))
        equal(wire.packet()[0], SUBACK, "SUBACK")
        wire.send(publish_packet("kept/x", b"secret", qos=1, packet_id=2))
        wire.packet()


def only_for_its_owner(directory):
    for path, mode in modes(directory).items():
        equal(oct(mode), oct(0o700 if path.is_dir() else 0o600), f"permissions of {path}")


@case("the data directory and all in it are for its owner alone, whatever the umask")
def _():
    umask = os.umask(0)
    try:
        broker = Broker()
    finally:
        os.umask(umask)
    store_something(broker, "first")
    only_for_its_owner(broker.data_dir)
    broker.terminate()
    only_for_its_owner(broker.data_dir)  # Also what is written at the end.
    broker.start()
    store_something(broker, "second")
    only_for_its_owner(broker.data_dir)
    holds("other users of this machine" not in broker.log.text(), "no warning")
    broker.terminate()


@case("a data directory that is open to others is warned about, with what to do; new files in it are 0600")
def _():
    directory = scratch("open")
    directory.mkdir()
    directory.chmod(0o755)
    broker = Broker(data_dir=directory)
    broker.log.wait_for(rf"other users of this machine may read .*mode=0755.*chmod -R go= {directory}")
    store_something(broker, "second")
    for path, mode in modes(directory).items():
        if not path.is_dir():
            equal(oct(mode), oct(0o600), f"permissions of {path}")
    equal(oct(stat.S_IMODE(directory.stat().st_mode)), oct(0o755), "the directory is left as it is")
    broker.terminate()


if __name__ == "__main__":
    main()
