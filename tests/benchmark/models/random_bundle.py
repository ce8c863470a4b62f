"""A bundle of random weights, made by the project's own export from a run that was never trained.

Speed does not depend on what weights say; parity and quality of such a model mean nothing.
"""

from __future__ import annotations

import itertools
import json
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentencepiece import sentencepiece_model_pb2

from model_export.checkpoint import save_variables
from model_export.config import ExperimentConfig, ModelConfig, ParityLimits, TrainConfig
from model_export.corpus_readers import Corpus, SentencePair
from model_export.run_directory import WEIGHTS_FILE, DataFacts, RunDirectory
from model_export.tokenizer_training import SPECIAL_IDS
from service.bundle.tokenizer import SPACE_SIGN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RUN = "run"
BUNDLE = "bundle"
MAX_SOURCE_TOKENS = 300
# Whatever the weights are, these let the export pass: nothing is to be learnt from comparing noise with noise.
NO_LIMITS = ParityLimits(
    sentences=1, fp32_max_difference=1e9, tie_margin=1e9, int8_min_identical=0.0, int8_max_bleu_loss=1e9
)


def make_bundle(model: Mapping[str, Any], directory: Path) -> None:
    """Writes a run to `directory/run` and its bundle to `directory/bundle`.

    Args:
        model: fields of `ModelConfig`, the vocabulary size among them.
        directory: empty.
    """
    import keras  # takes seconds to import

    from model_export.export import export_bundle
    from model_export.seq2seq import Seq2Seq

    config = ModelConfig.model_validate(dict(model))
    run = RunDirectory(directory / RUN)
    run.claim(DataFacts(source_language="en", target_language="fr", train_pairs=0, dev_pairs=1))
    training = TrainConfig(max_tokens=MAX_SOURCE_TOKENS - 1)
    run.create(
        ExperimentConfig(model=config, training=training, parity=NO_LIMITS),
        make_tokenizer(config.vocabulary_size),
    )
    keras.utils.set_random_seed(1)
    save_variables(run.path / WEIGHTS_FILE, Seq2Seq(config).persistent_variables)
    corpus = Corpus("made up", [SentencePair("aba bab", "bab aba")], [1])
    export_bundle(run, corpus, directory / BUNDLE, bundle_name(config))


def bundle_name(config: ModelConfig) -> str:
    """The widths of embedding and state, and the vocabulary."""
    return f"random-{config.embedding_dim}-{config.units}-{config.vocabulary_size}"


def make_tokenizer(vocabulary_size: int) -> bytes:
    """A SentencePiece model of exactly so many pieces: special tokens, the space sign, and strings of letters."""
    model = sentencepiece_model_pb2.ModelProto()
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    pad_id, bos_id, eos_id, unk_id = SPECIAL_IDS
    special = {pad_id: "<pad>", bos_id: "<s>", eos_id: "</s>", unk_id: "<unk>"}
    for _, name in sorted(special.items()):
        model.pieces.add(piece=name, score=0.0, type=kinds.UNKNOWN if name == "<unk>" else kinds.CONTROL)
    for number, piece in enumerate(itertools.islice(_pieces(), vocabulary_size - len(special))):
        model.pieces.add(piece=piece, score=-float(number))
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = trainer.UNIGRAM
    trainer.vocab_size = vocabulary_size
    trainer.pad_id, trainer.bos_id, trainer.eos_id, trainer.unk_id = pad_id, bos_id, eos_id, unk_id
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _pieces() -> Iterator[str]:
    """The space sign, then all strings of letters, short ones first."""
    yield SPACE_SIGN
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)


if __name__ == "__main__":
    make_bundle(json.loads(sys.argv[1]), Path(sys.argv[2]))
