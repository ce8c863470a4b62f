"""Contexts of any mechanism of this package are bounded by the values they average, so their products run in 8 bits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model_export.activation_bounds import ActivationBounds
from model_export.decoder_tensors import DecoderTensors
from model_export.export import activation_bounds
from model_export.graphs import convert
from model_export.integer_products import PRODUCT
from model_export.quantization import quantize
from tests.model_export.tiny_models import SOURCE_IDS, SOURCE_LENGTHS, tiny_config, tiny_model

# In every step: the cell's two kernels (the first in parts where bounds differ), the query's projection, the attention
# layer, the output layer.
PRODUCTS = {
    "bahdanau": 5,
    "bahdanau_monotonic": 5,
    "luong_monotonic": 4,  # projects no query
    "keras_attention": 4,
}


def integer_products(attention: Any) -> int:
    """How many products of the decoder step are computed in 8 bits."""
    model = tiny_model(tiny_config(attention=attention))
    bounds = activation_bounds(DecoderTensors(model.decoder))
    step = quantize(convert(model).decoder_step, bounds)
    return Counter(node.op_type for node in step.graph.node)[PRODUCT]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_the_context_are_computed_in_8_bits(name: str) -> None:
    plain = integer_products("bahdanau")
    assert integer_products(name) - plain == PRODUCTS[name] - PRODUCTS["bahdanau"]


def test_each_of_several_contexts_is_bounded() -> None:
    """Beside one mechanism's five products: the second one's query projection and attention layer."""
    assert integer_products(["bahdanau", "bahdanau_monotonic"]) == integer_products("bahdanau") + 2


def test_the_context_of_a_layer_of_ones_own_is_not_taken_to_be_bounded() -> None:
    """It projects query and values, two products more, and the attention layer's product stays in fp32, one less."""
    own, bounded = integer_products("tests.user_attention:CosineAttention"), integer_products("keras_attention")
    assert own == bounded + 2 - 1


def test_the_graph_alone_bounds_the_memory_of_residual_layers() -> None:
    model = tiny_model(tiny_config(encoder_layers=3, encoder_residual=True))
    graph = convert(model).encoder.graph
    assert ActivationBounds(graph, {}).bound("memory_values") == 3.0
    assert activation_bounds(DecoderTensors(model.decoder))["memory_values"] == 3.0


def test_products_over_residual_layers_run_in_8_bits_and_stay_close() -> None:
    model = tiny_model(tiny_config(encoder_layers=3, encoder_residual=True))
    encoder = convert(model).encoder
    quantized = quantize(encoder, activation_bounds(DecoderTensors(model.decoder)))
    assert Counter(node.op_type for node in quantized.graph.node)[PRODUCT] == 4
    # Keys, bridge, and the inputs of the first layer's two directions; what a normalisation gives has no bound.
    feeds = {"source_ids": SOURCE_IDS, "source_lengths": SOURCE_LENGTHS}
    found, expected = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
        for each in (quantized, encoder)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.15)  # keys reach 3
