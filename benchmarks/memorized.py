"""Wrong labels by what a probe's last layer memorized: the experimental scores mem_*.

Known wrong labels (benchmarks/noisy_sets.py), and two probes of each set: one that resists them and
one that fits them. S is mem_margin_pruned, minus the margin after removal; flip and drop are
mem_flip and mem_drop. Scores are means over the seeds that trained on the row, 3 of them unless
stated. EL2N is taken at the scored epoch of the best held-out accuracy (timed), at a quarter of the
schedule (fixed) and at the epoch chosen with the truth (best). Intervals are of paired bootstrap
draws of rows, 95 %, 1,000 of them.
"""

from typing import Any

import numpy as np

from benchmarks.detection import DRAWS, area, auprc, combined, gain
from benchmarks.machine import describe
from benchmarks.memorized_cost import cost
from benchmarks.memorized_sets import (
    DROP,
    FLIP,
    NUM_ROWS,
    OTHER_BASES,
    PROBES,
    SCORED,
    SEEDS,
    S,
    Scored,
    prepared,
    score,
)  # fmt: skip


def run() -> dict[str, Any]:
    rows, gained, flipped, removed, epochs = [], [], [], [], []
    for name, probes in PROBES.items():
        for probe in probes:
            others = OTHER_BASES.get(name, ()) if probe == "memorizes" else ()
            for basis in ("directions", *others):
                scored = score(name, probe, basis)
                about = {"set": name, "probe": probe, "basis": basis}
                rows.append(about | areas(scored))
                flipped.append(about | flips(scored))
                removed.append(about | removal(scored))
                if basis == "directions":
                    gained.append(about | gains(scored))
                    epochs += [about | row for row in by_epoch(scored)]
    tables = {
        "what is gained": gained,
        "flips": flipped,
        "removals": removed,
        "by epoch": epochs,
        "beside label_q": beside_label_q("fashion sym 20"),
        "cost": costs("fashion sym 20"),
    }
    about = describe(num_rows=NUM_ROWS, seeds=SEEDS, draws=DRAWS, threads=1)
    return {"rows": rows, "tables": tables, **about}


def areas(scored: Scored) -> dict[str, Any]:
    """AUROC at the last epoch: of the seeds' mean, and the least and most of single seeds."""
    wrong, last, fixed = scored.noisy.wrong, scored.epochs[-1], scored.fixed
    best = max(scored.epochs, key=lambda e: area(scored.mean("el2n", e), wrong))
    return {
        "wrong": f"{wrong.mean():.3f}",
        "fit": f"{scored.fit(last):.3f}",
        "held out": f"{scored.held_out[last]:.3f}",
        "S": spread(scored, S, last),
        "drop": spread(scored, DROP, last),
        "flip": spread(scored, FLIP, last),
        "final margin": spread(scored, "logit_margin", last),
        "final loss": spread(scored, "loss", last),
        "CSL": spread(scored, "csl", last),
        "AUM": spread(scored, "aum", last),
        "EL2N timed": f"{spread(scored, 'el2n', scored.timed)} @{scored.timed}",
        "EL2N best": f"{spread(scored, 'el2n', best)} @{best}",
        "EL2N fixed": f"{spread(scored, 'el2n', fixed)} @{fixed}",
    }


def spread(scored: Scored, name: str, epoch: int) -> str:
    wrong = scored.noisy.wrong
    each = [area(v[~np.isnan(v)], wrong[~np.isnan(v)]) for v in scored.seeds(name, epoch)]
    return f"{area(scored.mean(name, epoch), wrong):.3f} ({min(each):.3f} to {max(each):.3f})"


def gains(scored: Scored) -> dict[str, Any]:
    """Differences of AUROC: of S to others, and of what a regression makes of more columns."""
    wrong, last, fixed = scored.noisy.wrong, scored.epochs[-1], scored.fixed
    at_end = {name: scored.mean(name, last) for name in (*SCORED, "logit_margin")}
    early = scored.mean("el2n", fixed)
    base = at_end["aum"], at_end["csl"]
    known, margin = combined(wrong, *base), at_end["logit_margin"]
    return {
        "S less final margin": gain(at_end[S], at_end["logit_margin"], wrong),
        "S less CSL": gain(at_end[S], at_end["csl"], wrong),
        "S less AUM": gain(at_end[S], at_end["aum"], wrong),
        "S less EL2N timed": gain(at_end[S], scored.mean("el2n", scored.timed), wrong),
        "S less EL2N fixed": gain(at_end[S], early, wrong),
        "AUM + CSL": f"{area(known, wrong):.4f}",
        "S adds": gain(combined(wrong, *base, at_end[S]), known, wrong),
        "flip and drop add": gain(combined(wrong, *base, at_end[FLIP], at_end[DROP]), known, wrong),
        "final margin adds": gain(combined(wrong, *base, margin), known, wrong),
        "EL2N fixed adds": gain(combined(wrong, *base, early), known, wrong),
        "S adds to all these": gain(
            combined(wrong, *base, margin, early, at_end[S]),
            combined(wrong, *base, margin, early),
            wrong,
        ),
    }


