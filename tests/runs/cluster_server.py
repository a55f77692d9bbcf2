"""Runs a Ray cluster of several nodes on this machine, in a process that no driver's death touches.

Each line on stdin is a JSON object: options of a node to add, or {"remove": ID}. Each answer is one
line: {"address": ...} when the head is up, then what there is to know of an added node. The cluster
ends when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ray.cluster_utils import Cluster

SETTINGS = {  # a node that is gone is taken for dead in seconds
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 4,
    "prestart_worker_first_driver": False,  # a process for each CPU, most of them for nothing
}


def serve() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray talks

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    cluster = Cluster()
    nodes = {}
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        if "remove" in asked:
            cluster.remove_node(nodes.pop(asked["remove"]), allow_graceful=False)
            answer({})
            continue
        if cluster.head_node is None:
            asked |= {"_system_config": SETTINGS, "include_dashboard": False}
        node = cluster.add_node(**asked)
        nodes[node.node_id] = node
        raylet = node.all_processes["raylet"][0].process.pid
        metrics = node.metrics_export_port
        answer({"address": cluster.address, "id": node.node_id, "raylet": raylet,
                "metrics": metrics})  # fmt: skip
    cluster.shutdown()


if __name__ == "__main__":
    serve()
