"""A gang: one unit done by several processes together, as actors that Ray places at once.

A task without a claim of its own looks after them, so to the runner a gang is one task like any
other: it is retried when its node is lost, and it tells one outcome. The members meet at an address
of the first one; what each wrote is in place before unit.json names all of it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from dataprune.core.errors import PeerLostError
from dataprune.core.protocols import Gang, Outcome, Resources, Shared, Unit
from dataprune.runs.execute import LOST_HINT, Contribution, Failure, contribute, failed
from dataprune.runs.ledger import Ledger

_RETRY_S = 1.0  # after a lost member: its node may only just be found dead
_ANSWER_S = 30.0  # for a member to answer that it lives
_OTHERS_S = 1.0  # after the first failure: for those of the others
_PLACED_S = 60  # a single wait for room; there is no end to them


class Member:
    """One process of a gang; an actor that answers while it works."""

    def meeting_place(self) -> str:
        """An address of this node, with a port that is free now."""
        import ray

        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{host}:{probe.getsockname()[1]}"

    def is_alive(self) -> bool:
        """Answer."""
        return True

    def work(
        self, unit: Unit, shared: Shared, where: str, gang: Gang, snapshot_s: float
    ) -> Contribution | Failure:
        """Do this process's part; an error of the unit is told, and recorded by who asked."""
        ledger, started = Ledger(where), time.monotonic()
        try:
            opened = ledger.open_attempt(unit, gang.rank)
            return contribute(unit, shared, ledger, opened, gang=gang, snapshot_s=snapshot_s)
        except Exception as exc:  # noqa: BLE001 - the boundary: any failure of a unit is its outcome
            return Failure.of(exc, ledger, time.monotonic() - started)


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

    ledger, started = Ledger(where), time.monotonic()
    args = (unit, shared[0], where)
    try:
        for tries_left in reversed(range(resources.max_retries + 1)):
            try:
                parts = _try_once(ray, args, snapshot_s, resources, claim)
            except ray.exceptions.RayTaskError:  # not of a loss: a member could not be called
                raise
            except (ray.exceptions.RayError, PeerLostError) as exc:
                if tries_left:
                    time.sleep(_RETRY_S)
                    continue
                reason = str(exc).strip().splitlines()[0]
                error = f"worker lost {resources.max_retries + 1} times: {reason}"
                parts = Failure(error, LOST_HINT, str(exc), time.monotonic() - started)
            break
        if not isinstance(parts, Failure):
            _seal(ledger, unit, parts)
            return Outcome(unit.unit_id, unit.label)
    except Exception as exc:  # noqa: BLE001 - the boundary, as for a unit of one process
        parts = Failure.of(exc, ledger, time.monotonic() - started)
    attempt = ledger.attempts(unit.unit_id)
    outcome = failed(ledger, unit, parts, attempt=attempt)
    ledger.place.end(f"units/{unit.unit_id}", None)  # what the members left
    return outcome


def _seal(ledger: Ledger, unit: Unit, parts: list[Contribution]) -> None:
    files = {name: sha256 for part in parts for name, sha256 in part.files.items()}
    assert len(files) == sum(len(part.files) for part in parts), "two workers wrote one file"
    ledger.seal(unit, files, parts[0].result, {**parts[0].run, "workers": len(parts)})


def _try_once(
    ray: Any,
    args: tuple[Unit, Any, str],
    snapshot_s: float,
    resources: Resources,
    claim: dict[str, Any],
) -> list[Contribution] | Failure:
    """One attempt: what every member contributed, or why the unit failed.

    args: what each member works on: unit, reference of the shared arrays, work folder.
    """
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    with _room(args[0].unit_id, resources, claim) as group:
        members: list[Any] = []
        try:
            for rank in range(resources.workers):
                spot = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                # Two at once, so that it answers while it works.
                actor = ray.remote(Member).options(
                    **claim, scheduling_strategy=spot, max_concurrency=2
                )
                members.append(actor.remote())
            address = ray.get(members[0].meeting_place.remote())
            refs = []
            for rank, member in enumerate(members):
                gang = Gang(rank, len(members), address)
                refs.append(member.work.remote(*args, gang, snapshot_s))
            return _gathered(ray, members, refs)
        finally:
            for member in members:  # those that wait for a lost one would wait long
                with contextlib.suppress(ray.exceptions.RayError):
                    ray.kill(member)


@contextlib.contextmanager
def _room(unit_id: str, resources: Resources, claim: dict[str, Any]) -> Any:
    """Room for all members at once, held until the block ends.

    Ray gives it back by itself only when the job ends. So it has a name, by which whoever does
    this after us, should we be killed, finds and drops it: else it would wait for it for ever.
    """
    from ray.util.placement_group import (
        get_placement_group,
        placement_group,
        remove_placement_group,
    )

    name = f"dataprune-{unit_id}"
    with contextlib.suppress(ValueError):  # there is none
        remove_placement_group(get_placement_group(name))
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    bundle = {names[key]: value for key, value in claim.items() if value}
    strategy = "SPREAD" if resources.placement == "spread" else "PACK"
    group = placement_group([bundle] * resources.workers, strategy=strategy, name=name)
    try:
        while not group.wait(_PLACED_S):
            pass
        yield group
    finally:
        remove_placement_group(group)


def _gathered(ray: Any, members: list[Any], refs: list[Any]) -> list[Contribution] | Failure:
    """Every part in order of rank, or why the unit failed; a lost member is an exception."""
    left = list(refs)
    while left:
        done, left = ray.wait(left)
        part = ray.get(done[0])
        if isinstance(part, Failure):
            return _cause(ray, members, left, part)
    parts: list[Contribution] = ray.get(refs)
    return parts


def _cause(ray: Any, members: list[Any], left: list[Any], first: Failure) -> Failure:
    """The failure that the others come from; where a member was lost, that is an exception.

    A member that dies or fails breaks its connections, so another may well fail of that before
    we hear of the cause.

    Raises:
        PeerLostError: all live, and all that is told is that connections broke.
    """
    ray.get([member.is_alive.remote() for member in members], timeout=_ANSWER_S)
    causes = [] if first.lost_a_peer else [first]
    deadline = time.monotonic() + (_OTHERS_S if causes else _ANSWER_S)
    while left and (left_s := deadline - time.monotonic()) > 0:
        done, left = ray.wait(left, timeout=left_s)
        parts = [part for part in ray.get(done) if isinstance(part, Failure)]
        causes += [part for part in parts if not part.lost_a_peer]
        if causes:
            deadline = min(deadline, time.monotonic() + _OTHERS_S)
    if not causes:
        raise PeerLostError(first.error, hint=first.hint)
    return next((failure for failure in causes if failure.known), causes[0])
