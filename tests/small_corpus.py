"""A few sentences written for the tests, a tokenizer trained on them, and text that makes tokenizers stumble."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from model_export.tokenizer_training import train_tokenizer
from service.bundle.tokenizer import Tokenizer

PAIRS = [
    ("The baker opens his shop before sunrise.", "Le boulanger ouvre sa boutique avant l'aube."),
    ("I don't know where the key is.", "Je ne sais pas où est la clé."),
    ("She doesn't like the noise of the street.", "Elle n'aime pas le bruit de la rue."),
    ("We'll take the train to the sea.", "Nous prendrons le train jusqu'à la mer."),
    ("Anna's brother repairs old clocks.", "Le frère d'Anna répare de vieilles horloges."),
    ("Is the water warm enough today?", "L'eau est-elle assez chaude aujourd'hui ?"),
    ("The train leaves in 12 minutes.", "Le train part dans 12 minutes."),
    ("He said that it wasn't his fault!", "Il a dit que ce n'était pas sa faute !"),
    ("Can't you hear the bells of the old church?", "N'entends-tu pas les cloches de la vieille église ?"),
    ("The clocks of the shop don't work.", "Les horloges de la boutique ne marchent pas."),
]
SENTENCES = [sentence for pair in PAIRS for sentence in pair]


@cache
def small_tokenizer() -> Tokenizer:
    """A tokenizer for `SENTENCES` with about 120 pieces."""
    return Tokenizer.from_bytes(train_tokenizer(SENTENCES, 120, character_coverage=1.0))


# Combining, composing, expanding, invisible, right-to-left and astral characters, beside plain ones.
_STUMBLING_BLOCKS = [
    *"aeinstlqudIJ'’.,-!? 0127",
    *"éœßſﬁ½²…™©ŉ´¨῁≮̸̧́︎️⃣ﾞㄱㅏ가ᅡᆨ漢々カｶーกำခខ",
    *"\x00\x0b\x1c\x85\xa0\xad\u0600\u061c\u064b\u200b\u200c\u200d\u202e\u202f\u2028\u3000\ufeff\ufffd\ufdfa\u2581\u1fef",
    *"שלום😀🏽🏴🇫👩\U000e0067\U0001d400\U0010ffff",
    "don't",
    "l'eau",
    "aujourd’hui",
    "👩\u200d🚀",
]
any_text = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from(_STUMBLING_BLOCKS), max_size=16).map("".join),
)
