"""The hash of what was said and done holds for hostile arguments, too."""

from __future__ import annotations

import pytest

from dataprune.trajectories import Message, ToolCall, content_sha256


@pytest.mark.parametrize("depth", [10, 900, *range(960, 1000, 3), 100_000])
def test_arguments_of_any_depth_are_hashed(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    calls = [ToolCall("f", deep), ToolCall("f", deep + " x")]
    first, second = (
        content_sha256([Message("assistant", "", tool_calls=(c,))], None) for c in calls
    )
    assert first != second
