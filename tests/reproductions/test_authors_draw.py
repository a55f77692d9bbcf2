"""From the authors' own data, wrong labels and first weights, our network takes their course.

Drawn as in github.com/d-doshi/Grokking at 0b4335f7: `noisy_dataset` and `fcn`, as called by the
notebook `Grokking_with_label_corruption.ipynb`, whose printed numbers stand here.
"""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from dataprune.reproductions.grok_data import ModularData
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import load_grok_recipe
from dataprune.reproductions.grok_train import look, train

P, NUM_NEURONS, NUM_TRAIN, NUM_DRAWN = 97, 500, 4704, 1646
WD_0 = load_grok_recipe().runs[0]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def authors() -> tuple[QuadraticMlp, ModularData]:
    """What their seeds give; labels and weights are drawn from one stream."""
    pairs = list(range(P * P))
    random.Random(420).shuffle(pairs)  # noqa: S311 - their seed
    pair_B = torch.tensor(pairs)
    left_B, right_B = pair_B // P, pair_B % P
    truth_B = (left_B + right_B) % P
    label_T = truth_B[:NUM_TRAIN].clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        label_T[:NUM_DRAWN] = torch.randint(0, P, (NUM_DRAWN,))
        first = nn.Linear(2 * P, NUM_NEURONS, bias=False)
        second = nn.Linear(NUM_NEURONS, P, bias=False)
        for layer in (first, second):
            nn.init.normal_(layer.weight, std=0.25**0.5 / (2 * NUM_NEURONS) ** (1 / 3))
    model = QuadraticMlp(P, NUM_NEURONS, WD_0, torch.Generator())
    with torch.no_grad():
        model.U_PN.copy_(first.weight[:, :P].T)
        model.V_PN.copy_(first.weight[:, P:].T)
        model.W_NP.copy_(second.weight.T)
    return model, ModularData(P, left_B, right_B, truth_B, label_T, NUM_DRAWN)


def test_the_first_loss_is_theirs(authors: tuple[QuadraticMlp, ModularData]) -> None:
    assert look(*authors, 0).train_loss == pytest.approx(0.010413740761578083, rel=1e-6)


@pytest.mark.slow
def test_without_regularisation_it_ends_where_theirs_does(
    authors: tuple[QuadraticMlp, ModularData],
) -> None:
    curve = train(*authors, WD_0, every=100, generator=torch.Generator(), on_checkpoint=_quiet)
    last = curve[-1]
    assert last.train_accuracy == pytest.approx(0.9783, abs=0.005)
    assert last.test_accuracy == pytest.approx(0.9830, abs=0.005)
    assert last.train_loss == pytest.approx(0.002802, rel=0.01)
    assert last.test_loss == pytest.approx(0.008420, rel=0.01)


def _quiet(_: object) -> None:
    pass
