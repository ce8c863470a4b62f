"""Texts with their sentences, tokens and words: taken apart by sentence, and put together again."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from service.bundle.tokenizer import Tokenizer
from service.bundle.words import find_words
from service.domain import AnalysedText, Sentence, Token, Word
from service.segmentation import find_pause, split_sentences

END_OF_SENTENCE = "</s>"


def analyse_sentences(text: str, tokenizer: Tokenizer, max_tokens: int) -> tuple[list[AnalysedText], list[str]]:
    """Takes a source text apart.

    Args:
        text: any text.
        tokenizer: the model's.
        max_tokens: sentences of more tokens, end of sentence included, are parted at pauses; what has none stays long.

    Returns:
        Its sentences or their parts, each for itself with ranges that begin at 0 and an end-of-sentence token, and the
        separators before, between and after them, one more than sentences: `join_sentences` of both gives the text
        again. A sentence of invisible characters alone has nothing to translate and counts as separator.
    """
    sentences: list[AnalysedText] = []
    separators: list[str] = []
    end_of_last = 0
    parts = (part for place in split_sentences(text) for part in _part(text, place, tokenizer, max_tokens))
    for start, analysed in parts:
        if len(analysed.tokens) == 1:  # the end of sentence alone
            continue
        sentences.append(analysed)
        separators.append(text[end_of_last:start])
        end_of_last = start + len(analysed.text)
    return sentences, [*separators, text[end_of_last:]]


def _part(
    text: str, place: tuple[int, int], tokenizer: Tokenizer, max_tokens: int
) -> Iterator[tuple[int, AnalysedText]]:
    """Parts a sentence in two until every part fits; yields their starts with them.

    As pauses near the middle are taken, and of one strength before the next, it goes only a few parts deep.
    """
    start, end = place
    analysed = analyse_whole(text[start:end], tokenizer)
    pause = find_pause(analysed.text) if len(analysed.tokens) > max_tokens else None
    if pause is None:
        yield start, analysed
        return
    yield from _part(text, (start, start + pause[0]), tokenizer, max_tokens)
    yield from _part(text, (start + pause[1], end), tokenizer, max_tokens)


def analyse_whole(text: str, tokenizer: Tokenizer) -> AnalysedText:
    """Takes a text apart as a single sentence, with an end-of-sentence token and ranges that begin at 0."""
    end_token = Token(tokenizer.eos_id, END_OF_SENTENCE, len(text), len(text), special=True)
    return AnalysedText(text, (), (*tokenizer.encode(text), end_token), tuple(find_words(text)))


def analyse_decoded(
    target_ids: Sequence[int], tokenizer: Tokenizer, replacements: Mapping[int, str] | None = None
) -> AnalysedText:
    """Turns decoded ids into a sentence with ranges that begin at 0; one token for each id.

    Args:
        target_ids: what search produced.
        tokenizer: the model's.
        replacements: text that stands for the token at an index.
    """
    decoded = tokenizer.decode(target_ids, replacements)
    return AnalysedText(decoded.text, (), decoded.tokens, tuple(find_words(decoded.text)))


def join_sentences(sentences: Sequence[AnalysedText], separators: Sequence[str]) -> AnalysedText:
    """Puts sentences together to a whole text.

    Args:
        sentences: each for itself, with ranges that begin at 0.
        separators: what stands before, between and after them, one more than `sentences`.

    Returns:
        The text with one `Sentence` for each; all ranges refer to the whole.
    """
    text = separators[0]
    tokens: list[Token] = []
    places: list[Sentence] = []
    words: list[Word] = []
    parts = [text]
    start = len(text)
    for sentence, separator in zip(sentences, separators[1:], strict=True):
        first_token, first_word = len(tokens), len(words)
        tokens += [replace(token, start=start + token.start, end=start + token.end) for token in sentence.tokens]
        words += [replace(word, start=start + word.start, end=start + word.end) for word in sentence.words]
        end = start + len(sentence.text)
        places.append(Sentence(start, end, tokens=(first_token, len(tokens)), words=(first_word, len(words))))
        parts += [sentence.text, separator]
        start = end + len(separator)
    return AnalysedText("".join(parts), tuple(places), tuple(tokens), tuple(words))


def space_between(separators: Sequence[str], sentences: Sequence[AnalysedText]) -> list[str]:
    """Adapts a source text's separators to the sentences of its translation.

    They stay as they are, except that a script written without spaces may leave nothing between two sentences; unless
    the translation is in such a script as well, a space goes there.
    """
    adapted = list(separators)
    for index in range(1, len(sentences)):
        left, right = sentences[index - 1].text, sentences[index].text
        if not adapted[index] and left and right and not (_is_wide(left[-1]) or _is_wide(right[0])):
            adapted[index] = " "
    return adapted


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")
