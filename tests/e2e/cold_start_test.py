#!/usr/bin/env python3
"""How soon a broker serves again that has many durable sessions with queued messages.

    cold_start_test.py [SESSIONS [MESSAGES_EACH]]     default 1000 100; the promise is for 10000 100

The figures are printed; the limit is LIMIT_S, from the start of the process until the first client
that comes back has its messages.
"""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import SLOWDOWN, holds, scratch  # noqa: E402
from killable_broker import Broker  # noqa: E402
from mqtt_wire import Client  # noqa: E402

MQLOAD_BIN = os.environ.get("MQLOAD_BIN", "build/release/bin/mqload")
LIMIT_S = 5.0 * SLOWDOWN
PREFIX = "cold"
PART = 10_000


def fill(broker, sessions, messages):
    """mqload's figures of making that many sessions and queueing that many messages for each."""
    total = dict.fromkeys(("create_seconds", "queue_seconds", "published"), 0)
    for part in range(0, sessions, PART):  # Each session is a connection at first.
        done = subprocess.run(
            [MQLOAD_BIN, "sessions", "--port", str(broker.port), "--pid", str(broker.pid), "--clients",
             str(min(PART, sessions - part)), "--messages", str(messages), "--pubs", "10", "--limit",
             "600", "--prefix", f"{PREFIX}{part // PART}", "--no-drain", "--json"],
            stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        for name in total:
            total[name] += figures[name]
    return total


def rss_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def drain(broker, session, messages):
    """All messages of one session, none acknowledged."""
    client = Client(broker.port, f"{PREFIX}{session // PART}-d{session % PART}", version=4)
    holds(client.session_present, f"session {session} is lost")
    first = None
    for _ in range(messages):
        client.receive()
        first = first or time.monotonic()
    client.drop()
    return first


def cold_start(broker, how, sessions, messages):
    began = time.monotonic()
    if how == "kill -9":
        broker.kill()
    else:
        holds(broker.stop() == 0, "SIGTERM did not end it with 0")
    ended = time.monotonic()
    broker.spawn().wait_ready()
    ready = time.monotonic()
    first = drain(broker, sessions - 1, messages)
    served = time.monotonic()
    for session in range(0, sessions, max(1, sessions // 20)):
        drain(broker, session, messages)
    print(f"# {how}: ended in {ended - began:.2f} s; ready after {ready - ended:.2f} s, first message "
          f"{first - ended:.2f} s, one queue read {served - ended:.2f} s; RSS {rss_mb(broker.pid):.0f} MB")
    holds(served - ended < LIMIT_S, f"{served - ended:.1f} s from start to service")


def main():
    sessions, messages = (int(argument) for argument in (sys.argv[1:] + ["1000", "100"][len(sys.argv) - 1:]))
    failed = False
    with Broker(scratch("broker")) as broker:
        broker.start()
        print(f"# empty: ready after {broker.start_seconds:.2f} s, RSS {rss_mb(broker.pid):.0f} MB")
        made = fill(broker, sessions, messages)
        print(f"# {sessions} sessions in {made['create_seconds']:.1f} s, {made['published']} messages in "
              f"{made['queue_seconds']:.1f} s, RSS {rss_mb(broker.pid):.0f} MB")
        for how in ("kill -9", "SIGTERM", "kill -9"):
            try:
                cold_start(broker, how, sessions, messages)
                verdict = "ok"
            except AssertionError as error:
                print(f"# {error}")
                failed, verdict = True, "not ok"
            print(f"{verdict} {sessions} sessions are served within {LIMIT_S:.0f} s of a start after {how}",
                  flush=True)
        with open(broker.log, encoding="utf-8") as log:
            print("".join(f"# {line}" for line in log if "store opened" in line), end="")
    return failed


if __name__ == "__main__":
    sys.exit(main())
