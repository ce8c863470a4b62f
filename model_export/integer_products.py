"""Products of 8-bit activations and 8-bit weights, as nodes of onnxruntime."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

Array = npt.NDArray[Any]

# onnxruntime's own operations: its product also gives floats and adds the bias, which takes ONNX's MatMulInteger two
# nodes more. It can scale each column as well, but computes those factors anew in every call, which takes longer than a
# node for it: measured with 5,000 columns, 43 against 31 us for one row.
RUNTIME_DOMAIN: Final = "com.microsoft"
RUNTIME_OPSET: Final = 1
PRODUCT: Final = "MatMulIntegerToFloat"

# Kernels without VNNI add pairs of unsigned x signed products in 16 bits. With |weight| <= 64 no pair can exceed
# 2 * 255 * 64 = 32,640 < 32,767, so every processor gives the same result.
WEIGHT_LIMIT_IN_PRODUCTS: Final = 64
ACTIVATION_LIMIT: Final = 127
ACTIVATION_ZERO_POINT: Final = 128
NEGLIGIBLE_WEIGHT: Final = 1e-20  # smaller ones count as 0, lest a bias divided by their scale overflow


class Activation(NamedTuple):
    """Names of a tensor in 8 bits, its scale and its zero point."""

    tensor: str
    scale: str
    zero_point: str


class IntegerNodes:
    """Nodes of a graph and their constants, in the order in which they are added.

    Args:
        prefix: of the constants that all products share; a graph within a graph may not repeat its names.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.written: set[str] = set()

    def constant(self, name: str, value: Array) -> str:
        """Adds a constant and returns its name."""
        self.constants[name] = value
        return name

    def add(self, operation: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node, named like its output, and returns the name."""
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, domain=domain, **attributes))
        self.written.add(output)
        return output

    def activation(self, tensor: str, bound: float) -> Activation:
        """Names for a tensor in 8 bits; `add_rounding` or another node has to give it."""
        step = np.array(bound / ACTIVATION_LIMIT, dtype=np.float32)
        zero_point = np.array(ACTIVATION_ZERO_POINT, dtype=np.uint8)
        return Activation(
            f"{tensor}_quantized",
            self.constant(f"{tensor}_scale", step),
            self.constant(f"{self._prefix}activation_zero_point", zero_point),
        )

    def add_rounding(self, tensor: str, activation: Activation) -> None:
        """Rounds a tensor to its 8-bit form."""
        self.add("QuantizeLinear", [tensor, activation.scale, activation.zero_point], activation.tensor)

    def add_product(self, activation: Activation, name: str, weights: Array, bias: Array | None, output: str) -> str:
        """Multiplies by weights (depth, columns), adds a bias (columns,) and scales.

        The bias is added before its column is scaled, so it is divided by the scale. `name` is of the weights.
        """
        integers, scales = quantize_along(weights, axis=1, limit=WEIGHT_LIMIT_IN_PRODUCTS)
        one = self.constant(f"{self._prefix}unit_scale", np.array(1, dtype=np.float32))
        inputs = [activation.tensor, self.constant(f"{name}_int8", integers), activation.scale, one]
        inputs.append(activation.zero_point)
        if bias is not None:
            inputs += ["", self.constant(f"{name}_bias", (bias / scales).astype(np.float32))]
        unscaled = self.add(PRODUCT, inputs, f"{output}_unscaled", domain=RUNTIME_DOMAIN)
        return self.add("Mul", [unscaled, self.constant(f"{name}_scales", scales)], output)


def quantize_along(weights: Array, axis: int, limit: int) -> tuple[Array, npt.NDArray[np.float32]]:
    """Rounds weights symmetrically, with one scale per index of `axis`.

    Args:
        weights: float32, any shape.
        axis: the axis that keeps its own scales.
        limit: largest absolute integer used.

    Returns:
        int8 weights of the same shape, and float32 scales (weights.shape[axis],) with weights ~ integers * scale.
    """
    others = tuple(index for index in range(weights.ndim) if index != axis)
    largest = np.max(np.abs(weights), axis=others)
    scales = np.where(largest > NEGLIGIBLE_WEIGHT, largest, 1.0).astype(np.float32) / np.float32(limit)
    shape = [-1 if index == axis else 1 for index in range(weights.ndim)]
    integers = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
    return integers.astype(np.int8), scales
