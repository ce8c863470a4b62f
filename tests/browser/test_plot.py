"""`interlinear align --plot` and the page draw the same picture: element by element, number by number."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from playwright.sync_api import Page

from service.plot.drawing import plot
from service.plot.text_width import estimate_width
from tests.browser.conftest import TEXT, Ask, view

Visit = Callable[..., AbstractContextManager[Page]]

PAIRS = {
    "plain": (TEXT, "Je voudrais une tasse de thé, s'il vous plaît."),
    "emoji and accents": ("I ❤️ 👩‍👩‍👧 cafe\u0301s 😀!", "J'❤️ 👩‍👩‍👧 les cafe\u0301s 😀 !"),
    "right to left": ("שלום עולם, מה שלומך?", "Bonjour tout le monde."),
    "hostile": ('<script>"&amp;"</script> ]]>\x01', "<img src=x> \ufffe"),
    "long words": (f"{'Donau' * 6}😀{'dampf' * 6} {'W' * 40}", f"{'😀' * 30} {'bateau' * 12}"),
    "nothing on one side": ("tea", " "),
}
# What an attribute that is not written means; the page writes more of them.
DEFAULTS = {
    "fill": "rgb(0, 0, 0)",
    "fill-opacity": "1",
    "font-weight": "400",
    "stroke": "none",
    "stroke-opacity": "1",
    "stroke-width": "1",
}


def described(element: Element) -> list[Any]:
    """An element with all below it, in one way of writing."""
    written = {name: spelt(value) for name, value in element.attrib.items() if value != "translate(0 0)"}
    tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    drawn = DEFAULTS if tag in ("path", "rect", "text") else {}
    return [tag, {**drawn, **written}, element.text or "", *map(described, element)]


def spelt(value: str) -> str:
    if found := re.fullmatch("#(..)(..)(..)", value):
        return f"rgb({', '.join(str(int(part, 16)) for part in found.groups())})"
    return re.sub(r"^([\d.]+)px$", r"\1", value)


def drawn_by_page(page: Page, item: dict[str, Any], form: str, granularity: str) -> str:
    script = """(() => {
      view.setAttribute("form", argument[1]);
      view.setAttribute("granularity", argument[2]);
      view.translation = argument[0];
      return view.toSVG();
    })()"""
    document: str = view(page, script, [item, form, granularity])
    return document


def test_both_draw_the_same(visit: Visit, ask: Ask) -> None:
    pairs = [ask("align", {"source": source, "target": target})["pairs"][0] for source, target in PAIRS.values()]
    several = ask("translate", {"text": "Thank you 😀. Where is the station?"})["translations"][0]
    cases = [(pair, pair["target"], "both", "words") for pair in pairs]
    cases += [(pairs[0], pairs[0]["target"], "text", "tokens"), (pairs[2], pairs[2]["target"], "matrix", "tokens")]
    cases += [
        (several, several["hypotheses"][0], "both", "words"),
        (several, several["hypotheses"][0], "both", "tokens"),
    ]
    with visit() as page:
        family = view(page, "getComputedStyle(view).fontFamily")

        @cache
        def measure(text: str, font_size: float) -> float:
            script = """([text, font]) => {
              const canvas = document.createElement("canvas").getContext("2d");
              canvas.font = font;
              return canvas.measureText(text).width;
            }"""
            return float(page.evaluate(script, [text, f"{font_size:g}px {family}"]))

        for item, hypothesis, form, granularity in cases:
            expected = ElementTree.fromstring(drawn_by_page(page, item, form, granularity))
            drawn = ElementTree.fromstring(plot(item["source"], hypothesis, form, granularity, measure))
            assert described(drawn) == described(expected)
            assert len(list(drawn.iter())) > 5
        for name in ("plain", "right to left"):  # emoji are as wide as the font that a system has for them
            for word in " ".join(PAIRS[name]).split():  # without a browser widths are estimates
                assert abs(estimate_width(word, 17) / measure(word, 17) - 1) < 0.35, word
