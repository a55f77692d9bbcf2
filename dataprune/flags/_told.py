"""Totals of flags of labels, in words."""

from __future__ import annotations

from typing import Any

_MEMORIZES = 0.05  # of training accuracy above that on held-out rows


def tell(totals: dict[str, Any]) -> tuple[str, list[list[Any]]]:
    """A title, and rows of what, estimate and detail."""
    n, tiers, rate = totals["rows"], totals["tiers"], totals["noise_rate"]
    planted = totals["planted_recall"]
    parts = [f"{share(rate[k])} {k}" for k in ("agreement", "confident_joint", "mean_q")]
    rows = [
        ["likely wrong", f"{tiers['likely']} rows", share(tiers["likely"] / n)],
        ["suspect", f"{tiers['suspect']} rows", share(tiers["suspect"] / n)],
        ["noise rate", f"{share(rate['low'])} to {share(rate['high'])}", ", ".join(parts)],
        ["votes agree", share(totals["agreement"]), f"{totals['votes']} votes"],
        [
            "planted errors found, at most",
            share(planted["random"]),
            f"{share(planted['transition'])} of errors like the estimated ones",
        ],
    ]
    plateau = totals.get("train_plateau")
    if plateau is not None:
        trained = f"training accuracy {1 - plateau['rate']:.1%}"
        if plateau["held_out"] is not None:
            trained += f", {plateau['held_out']:.1%} on held-out folds"
            if 1 - plateau["rate"] - plateau["held_out"] > _MEMORIZES:
                trained += ": memorized, so too low"
        rows.append(["noise by training (experimental)", share(plateau["rate"]), trained])
    rows += [
        ["often confused", f"{c['given']}, truly {c['true']}", f"about {c['rows']:.0f} rows"]
        for c in totals["confusions"][:3]
        if c["rows"] >= 1
    ]
    return f"Labels of {n} rows in {totals['classes']} classes", rows


def share(value: float | None) -> str:
    """A share in per cent."""
    return "unknown" if value is None else f"{value:.1%}"
