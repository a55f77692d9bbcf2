"""Text models: which ids a text gets, and what their networks make of them."""

from __future__ import annotations

import unicodedata
from zlib import crc32

import numpy as np
import pytest
import torch

from dataprune.core.errors import UsageError
from dataprune.probe.models import MODELS
from dataprune.probe.models._text import tokens
from dataprune.probe.train import pinned_arithmetic, seeded_model

BAG, TRANSFORMER = MODELS.get("text_bag"), MODELS.get("text_transformer")
TEXT_MODELS = ("text_bag", "text_transformer")
QUESTIONS = ["What is EL2N?", "", "Who pruned the data, and when did they prune it?", "Why?"]


def slow_ids(text: str, buckets: int, ngrams: int, char_ngrams: int, max_tokens: int) -> list[int]:
    """The ids of one text, an n-gram at a time."""
    words = tokens(text)
    grams = []
    for start, word in enumerate(words):
        stops = range(start + 1, min(start + ngrams, len(words)) + 1)
        grams += [" ".join(words[start:stop]) for stop in stops]
        bounded = f"<{word}>"
        firsts = range(len(bounded) - char_ngrams + 1) if char_ngrams else []
        grams += ["\0" + bounded[first : first + char_ngrams] for first in firsts]
    return [crc32(gram.encode()) % buckets + 1 for gram in grams][:max_tokens]


def outputs(net: torch.nn.Module, ids: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(ids))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is EL2N?", ["what", "is", "el2n", "?"]),
        ("no-one's", ["no", "-", "one", "'", "s"]),
        ("Ƙasa, Ɗan ƴaƴa ɓera \u02bcyan", ["ƙasa", ",", "ɗan", "ƴaƴa", "ɓera", "\u02bcyan"]),
        ("ẸGBẸ́ Ọ̀ṢUN ní Ẹ̀kọ́", ["ẹgbẹ́", "ọ̀ṣun", "ní", "ẹ̀kọ́"]),
        ("हिन्दी 日本語", ["हिन्दी", "日本語"]),
        ("می\u200cخورم", ["می\u200cخورم"]),
        ("𞤆𞤵𞤤𞤢𞥄𞤪", ["𞤨𞤵𞤤𞤢𞥄𞤪"]),
        (" \t\n", []),
    ],
)
def test_a_text_is_cut_into_lowercased_words_and_punctuation_in_any_script(
    text: str, expected: list[str]
) -> None:
    assert tokens(text) == [unicodedata.normalize("NFC", token) for token in expected]


def test_a_text_gets_the_same_ids_composed_or_decomposed() -> None:
    texts = [unicodedata.normalize(form, "Ẹ̀kọ́ ní Ọ̀ṣun") for form in ("NFC", "NFD", "NFKC", "NFKD")]
    assert len(set(texts)) > 1
    for name in TEXT_MODELS:
        assert len(np.unique(MODELS.get(name).encode(texts), axis=0)) == 1


