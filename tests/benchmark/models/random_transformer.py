"""The alternative in CTranslate2: a Transformer of random weights, 8-bit, written through `ctranslate2.specs`.

Post-norm and sinusoidal positions as in Vaswani et al. 2017 (arXiv:1706.03762), one embedding matrix for source, target
and output, 8 heads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.modules["torch"] = None  # type: ignore[assignment]  # CTranslate2 imports it where it is installed, and needs it not

import ctranslate2.specs  # noqa: E402
import numpy as np  # noqa: E402

from service.domain import FloatArray  # noqa: E402

HEADS = 8
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")


class RandomTransformer:
    """Fills a specification layer by layer.

    Args:
        width: of embeddings and layers.
        inner_width: of the feed-forward networks.
        vocabulary_size: special tokens included.
    """

    def __init__(self, width: int, inner_width: int, vocabulary_size: int) -> None:
        self._width = width
        self._inner_width = inner_width
        self._vocabulary_size = vocabulary_size
        self._generator = np.random.default_rng(1)

    def fill(self, spec: Any) -> None:
        """Sets every weight of a `TransformerSpec`."""
        embedding = self._random(self._vocabulary_size, self._width)
        spec.encoder.embeddings[0].weight = embedding
        spec.decoder.embeddings.weight = embedding.copy()
        spec.decoder.projection.weight = embedding.copy()
        spec.decoder.projection.bias = np.zeros(self._vocabulary_size, np.float32)
        for layer in spec.encoder.layer:
            self._fill_attention(layer.self_attention, (3, 1))
            self._fill_inner(layer.ffn)
        for layer in spec.decoder.layer:
            self._fill_attention(layer.self_attention, (3, 1))
            self._fill_attention(layer.attention, (1, 2, 1))
            self._fill_inner(layer.ffn)

    def _fill_attention(self, spec: Any, widths: tuple[int, ...]) -> None:
        """Queries, keys and values in one matrix or two, then the output."""
        self._fill_norm(spec.layer_norm)
        for linear, factor in zip(spec.linear, widths, strict=True):
            self._fill_linear(linear, self._width, self._width * factor)

    def _fill_inner(self, spec: Any) -> None:
        self._fill_norm(spec.layer_norm)
        self._fill_linear(spec.linear_0, self._width, self._inner_width)
        self._fill_linear(spec.linear_1, self._inner_width, self._width)

    def _fill_norm(self, spec: Any) -> None:
        spec.gamma = np.ones(self._width, np.float32)
        spec.beta = np.zeros(self._width, np.float32)

    def _fill_linear(self, spec: Any, inputs: int, outputs: int) -> None:
        spec.weight = self._random(outputs, inputs)
        spec.bias = np.zeros(outputs, np.float32)

    def _random(self, outputs: int, inputs: int) -> FloatArray:
        """Normally distributed, so that sums over the inputs keep their scale."""
        return self._generator.normal(scale=inputs**-0.5, size=(outputs, inputs)).astype(np.float32)


def token_name(token_id: int) -> str:
    """What CTranslate2 calls a token; ids are those of the engine."""
    return SPECIAL_TOKENS[token_id] if token_id < len(SPECIAL_TOKENS) else f"t{token_id}"


def make_transformer(options: Mapping[str, int], directory: Path) -> None:
    """Writes a model.

    Args:
        options: encoder_layers, decoder_layers, width, inner_width, vocabulary_size.
        directory: empty.
    """
    layers = (options["encoder_layers"], options["decoder_layers"])
    spec = ctranslate2.specs.TransformerSpec.from_config(layers, HEADS, pre_norm=False)
    RandomTransformer(options["width"], options["inner_width"], options["vocabulary_size"]).fill(spec)
    tokens = [token_name(token_id) for token_id in range(options["vocabulary_size"])]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(directory))


if __name__ == "__main__":
    make_transformer(json.loads(sys.argv[1]), Path(sys.argv[2]))
