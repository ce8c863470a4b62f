"""`<alignment-view>` by itself: in a page of another origin, with any text, of any length."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from service.settings import Settings
from tests.browser.conftest import serving, view, watched_page

Visit = Callable[..., AbstractContextManager[Page]]

README = Path(__file__).parents[2] / "README.md"


def side(words: list[str], separator: str = " ") -> dict[str, Any]:
    """A side of an answer whose tokens are its words."""
    units, position = [], 0
    for word in words:
        units.append({"text": word, "start": position, "end": position + len(word)})
        position += len(word) + len(separator)
    tokens = [{**unit, "special": False, "log_prob": -0.5} for unit in units]
    return {"text": separator.join(words), "words": units, "tokens": tokens}


def translation(source: list[str], target: list[str]) -> dict[str, Any]:
    """An answer that links the n-th word to the n-th."""
    weights = [[0.75 if row == column else 0.0 for column in range(len(source))] for row in range(len(target))]
    links = [{"source": k, "target": k, "weight": 0.75} for k in range(min(len(source), len(target)))]
    alignment = {"tokens": weights, "words": weights, "links": links, "pharaoh": ""}
    hypothesis = {**side(target), "alignment": alignment, "other_alignments": [], "sentences": []}
    return {"source": side(source), "hypotheses": [hypothesis]}


@contextmanager
def site(directory: Path) -> Iterator[str]:
    """Another origin."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=directory)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_readmes_example_works_from_another_origin_that_is_allowed(browser: Browser, tmp_path: Path) -> None:
    [example] = re.findall(r"```html\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.strip().splitlines()) <= 12
    (tmp_path / "favicon.ico").touch()
    with site(tmp_path) as origin, serving(Settings(cors_origins=f"https://example.org, {origin}")) as (address, _):
        (tmp_path / "index.html").write_text(example.replace("http://127.0.0.1:8000", address), encoding="utf-8")
        with watched_page(browser, "http://127.0.0.1:") as page:
            page.goto(origin)
            page.locator(".unit").first.wait_for()
            assert view(page, "view.parts[0].target.units.map(unit => unit.text)") == ["J'", "aime", "le", "thé", "."]


def test_other_origins_are_kept_out_by_default(browser: Browser, address: str, tmp_path: Path) -> None:
    (tmp_path / "favicon.ico").touch()
    (tmp_path / "index.html").write_text("<!doctype html><title>Elsewhere</title>")
    with site(tmp_path) as origin, watched_page(browser, "http://127.0.0.1:", "") as page:
        page.goto(origin)
        assert page.evaluate(f"fetch('{address}/models').then(() => 'in', () => 'out')") == "out"
        assert page.evaluate(f"import('{address}/ui/alignment-view.js').then(() => 'in', () => 'out')") == "out"


def test_ranges_are_told_in_code_points_and_in_utf_16(visit: Visit) -> None:
    answer = translation(["I", "❤️", "👩‍👩‍👧"], ["😀", "e\u0301t\u0301e", "là"])
    script = """(() => {
      view.translation = argument;
      view.addEventListener("alignment-select", ({ detail }) => { window.told = detail; });
      view.shadowRoot.querySelector(".unit[data-target='2']").dispatchEvent(new MouseEvent("click", { bubbles: true }));
      const { text } = argument.hypotheses[0], { utf16 } = window.told.target;
      return [window.told, text.slice(...utf16)];
    })()"""
    with visit() as page:
        told, cut = view(page, script, answer)
    assert told["target"] == {"index": 2, "text": "là", "start": 8, "end": 10, "utf16": [9, 11]}
    assert told["links"] == [{"source": 2, "target": 2, "weight": 0.75}]
    assert cut == "là"


@pytest.mark.parametrize("count", [1, 200])
def test_any_number_of_words_is_drawn_without_squeezing(visit: Visit, count: int) -> None:
    words = [f"mot{k}" for k in range(count)]
    with visit(viewport={"width": 400, "height": 700}) as page:
        view(page, "view.translation = argument", translation(words, words))
        assert view(page, "view.shadowRoot.querySelectorAll('.unit').length") == 2 * count
        numbers = "e => [e.x.baseVal.value, e.width.baseVal.value]"
        boxes = view(page, f"[...view.shadowRoot.querySelectorAll('.unit[data-source] .box')].map({numbers})")
        for (x, width), (following, _) in pairwise(boxes):
            assert x + width < following
        assert min(width for _, width in boxes) > 20
        box = page.locator(".matrix-box")
        box.evaluate("box => box.scrollTo(400, 300)")
        page.wait_for_timeout(50)
        assert "translate(400 0)" not in view(page, "view.toSVG()")  # what is taken away is not scrolled
        frame = box.bounding_box()
        labels = page.locator(".label[data-source]").last, page.locator(".label[data-target]").last
        for label, edge in zip(labels, ("y", "x"), strict=True):  # of the last column and row: stand as scrolled
            place = label.bounding_box()
            assert place
            assert frame
            assert 0 <= place[edge] - frame[edge] < 200
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # it scrolls, the page does not


def test_pages_that_are_read_from_the_right_show_the_same_drawing(visit: Visit) -> None:
    script = """[...view.shadowRoot.querySelectorAll(".label, .unit text")].map((text) => {
      const { x, y } = text.getBoundingClientRect(), frame = text.closest(".form").getBoundingClientRect();
      return [text.textContent, x - frame.x, y - frame.y];
    })"""
    with visit(viewport={"width": 320, "height": 700}) as page:
        expected = view(page, script)
        page.evaluate("document.documentElement.dir = 'rtl'")
        assert view(page, script) == expected


def test_the_attribute_takes_json_and_the_look_can_be_set(visit: Visit) -> None:
    script = """((element) => {
      element.style.setProperty("--alignment-text", "rgb(1, 2, 3)");
      element.setAttribute("form", "text");
      element.setAttribute("translation", JSON.stringify(argument));
      document.body.append(element);
      const text = element.shadowRoot.querySelector(".unit text");
      const seen = [getComputedStyle(text).fill, element.shadowRoot.querySelectorAll("svg").length];
      element.setAttribute("translation", "{");
      return Promise.resolve().then(() => [...seen, element.parts.length]);
    })(document.createElement("alignment-view"))"""
    with visit() as page:
        assert view(page, script, translation(["a"], ["b"])) == ["rgb(1, 2, 3)", 1, 0]


def test_an_answer_of_several_sentences_is_drawn_in_parts(visit: Visit, ask: Callable[..., dict[str, Any]]) -> None:
    [answer] = ask("translate", {"text": "Thank you. Where is the station?"})["translations"]
    best = answer["hypotheses"][0]
    with visit() as page:
        view(page, "view.translation = argument", answer)
        parts = view(page, "view.parts")
        drawings = view(page, "view.shadowRoot.querySelectorAll('svg').length")
    assert drawings == 4
    assert [part["weights"] for part in parts] == [sentence["alignment"]["words"] for sentence in best["sentences"]]
    moved = [
        (link["source"] + part["first"]["source"], link["target"] + part["first"]["target"])
        for part in parts
        for link in part["links"]
    ]
    assert moved == [(link["source"], link["target"]) for link in best["alignment"]["links"]]


def test_hard_alignments_are_drawn_as_words_and_none_without_curves(
    visit: Visit, ask: Callable[..., dict[str, Any]]
) -> None:
    with visit() as page:
        for detail, curves in (("hard", 4), ("none", 0)):
            [answer] = ask("translate", {"text": "I like tea.", "alignment": detail, "return_scores": False})[
                "translations"
            ]
            view(page, "view.translation = argument", answer)
            assert view(page, "view.shadowRoot.querySelectorAll('.curve').length") == curves
            assert view(page, "view.shadowRoot.querySelectorAll('svg.matrix').length") == 0
