"""Joined pairs: nothing lost, nothing repeated, links moved along, the same groups again for seed and epoch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model_export.cli import main
from model_export.concatenation import ConcatenatedPairs
from model_export.data import EncodedPairs
from tests.model_export.guided_task import write_task
from tests.reversing_task import CONFIG, training_arguments

PAD, BOS, EOS = 0, 1, 2


def numbered_pairs(count: int, linked: bool = True) -> EncodedPairs:
    """Pair n: two source tokens, 10 n and 10 n + 1, and three target tokens, 10 n + 5 to 10 n + 7; n from 1 on.

    The first target token is linked to the second source token, the last to the first.
    """
    pairs = EncodedPairs(PAD, EOS)
    for number in range(1, count + 1):
        pairs.source_ids.append(np.array([10 * number, 10 * number + 1, EOS], dtype=np.int32))
        pairs.target_ids.append(np.array([BOS, *range(10 * number + 5, 10 * number + 8), EOS], dtype=np.int32))
        if linked:
            pairs.token_links.append(np.array([[0, 1], [2, 0]], dtype=np.int32))
    return pairs


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_each_pair_is_there_once_and_the_share_is_joined(share: float) -> None:
    joined = ConcatenatedPairs(numbered_pairs(100), share, seed=1, max_tokens=50).epoch(0)
    sources = Counter(int(token) for ids in joined.source_ids for token in ids[:-1])
    assert sources == Counter(10 * number + place for number in range(1, 101) for place in (0, 1))
    sizes = [len(ids) // 2 for ids in joined.source_ids]
    assert sum(size for size in sizes if size > 1) == pytest.approx(100 * share, abs=1)
    assert set(sizes) <= {1, 2, 3, 4}
    assert share == 0 or {2, 3, 4} <= set(sizes)


def test_sides_and_links_are_joined_alike() -> None:
    joined = ConcatenatedPairs(numbered_pairs(50), 1.0, seed=1, max_tokens=50).epoch(0)
    for source, target, links in zip(joined.source_ids, joined.target_ids, joined.token_links, strict=True):
        assert (source[-1], target[0], target[-1]) == (EOS, BOS, EOS)
        assert source.dtype == target.dtype == links.dtype == np.int32
        numbers = [int(token) // 10 for token in source[:-1:2]]
        assert source[:-1].tolist() == [10 * number + place for number in numbers for place in (0, 1)]
        assert target[1:-1].tolist() == [10 * number + place for number in numbers for place in (5, 6, 7)]
        found = {(int(target[1:-1][i]), int(source[j])) for i, j in links.tolist()}
        assert found == {pair for n in numbers for pair in ((10 * n + 5, 10 * n + 1), (10 * n + 7, 10 * n))}


def test_without_links_there_are_none() -> None:
    assert ConcatenatedPairs(numbered_pairs(10, linked=False), 1.0, seed=1, max_tokens=50).epoch(0).token_links == []


def test_groups_that_would_be_too_long_stay_apart() -> None:
    joined = ConcatenatedPairs(numbered_pairs(60), 1.0, seed=1, max_tokens=8).epoch(0)
    assert {len(ids) for ids in joined.target_ids} == {3 + 2, 6 + 2}
    assert sum(len(ids) - 1 for ids in joined.source_ids) == 120


def test_groups_follow_from_seed_and_epoch() -> None:
    def groups(seed: int, epoch: int) -> list[list[int]]:
        pairs = ConcatenatedPairs(numbered_pairs(40), 0.5, seed, max_tokens=50)
        return [ids.tolist() for ids in pairs.epoch(epoch).source_ids]

    assert groups(1, 2) == groups(1, 2)
    assert groups(1, 2) != groups(1, 3)
    assert groups(1, 2) != groups(2, 2)


def test_training_takes_sampled_and_joined_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    levers = "alignment_weight: 0.1\n  subword_candidates: 4\n  concatenated_share: 0.5"
    options = write_task(tmp_path, CONFIG.replace("epochs: 4", f"epochs: 1\n  {levers}"), 60)
    assert main([*training_arguments(tmp_path), *options]) == 0
    shapes = capsys.readouterr().out
    assert " in 1 shapes" not in shapes  # the task's own sentences have one width only
