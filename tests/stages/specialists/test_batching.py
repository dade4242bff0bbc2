"""Items that go through a model together: equal keys, and what happens when memory runs out."""

from __future__ import annotations

import pytest

from stages.specialists.batching import map_batches, run_halving


def test_items_with_equal_keys_go_together_and_answers_keep_their_order() -> None:
    seen: list[str] = []

    def run(piece: list[str]) -> list[str]:
        seen.append("".join(piece))
        return [item.upper() for item in piece]

    assert map_batches("abcaba", run, 2, lambda x: x) == ["A", "B", "C", "A", "B", "A"]
    assert seen == ["aa", "a", "bb", "c"]


def test_a_piece_that_runs_out_of_memory_is_halved_down_to_single_items() -> None:
    sizes: list[int] = []

    def run(piece: list[int]) -> list[int]:
        sizes.append(len(piece))
        if len(piece) > 1:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            )
        return piece

    assert run_halving([1, 2, 3], run) == [1, 2, 3]
    assert sizes == [3, 1, 2, 1, 1]
    with pytest.raises(RuntimeError, match="of another kind"):
        run_halving([1, 2], lambda piece: (_ for _ in ()).throw(RuntimeError("of another kind")))
