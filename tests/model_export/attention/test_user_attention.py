"""The attention layer that stands for a user's in the tests (and, without types, in the README), on another backend."""

from __future__ import annotations

import os
import subprocess
import sys

GRADIENTS_AT_PADDING = """
import jax
import numpy as np
from tests.user_attention import CosineAttention

layer = CosineAttention(4)
mask = np.array([[True, True, False], [True, False, False]])
values = np.ones((2, 3, 5), dtype=np.float32) * mask[:, :, None]  # zero at padding, as an encoder gives them
query = np.ones((2, 6), dtype=np.float32)
layer(query, values, mask=mask)

def total(weights):
    (context, _), _ = layer.stateless_call(weights, [], query, values, mask=mask)
    return (context**2).sum()

gradients = jax.grad(total)([variable.value for variable in layer.trainable_variables])
assert all(np.isfinite(gradient).all() for gradient in gradients), gradients
print("finite")
"""


def test_gradients_are_finite_where_values_are_zero() -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", GRADIENTS_AT_PADDING]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "finite", found.stderr
