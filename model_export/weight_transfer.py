"""Weights of a model trained with tfa.seq2seq, tf.contrib.seq2seq or Keras 2, given to the layer that replaces it.

A layer's weights have these names, in the original's order:

- additive mechanisms: attention_v, attention_score_bias, attention_g, attention_b, query_kernel, memory_kernel;
- multiplicative mechanisms: attention_g, attention_score_bias, memory_kernel (those that the layer has, for both);
- Keras's `Attention` and `AdditiveAttention`, and the mechanisms made of them: scale, concat_score_weight;
- cells, and the RNN layers around one, and Dense layers: kernel, recurrent_kernel, bias;
- `SequenceAttention` and `CustomAttention`: those of what they hold.

Layers of several parts put a prefix before the names of each: `AttentionWrapper`, and `RNN` around it,
`attention_layer{i}_`, `cell{j}_` and `mech{i}_`, in this order; stacked cells `cell{j}_`; `Bidirectional` `forward_`
and `backward_`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from model_export.attention import (
    BahdanauAttention,
    BahdanauMonotonicAttention,
    CustomAttention,
    LuongAttention,
    LuongMonotonicAttention,
    SequenceAttention,
)
from model_export.attention.keras_layers import KerasLayerMechanism
from model_export.attention.scoring import AdditiveScore, MultiplicativeScore
from model_export.attention_wrapper import AttentionWrapper
from model_export.original_names import PROJECTIONS, WeightSpec, choose_arrays

Array = npt.NDArray[Any]

ADDITIVE_WEIGHTS = (
    "attention_v",
    "attention_score_bias",
    "attention_g",
    "attention_b",
    "query_kernel",
    "memory_kernel",
)
MULTIPLICATIVE_WEIGHTS = ("attention_g", "attention_score_bias", "memory_kernel")
SCORES = (AdditiveScore, MultiplicativeScore)
GATES = {keras.layers.GRUCell: 3, keras.layers.LSTMCell: 4, keras.layers.SimpleRNNCell: 1}
CELLS = tuple(GATES)
# Classes whose names the scopes of original variables hold.
ORIGINALS = (BahdanauAttention, LuongAttention, BahdanauMonotonicAttention, LuongMonotonicAttention, *CELLS)


class _Part(NamedTuple):
    """A layer that holds weights.

    Attributes:
        prefix: of its weights' names.
        layer: which.
        query_depth: that of a wrapper's mechanism, known from the wrapper's cell.
    """

    prefix: str
    layer: keras.layers.Layer
    query_depth: int | None = None


def load_reference_weights(layer: keras.layers.Layer, arrays: Mapping[str, Any] | Sequence[Any]) -> None:
    """Gives `layer` the weights of the original; creates them first if need be, as deep as the arrays are.

    A memory that a mechanism remembers was prepared with the weights before: set it up again.

    Args:
        layer: a mechanism, `SequenceAttention`, `AttentionWrapper`, `Attention`, `AdditiveAttention`, an RNN cell or
            layer, `Bidirectional`, a Dense layer, or any built layer whose own weights have different names.
        arrays: by the names above; or by the original variables' names, in any scope and any order
            (`bahdanau_attention/memory_layer/kernel:0`), told apart as `choose_arrays` says; or a list as the
            original's `get_weights()` returns it.

    Raises:
        TypeError: `arrays` is neither a mapping nor a sequence.
        ValueError: an array has no place, a weight gets no array, it cannot be told which array goes where, or a shape
            differs; or `layer` is one whose weights have no names here. Nothing is created or assigned then.
    """
    parts = _parts(layer)
    specs = {part.prefix + name: spec for part in parts for name, spec in _weight_specs(part).items()}
    values = {name: np.asarray(array) for name, array in choose_arrays(specs, arrays).items()}
    for part in parts:
        for name, spec in _weight_specs(part).items():
            _check_shape(part, name, spec, values[part.prefix + name])
    for part in parts:
        _create_weights(part, {name: values[part.prefix + name] for name in _weight_names(part.layer)})
    for part in parts:
        for name in _weight_names(part.layer):
            _variable(part.layer, name).assign(values[part.prefix + name])


def _parts(layer: Any) -> list[_Part]:
    """The layers that hold the weights, in the original's order."""
    if isinstance(layer, SequenceAttention):
        return _parts(layer.mechanism)
    if isinstance(layer, KerasLayerMechanism | CustomAttention):
        return [_Part("", layer.layer)]
    if isinstance(layer, AttentionWrapper):
        groups = {"attention_layer": layer.attention_layers or (), "cell": layer.cells, "mech": layer.mechanisms}
        return [
            _Part(f"{name}{index}_", _parts(part)[0].layer, layer.cell_output_size)
            for name, group in groups.items()
            for index, part in enumerate(group)
        ]
    if isinstance(layer, keras.layers.Bidirectional):
        directions = {"forward_": layer.forward_layer, "backward_": layer.backward_layer}
        return [
            part._replace(prefix=prefix + part.prefix)
            for prefix, direction in directions.items()
            for part in _parts(direction)
        ]
    if isinstance(layer, keras.layers.RNN):
        return _parts(layer.cell)
    if isinstance(layer, keras.layers.StackedRNNCells):
        return [_Part(f"cell{index}_", cell) for index, cell in enumerate(layer.cells)]
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"{type(layer).__name__}: is no Keras layer, so there is nothing to load weights into")
    return [_Part("", layer)]


