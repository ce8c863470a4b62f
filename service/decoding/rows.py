"""The decoder's rows, one per live hypothesis of every sentence: kept packed, and copied as little as possible.

Encoded sentences stay where they are from step to step. A row that ends leaves a hole, which the last row fills; so the
memory that a step moves is that of the rows that ended, not that of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from service.decoding.backend import DecoderRows
from service.domain import BoolArray, FloatArray, IntArray

IndexArray: TypeAlias = npt.NDArray[np.int64]

GROWTH: Final = 1.5  # of the arrays, when rows do not fit any more
TRIM_BELOW: Final = 0.75  # arrays are made narrower when the longest sentence left fills less of them


class DecoderRowStore:
    """All rows of a batch, in arrays with room for more; rows are numbered from 0 without gaps.

    In a step, `follow`, `fork` and `free` say what becomes of the rows; `finish` then does it.

    Attributes:
        input_ids: (capacity,) int32, the token that each row produced last.
        forced_ids: (capacity,) int32, the token whose log-probability each row wants; any valid id where none.
        attention_sums: (rows, source_len) attention per source token so far, or None while nobody asks for it.
    """

    def __init__(self) -> None:
        self.input_ids: IntArray = np.zeros(0, dtype=np.int32)
        self.forced_ids: IntArray = np.zeros(0, dtype=np.int32)
        self.attention_sums: FloatArray | None = None
        self._count = 0
        self._lengths: IntArray = np.zeros(0, dtype=np.int32)  # source tokens
        self._mask: BoolArray = np.zeros((0, 0), dtype=np.bool_)
        self._memory: list[FloatArray] = []
        self._owned = False  # whether the arrays of encoded sentences may be written to
        self._state: tuple[FloatArray, ...] = ()
        self._source_axes: dict[int, int] = {}  # of state tensors, as far as they have shown
        self._parents: IndexArray | None = None
        self._forked: list[IndexArray] = []
        self._freed: list[IndexArray] = []
        self._views: tuple[tuple[FloatArray, ...], BoolArray] | None = None  # of memory and mask, until they change

    def __len__(self) -> int:
        return self._count

    @property
    def width(self) -> int:
        """Source positions of every row, padding included."""
        return self._mask.shape[1] if self._count else 0

    @property
    def decoder_rows(self) -> DecoderRows:
        """The rows as the backend takes them: views, no copies, and the same ones until the sentences change."""
        if self._views is None and not self._owned and self._count == len(self._mask):
            self._views = tuple(self._memory), self._mask  # wherever the backend has them
        elif self._views is None:
            count = self._count
            self._views = tuple(array[:count] for array in self._memory), self._mask[:count]
        return DecoderRows(*self._views, self._state)

    def add(self, encoded: DecoderRows, lengths: IntArray, first_id: int) -> IndexArray:
        """Appends rows that begin with the token `first_id`.

        Args:
            encoded: freshly encoded sentences, one row each.
            lengths: (rows,) source tokens of each.
            first_id: the start token.

        Returns:
            (rows,) their numbers.
        """
        old, new = self._count, self._count + len(lengths)
        self._views = None
        if old == 0:
            self._replace(encoded)
        else:
            self._make_room(new, encoded.source_mask.shape[1])
            width = encoded.source_mask.shape[1]
            for array, part in zip((*self._memory, self._mask), (*encoded.memory, encoded.source_mask), strict=True):
                array[old:new, :width] = part
                array[old:new, width:] = 0
            pairs = zip(self._state, encoded.state, strict=True)
            self._state = tuple(self._join(index, one, other) for index, (one, other) in enumerate(pairs))
        self._make_vectors(new)
        self._lengths[old:new] = lengths
        self.input_ids[old:new] = first_id
        self.forced_ids[old:new] = first_id
        self._count = new
        if self.attention_sums is not None:
            self.attention_sums = _resize(self.attention_sums, (new, self._mask.shape[1]))
        return np.arange(old, new)

    def sum_attention(self, attention_weights: FloatArray) -> FloatArray:
        """Adds a step's attention, the mean over the mechanisms, to the sums; begins with it where there are none.

        Source: `attention_probs_from_attn_state` of TensorFlow Addons, `tensorflow_addons/seq2seq/
        beam_search_decoder.py`.

        Args:
            attention_weights: (rows, mechanisms, source_len).

        Returns:
            (rows, source_len).
        """
        mean = attention_weights.mean(axis=1) if attention_weights.shape[1] > 1 else attention_weights[:, 0]
        sums = mean if self.attention_sums is None else self.attention_sums + mean
        self.attention_sums = sums
        return sums

    def coverage_rows(self, rows: IndexArray) -> FloatArray:
        """The attention sums of `rows`, with 1, which costs nothing, at padding; (rows, source_len)."""
        if self.attention_sums is None:
            return np.ones((len(rows), self._mask.shape[1]), dtype=np.float32)
        return np.where(self._mask[rows], self.attention_sums[rows], np.float32(1))

    def follow(self, rows: IndexArray, parents: IndexArray) -> None:
        """Lets hypotheses in `rows` go on from the decoder states that `parents` have reached."""
        if self._parents is None:
            self._parents = np.arange(self._count)
        self._parents[rows] = parents

    def fork(self, parents: IndexArray) -> IndexArray:
        """Makes further rows that go on from `parents`, with their sentences; returns their numbers."""
        first = self._count + sum(map(len, self._forked))
        self._forked.append(parents)
        self._make_vectors(first + len(parents))
        return np.arange(first, first + len(parents))

    def free(self, rows: IndexArray) -> None:
        """Gives rows up."""
        if len(rows):
            self._freed.append(rows)

    def finish(self, state: Sequence[FloatArray]) -> IndexArray | None:
        """Moves the rows to where the step's calls want them.

        Args:
            state: what the decoder step returned, or the present state where there was no step.

        Returns:
            (rows before,) where each row is now; None if all stay in place. Freed rows have no meaning.
        """
        self._state = tuple(state)
        parents, moved = self._parents, None
        if self._freed and not self._forked and sum(map(len, self._freed)) == self._count:
            self._clear()
            return None
        if self._forked:
            parents = self._add_forks(np.concatenate(self._forked), parents)
        if self._freed:
            parents, moved = self._fill_holes(np.concatenate(self._freed), parents)
        self._parents, self._forked, self._freed = None, [], []
        if parents is not None:
            self._state = tuple(np.take(array, parents, axis=0) for array in self._state)
            if self.attention_sums is not None:
                self.attention_sums = np.take(self.attention_sums, parents, axis=0)
        if moved is not None:
            self._trim()
        return moved

    @property
    def state(self) -> tuple[FloatArray, ...]:
        """The decoder's state, (rows, ...) each."""
        return self._state

    def _add_forks(self, forked: IndexArray, parents: IndexArray | None) -> IndexArray:
        """Gives new rows the encoded sentences of their parents; returns the parents of all rows."""
        old, new = self._count, self._count + len(forked)
        self._views = None
        self._make_room(new, self._mask.shape[1])
        for array in (*self._memory, self._mask, self._lengths):
            array[old:new] = array[forked]
        self._count = new
        return np.concatenate([np.arange(old) if parents is None else parents, forked])

    def _fill_holes(self, freed: IndexArray, parents: IndexArray | None) -> tuple[IndexArray, IndexArray]:
        """Moves the last rows into the holes; returns the parents of the rows left, and where rows are now."""
        count = self._count - len(freed)
        self._views = None
        stays = np.ones(self._count, dtype=np.bool_)
        stays[freed] = False
        holes = np.flatnonzero(~stays[:count])
        last = count + np.flatnonzero(stays[count:])
        moved = np.arange(self._count)
        moved[last] = holes
        parents = np.arange(self._count) if parents is None else parents
        parents[holes] = parents[last]
        if len(holes):
            if not self._owned:
                self._reshape(*self._mask.shape)
            for array in (*self._memory, self._mask):  # one by one: all at once, numpy would copy them twice
                for hole, row in zip(holes.tolist(), last.tolist(), strict=True):
                    array[hole] = array[row]
            for vector in (self._lengths, self.input_ids, self.forced_ids):
                vector[holes] = vector[last]
        self._count = count
        return parents[:count], moved

    def _may_hide_source(self, width: int) -> bool:
        """Whether a dimension of the state may be source without having shown it by ever being different."""
        return any(
            width in array.shape[1:] for index, array in enumerate(self._state) if index not in self._source_axes
        )

    def _clear(self) -> None:
        """Forgets all rows."""
        self._count, self._memory, self._state, self.attention_sums = 0, [], (), None
        self._mask = np.zeros((0, 0), dtype=np.bool_)
        self._parents, self._freed, self._views = None, [], None

    def _replace(self, encoded: DecoderRows) -> None:
        """Takes the first sentences' arrays as they are: they belong to the backend, and are only read."""
        self._memory, self._mask, self._owned = list(encoded.memory), encoded.source_mask, False
        self._state = encoded.state
        self.attention_sums = None

    def _make_room(self, rows: int, width: int) -> None:
        """Makes the arrays of encoded sentences large enough, and our own."""
        capacity, present = self._mask.shape
        if rows > capacity or width > present or not self._owned:
            capacity = max(rows, int(capacity * GROWTH)) if rows > capacity else capacity
            self._reshape(capacity, max(width, present))

    def _reshape(self, capacity: int, width: int) -> None:
        """Copies the arrays of encoded sentences into new ones; what no row has been given yet is left as it is.

        They are the largest arrays by far, so one is given up before the next is copied.
        """
        for index, array in enumerate(self._memory):
            self._memory[index] = self._reshaped(np.asarray(array), capacity, width)
        self._mask = self._reshaped(self._mask, capacity, width)
        self._owned = True

    def _reshaped(self, array: npt.NDArray[Any], capacity: int, width: int) -> npt.NDArray[Any]:
        rows, present = min(capacity, self._count), min(width, array.shape[1])
        new = np.empty((capacity, width, *array.shape[2:]), dtype=array.dtype)
        new[:rows, :present] = array[:rows, :present]
        new[:rows, present:] = 0
        return new

    def _make_vectors(self, rows: int) -> None:
        """Makes the arrays of one number per row large enough."""
        if rows > len(self.input_ids):
            capacity = max(rows, int(len(self.input_ids) * GROWTH))
            self._lengths = _resize(self._lengths, (capacity,))
            self.input_ids = _resize(self.input_ids, (capacity,))
            self.forced_ids = _resize(self.forced_ids, (capacity,))

    def _join(self, index: int, one: FloatArray, other: FloatArray) -> FloatArray:
        """Appends new rows of state tensor `index`; of the dimension that differs, if any, it learns that it is source.

        A tensor with a source dimension (alignments of monotonic mechanisms) holds 0 at padding.
        """
        wide = tuple(map(max, one.shape[1:], other.shape[1:]))
        for axis, (left, right) in enumerate(zip(one.shape, other.shape, strict=True)):
            if axis > 0 and left != right:
                self._source_axes[index] = axis
        return np.concatenate([_resize(np.asarray(part), (len(part), *wide)) for part in (one, other)])

    def _trim(self) -> None:
        """Makes the arrays as narrow as the longest sentence left, if that is worth a copy."""
        present, width = self._mask.shape[1], int(self._lengths[: self._count].max())
        if width > present * TRIM_BELOW or self._may_hide_source(present):
            return
        self._reshape(min(len(self._mask), int(self._count * GROWTH)), width)
        state = list(self._state)
        for index, axis in self._source_axes.items():
            state[index] = np.ascontiguousarray(state[index][(slice(None),) * axis + (slice(width),)])
        self._state = tuple(state)
        if self.attention_sums is not None:
            self.attention_sums = np.ascontiguousarray(self.attention_sums[:, :width])


def _resize(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array cut or filled up with zeros to `shape`; the array itself if it has that shape."""
    if array.shape == shape:
        return array
    resized = np.zeros(shape, dtype=array.dtype)
    common = tuple(slice(min(one, other)) for one, other in zip(array.shape, shape, strict=True))
    resized[common] = array[common]
    return resized
