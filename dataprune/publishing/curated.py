"""A ledger -> two versions: what a curation keeps, and beside it what it rejected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.recipe import Recipe
from dataprune.selection._choice import Choice
from dataprune.selection._decided import decide_from_scores
from dataprune.tables.ledger import KEEP, REJECT, UNDECIDED
from dataprune.tables.manifest import Manifest, SourceRef
from dataprune.tables.scores import read_scores
from dataprune.trajectories.curate import Curation
from dataprune.versions.build import Draft, build_version
from dataprune.versions.load import open_pinned
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import is_template

_SECRETS = {"X_SECRET", "X_PERSONAL"}
_ALL = Choice("random", None, {})


@dataclass(frozen=True)
class CurateResult:
    """What `curate` made.

    curation: files and what each stage came to. manifest: of the version; None where nothing is
        kept. created: False if it was there already. rejected: of what was rejected, if anything.
    most_undecided: the share of undecided trajectories that is no partial result.
    """

    curation: Curation
    reasons: dict[str, int]
    manifest: Manifest | None
    created: bool
    rejected: Manifest | None
    folder: Path | None
    warnings: list[str]
    most_undecided: float = 0.0

    @property
    def num_undecided(self) -> int:
        """Trajectories that neither code nor judge could decide."""
        undecided: int = self.curation.told["decisions"][UNDECIDED]
        return undecided

    @property
    def is_partial(self) -> bool:
        """Whether more of them are undecided than the recipe allows."""
        return self.num_undecided > self.most_undecided * len(self.curation.decided.findings)

    @property
    def rows_out(self) -> int:
        """How many trajectories are kept."""
        return self.manifest.selection.rows_out if self.manifest else 0


def build_curated(
    store: LocalStore, name: str, tag: str, recipe: Recipe, made: Curation
) -> CurateResult:
    """Build `name@tag` of the rows that a ledger keeps, and `name-rejected@tag` of the others.

    Rows that were rejected for secrets are in neither, nor are those that nobody could decide.

    Raises:
        VersionExistsError, VersionError, BusyError: as `build_version`.
    """
    table = read_scores(made.ledger)
    ref = SourceRef.model_validate(table.meta["source"])
    kept = pc.equal(table.table.column("decision"), KEEP).to_numpy(zero_copy_only=False)
    warnings = list(made.warnings)
    most = recipe.curate.judge.max_undecided if recipe.curate else 0.0
    if not kept.any():
        warnings.append("no trajectory is kept, so no version was built: see the ledger")
        return CurateResult(made, {}, None, False, None, None, warnings, most)
    decided = decide_from_scores(table, recipe, _ALL, None)
    opened = open_pinned(ref, str(made.rows), examples=table.table)
    draft = Draft(name, tag, opened, ref, table, decided.table, _ALL, decided.column)
    if is_template(tag):
        from dataprune.publishing.push import next_tag

        draft = replace(draft, tag=next_tag(store, draft, None))
    manifest, created = build_version(store, draft)
    rejected = _build_rejected(store, draft)
    folder = store.path(name, draft.tag)
    return CurateResult(made, decided.reasons, manifest, created, rejected, folder, warnings, most)


def _build_rejected(store: LocalStore, draft: Draft) -> Manifest | None:
    """The rejected rows as a version of its own name; None where there are none to show."""
    table = draft.scores.table
    rejected = pc.equal(table.column("decision"), REJECT).to_numpy(zero_copy_only=False)
    keep = rejected & ~_hold_secrets(table)
    if not keep.any():
        return None
    decisions = draft.decisions
    reason = np.where(keep, "rejected", "not_shown").astype(object)
    reason[draft.decisions.column("keep").to_numpy(zero_copy_only=False)] = "curated"
    rank = np.empty(len(keep), dtype=np.int64)
    rank[np.argsort(~keep, kind="stable")] = np.arange(len(keep))
    for column, values in (("keep", keep), ("reason", reason), ("rank", rank)):
        at = decisions.schema.get_field_index(column)
        field = decisions.schema.field(at)
        decisions = decisions.set_column(at, field, pa.array(values, field.type))
    rejected_draft = replace(draft, name=f"{draft.name}-rejected", decisions=decisions)
    return build_version(store, rejected_draft)[0]


def _hold_secrets(table: pa.Table) -> Any:
    """Which rows a rule of secrets or personal data rejects, whatever else does, bool (n,)."""
    return np.asarray(
        [
            any(r["code"] in _SECRETS and r["severity"] == REJECT for r in reasons)
            for reasons in table.column("reasons").to_pylist()
        ],
        dtype=np.bool_,
    )
