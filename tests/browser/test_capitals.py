"""Sentences in capitals: shown as the API answers them, and gone on with in capitals."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Page

from service.capitals import is_in_capitals, to_capitals
from tests.browser.conftest import Ask, view, wait_for

Visit = Callable[..., AbstractContextManager[Page]]

QUESTION = "WHERE IS THE STATION?"
OPTIONS = {"beam_size": 4, "num_hypotheses": 3}

ALTERNATIVES = ["▁café", "▁straße", "ß", "ŉ", "s"]
OFFERED = """async (hypothesis) => (await import("/ui/question.js"))
  .alternativesAt(hypothesis, { index: 1, ...hypothesis.words[1] }, "words")[0].alternatives"""


def hypothesis(text: str, token: str) -> dict[str, Any]:
    """A hypothesis of `l`, shown as the text has it, and a word of which the model wrote `token`."""
    words = [{"start": 0, "end": 1}, {"start": 2, "end": len(text)}]
    alternatives = [{"text": each, "log_prob": -1.0, "special": False} for each in ALTERNATIVES]
    tokens = [
        {"text": "▁l", **words[0], "special": False, "log_prob": -0.1},
        {"text": token, **words[1], "special": False, "log_prob": -0.7, "alternatives": alternatives},
    ]
    return {"text": text, "words": words, "tokens": tokens}


@pytest.mark.parametrize(("text", "token"), [("L THÉ", "▁thé"), ("L GROß", "▁groß")])
def test_a_translation_in_capitals_goes_on_in_capitals(visit: Visit, text: str, token: str) -> None:
    with visit() as page:
        offered = page.evaluate(OFFERED, hypothesis(text, token))
    assert [each["text"] for each in offered] == ALTERNATIVES
    prefixes = [each["change"]["prefix"] for each in offered]
    assert prefixes == ["L CAFÉ", "L STRAßE", "Lß", "Lŉ", "LS"]
    assert prefixes == [to_capitals(prefix) for prefix in prefixes]  # the service takes them for capitals


@pytest.mark.parametrize(("text", "token"), [("l thé", "▁thé"), ("l groß", "▁groß")])
def test_a_translation_with_small_letters_goes_on_as_the_model_writes(visit: Visit, text: str, token: str) -> None:
    with visit() as page:
        offered = page.evaluate(OFFERED, hypothesis(text, token))
    assert [each["change"]["prefix"] for each in offered] == ["l café", "l straße", "lß", "lŉ", "ls"]


def test_a_sentence_in_capitals_is_shown_in_capitals_with_its_alignment(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": QUESTION, **OPTIONS})["translations"]
    best = expected["hypotheses"][0]
    with visit(f"#text={quote(QUESTION)}") as page:
        shown = page.locator(".hypotheses button > span:first-child").all_inner_texts()
        assert shown == [each["text"] for each in expected["hypotheses"]]
        assert all(map(is_in_capitals, shown))
        for side, words in (("source", expected["source"]["words"]), ("target", best["words"])):
            written = page.locator(f".line.{side} .unit text").all_text_contents()
            assert written == [word["text"] for word in words]
            assert written == [to_capitals(word) for word in written]
        assert view(page, "view.parts[0].weights") == best["alignment"]["words"]
        assert view(page, "view.parts[0].links") == best["alignment"]["links"]
        assert view(page, "view.shadowRoot.querySelectorAll('.curve').length") == len(best["alignment"]["links"]) > 0


def test_an_alternative_to_a_word_in_capitals_is_gone_on_from(visit: Visit) -> None:
    with visit(f"#text={quote(QUESTION)}") as page:
        page.locator(".unit[data-target='1']").click()
        page.locator(".alternative").first.click()
        wait_for(page)
        [prefix] = parse_qs(urlparse(page.url).fragment)["prefix.0"]
        assert is_in_capitals(prefix)
        shown = page.locator(".hypotheses button > span:first-child").all_inner_texts()
        assert all(is_in_capitals(text) and text.startswith(prefix) for text in shown)
