"""Texts with their sentences, tokens and words: taken apart by sentence, and put together again."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from service.bundle.tokenizer import Tokenizer
from service.bundle.words import find_words
from service.capitals import encode_as_read, to_capitals
from service.domain import AnalysedText, Sentence, Token, Word
from service.segmentation import choose_pause, find_pauses, split_sentences

END_OF_SENTENCE = "</s>"


def analyse_sentences(
    text: str, tokenizer: Tokenizer, max_tokens: int, in_capitals: bool | None = None
) -> tuple[list[AnalysedText], list[str]]:
    """Takes a source text apart.

    Args:
        text: any text.
        tokenizer: the model's.
        max_tokens: sentences of more tokens, end of sentence included, are parted at pauses; what has none stays long.
        in_capitals: whether to read its sentences in lower case; None leaves it to the rule of `service.capitals`.

    Returns:
        Its sentences or their parts, each for itself with ranges that begin at 0 and an end-of-sentence token, and the
        separators before, between and after them, one more than sentences: `join_sentences` of both gives the text
        again. A sentence without a letter or a digit (punctuation, emoji, invisible characters) has nothing to
        translate and counts as separator.
    """
    sentences: list[AnalysedText] = []
    separators: list[str] = []
    end_of_last = 0
    parts = (part for place in split_sentences(text) for part in _part(text, place, tokenizer, max_tokens, in_capitals))
    for start, analysed in parts:
        if not any(has_words(token.text) for token in analysed.tokens if not token.special):
            continue
        sentences.append(analysed)
        separators.append(text[end_of_last:start])
        end_of_last = start + len(analysed.text)
    return sentences, [*separators, text[end_of_last:]]


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in a text, and so something to translate."""
    return any(map(str.isalnum, text))


def _part(
    text: str, place: tuple[int, int], tokenizer: Tokenizer, max_tokens: int, in_capitals: bool | None
) -> Iterator[tuple[int, AnalysedText]]:
    """Parts a sentence until every part fits; yields their starts with them. All are read as the whole is."""
    start, end = place
    analysed = analyse_whole(text[start:end], tokenizer, in_capitals)
    ranges = _ranges_that_fit(analysed, max_tokens) if len(analysed.tokens) > max_tokens else []
    if len(ranges) < 2:
        yield start, analysed
        return
    for part_start, part_end in ranges:  # a word at a part's start can have a token more, so a part may still not fit
        yield from _part(text, (start + part_start, start + part_end), tokenizer, max_tokens, analysed.in_capitals)


def _ranges_that_fit(sentence: AnalysedText, max_tokens: int) -> list[tuple[int, int]]:
    """Ranges that have few enough tokens as they stand in the sentence, or no pause; each parted near its middle.

    As pauses near the middle are taken, and of one strength before the next, this goes only a few parts deep.
    """
    pauses = find_pauses(sentence.text)
    token_starts = [token.start for token in sentence.tokens[:-1]]

    def divide(start: int, end: int) -> Iterator[tuple[int, int]]:
        tokens = bisect_left(token_starts, end) - bisect_left(token_starts, start) + 1  # and the end of the sentence
        pause = choose_pause(pauses, start, end) if tokens > max_tokens else None
        if pause is None:
            yield start, end
            return
        yield from divide(start, pause[0])
        yield from divide(pause[1], end)

    return list(divide(0, len(sentence.text)))


def analyse_whole(text: str, tokenizer: Tokenizer, in_capitals: bool | None = None) -> AnalysedText:
    """Takes a text apart as a single sentence, with an end-of-sentence token and ranges that begin at 0.

    Args:
        text: any text.
        tokenizer: the model's.
        in_capitals: as of `analyse_sentences`.
    """
    tokens, lowered = encode_as_read(text, tokenizer, in_capitals)
    end_token = Token(tokenizer.eos_id, END_OF_SENTENCE, len(text), len(text), special=True)
    return AnalysedText(text, (), (*tokens, end_token), tuple(find_words(text)), lowered)


def analyse_decoded(
    target_ids: Sequence[int],
    tokenizer: Tokenizer,
    replacements: Mapping[int, str] | None = None,
    in_capitals: bool = False,
) -> AnalysedText:
    """Turns decoded ids into a sentence with ranges that begin at 0; one token for each id.

    Args:
        target_ids: what search produced.
        tokenizer: the model's.
        replacements: text that stands for the token at an index.
        in_capitals: whether its source is; then so are its text and words, not its tokens' pieces.
    """
    decoded = tokenizer.decode(target_ids, replacements)
    text = to_capitals(decoded.text) if in_capitals else decoded.text
    return AnalysedText(text, (), decoded.tokens, tuple(find_words(text)), in_capitals)


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
        tokens += [_move_token(token, start) for token in sentence.tokens] if start else sentence.tokens
        words += [_move_word(word, start) for word in sentence.words] if start else sentence.words
        end = start + len(sentence.text)
        places.append(Sentence(start, end, tokens=(first_token, len(tokens)), words=(first_word, len(words))))
        parts += [sentence.text, separator]
        start = end + len(separator)
    return AnalysedText("".join(parts), tuple(places), tuple(tokens), tuple(words))


def _move_token(token: Token, characters: int) -> Token:
    return Token(token.id, token.text, token.start + characters, token.end + characters, token.special)


def _move_word(word: Word, characters: int) -> Word:
    return Word(word.text, word.start + characters, word.end + characters)


def space_between(separators: Sequence[str], sentences: Sequence[AnalysedText]) -> list[str]:
    """Adapts a source text's separators to the sentences of its translation.

    They stay as they are, copied marks included, except that a script written without spaces may leave nothing between
    two sentences; unless the translation is in such a script as well, a space goes there.
    """
    adapted = list(separators)
    for index in range(1, len(sentences)):
        left, right = sentences[index - 1].text, sentences[index].text
        if not adapted[index] and left and right and not (is_wide(left[-1]) or is_wide(right[0])):
            adapted[index] = " "
    return adapted


def is_wide(character: str) -> bool:
    """Whether a character is of a script that is written without spaces, as Chinese and Japanese are."""
    return unicodedata.east_asian_width(character) in ("W", "F")
