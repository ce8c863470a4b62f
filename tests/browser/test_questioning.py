"""Asking what else the model considered, choosing it, editing by hand, undoing, and finding it all in the address."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import TEXT, Ask, view, wait_for

Visit = Callable[..., AbstractContextManager[Page]]

OPTIONS = {"beam_size": 4, "num_hypotheses": 3, "num_alternatives": 6}


def alternatives_at(answer: dict[str, Any], index: int) -> dict[str, float]:
    """The other tokens at a place with their probabilities in percent."""
    token = answer["translations"][0]["hypotheses"][0]["tokens"][index]
    return {
        each["text"]: 100 * math.exp(each["log_prob"])
        for each in token["alternatives"]
        if each["text"] != token["text"] and not each["special"]
    }


def simple_word(answer: dict[str, Any]) -> tuple[int, dict[str, float], str]:
    """A word that is one token, as are those it could have been: its index, these, and the text before it."""
    [best, *_] = answer["translations"][0]["hypotheses"]
    starts = {token["start"]: index for index, token in enumerate(best["tokens"])}
    for index, word in enumerate(best["words"]):
        token = starts[word["start"]]
        found = alternatives_at(answer, token)
        alone = best["tokens"][token]["end"] == word["end"]
        if index and alone and all(each.startswith("▁") and each[1:] for each in found):
            return index, found, best["text"][: word["start"]].rstrip()
    raise AssertionError("the translation has no such word")


def texts(page: Page) -> list[str]:
    return page.locator(".hypotheses button > span:first-child").all_inner_texts()


def in_address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).fragment).items()}


def test_choosing_an_alternative_decodes_from_there(visit: Visit, ask: Ask) -> None:
    answer = ask("translate", {"text": TEXT, **OPTIONS})
    word, expected, beginning = simple_word(answer)
    with visit() as page:
        before = texts(page)
        page.locator(f".unit[data-target='{word}']").click()
        shown = [text.split() for text in page.locator(".alternative").all_inner_texts()]
        assert ["▁" + word for word, _ in shown] == list(expected)
        for (_, share), probability in zip(shown, expected.values(), strict=True):
            assert float(share.rstrip("%")) == pytest.approx(probability, abs=0.51 if probability >= 10 else 0.051)
        page.locator(".alternative").first.click()
        wait_for(page)
        prefix = f"{beginning} {shown[0][0]}"
        assert in_address(page)["prefix.0"] == prefix
        [again] = ask("translate", {"text": TEXT, **OPTIONS, "target_prefix": prefix})["translations"]
        assert texts(page) == [each["text"] for each in again["hypotheses"]]
        assert all(text.startswith(prefix) for text in texts(page))
        assert view(page, "view.parts[0].weights") == again["hypotheses"][0]["alignment"]["words"]

        page.get_by_role("button", name="Undo").click()
        page.locator(".hypotheses button", has_text=before[0]).wait_for()
        assert texts(page) == before
        assert page.get_by_role("button", name="Undo").is_disabled()


def test_what_a_choice_asks_for_depends_on_the_token(visit: Visit) -> None:
    alternatives = [
        {"text": text, "log_prob": log_prob, "special": text.startswith("<")}
        for text, log_prob in [
            ("▁thé", -0.7),
            ("s", -1.0),
            ("▁café", -2.0),
            ("</s>", -3.0),
            ("<unk>", -4.0),
            ("▁", -5.0),
        ]
    ]
    tokens = [
        {"text": "▁Le", "start": 0, "end": 2, "special": False, "log_prob": -0.1},
        {"text": "▁😀", "start": 3, "end": 4, "special": False, "log_prob": -0.1},
        {"text": "▁thé", "start": 5, "end": 8, "special": False, "log_prob": -0.7, "alternatives": alternatives},
    ]
    script = """async (hypothesis) => (await import("/ui/question.js"))
      .alternativesAt(hypothesis, { index: 2, start: 5, end: 8 }, "words")[0].alternatives"""
    with visit() as page:
        offered = page.evaluate(script, {"text": "Le 😀 thé", "tokens": tokens})
    assert [(each["text"], each["change"]) for each in offered] == [
        ("s", {"prefix": "Le 😀s"}),  # goes on with the word before
        ("▁café", {"prefix": "Le 😀 café"}),
        ("end here", {"target": "Le 😀"}),  # nothing to decode: what is there is aligned
    ]
    assert [each["probability"] for each in offered] == pytest.approx([math.exp(-k) for k in (1, 2, 3)])


def test_what_is_edited_is_aligned(visit: Visit, ask: Ask) -> None:
    target = "Je veux du thé 😀, s'il te plaît."
    [pair] = ask("align", {"source": TEXT, "target": target})["pairs"]
    with visit() as page:
        page.get_by_role("button", name="Edit this translation").click()
        page.locator(".edit textarea").fill(target)
        page.get_by_role("button", name="Align it").click()
        wait_for(page)
        assert texts(page) == [target]
        assert view(page, "view.parts[0].weights") == pair["target"]["alignment"]["words"]
        page.locator(".unit[data-target='0']").click()
        assert "this text was given" in page.locator(".question").inner_text()


def test_signs_of_trouble_are_told(visit: Visit, ask: Ask) -> None:
    body = {"source": "I like green tea.", "target": "J'aime le thé thé.", "diagnostics": True}
    [pair] = ask("align", body)["pairs"]
    found = [finding["heuristic"] for finding in pair["target"]["diagnostics"]]
    assert found  # the README's example
    with visit(f"#text={quote(body['source'])}&target.0={quote(body['target'])}") as page:
        told = page.locator(".warnings").inner_text()
        assert told.startswith("Signs of trouble")
        assert told.count("may be left out") == found.count("unattended_source_word")
        assert told.count("may be repeated") == found.count("repeated_target_word")
        page.locator("#text").fill("Where is the station?")  # where there are none
        wait_for(page)
        assert page.locator(".warnings").is_hidden()


def test_a_link_shows_the_same_view(visit: Visit) -> None:
    several = "I don't know. Where is the station?"
    address = f"#text={quote(several)}&beam=3&n=2&lp=0.5&unit=tokens&form=matrix&shade=1&pick.0=1&prefix.1=La+gare"
    with visit(address) as page:
        first, second = page.locator(".sentence").all()
        pressed = first.locator(".hypotheses button")
        assert [each.get_attribute("aria-pressed") for each in pressed.all()] == ["false", "true"]
        assert second.locator(".hypotheses button").first.inner_text().startswith("La gare")
        controls = ("beam", "n", "lp", "unit", "form-choice")
        assert [page.locator(f"#{name}").input_value() for name in controls] == ["3", "2", "0.5", "tokens", "matrix"]
        assert page.locator("svg.text").count() == 0
        assert page.locator("svg.matrix").count() == 2
        kept = in_address(page)
        assert kept["prefix.1"] == "La gare"
        page.reload()
        wait_for(page)
        assert in_address(page) == kept
        page.locator("#text").fill("Thank you.")  # another text: what was asked about the old one is gone
        wait_for(page)
        assert not {"prefix.1", "pick.0"} & in_address(page).keys()


def test_the_back_button_undoes_as_well(visit: Visit) -> None:
    with visit() as page:
        before = texts(page)
        page.locator(".hypotheses button").nth(2).click()
        wait_for(page)
        assert in_address(page)["pick.0"] == "2"
        page.go_back()
        page.wait_for_selector(".hypotheses li:first-child button[aria-pressed=true]")
        assert texts(page) == before


def test_a_prefix_that_cannot_be_written_is_said_in_its_place(visit: Visit) -> None:
    expected = "Failed to load resource: the server responded with a status of 422"
    with visit("#text=Thank+you.&prefix.0=%F0%9F%98%80", expected=expected) as page:
        assert "characters that the model cannot write" in page.locator(".sentence [role=alert]").inner_text()
        assert page.locator("#take").is_hidden()


def test_everything_works_by_keyboard(visit: Visit) -> None:
    with visit() as page:
        page.locator("#text").focus()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("Thank you.")
        page.wait_for_selector("body[data-phase=waiting]", state="attached")
        wait_for(page)
        focused = "document.activeElement.shadowRoot?.activeElement?.getAttribute('aria-label')"
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate(focused):
                break
        assert page.evaluate(focused).startswith("Thank, aligned with Merci")
        page.keyboard.press("ArrowDown")
        assert page.evaluate(focused).startswith("Merci, aligned with Thank")
        page.keyboard.press("Enter")
        page.locator(".question").wait_for()
        assert page.evaluate("document.activeElement.className") == "alternative"
        page.keyboard.press("Escape")
        assert page.evaluate(focused).startswith("Merci")
        page.keyboard.press("Tab")
        assert page.evaluate(focused).startswith("Alignment matrix")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        weight = view(page, "view.parts[0].weights[0][1].toFixed(4)")
        assert view(page, "view.shadowRoot.querySelector('.readout').textContent") == f"Merci ← you {weight}"


def test_what_is_chosen_by_keyboard_keeps_the_focus(visit: Visit) -> None:
    focused = "[document.activeElement.ariaPressed, document.activeElement.querySelector('span')?.textContent]"
    with visit() as page:
        page.locator(".hypotheses button").nth(1).press("Enter")
        wait_for(page)
        assert page.evaluate(focused) == ["true", texts(page)[1]]
        page.locator(".unit[data-target='1']").press("Enter")
        page.keyboard.press("Enter")  # the likeliest alternative
        page.locator(".head", has_text="decoded again").wait_for()
        assert page.evaluate(focused) == ["true", texts(page)[0]]


@pytest.mark.parametrize("form", ["both", "text"])
def test_alternatives_and_what_was_clicked_are_in_sight_together(visit: Visit, form: str) -> None:
    with visit(f"#text={quote(TEXT)}&form={form}", viewport={"width": 1280, "height": 560}) as page:
        word = page.locator(".unit[data-target='1']")
        word.click()
        above, below = word.bounding_box(), page.locator(".question").bounding_box()
        assert above
        assert below
        assert above["y"] >= 0
        assert above["y"] + above["height"] <= below["y"]
        assert below["y"] + below["height"] <= 560


def test_going_back_while_typing_leaves_what_can_be_undone(visit: Visit) -> None:
    with visit() as page:
        for index in (1, 2):
            page.locator(".hypotheses button").nth(index).click()
            wait_for(page)
        page.locator("#text").fill("Thank you.")
        page.go_back()
        page.wait_for_timeout(500)  # longer than the page waits for more to be typed
        assert in_address(page)["pick.0"] == "1"
        assert page.get_by_role("button", name="Undo").is_enabled()
