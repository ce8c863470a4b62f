"""Typing a text and seeing its translations with their alignment, as the API gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import TEXT, Ask, serving_process, type_text, view, wait_for, watched_page

Visit = Callable[..., AbstractContextManager[Page]]

OPTIONS = {"beam_size": 4, "num_hypotheses": 3, "length_penalty": 1.0}
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> Hello."
SEVERAL = "Thank you 😀. I don't know.\n\nWhere is the station?"


def table(page: Page, index: int = 0) -> list[list[float]]:
    """The figures of the table that screen readers read."""
    script = (
        "[...view.shadowRoot.querySelectorAll('tbody tr')].map(row => [...row.cells].slice(1).map(c => +c.textContent))"
    )
    page.locator("alignment-view").nth(index).locator("table").wait_for(state="attached")
    values: list[list[float]] = view(page, script, index=index)
    return values


def test_what_is_shown_is_what_the_api_answers(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": TEXT, **OPTIONS})["translations"]
    with visit() as page:  # with the example that an empty address has
        shown = page.locator(".hypotheses button")
        assert [text.split("\n")[0] for text in shown.all_inner_texts()] == [h["text"] for h in expected["hypotheses"]]
        scores = [float(score) for score in page.locator(".hypotheses .score").all_inner_texts()]
        assert scores == pytest.approx([h["score"] for h in expected["hypotheses"]], abs=0.0006)
        best = expected["hypotheses"][0]["alignment"]
        assert table(page) == best["words"]
        assert view(page, "view.parts[0].links") == best["links"]
        assert view(page, "view.shadowRoot.querySelectorAll('.curve').length") == len(best["links"])


def test_each_hypothesis_mechanism_and_unit_has_its_own_matrix(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": TEXT, **OPTIONS})["translations"]
    with visit() as page:
        page.locator(".hypotheses button").nth(1).click()
        wait_for(page)
        second = expected["hypotheses"][1]
        assert table(page) == second["alignment"]["words"]
        page.locator("#unit").select_option("tokens")
        assert view(page, "view.parts[0].weights") == second["alignment"]["tokens"]
        page.locator("#mech").select_option("bahdanau")
        assert view(page, "view.parts[0].weights") == second["other_alignments"][0]["tokens"]


def test_doubtful_words_are_underlined_by_their_probability(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": TEXT, **OPTIONS})["translations"]
    tokens = expected["hypotheses"][0]["tokens"]
    with visit(f"#text={quote(TEXT)}&unit=tokens") as page:
        assert page.locator(".doubt").first.is_hidden()
        page.locator("#shade").check()
        assert page.locator(".doubt").first.is_visible()
        shades = view(page, "[...view.shadowRoot.querySelectorAll('.doubt')].map(e => +e.getAttribute('fill-opacity'))")
    assert shades == pytest.approx([1 - math.exp(token["log_prob"]) for token in tokens], abs=0.0051)


def test_pointing_at_a_word_lights_what_it_is_aligned_with(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": TEXT, **OPTIONS})["translations"]
    link = expected["hypotheses"][0]["alignment"]["links"][1]
    with visit() as page:
        for here, there in (("source", "target"), ("target", "source")):
            page.locator(f".unit[data-{here}='{link[here]}']").hover()
            lit = view(
                page, f"[...view.shadowRoot.querySelectorAll('.unit.lit[data-{there}]')].map(e => +e.dataset.{there})"
            )
            assert lit == [link[there]]
            assert f"{link['weight']:.4f}" in view(page, "view.shadowRoot.querySelector('.readout').textContent")
        page.locator("h1").hover()
        assert view(page, "view.shadowRoot.querySelectorAll('.lit, .marks').length") == 0


def test_pointing_at_a_cell_gives_its_value(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": TEXT, **OPTIONS})["translations"]
    best = expected["hypotheses"][0]
    matrix = best["alignment"]["words"]
    with visit() as page:
        page.locator("svg.matrix").scroll_into_view_if_needed()
        grid = page.locator("svg.matrix .grid").bounding_box()
        assert grid
        target, source = 1, 2
        x = grid["x"] + (source + 0.5) * grid["width"] / len(matrix[0])
        page.mouse.move(x, grid["y"] + (target + 0.5) * grid["height"] / len(matrix))
        readout = view(page, "view.shadowRoot.querySelector('.readout').textContent")
        assert readout == f"{best['words'][target]['text']} ← like {matrix[target][source]:.4f}"


def test_the_matrix_grows_to_what_the_answer_holds(visit: Visit, address: str) -> None:
    # The page's own modules, fed with the service's own events, one by one.
    script = """async (text) => {
      const [{ GrowingSentence, sentenceSource }, { streamTranslation }] =
        await Promise.all([import("/ui/growing.js"), import("/ui/api.js")]);
      let growing, rows = [], answer;
      await streamTranslation({ text, model: "eng-fra", beam_size: 1 }, {
        source: (data) => { growing = new GrowingSentence(sentenceSource(data.source, data.sentences[0])); },
        token: (data) => { growing.add(data); rows.push(growing.translation.hypothesis.alignment.tokens.length); },
        done: (data) => { answer = data.translations[0].hypotheses[0]; },
      }, new AbortController().signal);
      return { rows, growing: growing.translation.hypothesis, answer };
    }"""
    with visit() as page:
        result = page.evaluate(script, f"  {TEXT}")
    count = len(result["answer"]["tokens"])
    assert result["rows"] == list(range(1, count + 1))
    growing, answer = result["growing"], result["answer"]
    assert growing["text"] == answer["text"].strip()
    moved = [{**word, "start": word["start"] - 2, "end": word["end"] - 2} for word in answer["words"]]
    assert growing["words"] == moved
    assert growing["alignment"]["tokens"] == answer["alignment"]["tokens"]
    for row, expected in zip(growing["alignment"]["words"], answer["alignment"]["words"], strict=True):
        assert row == pytest.approx(expected, abs=0.0002)


def test_rows_and_sentences_are_seen_as_they_come(browser: Browser, address: str) -> None:
    # The service's own stream, an event at a time, each seen before the next comes.
    slow = """const ask = window.fetch;
    window.fetch = async (path, options) => {
      const answer = await ask(path, options);
      if (!path.endsWith("stream")) return answer;
      const events = (await answer.text()).split(/(?<=\\n\\n)/);
      const pull = async (controller) => {
        for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
        if (events.length) controller.enqueue(new TextEncoder().encode(events.shift()));
        else controller.close();
      };
      return new Response(new ReadableStream({ pull }), { headers: answer.headers });
    };
    const look = () => {
      const views = [...document.querySelectorAll("alignment-view")];
      const rows = views.map((view) => view.shadowRoot.querySelectorAll(".matrix .label[data-target]").length);
      const done = [...document.querySelectorAll(".sentence")].map((card) => card.ariaBusy === "false");
      const last = JSON.stringify((window.seen ??= []).at(-1));
      if (JSON.stringify({ rows, done }) !== last) window.seen.push({ rows, done });
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);"""
    with watched_page(browser, address) as page:
        page.add_init_script(slow)
        page.goto(f"{address}/#beam=1&text={quote('Thank you. I would like a cup of green tea, please.')}")
        wait_for(page)
        seen = [each for each in page.evaluate("window.seen") if len(each["rows"]) == 2]
    for index, least in ((0, 2), (1, 4)):
        rows = [each["rows"][index] for each in seen]
        assert rows == sorted(rows)
        assert len(set(rows)) >= least  # not all at once
    assert any(sorted(each["done"]) == [False, True] for each in seen)  # one does not wait for the other


def test_a_newer_text_replaces_an_older_one(visit: Visit) -> None:
    watch = """new MutationObserver(() => (window.phases ??= new Set()).add(document.body.dataset.phase))
      .observe(document.body, { attributes: true })"""
    with visit() as page:
        page.evaluate(f"{watch}; undefined")
        typed = page.locator("#text").evaluate("""(text) => {
          text.value = "Where is the station?";
          text.dispatchEvent(new Event("input"));
          return [document.body.dataset.phase, document.getElementById("result").inert];
        }""")
        assert typed == ["waiting", True]  # what is seen no longer counts
        page.locator("#text").press_sequentially(" Thank you.", delay=5)
        wait_for(page)
        assert page.evaluate("[...phases]") == ["waiting", "streaming", "done"]
        assert page.locator(".sentence").count() == 2
        type_text(page, "  ", "nothing")
        assert page.locator(".sentence").count() == 0
        assert "type a text" in page.locator("#status").inner_text()


def test_nothing_is_received_once_a_newer_text_counts(visit: Visit) -> None:
    # One piece of the stream that holds two events; whoever receives the first is slow, and is interrupted meanwhile.
    script = """async () => {
      const { streamTranslation } = await import("/ui/api.js");
      window.fetch = async () => new Response('event: token\\ndata: 1\\n\\nevent: token\\ndata: 2\\n\\n');
      const [mine, received] = [new AbortController(), []];
      const slow = (data) => {
        received.push(data);
        setTimeout(() => mine.abort());
        for (const begun = performance.now(); performance.now() < begun + 30; );
      };
      const end = await streamTranslation({}, { token: slow }, mine.signal).catch((error) => error.name);
      return [received, end];
    }"""
    with visit() as page:
        assert page.evaluate(script) == [[1], "AbortError"]


def test_a_long_name_of_a_model_does_not_widen_the_page(visit: Visit) -> None:
    with visit(viewport={"width": 360, "height": 700}) as page:
        page.evaluate("document.querySelector('#model option').textContent = 'model'.repeat(20)")
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_long_texts_go_sentence_by_sentence(visit: Visit, ask: Ask) -> None:
    [expected] = ask("translate", {"text": SEVERAL, **OPTIONS})["translations"]
    best = expected["hypotheses"][0]
    with visit(f"#text={quote(SEVERAL)}") as page:
        assert page.locator(".sentence h2").all_inner_texts() == [f"Sentence {k} of 3" for k in (1, 2, 3)]
        assert [table(page, index) for index in range(3)] == [s["alignment"]["words"] for s in best["sentences"]]
        texts = [SEVERAL[sentence["start"] : sentence["end"]] for sentence in expected["source"]["sentences"]]
        assert page.locator("#whole .source a").all_inner_texts() == texts
        page.locator("#whole .target a").nth(2).click()
        assert page.evaluate("document.activeElement.textContent") == "Sentence 3 of 3"
        page.get_by_role("button", name="In the whole text").nth(1).click()
        assert page.evaluate("document.activeElement.textContent") == best["text"].split("\n\n")[0].split(". ")[1]


def test_hostile_text_stays_text(visit: Visit) -> None:
    with visit(f"#text={quote(HOSTILE)}") as page:
        assert page.evaluate("window.hacked") is None
        assert page.locator("#result img, #result script, #whole img, #whole script").count() == 0
        assert page.locator("#text").input_value() == HOSTILE


def test_right_to_left_scripts_run_from_the_right(visit: Visit) -> None:
    with visit(f"#text={quote('שלום עולם ' * 20)}", viewport={"width": 400, "height": 700}) as page:
        xs = view(page, "[...view.shadowRoot.querySelectorAll('.unit[data-source]')].map(e => e.getBBox().x)")
        assert len(xs) > 5
        assert xs == sorted(xs, reverse=True)
        frame = page.locator(".form").first.bounding_box()
        first = page.locator(".unit[data-source='0']").first.bounding_box()
        assert first
        assert frame
        assert 0 < frame["x"] + frame["width"] - first["x"] - first["width"] < 60  # in sight


def test_too_much_text_is_said_and_shows_nothing_old(visit: Visit) -> None:
    expected = "Failed to load resource: the server responded with a status of 413"
    with visit(expected=expected) as page:
        type_text(page, "q" * 10_000, "failed")
        assert "a sentence that cannot be parted has" in page.locator("#status").inner_text()
        assert page.locator(".sentence").count() == 0
        type_text(page, "Thank you.")
        assert page.locator(".sentence").count() == 1


def test_a_busy_service_is_asked_again_by_itself(visit: Visit) -> None:
    busy = '{"detail": "Too busy."}'
    with visit(expected="Failed to load resource: the server responded with a status of 503") as page:
        page.route(
            re.compile("/translate/stream"),
            lambda route: route.fulfill(status=503, headers={"Retry-After": "2"}, body=busy),
            times=1,
        )
        type_text(page, "Thank you.", "busy")
        assert page.locator(".sentence").count() == 0
        assert re.fullmatch(r"[012] s", page.locator("#countdown").inner_text())
        wait_for(page)
        assert page.locator(".sentence").count() == 1


def test_a_stream_that_breaks_off_is_no_translation(visit: Visit) -> None:
    with visit() as page:
        page.route(
            re.compile("/translate/stream"),
            lambda route: route.fulfill(content_type="text/event-stream", body='event: token\ndata: {"text'),
            times=1,
        )
        type_text(page, "Thank you.", "failed")
        assert "connection was lost" in page.locator("#status").inner_text()
        assert page.locator(".sentence").count() == 0
        page.locator("#again").click()
        wait_for(page)
        assert page.locator(".sentence").count() == 1


def test_a_service_that_dies_in_the_middle_of_a_request_is_said(browser: Browser) -> None:
    with serving_process() as (own, process), watched_page(browser, own, "Failed to load resource") as page:
        page.goto(own)
        wait_for(page)
        text = " ".join(f"I told {number} people that I would like a cup of tea." for number in range(200))
        type_text(page, text, "streaming")
        process.kill()
        wait_for(page, "failed")
        assert "connection was lost" in page.locator("#status").inner_text()
        assert page.locator(".sentence").count() == 0  # nothing that looks as if it were all
        type_text(page, "Thank you.", "failed")
        assert page.locator("#status").inner_text() == "The service cannot be reached."
        assert page.locator("#again").is_visible()


def test_addresses_that_make_no_sense_do_no_harm(visit: Visit) -> None:
    with visit("#text=Thank+you.&beam=999&n=x&lp=-1&unit=y&mech=none&pick.0=99&pick.7=1&pick.__proto__=1") as page:
        assert page.locator("#beam").input_value() == "4"
        assert page.locator(".hypotheses button[aria-pressed=true]").count() == 1
