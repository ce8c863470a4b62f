"""Attention written outside of this package: the protocol, and what makes a mechanism of such a layer.

In a model's configuration it is named `module:Class`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import keras
from keras import ops

from model_export.attention.custom_probe import Probe, Question, describe_error, make_question
from model_export.attention.gradient_probe import check_gradients
from model_export.attention.mechanism import Attended, AttentionMechanism
from model_export.attention.memory import Memory
from model_export.errors import ConfigError


class AttentionLayer(Protocol):
    """What a layer must be like to be a model's attention: a `keras.layers.Layer` that is called as below.

    The class named in a configuration is constructed as `Class(units=..., name=..., **options)`, with the model's units
    and the options that stand there. It uses `keras.ops` and `keras.random`, so that it can be exported.

    For B sentences of S positions, values of depth D and queries of depth Q it must hold, and is checked when the model
    is built, that

    - weights are finite, at least 0, and exactly 0 where the mask is False;
    - each row of weights sums to 1, or to at most 1 if the class attribute `normalized` is False;
    - values where the mask is False, and how many of them follow, change nothing;
    - no sentence's answer depends on the other sentences of the batch;
    - the same call gives the same answer, unless `training` is true;
    - gradients are finite, also at padding, where values are 0;
    - context and weights come in the dtype of computation, that of the query;
    - it can be traced, with and without `training`, for any number of sentences and positions: there tensors have no
      values to look at, and sizes may be known only as `keras.ops.shape` gives them.

    A second class attribute, `allow_loop = True`, permits a loop in the exported graph, as a recurrence over positions
    makes it; each step of decoding is then slower. Both attributes may be left out.
    """

    def __call__(self, query: Any, values: Any, mask: Any, training: bool = False) -> tuple[Any, Any]:
        """Attends once; the layer implements it as `call`.

        Args:
            query: (B, Q) of the layer's compute dtype, usually float32: the decoder's state.
            values: (B, S, D) likewise, the encoder's output, zero at padding.
            mask: (B, S) bool, True = real token; at least one per row. Always given, by name.
            training: whether dropout and noise act. `call` may do without this argument.

        Returns:
            Context (B, C) of any depth C, and weights (B, S).
        """


@keras.saving.register_keras_serializable("interlinear")
class CustomAttention(AttentionMechanism):
    """A layer that keeps the protocol `AttentionLayer`, as a mechanism.

    The layer's weights are created, and its answers checked, as soon as both depths are known. To load a saved
    mechanism, the layer's class must be known to Keras, by `keras.saving.register_keras_serializable` or as one of the
    `custom_objects`; arguments that Keras cannot write by itself need the layer's own `get_config`.

    Args:
        layer: of one's own.
        memory, memory_sequence_length: see `AttentionMechanism`.
        dtype: of computation; None for the layer's.
        **kwargs: Keras's: name, trainable.

    Raises:
        ConfigError: `layer` is no Keras layer, or its `call` takes other arguments.
    """

    has_keys = False

    def __init__(
        self,
        layer: AttentionLayer,
        memory: Any = None,
        memory_sequence_length: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(memory, memory_sequence_length, dtype=dtype or getattr(layer, "dtype_policy", None), **kwargs)
        self._described = _describe_class(type(layer))
        _check_layer(layer, self._described)
        self.layer = layer
        self.normalized = bool(getattr(layer, "normalized", True))
        self.allow_loop = bool(getattr(layer, "allow_loop", False))
        self._context_depth: int | None = None
        self.prepare_given_memory()

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """See `AttentionMechanism.build_for`; checks the layer once both depths are known.

        Raises:
            ConfigError: the layer does not keep the protocol.
        """
        super().build_for(query_depth, memory_depth)
        if self._context_depth is None and len(self._depths) == 2:
            probe = Probe(self._ask, self._described, self.normalized, self.compute_dtype)
            self._context_depth = probe.run(self._depths["query_depth"], self._depths["memory_depth"])

    def context_depth(self, memory_depth: int) -> int:
        """Depth of the context; the layer tells it when the mechanism is built.

        Raises:
            ValueError: the mechanism is not built.
        """
        if self._context_depth is None:
            raise ValueError(f"{self.name}: the depth of the context is known only after build_for")
        return self._context_depth

    def attend(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Attended:
        """See `AttentionMechanism.attend`; `previous` is not read."""
        if self._context_depth is None:
            self.build_for(query.shape[-1], memory.values.shape[-1])
        return Attended(*self._call_layer(query, memory.values, memory.mask, training))

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        """See `AttentionMechanism.align`; `previous` is not read."""
        return self.attend(query, memory, previous, training=training).alignments

    def _ask(self, question: Question, training: bool = False) -> Any:
        query, values = (ops.convert_to_tensor(part, self.compute_dtype) for part in (question.query, question.values))
        return self._call_layer(query, values, question.mask, training)

    def _call_layer(self, query: Any, values: Any, mask: Any, training: bool) -> Any:
        with warnings.catch_warnings():  # Keras says that the mask goes no further, which is meant
            warnings.filterwarnings("ignore", message=".* was passed an input with a mask attached to it")
            return self.layer(query, values, mask=mask, training=training)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        layer = keras.saving.serialize_keras_object(self.layer)
        layer.pop("build_config", None)  # building the mechanism builds the layer
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CustomAttention:
        """Makes the layer again, then the mechanism."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def make_custom_mechanism(class_name: str, arguments: Mapping[str, Any], name: str) -> AttentionMechanism:
    """A mechanism of a class that is named in a configuration.

    Args:
        class_name: `module:Class`; a module in the current directory can be imported too. The class is a layer with the
            protocol `AttentionLayer`, or an `AttentionMechanism`, which is taken as it is.
        arguments: of the class's constructor, but for the name.
        name: of the mechanism.

    Raises:
        ConfigError: the class cannot be imported, is no layer, refuses the arguments, or takes others when called.
    """
    layer_class = _import_class(class_name)
    is_mechanism = issubclass(layer_class, AttentionMechanism)
    try:
        layer = layer_class(**arguments, name=name if is_mechanism else "layer")
    except (Exception, SystemExit) as error:  # it is not our code, and may raise anything
        given = ", ".join([*(f"{key}={value!r}" for key, value in arguments.items()), "name=..."])
        raise ConfigError(f"attention {class_name}: cannot be made with {given}: {describe_error(error)}") from error
    return layer if is_mechanism else CustomAttention(layer, name=name)


