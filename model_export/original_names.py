"""Which array of a tfa.seq2seq or Keras 2 checkpoint is meant by which name of `model_export.weight_transfer`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SUFFIXES = re.compile(r"(/\.ATTRIBUTES/VARIABLE_VALUE|:\d+)$")  # of object checkpoints, and of variables and HDF5
PREFIXES = re.compile(r"^(?:(forward|backward)_)?(?:(attention_layer|cell|mech)\d+_)?")
NUMBER = re.compile(r"_?(\d+)$")  # of a layer, in a part of a scope: `gru_cell_10`, `cells/1`
PROJECTIONS = {"query_kernel": "query_layer", "memory_kernel": "memory_layer"}
OF_CELLS = "recurrent_kernel"  # a variable that cells have, and Dense layers have not


class WeightSpec(NamedTuple):
    """What is known of a weight before it has its array.

    Attributes:
        shape: of the array; None for a size that the array decides.
        kind: class name of the original layer that holds it, as checkpoints may tell it; None for those that they
            tell in other ways.
    """

    shape: tuple[int | None, ...]
    kind: str | None = None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be the weight."""
        sizes = zip(self.shape, shape, strict=False)
        return len(shape) == len(self.shape) and all(size in (None, found) for size, found in sizes)


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


def choose_arrays(specs: Mapping[str, WeightSpec], arrays: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """One array for each weight.

    The original repeats names in several mechanisms, cells or layers. Which of them a variable belongs to is told by
    the class that its scope names, then by numbers: `gru_cell_9` comes before `gru_cell_10`, and `dense` before
    `dense_1`. Without numbers it must follow from the shapes. A Dense layer is known by having no recurrent kernel,
    whatever it is called. The order of a mapping tells nothing: HDF5 and checkpoints list names alphabetically.

    Args:
        specs: of the weights by name, in the original's order.
        arrays: in that order, or by these names or those of the original's variables.

    Raises:
        TypeError: `arrays` is neither a mapping nor a sequence.
        ValueError: an array has no place, a weight gets none, or it cannot be told which array goes where.
    """
    names = list(specs)
    if isinstance(arrays, str | bytes) or not isinstance(arrays, Mapping | Sequence):
        raise TypeError(f"arrays: expected a mapping by name or a list, not {type(arrays).__name__}")
    if not isinstance(arrays, Mapping):
        if len(arrays) != len(names):
            count = "1 array" if len(names) == 1 else f"{len(names)} arrays"
            raise ValueError(f"expected {count} ({', '.join(names)}), not {len(arrays)}")
        return dict(zip(names, arrays, strict=True))
    found = {name: arrays[name] for name in names if name in arrays}  # names of ours leave no doubt
    places = _places([key for key in arrays if key not in specs])
    while places:
        missing = {name: spec for name, spec in specs.items() if name not in found}
        matches = {key: _matching(key, place, missing) for key, place in places.items()}
        fewest = min(matches.values(), key=len)
        keys = _in_order(key for key, match in matches.items() if match == fewest)
        if len(keys) > len(fewest):
            raise ValueError(f"{keys[len(fewest)]}: no such weight; expected {', '.join(names) or 'none at all'}")
        others = [key for key, match in matches.items() if match != fewest and set(match) & set(fewest)]
        if len(keys) < len(fewest) and others:
            raise _cannot_tell([*keys, *others], fewest)
        shapes = {key: np.shape(arrays[key]) for key in keys}
        for key, name in _pair(shapes, {name: specs[name] for name in fewest}).items():
            found[name] = arrays[key]
            del places[key]
    for name in names:
        if name not in found:
            raise ValueError(f"{name}: missing; expected {', '.join(names)}")
    return found


def _matching(key: str, place: _Place, missing: Mapping[str, WeightSpec]) -> tuple[str, ...]:
    """The weights that a variable can be: of those of its kind and place, those of the class that its scope names."""
    names = [name for name in missing if _wanted(name).may_be(place)]
    kinds = {missing[name].kind for name in names} - {None}
    for part in reversed(_split(key)[0].split("/")):  # the innermost layer holds the variable
        plain = part.replace("_", "").lower()
        named = {kind for kind in kinds if kind and kind.lower() in plain}
        if named:
            return tuple(name for name in names if missing[name].kind in named)
    return tuple(names)


def _pair(shapes: Mapping[str, tuple[int, ...]], specs: Mapping[str, WeightSpec]) -> dict[str, str]:
    """The name of each variable.

    Args:
        shapes: of at most as many variables as there are names, in the order of their numbers.
        specs: of the weights that each of them can be.

    Raises:
        ValueError: neither numbers nor shapes tell the variables apart.
    """
    scopes = [_scope_and_numbers(key) for key in shapes]
    if len({scope for scope, _ in scopes}) <= 1 and len({numbers for _, numbers in scopes}) == len(scopes):
        return dict(zip(shapes, specs, strict=False))
    fitting = {key: [name for name, spec in specs.items() if spec.fits(shape)] for key, shape in shapes.items()}
    if all(len(names) == 1 for names in fitting.values()):
        pairs = {key: name for key, (name,) in fitting.items()}
        if len(set(pairs.values())) == len(pairs):
            return pairs
    raise _cannot_tell(list(shapes), list(specs))


def _cannot_tell(keys: Sequence[str], names: Sequence[str]) -> ValueError:
    return ValueError(
        f"{', '.join(keys)}: their names and shapes do not tell which of them is {' and which '.join(names)}; "
        "give the arrays by these names, or as a list in the original's order"
    )


def _in_order(keys: Iterable[str]) -> list[str]:
    """Sorted by name, and where names differ in numbers only, by these."""
    return sorted(keys, key=_scope_and_numbers)


def _scope_and_numbers(key: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """`('decoder', 'grucell')` and `(-1, 10)` of `decoder/gru_cell_10/kernel:0`; -1 for no number, the first layer."""
    parts = _split(key)[0].split("/")
    numbers = [NUMBER.search(part) for part in parts]
    texts = tuple(NUMBER.sub("", part).replace("_", "").lower() for part in parts)
    return texts, tuple(int(number[1]) if number else -1 for number in numbers)


def _wanted(name: str) -> _Place:
    """The place that a name of ours means."""
    prefix = PREFIXES.match(name)
    direction, part = prefix.groups() if prefix else (None, None)
    weight = name[prefix.end() :] if prefix else name
    if weight in PROJECTIONS:
        return _Place("kernel", PROJECTIONS[weight], direction)
    return _Place(weight, {"attention_layer": "dense", "cell": "cell"}.get(part or ""), direction)


def _places(keys: Sequence[str]) -> dict[str, _Place]:
    """The place that each variable's name tells."""
    of_cells = {scope for scope, weight in map(_split, keys) if weight == OF_CELLS}
    return {key: _place(key, of_cells) for key in keys}


def _place(key: str, of_cells: set[str]) -> _Place:
    scope, weight = _split(key)
    inner_first = [part.lstrip("_") for part in reversed(scope.split("/"))]
    directions = (part.partition("_")[0] for part in inner_first if part.startswith(("forward_", "backward_")))
    projections = (layer for part in inner_first for layer in PROJECTIONS.values() if part.startswith(layer))
    layer = next(projections, None) or ("cell" if scope in of_cells else "dense")
    return _Place(weight, layer, next(directions, None))


def _split(key: str) -> tuple[str, str]:
    """`decoder/dense_1` and `kernel` of `decoder/dense_1/kernel:0`."""
    scope, _, weight = SUFFIXES.sub("", key).rpartition("/")
    return scope, weight
