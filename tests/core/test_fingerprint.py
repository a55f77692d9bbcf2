"""Identity by content: what changes a hash, what does not, and that hashes stay what they are."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataprune.core.fingerprint import (
    HASH_VERSION,
    canonical_json,
    content_hashes,
    derive_seed,
    fingerprint,
    mix64,
    source_fingerprint,
    text_hashes,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SALTS = st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=8), max_size=3)
ROWS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=60, unique=True)
# Of HASH_VERSION 1, as first released.
PINNED_PIXELS = [11289627582675306226, 14608484184897903473]
PINNED_TEXTS = [11941913846616668974, 7997610454460823558]
PINNED_MIX = [3316269748607790115, 9246107866394942505]
PINNED_SEED = 389873658531716786
ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.float64]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
)


# --- canonical JSON


@settings(deadline=None)
@given(JSON)
def test_canonical_json_reads_back_as_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_canonical_json_has_one_plain_form() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null]}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, float(np.float64("nan"))])
def test_canonical_json_refuses_numbers_json_has_no_word_for(number: float) -> None:
    with pytest.raises(TypeError, match=r"\$\.a\[1\] is -?(nan|inf)"):
        canonical_json({"a": [0, number]})


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), np.int64(1), np.zeros(2), 1j])
def test_canonical_json_refuses_what_has_no_exact_form(value: object) -> None:
    with pytest.raises(TypeError, match=r"\$\.a is a .*no canonical form"):
        canonical_json({"a": value})


@pytest.mark.parametrize("key", [1, None, True, (1, 2)])
def test_canonical_json_refuses_keys_that_are_not_text(key: object) -> None:
    with pytest.raises(TypeError, match=r"\$ has a key of type"):
        canonical_json({key: 1})


@pytest.mark.parametrize(("a", "b"), [(1, True), (1, 1.0), (1, "1"), (None, "null"), ([], {})])
def test_a_fingerprint_tells_like_values_of_two_types_apart(a: object, b: object) -> None:
    assert fingerprint(a) != fingerprint(b)


def test_a_fingerprint_is_the_sha256_of_the_canonical_text() -> None:
    assert fingerprint({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


# --- content hashes


def slow_hash(row: npt.NDArray[Any]) -> int:
    """The definition, one row at a time."""
    little = np.array(row, dtype=row.dtype.newbyteorder("<"))
    header = f"dataprune/{HASH_VERSION}|{little.dtype.str}|{row.shape}|".encode()
    digest = hashlib.blake2b(header + little.tobytes(), digest_size=8).digest()
    return int(struct.unpack("<Q", digest)[0])


@settings(deadline=None)
@given(ARRAYS)
def test_content_hashes_are_blake2b_of_dtype_shape_and_bytes(array: npt.NDArray[Any]) -> None:
    assert content_hashes(array).tolist() == [slow_hash(np.asarray(row)) for row in array]
    assert content_hashes(array).dtype == np.uint64


def test_content_hashes_are_pinned_a_change_here_must_raise_hash_version() -> None:
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    assert HASH_VERSION == 1
    assert content_hashes(pixels).tolist() == PINNED_PIXELS
    assert text_hashes(["", "a"], 2).tolist() == PINNED_TEXTS
    assert mix64(np.arange(2), 0, "ties").tolist() == PINNED_MIX
    assert derive_seed(0, "probe") == PINNED_SEED


@settings(deadline=None)
@given(ARRAYS)
def test_a_content_hash_does_not_depend_on_the_row_or_its_neighbours(
    array: npt.NDArray[Any],
) -> None:
    assert np.array_equal(content_hashes(array[::-1]), content_hashes(array)[::-1])


@settings(deadline=None)
@given(ARRAYS, st.data())
def test_a_changed_byte_changes_its_rows_hash_and_no_other(
    array: npt.NDArray[Any], data: st.DataObject
) -> None:
    raw = bytearray(array.tobytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    changed = np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
    differs = content_hashes(changed) != content_hashes(array)
    assert np.flatnonzero(differs).tolist() == [at // (len(raw) // len(array))]


def test_a_content_hash_depends_on_the_shape_of_the_row() -> None:
    flat = np.arange(12, dtype=np.uint8).reshape(1, 12)
    hashes = {int(content_hashes(flat.reshape(1, *s))[0]) for s in [(12,), (3, 4), (4, 3), (12, 1)]}
    assert len(hashes) == 4


def test_a_content_hash_depends_on_the_dtype() -> None:
    zeros = [np.zeros((1, 4), t) for t in (np.int32, np.uint32, np.float32)]
    assert len({int(content_hashes(array)[0]) for array in zeros}) == 3


def test_a_content_hash_does_not_depend_on_byte_order_in_memory() -> None:
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    assert np.array_equal(content_hashes(values.astype(">f4")), content_hashes(values))


def test_a_content_hash_does_not_depend_on_memory_layout() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(content_hashes(np.asfortranarray(values)), content_hashes(values))
    assert np.array_equal(
        content_hashes(values[:, ::2]), content_hashes(np.ascontiguousarray(values[:, ::2]))
    )


def test_no_rows_have_no_hashes() -> None:
    assert content_hashes(np.zeros((0, 3), np.float32)).shape == (0,)


def test_texts_hash_as_their_bytes_with_nothing_tidied() -> None:
    texts = ["a", "a ", "A", "é", "e\u0301", ""]
    assert len(set(text_hashes(texts, len(texts)).tolist())) == len(texts)


def test_a_text_and_an_array_of_its_bytes_are_different_content() -> None:
    array = np.frombuffer(b"abc", np.uint8).reshape(1, 3)
    assert text_hashes(["abc"], 1)[0] != content_hashes(array)[0]


# --- the source's fingerprint

HASHES = np.array([1, 2, 3], np.uint64)
LABELS = np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("hashes", "labels", "classes"),
    [
        ([1, 2, 4], [0, 1, 0], ["a", "b"]),
        ([1, 3, 2], [0, 0, 1], ["a", "b"]),
        ([1, 2, 3], [0, 1, 1], ["a", "b"]),
        ([1, 2, 3], [0, 1, 0], ["b", "a"]),
        ([1, 2, 3], [0, 1, 0], ["a", "b", "c"]),
        ([1, 2], [0, 1], ["a", "b"]),
        ([1, 2, 3, 3], [0, 1, 0, 0], ["a", "b"]),
    ],
    ids=["content", "order", "label", "names swapped", "name added", "shorter", "longer"],
)
def test_a_source_fingerprint_changes_with(
    hashes: list[int], labels: list[int], classes: list[str]
) -> None:
    changed = source_fingerprint(np.array(hashes, np.uint64), np.array(labels), classes)
    assert changed != source_fingerprint(HASHES, LABELS, ["a", "b"])


def test_a_source_fingerprint_is_64_hex_digits_and_stays() -> None:
    first = source_fingerprint(HASHES, LABELS, ["a", "b"])
    assert first == source_fingerprint(HASHES.copy(), LABELS.astype(np.int64), ["a", "b"])
    assert len(bytes.fromhex(first)) == 32


# --- mix64 and derive_seed


def slow_mix(value: int, salt: list[int | str]) -> int:
    """Two rounds of splitmix64 in Python's own integers."""
    digest = hashlib.blake2b(canonical_json(salt).encode(), digest_size=8).digest()
    x = (value + int.from_bytes(digest, "little")) % 2**64
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        x ^= x >> 31
    return x


