"""What stands for unknown tokens in a translation: the text in the source that they attend to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from service.alignment import word_of_each_token
from service.domain import AnalysedText, FloatArray


def replace_unknowns(
    target_ids: Sequence[int], attention: FloatArray, source: AnalysedText, unk_id: int
) -> Mapping[int, str]:
    """Finds the source text that each unknown token attends to most; other tokens have no say in it.

    An unknown token stands for characters that the model cannot write, mostly of a name. Where it attends to
    characters that are unknown in the source as well, it stands for just these, so that the rest of a word that is
    known in part is not written twice. Otherwise it stands for the whole word.

    Source: Luong et al. 2015, "Addressing the Rare Word Problem in Neural Machine Translation", arXiv:1410.8206; with
    attention in place of their aligner, as Jean et al. 2015, arXiv:1412.2007, section 4.2.

    Args:
        target_ids: tokens that search produced, all of a sentence or some.
        attention: (target tokens, source tokens), theirs.
        source: its source sentence, ranges beginning at 0.
        unk_id: the unknown token.

    Returns:
        The text for each index of `target_ids` that is unknown; no characters where the source has no visible
        token.
    """
    unknown = [index for index, token_id in enumerate(target_ids) if token_id == unk_id]
    if not unknown:
        return {}
    words = word_of_each_token(source.tokens, source.words).tolist()
    texts = [_text_of(source, token, word, unk_id) for token, word in enumerate(words)]
    visible = np.array([bool(text) for text in texts])
    weights = np.where(visible, attention[unknown], -1.0)  # (unknown, source tokens)
    return dict(zip(unknown, (texts[token] for token in weights.argmax(axis=1)), strict=True))


def _text_of(source: AnalysedText, index: int, word: int, unk_id: int) -> str:
    """The text of a source token if it is unknown, otherwise of its word; nothing for tokens outside of words."""
    token = source.tokens[index]
    if token.special:
        return ""
    if token.id == unk_id or word < 0:
        return source.text[token.start : token.end]
    return source.words[word].text
