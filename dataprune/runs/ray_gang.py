"""A gang: one unit done by several processes together, as actors that Ray places at once.

A task without a claim of its own looks after them, so to the runner a gang is one task like any
other: it is retried when its node is lost, and it tells one outcome. The members meet at an address
of the first one; what each wrote is in place before unit.json names all of it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

from dataprune.core.errors import PeerLostError
from dataprune.core.protocols import Gang, Outcome, Resources, Shared, Unit
from dataprune.runs.execute import Contribution, contribute, failed
from dataprune.runs.ledger import Ledger

_RETRY_S = 1.0  # after a lost member: its node may only just be found dead


class Member:
    """One process of a gang; an actor."""

    def meeting_place(self) -> str:
        """An address of this node, with a port that is free now."""
        import ray

        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{host}:{probe.getsockname()[1]}"

    def work(
        self, unit: Unit, shared: Shared, where: str, gang: Gang, snapshot_s: float
    ) -> Contribution | Outcome:
        """Do this process's part; an error of the unit is an outcome."""
        ledger = Ledger(where)
        folder: Path | None = None
        attempt, started = 0, time.monotonic()
        try:
            folder, attempt = ledger.open_attempt(unit, gang.rank)
            opened = (folder, attempt)
            return contribute(unit, shared, ledger, opened, gang=gang, snapshot_s=snapshot_s)
        except PeerLostError:  # not for this one to tell: another failed, or its node is gone
            raise
        except Exception as exc:  # noqa: BLE001 - the boundary: any failure of a unit is its outcome
            seconds = time.monotonic() - started
            return failed(ledger, unit, exc, folder=folder, attempt=attempt, seconds=seconds)


def run_gang(
    unit: Unit,
    shared: list[Any],
    where: str,
    snapshot_s: float,
    resources: Resources,
    claim: dict[str, Any],
) -> Outcome:
    """Run a unit on `resources.workers` processes; those that are lost are replaced, all at once.

    shared: one reference, in a list so that it is not looked up here. claim: of each member.
    """
    import ray

    ledger = Ledger(where)
    for tries_left in reversed(range(resources.max_retries + 1)):
        try:
            parts = _try_once(ray, unit, shared[0], where, snapshot_s, resources, claim)
        except (ray.exceptions.RayActorError, PeerLostError) as exc:
            if tries_left:
                time.sleep(_RETRY_S)
                continue
            reason = str(exc).strip().splitlines()[0]
            lost = RuntimeError(f"workers lost {resources.max_retries + 1} times: {reason}")
            return failed(ledger, unit, lost)
        if isinstance(parts, Outcome):
            return parts
        files = {name: sha256 for part in parts for name, sha256 in part.files.items()}
        ledger.seal(unit, files, parts[0].result, {**parts[0].run, "workers": len(parts)})
        break
    return Outcome(unit.unit_id, unit.label)


def _try_once(
    ray: Any,
    unit: Unit,
    shared: Any,
    where: str,
    snapshot_s: float,
    resources: Resources,
    claim: dict[str, Any],
) -> list[Contribution] | Outcome:
    """One attempt: what every member contributed, or the first error of one."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    bundle = {names[key]: value for key, value in claim.items() if value}
    strategy = "SPREAD" if resources.placement == "spread" else "PACK"
    group = placement_group([bundle] * resources.workers, strategy=strategy)
    members: list[Any] = []
    try:
        ray.get(group.ready())
        for rank in range(resources.workers):
            where_to = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
            actor = ray.remote(Member).options(**claim, scheduling_strategy=where_to)
            members.append(actor.remote())
        address = ray.get(members[0].meeting_place.remote())
        refs = []
        for rank, member in enumerate(members):
            gang = Gang(rank, len(members), address)
            refs.append(member.work.remote(unit, shared, where, gang, snapshot_s))
        return _gathered(ray, refs)
    finally:
        for member in members:  # those that wait for a lost one would wait long
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(member)
        remove_placement_group(group)


def _gathered(ray: Any, refs: list[Any]) -> list[Contribution] | Outcome:
    """Every part in order of rank; the first member to fail speaks for all.

    Those that only lost it are the first to be back, often: what they say counts if none says more.
    """
    left, lost = list(refs), None
    while left:
        done, left = ray.wait(left)
        try:
            part = ray.get(done[0])
        except PeerLostError as exc:
            lost = exc
            continue
        if isinstance(part, Outcome):
            return part
    if lost is not None:
        raise lost
    return [ray.get(ref) for ref in refs]
