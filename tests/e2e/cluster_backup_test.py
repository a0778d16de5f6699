#!/usr/bin/env python3
"""No copy of an earlier day takes the place of a cluster's node: none is made, and one that there is does not start."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from admin_api import Admin  # noqa: E402
from e2e import MQTTD_BIN, Process, case, equal, holds, main, scratch  # noqa: E402
from local_cluster import LocalCluster  # noqa: E402

cluster = LocalCluster(admin="127.0.0.1:0")


def copy_of(node):
    """What a backup of a node has: an earlier release made some."""
    copy = scratch("copy") / "data"
    copy.mkdir(mode=0o700, parents=True)
    for name in ("node", "time"):
        shutil.copy(node.data_dir / name, copy / name)
    for name in ("log", "state"):
        shutil.copytree(node.data_dir / name, copy / name)
    return copy


def refused(process):
    """A start that ends in words."""
    process.err.wait_for("A member that has forgotten what it acknowledged")
    equal(process.wait(), 1, "exit status")
    equal(process.out.text(), "", "nothing is served")


@case("a node of a cluster refuses to make a backup of itself, and says what there is instead")
def _():
    directory = scratch("backup") / "monday"
    for node in cluster.nodes:
        words = Admin(node).text("backup", "create", directory, status=6)
        holds("node of a cluster" in words and "retained export" in words, words)
    holds(not directory.exists(), "nothing was made")
    holds(not (cluster[0].data_dir / "checkpoint").exists(), "nothing is left beside the store")


@case("a copy of a node that lacks the file of its cluster is refused, in the cluster and alone; the node itself comes back")
def _():
    node = cluster[2]
    equal(node.terminate(), 0, "exit status")
    copy = copy_of(node)
    refused(Process([copy if part == node.data_dir else part for part in node._command]))
    holds(not (copy / "cluster").exists(), "it has not become a member")
    refused(Process([MQTTD_BIN, "--listen", "mqtt://127.0.0.1:0", "--http", "off", "--admin", "off", "--data-dir", copy]))
    node.start()


main()
