"""Metrics of a run through Ray's own: Prometheus finds them where it finds Ray's.

`ray_dataprune_units_total{state}`, `ray_dataprune_unit_seconds` (histogram, one each unit),
`ray_dataprune_units_pending` and `ray_dataprune_units_waiting`; each has the run's id.
"""

from __future__ import annotations

_SECONDS: list[float] = [1, 10, 30, 60, 300, 900, 1800, 3600, 4 * 3600, 12 * 3600]


class UnitMetrics:
    """What Prometheus may know of a job's units; made where Ray is connected."""

    def __init__(self, run_id: str) -> None:
        from ray.util.metrics import Counter, Gauge, Histogram

        self.run = {"run": run_id}
        self._units = Counter(
            "dataprune_units_total", "units that ended, by state", tag_keys=("run", "state")
        )
        self._seconds = Histogram(
            "dataprune_unit_seconds", "seconds a unit took", boundaries=_SECONDS, tag_keys=("run",)
        )
        self._pending = Gauge(
            "dataprune_units_pending", "units handed to Ray and not ended", tag_keys=("run",)
        )
        self._waiting = Gauge(
            "dataprune_units_waiting", "units not handed to Ray yet", tag_keys=("run",)
        )

    def count(self, *, waiting: int, pending: int) -> None:
        """How many units wait and run."""
        self._waiting.set(waiting, self.run)
        self._pending.set(pending, self.run)

    def ended(self, state: str, seconds: float) -> None:
        """A unit finished or failed."""
        self._units.inc(1, {**self.run, "state": state})
        self._seconds.observe(seconds, self.run)
