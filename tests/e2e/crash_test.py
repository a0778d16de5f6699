#!/usr/bin/env python3
"""A few kill -9 under load lose nothing that was acknowledged. `./dev crash` is the long form."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from crash_run import crash_run, report  # noqa: E402

KILLS = 5


def main():
    failed = False
    for durability, shards in (("sync", 2), ("none", 1)):
        seed = random.randrange(1 << 32)
        directory = os.path.join(os.environ["TEST_TMPDIR"], durability)
        print(f"# durability {durability}, seed {seed}")
        problems, figures = crash_run(
            directory, kills=KILLS, seed=seed, rate=1000,
            arguments=("--set", f"durability={durability}", "--set", f"broker.shards={shards}"))
        report(figures)
        print("\n".join(problems))
        verdict = "not ok" if problems else "ok"
        failed = failed or bool(problems)
        print(f"{verdict} nothing acknowledged is lost in {KILLS} kills with durability {durability}",
              flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
