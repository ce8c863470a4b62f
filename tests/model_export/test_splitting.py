"""The split rule: known hashes, disjoint parts, one reference per held-out sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.corpus_readers import SentencePair, read_pairs
from model_export.errors import DataError
from model_export.splitting import PARTS, assign_part, fold, split_pairs, write_split

# Found by `printf '%s' FOLDED | sha256sum`: the first 8 digits are 02dc..., 09ba..., ed33....
