"""Probe models: output shapes, parameters, refused inputs, and a user's own networks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dataprune.core.errors import UsageError
from dataprune.core.params import check_params
from dataprune.probe.models import MODELS, find_model
from dataprune.probe.train import pinned_arithmetic, seeded_model


@pytest.mark.parametrize("shape", [(5,), (1, 8, 8), (3, 6, 10)])
@pytest.mark.parametrize("widths", [[], [7], [16, 8]])
def test_mlp_gives_one_output_per_class_for_features_and_images(
    shape: tuple[int, ...], widths: list[int]
) -> None:
    model = MODELS.get("mlp").build(shape, 4, widths=widths)
    assert model(torch.randn(3, *shape)).shape == (3, 4)
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [*widths, 4]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 5, 9), (1, 4, 4)])
def test_small_cnn_gives_one_output_per_class_for_any_large_enough_image(
    shape: tuple[int, int, int],
) -> None:
    model = MODELS.get("small_cnn").build(shape, 10, widths=(4, 8, 8))
    images = torch.randn(6, *shape).to(memory_format=torch.channels_last)
    assert model(images).shape == (6, 10)


def test_small_cnn_in_eval_mode_treats_each_image_alone() -> None:
    model = MODELS.get("small_cnn").build((1, 8, 8), 3, widths=(4, 8)).eval()
    images = torch.randn(5, 1, 8, 8)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 32, 3), (1, 1, 28)])
def test_an_image_too_small_to_be_halved_is_refused_with_its_size(
    shape: tuple[int, int, int],
) -> None:
    with pytest.raises(UsageError, match=f"{shape[2]}x{shape[1]} are too small") as caught:
        MODELS.get("small_cnn").build(shape, 10)
    assert "widths" in (caught.value.hint or "")


def test_resnet18_is_the_paper_s_network_by_its_parameter_count() -> None:
    net = MODELS.get("resnet18").build((3, 32, 32), 10)
    assert sum(p.numel() for p in net.parameters()) == 11_173_962


def test_resnet18_halves_three_times_without_a_pool_and_has_no_convolution_bias() -> None:
    net = MODELS.get("resnet18").build((3, 32, 32), 10, width=4)
    sizes = [image.shape[1:] for image in feature_maps(net, torch.randn(2, 3, 32, 32))]
    assert list(dict.fromkeys(sizes)) == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 1 + 4 * 2 * 2 + 3  # stem, blocks, projections
    assert all(c.bias is None for c in convolutions)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(n.eps, n.momentum) for n in norms} == {(1e-5, 0.1)}


def feature_maps(net: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """What each convolution of a network gives."""
    maps: list[torch.Tensor] = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    net(images)
    return maps


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 15), (28, 28)])
def test_resnet18_takes_one_to_four_channels_and_any_size_from_8(
    channels: int, size: tuple[int, int]
) -> None:
    net = MODELS.get("resnet18").build((channels, *size), 5, width=4)
    images = torch.randn(3, channels, *size).to(memory_format=torch.channels_last)
    assert net(images).shape == (3, 5)


def test_resnet18_leaves_what_hooks_saw_as_it_was() -> None:
    net = MODELS.get("resnet18").build((1, 8, 8), 3, width=4)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for module in net.modules():
        module.register_forward_hook(lambda _m, _i, output: seen.append((output, output.clone())))
        module.register_full_backward_hook(lambda _m, _i, _o: None)
    net(torch.randn(2, 1, 8, 8, requires_grad=True)).sum().backward()
    assert len(seen) == len(list(net.modules()))
    assert all(torch.equal(kept, copy) for kept, copy in seen)


def test_resnet18_trains_to_the_same_bits_twice() -> None:
    assert trained("resnet18", (3, 8, 8), {"width": 4}) == trained(
        "resnet18", (3, 8, 8), {"width": 4}
    )
    assert trained("resnet18", (3, 8, 8), {"width": 4}, seed=1) != trained(
        "resnet18", (3, 8, 8), {"width": 4}
    )


def trained(name: str, shape: tuple[int, ...], params: dict[str, int], seed: int = 0) -> bytes:
    """The weights' bytes after two steps under the deterministic arithmetic of a unit."""
    with pinned_arithmetic(1, "cpu", torch.__version__):
        net = seeded_model(lambda: MODELS.get(name).build(shape, 3, **params), seed)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        images = torch.randn(6, *shape, generator=torch.Generator().manual_seed(5))
        for _ in range(2):
            optimizer.zero_grad()
            net(images).square().sum().backward()
            optimizer.step()
    return b"".join(p.detach().numpy().tobytes() for p in net.parameters())


@pytest.mark.parametrize("shape", [(1, 7, 28), (3, 28, 7)])
def test_resnet18_refuses_images_below_8_pixels_with_their_size(
    shape: tuple[int, int, int],
) -> None:
    with pytest.raises(UsageError, match=f"{shape[2]}x{shape[1]} are too small") as caught:
        MODELS.get("resnet18").build(shape, 10)
    assert "mlp" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
def test_image_models_refuse_feature_vectors_and_name_the_model_to_use(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} wants images.* 5 features") as caught:
        MODELS.get(name).build((5,), 2)
    assert "mlp" in (caught.value.hint or "")


