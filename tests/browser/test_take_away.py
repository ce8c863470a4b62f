"""What the page lets people take away: text for the clipboard, pictures."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Ask, view

Visit = Callable[..., AbstractContextManager[Page]]

SEVERAL = 'He said "no", 😀. Thank you.'
SVG = "{http://www.w3.org/2000/svg}"


def copied(page: Page, kind: str) -> str:
    page.locator(f"[data-copy={kind}]").click()
    page.locator("#status", has_text="Copied").wait_for()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text.replace("\r\n", "\n")


def test_text_for_the_clipboard_says_what_the_api_says(visit: Visit, ask: Ask) -> None:
    options = {"beam_size": 4, "num_hypotheses": 3, "num_alternatives": 6, "diagnostics": True}
    sentences = [
        ask("translate", {"text": text, **options})["translations"][0] for text in ('He said "no", 😀.', "Thank you.")
    ]
    with visit(f"#text={quote(SEVERAL)}", permissions=["clipboard-read", "clipboard-write"]) as page:
        expected = [{"source": each["source"], "hypothesis": each["hypotheses"][0]} for each in sentences]
        assert json.loads(copied(page, "json")) == expected
        alignments = [each["hypothesis"]["alignment"] for each in expected]
        assert copied(page, "pharaoh").split("\n") == [alignment["pharaoh"] for alignment in alignments]
        rows = list(csv.DictReader(io.StringIO(copied(page, "csv"))))
    assert len(rows) == sum(len(row) for alignment in alignments for row in alignment["words"])
    for row in rows:
        number, source, target = (int(row[name]) for name in ("sentence", "source_index", "target_index"))
        assert float(row["weight"]) == alignments[number]["words"][target][source]
        assert row["source"] == expected[number]["source"]["words"][source]["text"]
        linked = {(link["source"], link["target"]) for link in alignments[number]["links"]}
        assert row["linked"] == str(int((source, target) in linked))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_svg_file_is_what_is_seen(visit: Visit, tmp_path: Path, scheme: str) -> None:
    with visit(color_scheme=scheme) as page:
        page.locator(".unit[data-target='1']").hover()  # what is lit for a moment is not part of the picture
        with page.expect_download() as download:
            page.locator("[data-download=svg]").click()
        download.value.save_as(tmp_path / "alignment.svg")
        links = view(page, "view.parts[0].links.length")
        words = [*view(page, "view.parts[0].source.units"), *view(page, "view.parts[0].target.units")]
    assert download.value.suggested_filename == "alignment.svg"
    root = ElementTree.parse(tmp_path / "alignment.svg").getroot()
    texts = [text.text for text in root.iter(f"{SVG}text")]
    shown = [word["text"] for word in words]  # over each other, and along the matrix, whose legend goes from 0 to 1
    assert sorted(texts) == sorted([*shown, *shown, "0", "1"])
    curves = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none" and "C" in path.get("d", "")]
    assert len(curves) == links
    colours = {element.get("fill") for element in root.iter(f"{SVG}text") if element.text in shown}
    assert colours == {"rgb(28, 35, 38)" if scheme == "light" else "rgb(230, 235, 234)"}
    assert not list(root.iter(f"{SVG}script"))


def test_where_nothing_is_drawn_no_file_is_given(visit: Visit) -> None:
    with visit("#text=Thank+you.&form=matrix&target.0=") as page:
        page.locator("[data-download=svg]").click()
        assert page.locator("#status").inner_text() == "That did not work: nothing is drawn."


def test_print_is_dark_on_white_in_dark_themes_too(visit: Visit) -> None:
    with visit(color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        seen = "['.form', 'backgroundColor'], ['.unit text', 'fill'], ['.form', 'overflow']"
        style = "([each, name]) => getComputedStyle(view.shadowRoot.querySelector(each))[name]"
        assert view(page, f"[{seen}].map({style})") == ["rgb(255, 255, 255)", "rgb(28, 35, 38)", "visible"]
        assert page.locator("form").is_hidden()


def test_the_png_file_is_a_picture_of_twice_the_size(visit: Visit, tmp_path: Path) -> None:
    with visit() as page:
        with page.expect_download() as download:
            page.locator("[data-download=png]").click()
        download.value.save_as(tmp_path / "alignment.png")
        width = max(view(page, "[...view.shadowRoot.querySelectorAll('svg')].map(e => e.width.baseVal.value)"))
    content = (tmp_path / "alignment.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">I", content[16:20]) == (2 * width,)
    assert len(content) > 5_000