@settings(deadline=None)
@given(ROWS, SALTS)
def test_mix64_is_two_rounds_of_splitmix64(rows: list[int], salt: list[int | str]) -> None:
    assert mix64(np.array(rows), *salt).tolist() == [slow_mix(row, salt) for row in rows]


@settings(deadline=None)
@given(ROWS, SALTS)
def test_mix64_sends_different_rows_to_different_values(
    rows: list[int], salt: list[int | str]
) -> None:
    assert len(set(mix64(np.array(rows), *salt).tolist())) == len(rows)


def test_mix64_is_one_to_one_on_many_rows() -> None:
    assert len(np.unique(mix64(np.arange(200_000), 3))) == 200_000


@settings(deadline=None)
@given(ROWS, SALTS, SALTS)
def test_mix64_depends_on_the_salt(rows: list[int], a: list[int | str], b: list[int | str]) -> None:
    same = bool((mix64(np.array(rows), *a) == mix64(np.array(rows), *b)).any())
    assert same == (canonical_json(a) == canonical_json(b))


@settings(deadline=None)
@given(ROWS, SALTS)
def test_mix64_of_a_row_does_not_depend_on_the_other_rows(
    rows: list[int], salt: list[int | str]
) -> None:
    alone = [int(mix64(np.array([row]), *salt)[0]) for row in rows]
    assert mix64(np.array(rows), *salt).tolist() == alone


def test_mix64_leaves_no_trace_of_the_rows_order() -> None:
    bits = np.unpackbits(mix64(np.arange(20_000), 7).view(np.uint8).reshape(-1, 8), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02
    ranks = np.argsort(np.argsort(mix64(np.arange(20_000), 7)))
    assert abs(np.corrcoef(ranks, np.arange(20_000))[0, 1]) < 0.03


@settings(deadline=None)
@given(SALTS, SALTS)
def test_a_derived_seed_has_63_bits_and_depends_on_all_it_is_made_of(
    a: list[int | str], b: list[int | str]
) -> None:
    assert 0 <= derive_seed(*a) < 2**63
    assert (derive_seed(*a) == derive_seed(*b)) == (canonical_json(a) == canonical_json(b))
