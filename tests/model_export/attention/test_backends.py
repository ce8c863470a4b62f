"""Every mechanism and the wrapper on Keras's JAX backend: numbers, gradients and masks are those of TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from model_export.attention import CustomAttention, KerasAdditiveAttentionMechanism, KerasAttentionMechanism
from tests.model_export.attention.by_hand import HARD, KINDS, MASK, UNITS, Array, make
from tests.model_export.attention.fitted_attention import check_fit, fit
from tests.model_export.attention.own_layers import ProjectedAttention
from tests.model_export.tiny_models import as_numpy, random_array, randomize
from tests.model_export.tiny_wrappers import INPUTS, OTHER_MEMORY, make_wrapper_of_two
from tests.model_export.tiny_wrappers import MASK as WRAPPER_MASK
from tests.model_export.tiny_wrappers import MEMORY as WRAPPER_MEMORY

TOLERANCE = 1e-5  # in float32, of alignments, contexts and gradients
QUERIES, MEMORY = random_array(2, 3, UNITS), random_array(3, 5, UNITS, seed=1)
MECHANISMS: dict[str, Callable[[], Any]] = {
    **{kind: lambda kind=kind: make(kind) for kind in KINDS},  # type: ignore[misc]
    "keras-dot": lambda: KerasAttentionMechanism(use_scale=True),
    "keras-concat": lambda: KerasAttentionMechanism(use_scale=True, score_mode="concat"),
    "keras-additive": KerasAdditiveAttentionMechanism,
    "own": lambda: CustomAttention(ProjectedAttention(UNITS)),
}

ANSWER_ELSEWHERE = """
import sys
import keras, numpy as np
from tests.model_export.attention.test_backends import answers
from tests.model_export.attention.fitted_attention import fit
alignments, weights = fit("setup_memory", padding=3, recurrent=False)
fitted = {"fit alignments": alignments, **{f"fit weight {index}": array for index, array in enumerate(weights)}}
np.savez(sys.argv[1], backend=keras.backend.backend(), **answers(), **fitted)
"""


def with_gradients(compute: Callable[[], list[Any]], variables: list[Any]) -> tuple[list[Array], list[Array]]:
    """What is computed, and of a weighted sum of it the gradient by every variable, zero where none passes."""

    def weighted() -> tuple[Any, list[Any]]:
        parts = compute()
        return sum(ops.sum(part * random_array(*part.shape, seed=seed)) for seed, part in enumerate(parts)), parts

    values = [variable.value for variable in variables]
    if keras.backend.backend() == "jax":
        import jax

        def of_values(values: list[Any]) -> tuple[Any, list[Any]]:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return weighted()

        (_, parts), found = jax.jit(jax.value_and_grad(of_values, has_aux=True))(values)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            total, parts = weighted()
        found = tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [as_numpy(part) for part in parts], [as_numpy(gradient) for gradient in found]


def two_steps(mechanism: Any, memory: Any) -> list[Any]:
    """Contexts and alignments of two steps over `memory` (3, 5, UNITS)."""
    prepared, answers = mechanism.prepare(memory, ops.convert_to_tensor(MASK)), []
    previous = mechanism.first_alignments(prepared)
    for query in QUERIES:
        answers += mechanism.attend(ops.convert_to_tensor(query), prepared, previous)
        previous = answers[-1]
    return answers


def two_steps_of_a_wrapper(wrapper: Any, memory: Any) -> list[Any]:
    """Outputs of two steps, and all that the last state holds; `memory` (2, 6, 3) is the first mechanism's."""
    mask = ops.convert_to_tensor(WRAPPER_MASK)
    memories = [wrapper.mechanisms[0].prepare(memory, mask), wrapper.mechanisms[1].prepare(OTHER_MEMORY)]
    state, outputs = wrapper.first_state(memories), []
    for inputs in INPUTS[:2]:
        output, state = wrapper.step(ops.convert_to_tensor(inputs), state, memories)
        outputs.append(output)
    return [*outputs, *keras.tree.flatten([*state])]


def answer(layer: Any, steps: Callable[[Any, Any], list[Any]], array: Array) -> dict[str, Array]:
    """What two steps over a memory give, and the gradients by the memory and the weights."""
    memory = keras.Variable(array, dtype="float32", name="memory")
    variables = [memory, *layer.trainable_variables]
    parts, gradients = with_gradients(lambda: steps(layer, memory.value), variables)
    found = {f"answer {index}": part for index, part in enumerate(parts)}
    return found | {f"gradient {index}": gradient for index, gradient in enumerate(gradients)}


def answers() -> dict[str, Array]:
    """Of every mechanism, and of a wrapper with two of them around a cell."""
    found: dict[str, Array] = {}
    for name, make_mechanism in MECHANISMS.items():
        mechanism = make_mechanism()
        mechanism.build_for(UNITS, UNITS)
        randomize(mechanism.weights)
        found |= {f"{name} {part}": array for part, array in answer(mechanism, two_steps, MEMORY).items()}
    wrapper = make_wrapper_of_two("lstm", attention_layer_size=[3, 4], alignment_history=True)
    parts = answer(wrapper, two_steps_of_a_wrapper, WRAPPER_MEMORY)
    return found | {f"wrapper {part}": array for part, array in parts.items()}


def test_jax_gives_what_tensorflow_gives(tmp_path: Path) -> None:
    path = tmp_path / "jax.npz"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", ANSWER_ELSEWHERE, str(path)], check=True, cwd=Path.cwd(), env=environment)
    with np.load(path) as archive:
        elsewhere = dict(archive)
    assert elsewhere.pop("backend") == "jax"
    fitted = [elsewhere.pop(name) for name in list(elsewhere) if name.startswith("fit ")]
    check_fit(fitted[0], fitted[1:], expected=fit("setup_memory", padding=0, recurrent=False)[1])
    here = answers()
    assert set(elsewhere) == set(here)
    for name in [*(name for name in MECHANISMS if name not in HARD), "wrapper"]:
        assert np.abs(here[f"{name} gradient 0"]).max() > 1e-3  # by the memory
    for name, expected in here.items():
        np.testing.assert_allclose(elsewhere[name], expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
