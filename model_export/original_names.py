"""Which array of a tfa.seq2seq or Keras 2 checkpoint is meant by which name of `model_export.weight_transfer`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SUFFIXES = re.compile(r"(/\.ATTRIBUTES/VARIABLE_VALUE|:\d+)$")  # of object checkpoints, and of variables and HDF5
PREFIXES = re.compile(r"^(?:(forward|backward)_)?(?:(attention_layer|cell|mech)\d+_)?")
PROJECTIONS = {"query_kernel": "query_layer", "memory_kernel": "memory_layer"}
OF_CELLS = "recurrent_kernel"  # a variable that cells have, and Dense layers have not


class _Place(NamedTuple):
    """Where a weight stands.

    Attributes:
        weight: the last part of the original variable's name: `kernel`, `attention_v`.
        layer: `dense`, `cell`, `query_layer` or `memory_layer`; None for any.
        direction: `forward` or `backward`; None for any.
    """

    weight: str
    layer: str | None
    direction: str | None

    def may_be(self, found: _Place) -> bool:
        """Whether a variable that stands at `found` can be this weight."""
        return (
            self.weight == found.weight
            and self.layer in (None, found.layer)
            and self.direction in (None, found.direction)
        )


def choose_arrays(names: Sequence[str], arrays: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """One array for each of `names`.

    Args:
        names: of the weights, in the original's order.
        arrays: in that order, or by these names or those of the original's variables. The original repeats names in
            several mechanisms, cells or layers: of those weights that a variable can be, it is the first that still
            lacks its array. A Dense layer is known by having no recurrent kernel, whatever it is called.

    Raises:
        ValueError: an array has no place, or a weight gets none.
    """
    if not isinstance(arrays, Mapping):
        if len(arrays) != len(names):
            raise ValueError(f"expected {len(names)} arrays ({', '.join(names)}), not {len(arrays)}")
        return dict(zip(names, arrays, strict=True))
    cells = _scopes_of_cells(arrays)
    missing = list(names)
    found = {}
    for key in sorted(arrays, key=lambda key: key not in names):  # names of ours first: they leave no doubt
        matching = (name for name in missing if _wanted(name).may_be(_found(key, cells)))
        name = key if key in names else next(matching, None)
        if name is None:
            raise ValueError(f"{key}: no such weight; expected {', '.join(names) or 'none at all'}")
        found[name] = arrays[key]
        missing.remove(name)
    if missing:
        raise ValueError(f"{missing[0]}: missing; expected {', '.join(names)}")
    return found


def _wanted(name: str) -> _Place:
    """The place that a name of ours means."""
    prefix = PREFIXES.match(name)
    direction, part = prefix.groups() if prefix else (None, None)
    weight = name[prefix.end() :] if prefix else name
    if weight in PROJECTIONS:
        return _Place("kernel", PROJECTIONS[weight], direction)
    return _Place(weight, {"attention_layer": "dense", "cell": "cell"}.get(part or ""), direction)


def _found(key: str, cells: set[str]) -> _Place:
    """The place that a variable's name tells."""
    scope, weight = _split(key)
    inner_first = [part.lstrip("_") for part in reversed(scope.split("/"))]
    directions = (part.partition("_")[0] for part in inner_first if part.startswith(("forward_", "backward_")))
    projections = (layer for part in inner_first for layer in PROJECTIONS.values() if part.startswith(layer))
    layer = next(projections, None) or ("cell" if scope in cells else "dense")
    return _Place(weight, layer, next(directions, None))


def _scopes_of_cells(keys: Iterable[str]) -> set[str]:
    return {scope for scope, weight in map(_split, keys) if weight == OF_CELLS}


def _split(key: str) -> tuple[str, str]:
    """`decoder/dense_1` and `kernel` of `decoder/dense_1/kernel:0`."""
    scope, _, weight = SUFFIXES.sub("", key).rpartition("/")
    return scope, weight