@pytest.mark.parametrize("width", [0, -1, 2.5, "64", True])
def test_resnet18_refuses_a_width_that_is_no_whole_number_from_one(width: object) -> None:
    with pytest.raises(UsageError, match=r"resnet18 cannot take width") as caught:
        MODELS.get("resnet18").build((3, 8, 8), 2, width=width)
    assert "probe.model.params.width" in (caught.value.hint or "")


SHAPES = {
    "mlp": (6,),
    "resnet18": (1, 8, 8),
    "small_cnn": (1, 8, 8),
    "text_bag": (7,),
    "text_transformer": (7,),
}


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_builds_and_its_gradient_reaches_every_parameter(name: str) -> None:
    model = MODELS.get(name)
    assert model.name == name
    net, shape = model.build(SHAPES[name], 3), SHAPES[name]
    inputs = torch.randn(4, *shape) if model.encode is None else torch.randint(1, 9, (4, *shape))
    labels = torch.tensor([0, 1, 2, 0])
    torch.nn.functional.cross_entropy(net(inputs), labels).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts a module on the path and returns its name, new each time."""

    def write(source: str) -> str:
        name = f"user_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


OWN_NETWORK = """
from torch import nn

def build(shape, num_outputs, depth=1, *, wide: bool = False):
    if depth > 9:
        raise KeyError("too deep")
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], num_outputs * depth))

def lonely(shape):
    return None

def number(shape, num_outputs):
    return 7

def refusing(shape, num_outputs):
    from dataprune.core.errors import UsageError
    raise UsageError("only on Sundays", hint="wait")

constant = 3
"""


def test_a_registered_name_is_found_as_in_the_registry() -> None:
    assert find_model("mlp") is MODELS.get("mlp")
    with pytest.raises(UsageError, match="no model named small_cn") as caught:
        find_model("small_cn")
    assert "did you mean small_cnn" in (caught.value.hint or "")


def test_a_user_s_own_network_is_found_by_module_and_function(
    write_module: Callable[[str], str],
) -> None:
    name = f"{write_module(OWN_NETWORK)}:build"
    model = find_model(name)
    assert (model.name, model.encode) == (name, None)
    assert model.build((4,), 3, depth=2)(torch.randn(5, 4)).shape == (5, 6)


def test_a_user_s_parameters_are_checked_as_those_of_a_registered_model(
    write_module: Callable[[str], str],
) -> None:
    build = find_model(f"{write_module(OWN_NETWORK)}:build").build
    check_params(build, {"depth": 2, "wide": True}, what="model own")
    with pytest.raises(UsageError, match="model own has no parameter dept") as caught:
        check_params(build, {"dept": 2}, what="model own")
    assert caught.value.hint == "did you mean depth? known: depth, wide"


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        ("biuld", "has no function biuld", "did you mean build"),
        ("constant", "is of type int, which cannot be called", "build"),
        ("lonely", "does not take a shape and a number of outputs", "build(shape, num_outputs"),
        ("no-name", "is not of the form package.module:function", "my_package.networks:build"),
        ("", "is not of the form package.module:function", "my_package.networks:build"),
    ],
)
def test_what_is_no_build_function_is_refused_in_one_sentence(
    write_module: Callable[[str], str], function: str, message: str, hint: str
) -> None:
    module = write_module(OWN_NETWORK)
    with pytest.raises(UsageError) as caught:
        find_model(f"{module}:{function}")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_module_without_functions_and_a_function_without_a_signature_are_refused(
    write_module: Callable[[str], str],
) -> None:
    with pytest.raises(UsageError, match="has no function build") as caught:
        find_model(f"{write_module('constant = 3')}:build")
    assert caught.value.hint == "it defines no functions"
    with pytest.raises(UsageError, match="does not take a shape and a number of outputs"):
        find_model("builtins:min")


def test_a_module_that_does_not_exist_is_refused_with_where_to_put_it() -> None:
    for name in ("no_such_module:build", "no_such_module.networks:build"):
        with pytest.raises(UsageError, match="there is no module no_such_module") as caught:
            find_model(name)
        assert "PYTHONPATH" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise ValueError('line one\\nline two')", "ValueError: line one line two"),
        ("import no_such_dependency", "No module named 'no_such_dependency'"),
        ("def build(:", "SyntaxError: "),
        ("raise SystemExit('bye')", "SystemExit: bye"),
    ],
)
def test_a_module_that_fails_when_imported_is_refused_with_its_error_on_one_line(
    write_module: Callable[[str], str], source: str, problem: str
) -> None:
    module = write_module(source)
    with pytest.raises(UsageError) as caught:
        find_model(f"{module}:build")
    assert f"module {module} cannot be imported: " in caught.value.message
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert module in (caught.value.hint or "")


def test_a_user_s_function_that_fails_or_gives_no_network_is_refused_in_one_sentence(
    write_module: Callable[[str], str],
) -> None:
    module = write_module(OWN_NETWORK)
    with pytest.raises(UsageError, match=r"'depth': 10.*KeyError: 'too deep'"):
        find_model(f"{module}:build").build((4,), 3, depth=10)
    with pytest.raises(UsageError, match="returned int, not a network") as caught:
        find_model(f"{module}:number").build((4,), 3)
    assert caught.value.hint == "return a torch.nn.Module"
    with pytest.raises(UsageError, match=r"^only on Sundays"):
        find_model(f"{module}:refusing").build((4,), 3)
