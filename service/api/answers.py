"""Translated texts as plain values for JSON, in the shape that `service.api.schemas` describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.alignment import round_rows
from service.domain import (
    Alignment,
    Alternative,
    AnalysedText,
    Sentence,
    SentenceTranslation,
    Token,
    TranslatedHypothesis,
    TranslatedText,
    Word,
)

SCORE_DECIMALS = 5
WEIGHT_DECIMALS = 4

Json = dict[str, Any]


def translation_answer(translated: TranslatedText, return_scores: bool) -> Json:
    """One text with its hypotheses."""
    return {
        "source": _source_answer(translated.source),
        "hypotheses": [_hypothesis_answer(each, return_scores) for each in translated.hypotheses],
    }


def pair_answer(aligned: TranslatedText, return_scores: bool) -> Json:
    """One given pair: its target is the only hypothesis."""
    [given] = aligned.hypotheses
    return {"source": _source_answer(aligned.source), "target": _hypothesis_answer(given, return_scores)}


def _source_answer(source: AnalysedText) -> Json:
    return {
        "text": source.text,
        "sentences": [{"start": sentence.start, "end": sentence.end} for sentence in source.sentences],
        "tokens": [_token_answer(token) for token in source.tokens],
        "words": [_word_answer(word) for word in source.words],
    }


def _hypothesis_answer(hypothesis: TranslatedHypothesis, return_scores: bool) -> Json:
    tokens = [_token_answer(token) for token in hypothesis.target.tokens]
    for token, alternatives in zip(tokens, hypothesis.alternatives, strict=False):
        token["alternatives"] = [_alternative_answer(each) for each in alternatives]
    if return_scores:
        for token, log_prob in zip(tokens, hypothesis.token_log_probs.tolist(), strict=True):
            token["log_prob"] = round(log_prob, SCORE_DECIMALS)
    return {
        "text": hypothesis.target.text,
        "score": round(hypothesis.score, SCORE_DECIMALS),
        "log_prob": round(hypothesis.log_prob, SCORE_DECIMALS),
        "tokens": tokens,
        "words": [_word_answer(word) for word in hypothesis.target.words],
        **_alignment_answers(hypothesis.alignments),
        "sentences": [_sentence_answer(sentence) for sentence in hypothesis.sentences],
    }


def _sentence_answer(sentence: SentenceTranslation) -> Json:
    return {
        "source": _place_answer(sentence.source),
        "target": _place_answer(sentence.target),
        "score": round(sentence.score, SCORE_DECIMALS),
        "log_prob": round(sentence.log_prob, SCORE_DECIMALS),
        "finished": sentence.finished,
        **_alignment_answers(sentence.alignments),
    }


def _place_answer(sentence: Sentence) -> Json:
    return {
        "start": sentence.start,
        "end": sentence.end,
        "tokens": list(sentence.tokens),
        "words": list(sentence.words),
    }


def _token_answer(token: Token) -> Json:
    return {"text": token.text, "start": token.start, "end": token.end, "special": token.special}


def _alternative_answer(alternative: Alternative) -> Json:
    log_prob = round(alternative.log_prob, SCORE_DECIMALS)
    return {"text": alternative.text, "log_prob": log_prob, "special": alternative.special}


def _word_answer(word: Word) -> Json:
    return {"text": word.text, "start": word.start, "end": word.end}


def _alignment_answers(alignments: Sequence[Alignment]) -> Json:
    """The primary mechanism's alignment, and those of the others with the name of their mechanism."""
    return {
        "alignment": _alignment_answer(alignments[0]) if alignments else None,
        "other_alignments": [
            {"mechanism": each.mechanism.name, "normalized": each.mechanism.normalized, **_alignment_answer(each)}
            for each in alignments[1:]
        ],
    }


def _alignment_answer(alignment: Alignment) -> Json:
    tokens, words = alignment.tokens, alignment.words
    return {
        "tokens": None if tokens is None else round_rows(tokens, WEIGHT_DECIMALS).tolist(),
        # Rows of words need not sum to 1; rounded plainly, their entries equal the links' weights.
        "words": None if words is None else np.round(words.astype(np.float64), WEIGHT_DECIMALS).tolist(),
        "links": [
            {"source": link.source, "target": link.target, "weight": round(link.weight, WEIGHT_DECIMALS)}
            for link in alignment.links
        ],
        "pharaoh": alignment.pharaoh,
    }
