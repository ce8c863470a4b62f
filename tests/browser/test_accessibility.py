"""What axe-core finds wrong with the page: nothing, in any of its looks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import resources
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import type_text, wait_for

Visit = Callable[..., AbstractContextManager[Page]]

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SEVERAL = "Thank you 😀. Where is the station?"


def findings(page: Page) -> list[str]:
    """Which rules are broken, and where; rules that could not be decided are no findings."""
    script = "rules => axe.run({ runOnly: rules }).then(({ violations, passes }) => [violations, passes.length])"
    violations, passed = page.evaluate(script, RULES)
    assert passed > 10  # it has looked at something
    return [f"{found['id']}: {node['target']}" for found in violations for node in found["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(visit: Visit, scheme: str) -> None:
    with visit(f"#text={quote(SEVERAL)}&shade=1", color_scheme=scheme) as page:
        page.evaluate(AXE.read_text(encoding="utf-8"))  # the page's policy lets no script element in
        for form in ("text", "matrix", "both"):
            page.locator("#form-choice").select_option(form)
            if form != "text":
                page.locator("table").first.wait_for(state="attached")
            assert findings(page) == [], form
        page.locator(".unit[data-target='0']").first.click()
        page.locator(".question").wait_for()
        assert findings(page) == [], "alternatives"
        page.locator(".hypotheses button").nth(1).click()
        wait_for(page)
        page.get_by_role("button", name="Edit this translation").first.click()
        assert findings(page) == [], "editing another hypothesis"
        type_text(page, " ", "nothing")
        assert findings(page) == [], "nothing to show"