def flips(scored: Scored) -> dict[str, Any]:
    """mem_flip as a statement: counts of (seed, row), then of rows flagged by half of the seeds."""
    wrong, truth, last = scored.noisy.wrong, scored.noisy.truth, scored.epochs[-1]
    cells = []
    for trace in scored.traces.values():
        seen = {name: values[trace.in_sample] for name, values in trace.signals[last].items()}
        right = seen["mem_relabel"] == truth[trace.in_sample]
        cells.append((seen["correct"] > 0, seen[FLIP] > 0, right, wrong[trace.in_sample]))
    fitted, flip, right, bad = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    flagged = scored.mean(FLIP, last) >= 0.5
    unseen = [(~t.in_sample, t.signals[last]["correct"] > 0) for t in scored.traces.values()]

    def right_unseen(rows: np.ndarray) -> str:
        """How often they are answered right by the seeds that held them out."""
        out, right = (
            np.concatenate([part[rows] for part in parts]) for parts in zip(*unseen, strict=True)
        )
        return share(out & right, out)

    return {
        "wrong fitted": share(fitted & bad, bad),
        "recall": share(flip & bad, fitted & bad),
        "precision": share(flip & bad, flip),
        "clean that flip": share(flip & ~bad, ~bad),
        "relabelled right": share(flip & bad & right, flip & bad),
        "flagged": share(flagged, np.ones_like(flagged)),
        "flagged: wrong": share(flagged & wrong, flagged),
        "wrong: flagged": share(flagged & wrong, wrong),
        "clean: flagged": share(flagged & ~wrong, ~wrong),
        "clean and flagged: right when held out": right_unseen(flagged & ~wrong),
        "other clean: right when held out": right_unseen(~flagged & ~wrong),
    }


def share(part: np.ndarray, whole: np.ndarray) -> str:
    return f"{part.sum() / whole.sum():.3f}" if whole.any() else "-"


def removal(scored: Scored) -> dict[str, Any]:
    """What the score table says of the removals at the last epoch."""
    told = scored.table.meta["removals"][str(scored.epochs[-1])]
    return {
        "removed": f"{told['removed']:.0f} of {told['units']:.0f}",
        "index": f"{told['index']:.3f}",
        "index_se": f"{told['index_se']:.3f}",
        "control's index": f"{told['control_index']:.3f}",
        "localizable seeds": f"{told['localizable_seeds']} of {told['seeds']}",
    }


def by_epoch(scored: Scored) -> list[dict[str, Any]]:
    """AUROC of the seeds' mean after each scored epoch."""
    names = {"S": S, "flip": FLIP, "EL2N": "el2n", "loss": "loss", "CSL": "csl", "AUM": "aum"}
    return [
        {
            "epoch": epoch,
            "fit": f"{scored.fit(epoch):.3f}",
            "held out": f"{scored.held_out[epoch]:.3f}",
            **{
                title: f"{area(scored.mean(score, epoch), scored.noisy.wrong):.3f}"
                for title, score in names.items()
            },
        }
        for epoch in scored.epochs
    ]


def beside_label_q(name: str) -> list[dict[str, Any]]:
    """What scores of the same ten units add to the flag label_issue, whose ranking is label_q."""
    twice = {"folds": 5, "repeats": 2}
    scored = score(name, "resists", holdout=twice, seeds=10, flags=["label_issue"])
    wrong, last = scored.noisy.wrong, scored.epochs[-1]
    label_q = scored.table.table.column("label_issue").to_numpy().astype(np.float64)
    other = score(name, "memorizes")  # the same rows, another model
    end = other.epochs[-1]
    pruned, margin = scored.mean(S, last), -scored.table.table.column("oof_margin").to_numpy()
    ranked = {
        "label_q": label_q,
        "held-out margin": margin,
        "S": pruned,
        "label_q, S": combined(wrong, label_q, pruned),
        "label_q, flip": combined(wrong, label_q, scored.mean(FLIP, last)),
        "label_q, CSL": combined(wrong, label_q, scored.mean("csl", last)),
        "label_q, held-out margin": combined(wrong, label_q, margin),
        "label_q, held-out margin, S": combined(wrong, label_q, margin, pruned),
        "label_q, the MLP's S": combined(wrong, label_q, other.mean(S, end)),
        "label_q, the MLP's flip": combined(wrong, label_q, other.mean(FLIP, end)),
        "label_q, the MLP's CSL": combined(wrong, label_q, other.mean("csl", end)),
    }
    return [
        {
            "set": name,
            "ranked by": title,
            "AUROC": f"{area(values, wrong):.4f}",
            "AUROC less label_q's": gain(values, label_q, wrong),
            "AUPRC": f"{area(values, wrong, auprc):.4f}",
            "AUPRC less": gain(values, label_q, wrong, auprc),
        }
        for title, values in ranked.items()
    ]


def costs(name: str) -> list[dict[str, Any]]:
    return [
        {"set": name, "probe": probe, **row}
        for probe in PROBES[name]
        for row in cost(prepared(name, probe).recipe)
    ]
