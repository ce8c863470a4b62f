"""Matrix products of training in bfloat16: operands rounded to 8 bits of precision, sums in float32, on JAX.

With AVX512-BF16, XLA computes such products at 1.6 to 2 times the rate of float32; but not those that are to give
bfloat16 as well, as Keras's own `mixed_bfloat16` wants them, which also rounds states and sums. Here everything but the
operands of products stays as it is.

Source: Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training" (arXiv:1905.12322), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from model_export.config import TrainConfig
from model_export.errors import ConfigError

# Rows of zeros, whose products are thrown away. XLA joins a bare transposition with the product that reads it, and for
# what comes of that it has float32 only, which takes twice as long.
PADDING = 8


def check_product_dtype(config: TrainConfig) -> None:
    """Refuses bfloat16 on a backend that has no such products.

    Raises:
        ConfigError: it is asked for, and the backend is not JAX.
    """
    if config.product_dtype == "bfloat16" and keras.backend.backend() != "jax":
        raise ConfigError("training.product_dtype: bfloat16 needs JAX; set KERAS_BACKEND=jax, or leave it at float32")


@contextmanager
def bfloat16_products() -> Iterator[None]:
    """Makes `keras.ops.matmul` round the operands of float32 products with a matrix, wherever JAX traces it meanwhile.

    Gradients are products of rounded operands too. Products of stacks of matrices, such as that of attention weights
    and memory, stay in float32: they are small. Nothing of Keras's public interface stands between a layer's `call` and
    its products, so what `keras.ops` calls on JAX is replaced for the time being.
    """
    from keras.src.backend import numpy as keras_numpy

    matmul, product = keras_numpy.matmul, _make_product()

    def round_or_not(left: Any, right: Any) -> Any:
        left, right = keras.ops.convert_to_tensor(left), keras.ops.convert_to_tensor(right)
        rounded = right.ndim == 2 and left.dtype == right.dtype == "float32"
        return product(left, right) if rounded else matmul(left, right)

    keras_numpy.matmul = round_or_not
    try:
        yield
    finally:
        keras_numpy.matmul = matmul


def _make_product() -> Callable[[Any, Any], Any]:
    """The product of (..., n) float32 and a matrix (n, m) float32 on JAX, differentiable; returns (..., m) float32."""
    import jax
    from jax import numpy as jnp

    def multiply(left: Any, right: Any, axis: int = 0) -> Any:
        """Sums over the last axis of `left` and this one of the matrix `right`."""
        rounded = (left.astype(jnp.bfloat16), right.astype(jnp.bfloat16))
        return jnp.tensordot(*rounded, axes=(-1, axis), preferred_element_type=jnp.float32)

    def forward(left: Any, right: Any) -> tuple[Any, tuple[Any, Any]]:
        return multiply(left, right), (left, right)

    def backward(operands: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
        left, right = operands
        rows, gradient_rows = (each.reshape(-1, each.shape[-1]) for each in (left, gradient))
        turned = jnp.pad(rows.T, ((0, PADDING), (0, 0)))
        return multiply(gradient, right, axis=1), multiply(turned, gradient_rows)[:-PADDING]

    product = jax.custom_vjp(lambda left, right: multiply(left, right))
    product.defvjp(forward, backward)
    return product