def test_the_ids_are_those_of_every_machine_and_run() -> None:
    bag = BAG.encode(["What is EL2N?", "Ƙasa ƴaƴa", ""])
    assert bag.dtype == np.int32
    assert bag.tolist() == [
        [12899, 25427, 58008, 43897, 62024, 31386, 49841],
        [40613, 28211, 45625, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    words = TRANSFORMER.encode(["What is EL2N?"])
    assert words.dtype == np.int32
    assert words.tolist() == [[12899, 8856, 12872, 689]]


@pytest.mark.parametrize("ngrams", [1, 2, 3, 50])
@pytest.mark.parametrize("char_ngrams", [0, 1, 3])
@pytest.mark.parametrize("max_tokens", [1, 5, 256])
def test_encoding_is_that_of_the_slow_reference(
    ngrams: int, char_ngrams: int, max_tokens: int
) -> None:
    texts = [*QUESTIONS, "", "Ẹ̀kọ́ ní Ọ̀ṣun", "a"]
    ids = BAG.encode(
        texts, buckets=997, ngrams=ngrams, char_ngrams=char_ngrams, max_tokens=max_tokens
    )
    expected = [slow_ids(text, 997, ngrams, char_ngrams, max_tokens) for text in texts]
    assert ids.shape == (len(texts), max(map(len, expected)))
    assert [row[row != 0].tolist() for row in ids] == expected
    assert all(not row[len(want) :].any() for row, want in zip(ids, expected, strict=True))


def test_a_text_s_ids_do_not_depend_on_the_texts_around_it() -> None:
    texts = [f"word{i} and word{i % 7} again" for i in range(9000)]  # more than two chunks
    ids = BAG.encode(texts)
    for row in (0, 4095, 4096, 8999):
        assert ids[row].tolist() == BAG.encode([texts[row]])[0].tolist()


@pytest.mark.parametrize("texts", [[], [""], ["", " "]])
def test_texts_without_tokens_are_rows_of_one_zero(texts: list[str]) -> None:
    for ids in (
        TRANSFORMER.encode(texts),
        BAG.encode(texts, char_ngrams=2),
    ):
        assert ids.shape == (len(texts), 1)
        assert not ids.any()


def test_ids_reach_the_last_bucket_and_go_no_further() -> None:
    ids = BAG.encode([f"w{i}" for i in range(200)], buckets=3, ngrams=1)
    assert set(ids.ravel().tolist()) == {1, 2, 3}
    huge = BAG.encode([f"w{i}" for i in range(200)], buckets=2**31 - 1)
    assert huge.min() > 0


@pytest.mark.parametrize(
    ("name", "params", "count"),
    [
        ("text_bag", {"buckets": 100, "dim": 8}, 101 * 8 + 9 * 5),
        (
            "text_transformer",
            {"buckets": 100, "dim": 8, "layers": 2, "heads": 2},
            101 * 8
            + 7 * 8
            + 2 * (8 * 24 + 24 + 8 * 8 + 8 + 8 * 32 + 32 + 32 * 8 + 8 + 4 * 8)
            + 16
            + 45,
        ),
        ("text_bag", {}, 4_194_693),
        ("text_transformer", {}, 1_149_509),
    ],
)
def test_a_text_network_has_the_parameters_its_description_gives(
    name: str, params: dict[str, int], count: int
) -> None:
    net = MODELS.get(name).build((7,), 5, **params)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("name", TEXT_MODELS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_text_network_gives_one_output_per_class_for_either_integer(
    name: str, dtype: type[np.integer]
) -> None:
    model = MODELS.get(name)
    ids = model.encode(QUESTIONS).astype(dtype)
    assert outputs(model.build(ids.shape[1:], 6), ids).shape == (4, 6)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_padding_and_the_other_texts_of_a_batch_change_no_output(name: str) -> None:
    model = MODELS.get(name)
    ids = model.encode(QUESTIONS)
    padded = np.pad(ids, ((0, 0), (0, 5)))
    net = model.build(padded.shape[1:], 6)
    together = outputs(net, ids)
    assert len(together.unique(dim=0)) == len(QUESTIONS)
    torch.testing.assert_close(outputs(net, padded), together)
    for row, text in enumerate(QUESTIONS):
        alone = outputs(net, model.encode([text]))
        torch.testing.assert_close(alone, together[row : row + 1])


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_text_without_tokens_gives_the_read_out_of_zeros_and_a_finite_gradient(name: str) -> None:
    net = MODELS.get(name).build((4,), 3)
    given = net(torch.zeros(2, 4, dtype=torch.int32))
    torch.testing.assert_close(given, net.read_out.bias.expand(2, 3))
    given.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_word_order_changes_the_transformer_and_the_pairs_but_not_the_unigram_bag() -> None:
    texts = ["dog bites man", "man bites dog"]

    def differ(name: str, **encoding: int) -> bool:
        model = MODELS.get(name)
        ids = model.encode(texts, **encoding)
        net = seeded_model(lambda: model.build(ids.shape[1:], 4), 1)
        first, second = outputs(net, ids)
        return not torch.allclose(first, second, rtol=1e-4, atol=1e-6)

    assert differ("text_transformer")
    assert differ("text_bag", ngrams=2)
    assert not differ("text_bag", ngrams=1)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_text_network_learns_its_texts_to_the_same_bits_twice(name: str) -> None:
    first, accuracy = learned(name, seed=0)
    assert accuracy == 1.0
    assert learned(name, seed=0)[0] == first
    assert learned(name, seed=1)[0] != first


def learned(name: str, seed: int) -> tuple[bytes, float]:
    """The weights' bytes and the training accuracy at the default rate, decay and momentum."""
    model = MODELS.get(name)
    texts = [f"{'who' if i % 2 else 'when'} did thing {i}" for i in range(32)]
    ids = torch.from_numpy(model.encode(texts, buckets=256))
    labels = torch.arange(32) % 2
    with pinned_arithmetic(1, "cpu", torch.__version__):
        net = seeded_model(lambda: model.build(ids.shape[1:], 2, buckets=256), seed)
        optimizer = torch.optim.SGD(
            net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        for _ in range(40):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(ids), labels).backward()
            optimizer.step()
        accuracy = (net(ids).argmax(dim=1) == labels).double().mean().item()
    return b"".join(p.detach().numpy().tobytes() for p in net.parameters()), accuracy


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_the_padding_row_starts_at_zero_and_stays_there(name: str) -> None:
    net = MODELS.get(name).build((4,), 3, buckets=20)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    net(torch.tensor([[1, 2, 0, 0]])).square().sum().backward()
    optimizer.step()
    assert not net.embed.weight[0].any()
    assert net.embed.weight[1:].any(dim=1).all()


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_text_models_refuse_images_and_name_the_models_to_use(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} wants text, and .* image of 3x32x30") as caught:
        MODELS.get(name).build((3, 32, 30), 10)
    assert "small_cnn" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("text_bag", {"ngrams": 0}),
        ("text_bag", {"char_ngrams": -1}),
        ("text_bag", {"buckets": 0}),
        ("text_bag", {"buckets": 2**31}),
        ("text_bag", {"max_tokens": 0}),
        ("text_bag", {"ngrams": 1.5}),
        ("text_bag", {"ngrams": "2"}),
        ("text_bag", {"ngrams": True}),
        ("text_transformer", {"buckets": 0}),
        ("text_transformer", {"max_tokens": 0}),
    ],
)
def test_an_encoding_parameter_out_of_range_is_refused_by_name(
    name: str, params: dict[str, object]
) -> None:
    ((parameter, value),) = params.items()
    with pytest.raises(UsageError) as caught:
        MODELS.get(name).encode(["a text"], **params)
    assert caught.value.message == f"model {name} cannot take {parameter} {value!r}"
    assert f"probe.model.params.{parameter} to a whole number" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("text_bag", "buckets"),
        ("text_bag", "dim"),
        ("text_transformer", "buckets"),
        ("text_transformer", "dim"),
        ("text_transformer", "layers"),
        ("text_transformer", "heads"),
    ],
)
def test_a_network_parameter_below_one_is_refused_by_name(name: str, parameter: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot take {parameter} 0"):
        MODELS.get(name).build((5,), 2, **{parameter: 0})


def test_heads_that_do_not_divide_the_dimension_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot split dim 64 over 5 heads") as caught:
        TRANSFORMER.build((5,), 2, heads=5)
    assert "multiple of heads" in (caught.value.hint or "")
