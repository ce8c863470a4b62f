"""Text without a letter or a digit, which no sentence holds."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.browser.conftest import Ask
from tests.browser.test_translating import OPTIONS, Visit


@pytest.mark.parametrize(
    ("text", "cards"), [("?! 😀", 0), ("Thank you.\n* * *", 1), ("—\nThank you.\n😀\nHello.\n!", 2)]
)
def test_what_is_copied_is_shown_in_the_whole_text(visit: Visit, ask: Ask, text: str, cards: int) -> None:
    [expected] = ask("translate", {"text": text, **OPTIONS})["translations"]
    with visit(f"#text={quote(text)}") as page:
        sides = [page.locator(f"#whole .{side}").text_content() for side in ("source", "target")]
        assert sides == [text, expected["hypotheses"][0]["text"]]
        assert page.locator("alignment-view").count() == cards
