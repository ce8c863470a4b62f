"""Whatever goes wrong, clients get problem+json with the field at fault, and never what they sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.errors import PROBLEMS, problem_kind, problem_response
from service.errors import InstallationError, InterlinearError, OverloadedError, StartupError
from tests.service.api_client import MARKER, check_problem, running_app

JSON = {"Content-Type": "application/json"}
LIMITS = {
    "max_request_bytes": 2000,
    "max_texts": 3,
    "max_text_length": 50,
    "max_beam_size": 4,
    "max_num_hypotheses": 3,
    "max_target_tokens": 20,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models"), **LIMITS) as (client, _):
        yield client


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{",
        b"{'text': 'a'}",
        b'{"text": "a",}',
        b'{"text": "a"} pr1vate',
        b'{"text": "pr1vate \\ud800"}',
        b'{"text": "\\udc00\\ud800"}',
        b'{"text": "a", "\\ud800": 1}',
        b'{"text": "a", "x": "\\udfff"}',
        b'{"text": "a", "pr1vate": NaN}',
        b'{"text": "pr1vate\xff"}',
        '{"text": "a"}'.encode("utf-16"),
        b"[" * 1900,
        b'{"text": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a": ' * 300,
        b'{"text": "a", "pr1vate": 1}',
        b'{"text": "a", "": 1}',
        b'{"text": "a", "beamsize": 4}',
        b"\x00",
    ],
)
def test_bodies_that_are_no_request(client: TestClient, body: bytes) -> None:
    check_problem(client.post("/translate", content=body, headers=JSON), 422, "invalid-request")


def test_a_byte_order_mark_is_skipped(client: TestClient) -> None:
    answer = client.post("/translate", content=b'\xef\xbb\xbf{"text": "a cat"}', headers=JSON)
    assert answer.status_code == 200


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    body = gzip.compress(b'{"text": "a cat"}')
    answer = client.post("/translate", content=body, headers={**JSON, "Content-Encoding": "gzip"})
    problem = check_problem(answer, 415, "unsupported-media-type")
    assert problem["detail"] == "The body must not be compressed: send it without Content-Encoding."


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/translate", {"text": "a", "suppressed_tokens": "x"}, "suppressed_tokens: must be a list"),
        ("/translate", {"text": "a", "suppressed_tokens": [1]}, "suppressed_tokens[0]: must be a valid string"),
        ("/align", {"source_words": ["a", ""], "target": "b"}, "source_words[1]: must be a word, not white space"),
        ("/align", {"source_words": ["a", " "], "target": "b"}, "source_words[1]: must be a word, not white space"),
    ],
)
def test_messages_are_no_jargon(client: TestClient, path: str, body: dict[str, Any], detail: str) -> None:
    answer = client.post(path, json=body)
    assert check_problem(answer, 422, "invalid-request", detail.partition(":")[0])["detail"] == detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", b"5"),
        ("text", b"null"),
        ("text", b"{}"),
        ("text", b"true"),
        ("text", b"1e400"),
        ("text", b'"pr1vate\\u0000"'),
        ("text[1]", b'["a", "\\u0000pr1vate"]'),
        ("text[0]", b'[["pr1vate"]]'),
        ("text[2]", b'["a", "", null]'),
        ("model", b"1"),
        ("model", b'["pr1vate"]'),
        ("source_language", b"{}"),
        ("beam_size", b"0"),
        ("beam_size", b"-1"),
        ("beam_size", b"5"),
        ("beam_size", b"2.5"),
        ("beam_size", b'"4"'),
        ("beam_size", b"true"),
        ("beam_size", b"null"),
        ("beam_size", b"NaN"),
        ("beam_size", b"9" * 1000),
        ("num_hypotheses", b"0"),
        ("num_hypotheses", b"4"),
        ("length_penalty", b"NaN"),
        ("length_penalty", b"Infinity"),
        ("length_penalty", b"-Infinity"),
        ("length_penalty", b"1e999"),
        ("length_penalty", b"-1"),
        ("length_penalty", b'"1"'),
        ("coverage_penalty", b"NaN"),
        ("coverage_penalty", b"1e9"),
        ("max_decoding_length", b"0"),
        ("max_decoding_length", b"21"),
        ("min_decoding_length", b"-1"),
        ("min_decoding_length", b"21"),
        ("target_prefix", b'"\\u0000"'),
        ("target_prefix", b'"' + b"a" * 51 + b'"'),
        ("repetition_penalty", b"0.9"),
        ("repetition_penalty", b"NaN"),
        ("no_repeat_ngram_size", b"-1"),
        ("no_repeat_ngram_size", b"2.0"),
        ("suppressed_tokens", b'"pr1vate"'),
        ("suppressed_tokens[0]", b"[1]"),
        ("suppressed_tokens[1]", b'["<unk>", "pr1vate"]'),
        ("suppressed_tokens[0]", b'["</s>"]'),
        ("suppressed_tokens[0]", b'["\\u0000"]'),
        ("sampling_top_k", b"-1"),
        ("sampling_top_k", b"101"),
        ("sampling_temperature", b"0"),
        ("sampling_temperature", b"Infinity"),
        ("seed", b"-1"),
        ("seed", b"1e3"),
        ("seed", b"9007199254740992"),
        ("num_alternatives", b"11"),
        ("replace_unknowns", b"1"),
        ("search_mode", b'"pr1vate"'),
        ("alignment", b'"pr1vate"'),
        ("alignment", b"null"),
        ("return_scores", b'"yes"'),
        ("return_scores", b"1"),
    ],
)
def test_wrong_values_name_their_field(client: TestClient, field: str, value: bytes) -> None:
    name = field.partition("[")[0]
    others = b"" if name == "text" else b'"text": "a cat", '
    body = b"{" + others + b'"' + name.encode() + b'": ' + value + b"}"
    problem = check_problem(client.post("/translate", content=body, headers=JSON), 422, "invalid-request", field)
    assert problem["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"beam_size": 2, "num_hypotheses": 3}, "num_hypotheses"),
        ({"min_decoding_length": 5, "max_decoding_length": 4}, "min_decoding_length"),
        ({"target_prefix": "tea tea tea tea", "max_decoding_length": 2}, "target_prefix"),
        ({"text": "One. Two.", "target_prefix": "tea"}, "target_prefix"),
        ({"sampling_top_k": 3, "beam_size": 2}, "beam_size"),
        ({"sampling_temperature": 0.5}, "sampling_temperature"),
        ({"seed": 1}, "seed"),
        ({"search_mode": "tfa", "min_decoding_length": 2}, "min_decoding_length"),
        ({"search_mode": "tfa", "target_prefix": "tea"}, "target_prefix"),
    ],
)
def test_fields_that_contradict_each_other(client: TestClient, options: dict[str, Any], field: str) -> None:
    answer = client.post("/translate", json={"text": "a cat"} | options)
    check_problem(answer, 422, "invalid-request", field)


def test_an_unknown_field_is_guessed_from_the_known_ones_only(client: TestClient) -> None:
    answer = client.post("/translate", json={"text": "a", "num_hypothesis": 1})
    assert "Did you mean num_hypotheses?" in check_problem(answer, 422, "invalid-request")["detail"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("a" * 51, "text"),
        (["a", "b" * 51], "text[1]"),
        (["a"] * 4, "text"),
    ],
)
def test_too_much_text(client: TestClient, text: Any, field: str) -> None:
    check_problem(client.post("/translate", json={"text": text}), 413, "text-too-long", field)


def test_a_word_longer_than_the_model_takes_names_its_text(tmp_path: Path) -> None:
    word = "tea#" * 50  # the tiny model takes 64 tokens
    with running_app(tmp_path) as (client, _):
        for text, field in ((word, "text"), ([word], "text[0]"), (["a", word], "text[1]")):
            answer = client.post("/translate", json={"text": text})
            problem = check_problem(answer, 413, "text-too-long", field)
            assert problem["detail"].startswith(f"{field}: ")


def test_a_body_declared_too_large(client: TestClient) -> None:
    answer = client.post("/translate", content=b'"' + b"a" * 2000, headers=JSON)
    check_problem(answer, 413, "text-too-long")


def test_a_body_that_grows_too_large_is_not_read_to_its_end(client: TestClient) -> None:
    sent = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield b" " * 500

    check_problem(client.post("/translate", content=chunks(), headers=JSON), 413, "text-too-long")


def test_a_megabyte_of_text_is_refused_by_default(tmp_path: Path) -> None:
    with running_app(tmp_path) as (client, _):
        check_problem(client.post("/translate", json={"text": "a" * 1_000_000}), 413, "text-too-long")
        check_problem(client.post("/translate", json={"text": "a" * 999_900}), 413, "text-too-long", "text")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=latin-1",
    ],
)
def test_bodies_of_another_kind(client: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post("/translate", content=b'{"text": "a"}', headers=headers)
    check_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"model": MARKER}, "model"),
        ({"model": "\u0000"}, "model"),
        ({"source_language": MARKER}, "source_language"),
        ({"target_language": "de"}, "target_language"),
        ({"model": "tiny", "source_language": "fr", "target_language": "en"}, "source_language"),
    ],
)
def test_models_that_do_not_exist(client: TestClient, choice: dict[str, str], field: str) -> None:
    check_problem(client.post("/translate", json={"text": "a"} | choice), 404, "model-not-found", field)


@pytest.mark.parametrize("path", [f"/models/{MARKER}", "/models/%00", "/models/%ff"])
def test_models_that_cannot_be_shown(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert MARKER not in answer.text


def test_the_frameworks_own_errors(client: TestClient) -> None:
    check_problem(client.get(f"/{MARKER}"), 404, "not-found")
    check_problem(client.post(f"/translate/?{MARKER}", follow_redirects=False), 404, "not-found")
    answer = client.put("/translate")
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def all_subclasses(error_class: type[Exception]) -> Iterator[type[Exception]]:
    for subclass in error_class.__subclasses__():
        yield subclass
        yield from all_subclasses(subclass)


def test_every_error_for_clients_has_a_status_of_its_own() -> None:
    for error_class in all_subclasses(InterlinearError):
        if error_class.__subclasses__() or issubclass(error_class, (StartupError, InstallationError)):
            continue
        assert error_class in PROBLEMS, error_class


def test_retry_after_is_in_whole_seconds() -> None:
    answer = problem_response(OverloadedError("busy", retry_after_s=1.2))
    assert answer.headers["retry-after"] == "2"
    assert json.loads(bytes(answer.body))["title"] == problem_kind(OverloadedError("")).title
