"""Translated texts as plain values for JSON, in the shape that `service.api.schemas` describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic_core import to_json

from service.alignment import round_rows
from service.bundle.manifest import Manifest
from service.domain import (
    Alignment,
    Alternative,
    AnalysedText,
    FloatArray,
    Link,
    Sentence,
    SentenceTranslation,
    Token,
    TranslatedHypothesis,
    TranslatedText,
    Word,
)
from service.findings import Finding

SCORE_DECIMALS = 5
WEIGHT_DECIMALS = 4

Json = dict[str, Any]


def translate_answer(manifest: Manifest, translated: Sequence[TranslatedText], return_scores: bool) -> bytes:
    """The answer of `POST /translate`, as JSON."""
    answer = {
        "model": manifest.name,
        "source_language": manifest.source_language,
        "target_language": manifest.target_language,
        "translations": [translation_answer(each, return_scores) for each in translated],
    }
    return to_json(answer, inf_nan_mode="null")


def translation_answer(translated: TranslatedText, return_scores: bool) -> Json:
    """One text with its hypotheses."""
    source = translated.source
    return {
        "source": source_answer(source),
        "hypotheses": [_hypothesis_answer(source, each, return_scores) for each in translated.hypotheses],
    }


def pair_answer(aligned: TranslatedText, return_scores: bool) -> Json:
    """One given pair: its target is the only hypothesis."""
    [given] = aligned.hypotheses
    return {"source": source_answer(aligned.source), "target": _hypothesis_answer(aligned.source, given, return_scores)}


def source_answer(source: AnalysedText) -> Json:
    """A source text."""
    return {
        "text": source.text,
        "sentences": [{"start": sentence.start, "end": sentence.end} for sentence in source.sentences],
        "tokens": [_token_answer(token) for token in source.tokens],
        "words": [_word_answer(word) for word in source.words],
    }


def _hypothesis_answer(source: AnalysedText, hypothesis: TranslatedHypothesis, return_scores: bool) -> Json:
    tokens = hypothesis.target.tokens
    nothing = [None] * len(tokens)
    log_probs = hypothesis.token_log_probs.tolist() if return_scores else nothing
    columns = zip(tokens, log_probs, hypothesis.alternatives or nothing, strict=True)
    answer = {
        "text": hypothesis.target.text,
        "score": round(hypothesis.score, SCORE_DECIMALS),
        "log_prob": round(hypothesis.log_prob, SCORE_DECIMALS),
        "tokens": [target_token_answer(*column) for column in columns],
        "words": [_word_answer(word) for word in hypothesis.target.words],
        **_alignment_answers(hypothesis.alignments),
        "sentences": [_sentence_answer(sentence) for sentence in hypothesis.sentences],
    }
    if hypothesis.findings is not None:
        answer["diagnostics"] = [_finding_answer(each, source, hypothesis.target) for each in hypothesis.findings]
    return answer


def _finding_answer(finding: Finding, source: AnalysedText, target: AnalysedText) -> Json:
    return {
        "heuristic": finding.heuristic,
        "value": round(finding.value, WEIGHT_DECIMALS),
        "source": [{"index": index, **_word_answer(source.words[index])} for index in finding.source_words],
        "target": [{"index": index, **_word_answer(target.words[index])} for index in finding.target_words],
    }


def _sentence_answer(sentence: SentenceTranslation) -> Json:
    return {
        "source": place_answer(sentence.source),
        "target": place_answer(sentence.target),
        "score": round(sentence.score, SCORE_DECIMALS),
        "log_prob": round(sentence.log_prob, SCORE_DECIMALS),
        "finished": sentence.finished,
        **_alignment_answers(sentence.alignments),
    }


def place_answer(sentence: Sentence) -> Json:
    """Where a sentence stands."""
    return {
        "start": sentence.start,
        "end": sentence.end,
        "tokens": list(sentence.tokens),
        "words": list(sentence.words),
    }


def _token_answer(token: Token) -> Json:
    return {"text": token.text, "start": token.start, "end": token.end, "special": token.special}


def target_token_answer(token: Token, log_prob: float | None, alternatives: Sequence[Alternative] | None) -> Json:
    """A token of a translation; what is None is left out."""
    answer = _token_answer(token)
    if alternatives is not None:
        answer["alternatives"] = [_alternative_answer(each) for each in alternatives]
    if log_prob is not None:
        answer["log_prob"] = round(log_prob, SCORE_DECIMALS)
    return answer


def _alternative_answer(alternative: Alternative) -> Json:
    log_prob = round(alternative.log_prob, SCORE_DECIMALS)
    return {"text": alternative.text, "log_prob": log_prob, "special": alternative.special}


def _word_answer(word: Word) -> Json:
    return {"text": word.text, "start": word.start, "end": word.end}


def _alignment_answers(alignments: Sequence[Alignment]) -> Json:
    """The primary mechanism's alignment, and those of the others with the name of their mechanism."""
    if not alignments:
        return {"alignment": None, "other_alignments": []}
    primary, *others = _each_alignment_answer(alignments)
    return {
        "alignment": primary,
        "other_alignments": [
            {"mechanism": each.mechanism.name, "normalized": each.mechanism.normalized, **answer}
            for each, answer in zip(alignments[1:], others, strict=True)
        ],
    }


def rows_answer(attention: FloatArray) -> list[list[float]]:
    """Rows of attention between tokens, (rows, source_len)."""
    rows: list[list[float]] = round_rows(attention, WEIGHT_DECIMALS).tolist()
    return rows


def _each_alignment_answer(alignments: Sequence[Alignment]) -> list[Json]:
    tokens = [each.tokens for each in alignments if each.tokens is not None]
    words = [each.words for each in alignments if each.words is not None]
    nothing = [None] * len(alignments)
    # All mechanisms at once. Rows of words need not sum to 1; rounded plainly, their entries equal the links' weights.
    token_rows = round_rows(np.array(tokens), WEIGHT_DECIMALS).tolist() if tokens else nothing
    word_rows = np.array(words, np.float64).round(WEIGHT_DECIMALS).tolist() if words else nothing
    return [
        {
            "tokens": token_matrix,
            "words": word_matrix,
            "links": [_link_answer(link) for link in each.links],
            "pharaoh": each.pharaoh,
        }
        for each, token_matrix, word_matrix in zip(alignments, token_rows, word_rows, strict=True)
    ]


def _link_answer(link: Link) -> Json:
    return {"source": link.source, "target": link.target, "weight": round(link.weight, WEIGHT_DECIMALS)}
