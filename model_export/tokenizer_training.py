"""Trains the joint SentencePiece vocabulary on the chunks that the tokenizer will encode, each with its count."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tqdm import tqdm

from model_export.errors import DataError
from service.bundle.tokenizer import SPACE_SIGN, prepare_chunks

SPECIAL_IDS: Final = (0, 1, 2, 3)
"""Ids of padding, start of sentence, end of sentence and unknown character; batches and losses count on them."""

_MAX_PIECE_LENGTH: Final = 16
_MAX_SEED_PIECES: Final = 200_000
_MAX_CHUNK_BYTES: Final = 4096


def count_chunks(sentences: Iterable[str], show_progress: bool = False) -> Counter[str]:
    """Counts the chunks (words with the space before them) of sentences."""
    counts: Counter[str] = Counter()
    for sentence in tqdm(sentences, desc="counting words", unit=" sentences", disable=not show_progress):
        counts.update(prepare_chunks(sentence))
    return counts


def train_tokenizer(
    sentences: Iterable[str], vocabulary_size: int, character_coverage: float = 0.99999, show_progress: bool = False
) -> bytes:
    """Trains a unigram model with ids pad=0, bos=1, eos=2, unk=3.

    Args:
        sentences: text of all languages that share the vocabulary.
        vocabulary_size: pieces wanted, special tokens included; a small corpus may give fewer.
        character_coverage: share of the characters' occurrences that get pieces of their own; the rarest become
            unknown, but no ASCII character that occurs (one digit less would spoil every number).
        show_progress: draw a progress bar while counting.

    Returns:
        The serialised model. It depends on the words' counts only, not on the order of sentences.

    Raises:
        DataError: the sentences hold no text, or too many different characters for the vocabulary.
    """
    counts = count_chunks(sentences, show_progress)
    if not counts:
        raise DataError("no text to train a tokenizer on")
    with tempfile.TemporaryDirectory() as directory:
        seed_file = Path(directory) / "seed.tsv"
        seed_file.write_text("".join(_seed_lines(counts)), encoding="utf-8")
        try:
            return _train_unigram(counts, seed_file, vocabulary_size, character_coverage)
        except (RuntimeError, OSError) as error:
            raise DataError(f"tokenizer training failed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What SentencePiece says, without the place in its source and with the names that its options have here."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1].rpartition("] ")[2]
    for theirs, ours in (("with --character_coverage option", ""), ("vocab_size", "tokenizer_vocabulary_size")):
        reason = reason.replace(theirs, ours)
    return reason.replace(" .", ".")


def _train_unigram(
    counts: Mapping[str, int], seed_file: Path, vocabulary_size: int, character_coverage: float
) -> bytes:
    model = io.BytesIO()
    pad_id, bos_id, eos_id, unk_id = SPECIAL_IDS
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_training_lines(counts),
        input_format="tsv",
        seed_sentencepieces_file=str(seed_file),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocabulary_size,
        hard_vocab_limit=False,
        character_coverage=character_coverage,
        required_chars=_ascii_characters(counts),
        max_sentencepiece_length=_MAX_PIECE_LENGTH,
        max_sentence_length=_MAX_CHUNK_BYTES + 32,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        # Chunks are words already: what may share a piece was decided by `find_words` ("n't" may).
        split_by_unicode_script=False,
        split_digits=True,
        pad_id=pad_id,
        bos_id=bos_id,
        eos_id=eos_id,
        unk_id=unk_id,
        num_threads=1,  # sums in one order, so that the same text gives the same model
        minloglevel=2,
    )
    return without_paths(model.getvalue())


def without_paths(model: bytes) -> bytes:
    """Removes the path of the seed file, which SentencePiece keeps among the options in the model."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.trainer_spec.ClearField("seed_sentencepieces_file")
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _training_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """Yields `chunk<TAB>count` lines in a fixed order."""
    for chunk in sorted(counts):
        if len(chunk.encode()) <= _MAX_CHUNK_BYTES:
            yield f"{chunk}\t{counts[chunk]}"


def _ascii_characters(counts: Mapping[str, int]) -> str:
    """Returns the ASCII characters of the text, but the space, in a fixed order."""
    return "".join(sorted({character for chunk in counts for character in chunk if "!" <= character <= "~"}))


def _seed_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """Yields `piece<TAB>score` lines of the first, large vocabulary that training prunes.

    SentencePiece's own search wants a substring to be followed by different characters before it counts as a piece,
    so in text that comes word by word it would miss most whole words. Scores are count times length, as its own are.
    """
    occurrences: Counter[str] = Counter()
    for chunk, count in counts.items():
        text = chunk.replace(" ", SPACE_SIGN)[:_MAX_CHUNK_BYTES]
        for start in range(len(text)):
            for end in range(start + 2, min(start + _MAX_PIECE_LENGTH, len(text)) + 1):
                if text[end - 1].isdigit() or text[start].isdigit():
                    break
                occurrences[text[start:end]] += count
    scores = ((count * len(piece), piece) for piece, count in occurrences.items() if count > 1)
    for score, piece in sorted(scores, key=lambda item: (-item[0], item[1]))[:_MAX_SEED_PIECES]:
        yield f"{piece}\t{score}\n"
