"""Batch norm over a batch that several processes hold slices of; torch's own runs on no CPU.

Shape suffixes: B batch, C channels, R ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dataprune.core.errors import UsageError

_KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def with_whole_batch_norms(model: nn.Module) -> nn.Module:
    """The model with every batch norm over whole batches; parameters and their names stay.

    Raises:
        UsageError: a batch norm of another class, which may do something else besides.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, _BatchNorm):
            continue
        if type(module) not in _KNOWN:
            raise UsageError(
                f"module {name} is a {type(module).__name__}, a batch norm of its own, and several "
                "workers cannot give it whole batches",
                hint="set run.workers to 1, or use torch.nn.BatchNorm1d, 2d or 3d",
            )
        new = replaced.setdefault(module, _WholeBatchNorm(module))
        if module is model:
            return new
        model.set_submodule(name, new)
    return model


class _WholeBatchNorm(_BatchNorm):
    """As the batch norm it is made of, whose parameters and buffers it takes over."""

    def __init__(self, like: _BatchNorm) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, affine=False)
        self.affine, self.track_running_stats = like.affine, like.track_running_stats
        self.weight, self.bias = like.weight, like.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(like, name))
        self.training = like.training

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - torch's name
        """Any: the model was shown to run before."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """(B, C, ...) -> the same shape; in training, over the slices of all processes."""
        if not self.training:
            return super().forward(input)
        normalised = _Normalise.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        outputs: torch.Tensor = normalised[0]
        _, mean_C, var_C, count = normalised
        if self.running_mean is not None:
            self._remember(mean_C, var_C * (count / (count - 1)))  # as torch: unbiased
        return outputs

    @torch.no_grad()
    def _remember(self, mean_C: torch.Tensor, var_C: torch.Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the mean over all batches
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C.to(self.running_mean), share)
        self.running_var.lerp_(var_C.to(self.running_var), share)


class _Normalise(torch.autograd.Function):
    """Normalise by mean and variance of all slices; gradients flow through both.

    Slices are joined as Chan, Golub and LeVeque (1983) join samples: each is centred on its own
    mean, so that values far from zero lose no digits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        over = [d for d in range(x.dim()) if d != 1]
        var_C, mean_C = torch.var_mean(_wide(x), over, correction=0)
        ours = torch.full_like(mean_C[:1], x.numel() // x.shape[1])
        sent = torch.cat([ours, mean_C, var_C])
        parts = [torch.empty_like(sent) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, sent)
        sizes = [1, len(mean_C), len(mean_C)]
        count_R1, mean_RC, var_RC = torch.split(torch.stack(parts), sizes, dim=1)
        count = count_R1.sum()
        share_R1 = count_R1 / count
        mean_C = (share_R1 * mean_RC).sum(dim=0)
        var_C = (share_R1 * (var_RC + (mean_RC - mean_C).square())).sum(dim=0)
        ctx.save_for_backward(x, weight, mean_C, (var_C + eps).rsqrt())
        ctx.count, ctx.over = count, over
        outputs = nn.functional.batch_norm(x, mean_C, var_C, weight, bias, training=False, eps=eps)
        ctx.mark_non_differentiable(mean_C, var_C, count)
        return outputs, mean_C, var_C, count

    @staticmethod
    def backward(
        ctx: Any, by_outputs: torch.Tensor, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, None]:
        x, weight, mean_C, scale_C = ctx.saved_tensors
        across = [1, -1] + [1] * (x.dim() - 2)
        by = _wide(by_outputs)
        normal = (_wide(x) - mean_C.view(across)) * scale_C.view(across)
        sum_C, along_C = by.sum(ctx.over), (by * normal).sum(ctx.over)
        sums = torch.cat([sum_C, along_C])
        distributed.all_reduce(sums)
        mean_by_C, mean_along_C = (sums / ctx.count).chunk(2)
        by_x = by - mean_by_C.view(across) - normal * mean_along_C.view(across)
        by_x *= (scale_C if weight is None else scale_C * weight).view(across)
        has = weight is not None
        return by_x.to(x.dtype), along_C if has else None, sum_C if has else None, None


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32: statistics of half precision are taken there."""
    return x.float() if x.dtype in {torch.bfloat16, torch.float16} else x
