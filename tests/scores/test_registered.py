"""Every registered score says what it is, what it costs, and where it misleads."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.core.errors import UsageError
from dataprune.probe.signals import SIGNALS
from dataprune.scores import BACKWARD, EVERY_EPOCH, FREE, SCORES

CORE = {
    "aum", "confidence", "dual", "el2n", "forgetting", "grand", "loss", "margin", "memorization",
    "random", "variability",
}  # fmt: skip
EXPERIMENTAL = {
    "correctness", "csl", "curvature", "data_iq", "dyn_unc", "entropy", "first_learned",
    "grand_init", "grand_last", "heldout_el2n", "heldout_error", "heldout_loss", "heldout_margin",
    "input_norm", "lbpe", "least_confidence", "mem_drop", "mem_flip", "mem_margin_pruned", "tdds",
    "vog",
}  # fmt: skip
GRADIENTS = {"grad_norm", "grad_norm_last", "label_gradient_BD", "input_curvature"}
REMOVALS = {"mem_drop", "mem_flip", "mem_margin_pruned"}


def test_which_scores_there_are_and_which_keep_their_definition() -> None:
    by_status = {name: SCORES.get(name).status for name in SCORES.names()}
    assert by_status == {
        **dict.fromkeys(CORE, "core"),
        **dict.fromkeys(EXPERIMENTAL, "experimental"),
    }


@pytest.mark.parametrize("name", SCORES.names())
def test_a_score_is_told_in_its_docstring_and_in_the_cells_of_the_table(name: str) -> None:
    score = SCORES.get(name)
    told = importlib.import_module(f"dataprune.scores.{name}").__doc__ or ""
    assert score.name == name
    for word in ("higher is", "cost", "pitfall", *(["range"] if score.signals else [])):
        assert word in " ".join(told.lower().split())
    for cell in (score.value_range, score.source, score.cost, score.pitfalls):
        assert cell
        assert cell.isascii()
        assert not set(cell) & set("|\n")
        assert cell != "not stated"
    assert len(score.pitfalls) < 100


@pytest.mark.parametrize("name", SCORES.names())
def test_a_score_reads_signals_that_there_are_and_says_what_they_cost(name: str) -> None:
    score = SCORES.get(name)
    signals = [SIGNALS.get(signal) for signal in score.signals]
    reads = {quantity for signal in signals for quantity in signal.reads}
    every_epoch = any(signal.when == "epoch" for signal in signals)
    assert (EVERY_EPOCH in score.cost) == (every_epoch and not reads & GRADIENTS)
    assert (score.cost == BACKWARD) == (name == "grand")
    is_free = (
        bool(signals) and not every_epoch and not reads & (GRADIENTS | REMOVALS | {"input_norm"})
    )
    assert (FREE in score.cost) == is_free
    assert score.at_init == any(signal.when == "init" for signal in signals)


@pytest.mark.parametrize("name", SCORES.names())
def test_only_scores_over_windows_of_epochs_say_that_they_need_a_window(name: str) -> None:
    score = SCORES.get(name)
    assert score.windowed == any(signal.startswith("window_") for signal in score.signals)
    assert ("best_epochs" in score.spec) == (name == "lbpe")


def test_what_its_authors_define_the_other_way_round_is_stored_negated_and_says_so() -> None:
    negated = {n for n in SCORES.names() if SCORES.get(n).spec.get("sign") == "negated"}
    assert negated == {"margin", "heldout_margin", "aum", "confidence", "correctness"}


def test_controls_claim_nothing() -> None:
    nothing = {n for n in SCORES.names() if SCORES.get(n).higher_is == "nothing"}
    assert nothing == {"random", "grand_init", "input_norm"}


def test_which_seeds_count() -> None:
    over = {n: SCORES.get(n).over for n in SCORES.names() if SCORES.get(n).over != "in_sample"}
    assert over == {
        "memorization": "difference",
        "heldout_el2n": "held_out",
        "heldout_error": "held_out",
        "heldout_loss": "held_out",
        "heldout_margin": "held_out",
    }


def test_an_unknown_score_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="el2m") as caught:
        SCORES.get("el2m")
    assert "el2n" in str(caught.value.hint)


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_has_a_test_file_of_its_own(name: str) -> None:
    assert Path(__file__).with_name(f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", [n for n in SCORES.names() if SCORES.get(n).windowed])
def test_a_window_longer_than_the_run_gives_no_value(
    score_logits: Callable[..., Any], name: str
) -> None:
    values = score_logits(name, np.zeros((4, 2, 3)), [0, 1], window=5)
    assert np.isnan(values).all()
