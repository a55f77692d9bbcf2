"""`reproduce grok`: train every run of a recipe, and measure each as the paper does."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dataprune.core.fingerprint import derive_seed
from dataprune.core.protocols import OnProgress
from dataprune.probe.gate import problem_of, wilson_low
from dataprune.probe.memorization import Basis
from dataprune.probe.train import pinned_arithmetic
from dataprune.reproductions.grok_data import ModularData, fourier_rows, make_data
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import GrokRecipe, GrokRun
from dataprune.reproductions.grok_train import Checkpoint, train
from dataprune.reproductions.ipr import neuron_ipr
from dataprune.reproductions.memorized import MemorizedPart, memorized_parts, noisy_held_out
from dataprune.reproductions.phases import Phase, classify
from dataprune.reproductions.pruning import Order, Pruned, orders, prune_neurons, sizes

FORMAT_VERSION = 1


@dataclass(frozen=True)
class RunResult:
    """One trained network.

    p: the modulus. chance: what the best constant answer gets, of all examples.
    num_wrong: training labels that are not the truth; num_drawn: those drawn at random, of which
        some are right by chance.
    ipr: of each neuron. pruning: what is left at each level, by the order of pruning.
    scale: BatchNorm's factor of each neuron, absolute; None without BatchNorm.
    memorized: what removing the memorized part, found without Fourier transforms, shows.
    """

    run: GrokRun
    seed: int
    p: int
    chance: float
    alpha: float
    xi: float
    num_train: int
    num_drawn: int
    num_wrong: int
    curve: tuple[Checkpoint, ...]
    phase: Phase
    ipr: tuple[float, ...]
    pruning: dict[Order, tuple[Pruned, ...]]
    scale: tuple[float, ...] | None
    memorized: dict[Basis, MemorizedPart]

    @property
    def name(self) -> str:
        """The run's name, with the seed where it is not the first."""
        return f"{self.run.name}, seed {self.seed}" if self.seed else self.run.name

    @property
    def last(self) -> Checkpoint:
        """The trained network's accuracies."""
        return self.curve[-1]

    @property
    def mean_ipr(self) -> float:
        """The network's inverse participation ratio: the mean over its neurons."""
        return sum(self.ipr) / len(self.ipr)

    def gate(self, point: Checkpoint) -> str | None:
        """What `score`'s timing gate would hold against scores of this step; None if nothing."""
        low = wilson_low(point.test_accuracy, self.p**2 - self.num_train)
        best = max(each.test_accuracy for each in self.curve)
        return problem_of(point.test_accuracy, low, chance=self.chance, best=best)

    def after(self, order: Order, percent: int) -> Pruned:
        """One level of one pruning."""
        return next(level for level in self.pruning[order] if level.percent == percent)

    def as_json(self) -> dict[str, Any]:
        """All that is known of the run, as grok.json holds it."""
        about = {
            k: v for k, v in vars(self).items() if k not in {"run", "curve", "pruning", "memorized"}
        }
        return {
            **about,
            **self.run.model_dump(mode="json"),
            "alpha": self.alpha,
            "xi": self.xi,
            "train_accuracy": self.last.train_accuracy,
            "test_accuracy": self.last.test_accuracy,
            "mean_ipr": self.mean_ipr,
            "curve": [{**asdict(point), "gate": self.gate(point)} for point in self.curve],
            "memorized": {k: asdict(part) for k, part in self.memorized.items()},
            "pruning": {k: [asdict(level) for level in v] for k, v in self.pruning.items()},
        }


@dataclass(frozen=True)
class GrokResult:
    """Every run of a recipe, in its order, seed by seed."""

    recipe: GrokRecipe
    runs: tuple[RunResult, ...]

    def as_json(self) -> dict[str, Any]:
        """The content of grok.json: no time and no host, so that the same run gives the same."""
        return {
            "format": "dataprune.grok",
            "format_version": FORMAT_VERSION,
            "paper": "arXiv 2310.13061",
            "recipe": self.recipe.model_dump(mode="json"),
            "torch": torch.__version__,
            "runs": [result.as_json() for result in self.runs],
        }