def _weight_names(layer: keras.layers.Layer) -> list[str]:
    """Names of the weights that `layer` has or, once created, will have.

    Raises:
        ValueError: that cannot be told before they are created, or the names do not tell them apart.
    """
    if isinstance(layer, SCORES):
        names = ADDITIVE_WEIGHTS if isinstance(layer, AdditiveScore) else MULTIPLICATIVE_WEIGHTS
        return [name for name in names if getattr(layer, PROJECTIONS.get(name, name)) is not None]
    if isinstance(layer, keras.layers.Attention):
        has_weight = {"scale": layer.use_scale, "concat_score_weight": layer.score_mode == "concat"}
        return [name for name, present in has_weight.items() if present]
    if isinstance(layer, CELLS):
        return ["kernel", "recurrent_kernel", *(["bias"] if layer.use_bias else [])]
    if isinstance(layer, keras.layers.Dense):
        return ["kernel", *(["bias"] if layer.use_bias else [])]
    if not layer.built:
        raise ValueError(
            f"{layer.name}: {type(layer).__name__} must be built before weights are loaded into it; call it once"
        )
    own_names = [variable.name for variable in layer.weights]
    if len(set(own_names)) < len(own_names):
        raise ValueError(
            f"{layer.name}: weights of {type(layer).__name__} share a name ({', '.join(own_names)}); load those of "
            "its parts one by one, or give it a list by its own set_weights"
        )
    return own_names


def _weight_specs(part: _Part) -> dict[str, WeightSpec]:
    """Shape and kind of each weight of a part by its name, without the prefix."""
    layer = part.layer
    kind = next((original.__name__ for original in type(layer).__mro__ if original in ORIGINALS), None)
    shapes = _shapes_to_come(part)
    known = {name: _variable(layer, name) for name in _weight_names(layer)}
    return {
        name: WeightSpec(shapes[name] if variable is None else tuple(variable.shape), kind)
        for name, variable in known.items()
    }


def _shapes_to_come(part: _Part) -> dict[str, tuple[int | None, ...]]:
    """Shapes that weights will have, once created; None for sizes that their arrays decide."""
    layer = part.layer
    if isinstance(layer, SCORES):
        return {"query_kernel": (part.query_depth, layer.units), "memory_kernel": (None, layer.units)}
    if isinstance(layer, keras.layers.Attention):
        scale = (None,) if isinstance(layer, keras.layers.AdditiveAttention) else ()
        return {"scale": scale, "concat_score_weight": ()}
    if isinstance(layer, CELLS):
        width = layer.units * next(gates for cell, gates in GATES.items() if isinstance(layer, cell))
        bias = (2, width) if getattr(layer, "reset_after", False) else (width,)
        return {"kernel": (None, width), "recurrent_kernel": (layer.units, width), "bias": bias}
    if isinstance(layer, keras.layers.Dense):
        return {"kernel": (None, layer.units), "bias": (layer.units,)}
    return {}


def _check_shape(part: _Part, name: str, spec: WeightSpec, array: Array) -> None:
    """Refuses an array that cannot be the weight."""
    if spec.fits(array.shape):
        return
    sizes = ", ".join("any" if size is None else str(size) for size in spec.shape)
    shape = f"({sizes},)" if len(spec.shape) == 1 else f"({sizes})"
    hint = ""
    if name == "bias" and isinstance(part.layer, keras.layers.GRUCell) and spec.shape[0] == 2 and array.ndim == 1:
        hint = "; a GRU with one bias, as in Keras 1, is GRU(..., reset_after=False) or such a GRUCell"
    raise ValueError(f"{part.prefix}{name}: expected shape {shape}, not {array.shape}{hint}")


def _create_weights(part: _Part, arrays: Mapping[str, Array]) -> None:
    """Creates the weights of a part, as deep as its kernels are; does nothing to those that exist."""
    layer = part.layer
    if isinstance(layer, SCORES):
        depths = {name: array.shape[0] for name, array in arrays.items() if name in PROJECTIONS}
        layer.build_for(part.query_depth or depths.get("query_kernel"), depths.get("memory_kernel"))
    elif isinstance(layer, keras.layers.Attention):
        if not layer.built:
            depth = arrays["scale"].size if "scale" in arrays else None  # read by AdditiveAttention's scale only
            layer.build([(None, None, depth)] * 2)
    elif not layer.built:
        layer.build((None, arrays["kernel"].shape[0]))


def _variable(layer: keras.layers.Layer, name: str) -> Any:
    """The variable of that name; None if it has not been created yet."""
    if isinstance(layer, SCORES) and name in PROJECTIONS:
        projection = getattr(layer, PROJECTIONS[name])
        return projection.kernel if projection.built else None
    return next((variable for variable in layer.weights if variable.name == name), None)