def check_mechanism(mechanism: AttentionMechanism, query_depth: int, memory_depth: int) -> None:
    """Checks that a mechanism written elsewhere answers as the protocol `AttentionLayer` demands.

    Raises:
        ConfigError: it does not; says what was expected and what was found.
    """

    def ask(question: Question, training: bool = False) -> Attended:
        memory = mechanism.prepare(question.values, ops.convert_to_tensor(question.mask))
        query = ops.convert_to_tensor(question.query, mechanism.compute_dtype)
        return mechanism.attend(query, memory, mechanism.first_alignments(memory), training=training)

    described = _describe_class(type(mechanism.layer if isinstance(mechanism, CustomAttention) else mechanism))
    Probe(ask, described, mechanism.normalized, mechanism.compute_dtype).run(query_depth, memory_depth)
    check_gradients(mechanism, make_question(query_depth, memory_depth), described)


def _import_class(class_name: str) -> type[keras.layers.Layer]:
    module_name, _, attribute = class_name.partition(":")
    try:
        with _current_directory_importable():
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # what a foreign module raises can be anything; scripts end the process
        problem = f"module {module_name} cannot be imported: {describe_error(error)}"
        raise ConfigError(f"attention {class_name}: {problem}") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(f"attention {class_name}: module {module_name} has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, keras.layers.Layer)):
        raise ConfigError(f"attention {class_name}: expected a subclass of keras.layers.Layer, found {found!r}")
    return found


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Console commands do not look there; modules installed elsewhere come first."""
    directory = os.getcwd()
    if directory in sys.path:
        yield
        return
    sys.path.append(directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def _check_layer(layer: Any, described: str) -> None:
    if not isinstance(layer, keras.layers.Layer):
        raise ConfigError(f"attention {described}: expected a keras.layers.Layer")
    signature = inspect.signature(layer.call)
    options = {"training": False} if "training" in signature.parameters else {}  # Keras passes it to those only
    try:
        signature.bind("query", "values", mask="mask", **options)
    except TypeError as error:
        found = ", ".join(signature.parameters)
        raise ConfigError(
            f"attention {described}: expected call(query, values, mask), found call({found}): {error}"
        ) from error


def _describe_class(layer_class: type) -> str:
    return f"{layer_class.__module__}:{layer_class.__qualname__}"