def reproduce_grok(recipe: GrokRecipe, *, on_progress: OnProgress) -> GrokResult:
    """Train and measure every run of the recipe, one after the other, on the CPU.

    Raises:
        ProbeError: a run diverged.
    """
    with pinned_arithmetic(recipe.num_cpus, "cpu", torch.__version__):
        flushed = torch.set_flush_denormal(True)  # forgetting ends in weights too small for speed
        try:
            results = [
                run_once(recipe, run, seed, on_progress)
                for run in recipe.runs
                for seed in range(recipe.seeds)
            ]
        finally:
            if flushed:
                torch.set_flush_denormal(False)
    return GrokResult(recipe, tuple(results))


def run_once(recipe: GrokRecipe, run: GrokRun, seed: int, on_progress: OnProgress) -> RunResult:
    """Train one network and measure it.

    Runs of one seed share the order of the examples, the initial weights and, where alpha and xi
    are the same, the wrong labels.
    """
    alpha, xi = recipe.alpha_of(run), recipe.xi_of(run)

    def draws(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(recipe.seed, seed, "grok", purpose))

    data = make_data(recipe.p, recipe.operation, alpha=alpha, xi=xi, generator=draws("data"))
    model = QuadraticMlp(recipe.p, recipe.num_neurons, run, draws("init"))
    progress = _Progress(run, seed, on_progress)
    curve = train(
        model,
        data,
        run,
        every=recipe.evaluate_every,
        generator=draws("order"),
        on_checkpoint=progress.tell,
    )
    held_out = noisy_held_out(data, xi, draws("held-out"))
    result = _measure(recipe, run, seed, data, held_out, model, curve)
    progress.end()
    return result


def _measure(
    recipe: GrokRecipe,
    run: GrokRun,
    seed: int,
    data: ModularData,
    held_out: tuple[torch.Tensor, torch.Tensor],
    model: QuadraticMlp,
    curve: list[Checkpoint],
) -> RunResult:
    with torch.no_grad():
        hidden_BN = model.hidden(data.left_B, data.right_B)
        rows = fourier_rows(recipe.p, recipe.operation)
        ipr_N = neuron_ipr(model.U_PN, model.V_PN, model.W_NP, rows)
        size_N = sizes(hidden_BN, model.W_NP)
        pruning = {
            order: tuple(prune_neurons(model, data, hidden_BN, order_N))
            for order, order_N in orders(ipr_N, size_N).items()
        }
        memorized = memorized_parts(hidden_BN, model.W_NP, data, held_out)
    last, alpha, xi = curve[-1], recipe.alpha_of(run), recipe.xi_of(run)
    best = max(point.test_accuracy for point in curve)
    return RunResult(
        run,
        seed,
        recipe.p,
        data.chance,
        alpha,
        xi,
        num_train=data.num_train,
        num_drawn=data.num_drawn,
        num_wrong=int(data.is_wrong_T.sum()),
        curve=tuple(curve),
        phase=classify(last.train_accuracy, last.test_accuracy, xi=xi, best_test=best),
        ipr=tuple(ipr_N.tolist()),
        pruning=pruning,
        scale=None if model.norm is None else tuple(model.norm.weight.detach().abs().tolist()),
        memorized=memorized,
    )


class _Progress:
    """One run's line on the screen."""

    def __init__(self, run: GrokRun, seed: int, on_progress: OnProgress) -> None:
        self.id = f"{run.name}-{seed}"
        self.label = f"{run.name}, seed {seed}" if seed else run.name
        self.steps = run.steps
        self.on_progress = on_progress
        self.started = time.monotonic()

    def tell(self, point: Checkpoint) -> None:
        """Steps done, loss, accuracy on the examples not trained on, seconds left."""
        took_s = time.monotonic() - self.started
        told = {
            "label": self.label,
            "epoch": point.step,
            "epochs": self.steps,
            "train_loss": point.train_loss,
            "heldout": point.test_accuracy,
            "left_s": took_s / point.step * (self.steps - point.step) if point.step else None,
        }
        self.on_progress(self.id, told)

    def end(self) -> None:
        """Where nothing moves on the screen, this is the run's only line."""
        self.on_progress(self.id, {"label": self.label, "state": "finished"})
