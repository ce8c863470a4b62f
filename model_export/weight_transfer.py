"""Weights of a model trained with tfa.seq2seq, tf.contrib.seq2seq or Keras 2, given to the layer that replaces it.

A layer's weights have these names, in the original's order; an `AttentionWrapper` puts `attention_layer{i}_`,
`cell{j}_` and `mech{i}_` before those of its parts, in this order:

- additive mechanisms: attention_v, attention_score_bias, attention_g, attention_b, query_kernel, memory_kernel;
- multiplicative mechanisms: attention_g, attention_score_bias, memory_kernel (those that the layer has, for both);
- Keras's `Attention` and `AdditiveAttention`, and the mechanisms made of them: scale, concat_score_weight;
- cells and Dense layers: kernel, recurrent_kernel, bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from model_export.attention import AttentionMechanism
from model_export.attention.keras_layers import KerasLayerMechanism
from model_export.attention.scoring import AdditiveScore, MultiplicativeScore
from model_export.attention_wrapper import AttentionWrapper

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
PROJECTIONS = {"query_kernel": "query_layer", "memory_kernel": "memory_layer"}
SUFFIXES = re.compile(r"(/\.ATTRIBUTES/VARIABLE_VALUE|:\d+)$")  # of object checkpoints, and of variables and HDF5
PART_PREFIX = re.compile(r"^(?:(attention_layer)\d+|cell\d+|mech\d+)_")


def load_reference_weights(layer: keras.layers.Layer, arrays: Mapping[str, Any] | Sequence[Any]) -> None:
    """Gives `layer` the weights of the original; creates them first if need be, as deep as the arrays are.

    A memory that a mechanism remembers was prepared with the weights before: set it up again.

    Args:
        layer: a mechanism, `AttentionWrapper`, `Attention`, `AdditiveAttention`, or an RNN cell or Dense layer.
        arrays: by the names above; or by the original variables' names, in any scope and in their original order
            (`bahdanau_attention/memory_layer/kernel:0`); or a list as the original's `get_weights()` returns it.

    Raises:
        ValueError: an array has no place, a weight gets no array, or a shape differs. Nothing is assigned then.
    """
    parts = _parts(layer)
    names = [prefix + name for prefix, part in parts for name in _weight_names(part)]
    values = {name: np.asarray(array) for name, array in _by_name(names, arrays).items()}
    for prefix, part in parts:
        _create_weights(part, {name: values[prefix + name] for name in _weight_names(part)}, layer)
    variables = {prefix + name: _variable(part, name) for prefix, part in parts for name in _weight_names(part)}
    for name, variable in variables.items():
        if tuple(variable.shape) != values[name].shape:
            raise ValueError(f"{name}: expected shape {tuple(variable.shape)}, not {values[name].shape}")
    for name, variable in variables.items():
        variable.assign(values[name])


def _parts(layer: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """The layers that hold the weights, in the original's order, each with the prefix of its weights' names."""
    if not isinstance(layer, AttentionWrapper):
        return [("", layer.layer if isinstance(layer, KerasLayerMechanism) else layer)]
    groups = {"attention_layer": layer.attention_layers or (), "cell": layer.cells, "mech": layer.mechanisms}
    numbered = ((f"{name}{index}_", part) for name, group in groups.items() for index, part in enumerate(group))
    return [(prefix, _parts(part)[0][1]) for prefix, part in numbered]


def _weight_names(part: keras.layers.Layer) -> list[str]:
    """Names of the weights that `part` has or, once created, will have.

    Raises:
        ValueError: that cannot be told before they are created.
    """
    if isinstance(part, AdditiveScore | MultiplicativeScore):
        names = ADDITIVE_WEIGHTS if isinstance(part, AdditiveScore) else MULTIPLICATIVE_WEIGHTS
        return [name for name in names if getattr(part, PROJECTIONS.get(name, name)) is not None]
    if isinstance(part, keras.layers.Attention):
        has_weight = {"scale": part.use_scale, "concat_score_weight": part.score_mode == "concat"}
        return [name for name, present in has_weight.items() if present]
    if part.built:
        return [variable.name for variable in part.weights]
    if isinstance(part, keras.layers.GRUCell | keras.layers.LSTMCell | keras.layers.SimpleRNNCell):
        return ["kernel", "recurrent_kernel", *(["bias"] if part.use_bias else [])]
    if isinstance(part, keras.layers.Dense):
        return ["kernel", *(["bias"] if part.use_bias else [])]
    raise ValueError(f"{part.name}: a {type(part).__name__} must be built before weights are loaded into it")


def _by_name(names: Sequence[str], arrays: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """One array for each of `names`."""
    if not isinstance(arrays, Mapping):
        if len(arrays) != len(names):
            raise ValueError(f"expected {len(names)} arrays ({', '.join(names)}), not {len(arrays)}")
        return dict(zip(names, arrays, strict=True))
    missing = [name for name in names if name not in arrays]
    found = {}
    for key, array in arrays.items():
        # The original repeats names in several mechanisms or cells: the first that still lacks its array is meant.
        matching = (name for name in missing if _original_name(name) == _end_of(key))
        name = key if key in names else next(matching, None)
        if name is None:
            raise ValueError(f"{key}: no such weight; expected {', '.join(names) or 'none at all'}")
        found[name] = array
        if name in missing:
            missing.remove(name)
    if missing:
        raise ValueError(f"{missing[0]}: missing; expected {', '.join(names)}")
    return found


def _original_name(name: str) -> str:
    """The end of the original variable's name."""
    prefix = PART_PREFIX.match(name)
    weight = name[prefix.end() :] if prefix else name
    if prefix and prefix[1]:
        return f"{prefix[1]}/{weight}"
    return f"{PROJECTIONS[weight]}/kernel" if weight in PROJECTIONS else weight


def _end_of(key: str) -> str:
    """The end of a variable's name that tells what it is: `memory_layer/kernel` of `decoder/memory_layer/kernel:0`."""
    *scopes, weight = SUFFIXES.sub("", key).split("/")
    for scope in reversed(scopes):
        for layer in ("attention_layer", *PROJECTIONS.values()):
            if scope.lstrip("_").startswith(layer):
                return f"{layer}/{weight}"
    return weight


def _create_weights(part: keras.layers.Layer, arrays: Mapping[str, Array], layer: keras.layers.Layer) -> None:
    """Creates the weights of `part`, as deep as its kernels are; does nothing to those that exist."""
    for name, array in arrays.items():
        if name.endswith("kernel") and array.ndim != 2:
            raise ValueError(f"{part.name}: {name}: expected two dimensions, not shape {array.shape}")
    if isinstance(part, AttentionMechanism):
        depths = {name: array.shape[0] for name, array in arrays.items() if name in PROJECTIONS}
        query_depth = layer.cell_output_size if isinstance(layer, AttentionWrapper) else depths.get("query_kernel")
        part.build_for(query_depth, depths.get("memory_kernel"))
    elif isinstance(part, keras.layers.Attention):
        if not part.built:
            depth = arrays["scale"].size if "scale" in arrays else None  # read by AdditiveAttention's scale only
            part.build([(None, None, depth)] * 2)
    elif not part.built:
        part.build((None, arrays["kernel"].shape[0]))


def _variable(part: keras.layers.Layer, name: str) -> Any:
    if name in PROJECTIONS:
        return getattr(part, PROJECTIONS[name]).kernel
    return getattr(part, name)
