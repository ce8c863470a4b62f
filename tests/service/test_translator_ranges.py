"""Ranges, indices and shapes fit for any text: with the fakes, and with the real tokenizer and engine."""

from __future__ import annotations

import asyncio
import io
from functools import lru_cache
from typing import Any

import numpy as np
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alignment import AlignmentDetail
from service.bundle.tokenizer import Tokenizer, prepare_chunks
from service.domain import AnalysedText, DecodingOptions, TranslatedText
from service.engine.engine import Engine
from tests.service.scripted_backend import IDS, ScriptedBackend, copying
from tests.service.translation_fakes import GREEDY, EchoDecoder, make_translator

TEXTS = st.text(alphabet="ab.!?\n «»é。好'☃\u200b\u0301", max_size=25)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=3), st.sampled_from(["none", "hard", "soft"]), st.integers(1, 3))
def test_all_ranges_and_shapes_fit(texts: list[str], detail: AlignmentDetail, num_hypotheses: int) -> None:
    options = DecodingOptions(num_hypotheses=num_hypotheses)
    translator = make_translator(EchoDecoder(), max_source=60, max_target=200)
    results = asyncio.run(translator.translate(texts, options, None, detail))
    check_results(results, texts, detail)


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=25), TEXTS), max_size=3))
def test_all_ranges_and_shapes_fit_with_the_real_tokenizer(texts: list[str]) -> None:
    translator = make_translator(EchoDecoder(), real_tokenizer(), max_source=1000, max_target=1000)
    check_results(asyncio.run(translator.translate(texts, GREEDY)), texts, "soft")


def test_engine_and_tokenizer_copy_a_text_word_by_word() -> None:
    text = "\n I don't like l'eau. «\u00a0Tea\u00a0!\u00a0»\n\nTea\u2026\n"
    [result] = asyncio.run(translate_by_copying([text], DecodingOptions(beam_size=2)))
    check_results([result], [text], "soft")
    [best] = result.hypotheses
    assert best.target.text == "\n I don't like l'eau. « Tea ! »\n\nTea...\n"
    words = [word.text for word in best.target.words]
    assert words == ["I", "do", "n't", "like", "l'", "eau", ".", "«", "Tea", "!", "»", "Tea", ".", ".", "."]
    assert all(sentence.finished for sentence in best.sentences)


@lru_cache(maxsize=1)
def real_tokenizer() -> Tokenizer:
    """A SentencePiece model of single characters and a few words."""
    text = "I don't like l'eau. « Tea ! » Tea... Ah? Oh no, Tom's tea and eau."
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{chunk}\t{count}" for chunk in prepare_chunks(text) for count in (5,)),
        input_format="tsv",
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=IDS.pad,
        bos_id=IDS.bos,
        eos_id=IDS.eos,
        unk_id=IDS.unk,
        minloglevel=2,
    )
    return Tokenizer.from_bytes(model.getvalue())


async def translate_by_copying(texts: list[str], options: DecodingOptions) -> list[TranslatedText]:
    """Translates with the real tokenizer and a real engine around a model that copies ids."""
    engine = Engine(ScriptedBackend(copying, real_tokenizer().vocabulary_size), IDS)
    engine.start()
    try:
        return await make_translator(engine, real_tokenizer()).translate(texts, options)
    finally:
        await engine.stop(timeout_s=5.0)


def check_results(results: list[TranslatedText], texts: list[str], detail: AlignmentDetail) -> None:
    assert [result.source.text for result in results] == texts
    for result in results:
        check_ranges(result.source)
        for each in result.hypotheses:
            check_ranges(each.target)
            assert len(each.token_log_probs) == len(each.target.tokens)
            assert len(each.sentences) == len(result.source.sentences) == len(each.target.sentences)
            check_alignments(result.source, each.target, each, detail)


def check_ranges(text: AnalysedText) -> None:
    tokens, words = 0, 0
    for sentence in text.sentences:
        assert (sentence.tokens[0], sentence.words[0]) == (tokens, words)
        tokens, words = sentence.tokens[1], sentence.words[1]
        for part in (*text.tokens[slice(*sentence.tokens)], *text.words[slice(*sentence.words)]):
            assert sentence.start <= part.start <= part.end <= sentence.end
    assert (tokens, words) == (len(text.tokens), len(text.words))
    assert all(text.text[word.start : word.end] == word.text for word in text.words)


def check_alignments(source: AnalysedText, target: AnalysedText, translated: Any, detail: str) -> None:
    assert len(translated.alignments) == (detail != "none")
    for link in translated.alignments[0].links if translated.alignments else ():
        places = zip(source.sentences, target.sentences, strict=True)
        assert any(
            left.words[0] <= link.source < left.words[1] and right.words[0] <= link.target < right.words[1]
            for left, right in places
        )
    holders = [translated] if len(source.sentences) < 2 else list(translated.sentences)
    for holder, left, right in zip(holders, source.sentences, target.sentences, strict=False):
        if detail == "soft":
            [alignment] = holder.alignments
            assert alignment.tokens.shape == (np.diff(right.tokens)[0], np.diff(left.tokens)[0])
            assert alignment.words.shape == (np.diff(right.words)[0], np.diff(left.words)[0])
