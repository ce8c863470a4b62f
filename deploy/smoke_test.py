"""Checks a deployed service from outside: `python deploy/smoke_test.py --url http://127.0.0.1:8000`.

Waits until it is ready, has it translate one sentence with the built-in model and checks the answer. Needs nothing but
Python. Exits with 0, or with 1 and one line that says what is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

REQUEST = {"text": "I like tea.", "source_language": "en", "target_language": "fr", "alignment": "soft"}
EXPECTED_WORD = "thé"
ROW_SUM_TOLERANCE = 0.001  # what the rounding of matrices to 4 decimals leaves

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not answer for the service


class SmokeTestError(Exception):
    """The service did not answer as it should; the message says what is wrong."""


def wait_until_ready(url: str, timeout_s: float) -> None:
    """Returns once `/readyz` answers 200.

    Raises:
        SmokeTestError: it has not within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with OPENER.open(f"{url}/readyz", timeout=5):
                return
        except OSError as error:  # refused, reset, timed out, or a status that says "not ready"
            if time.monotonic() > deadline:
                raise SmokeTestError(f"{url}/readyz: not ready after {timeout_s:g} s: {error}") from None
            time.sleep(0.5)


def translate(url: str) -> dict[str, Any]:
    """The decoded answer to `POST /translate`.

    Raises:
        SmokeTestError: the service cannot be reached or refuses.
    """
    request = urllib.request.Request(
        f"{url}/translate", json.dumps(REQUEST).encode(), {"Content-Type": "application/json"}
    )
    try:
        with OPENER.open(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise SmokeTestError(f"/translate: status {error.code}: {error.read(500).decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        raise SmokeTestError(f"/translate: {error}") from None


def check(answer: dict[str, Any]) -> str:
    """The translation, if the answer is what the API promises.

    Raises:
        SmokeTestError: something is missing or does not fit together.
    """
    try:
        translation = answer["translations"][0]
        source, best = translation["source"], translation["hypotheses"][0]
        text, matrix, links = best["text"], best["alignment"]["tokens"], best["alignment"]["links"]
        shape = (len(best["tokens"]), len(source["tokens"]))
    except (IndexError, KeyError, TypeError) as error:
        raise SmokeTestError(f"/translate: the answer lacks {error}") from None
    if EXPECTED_WORD not in text:
        raise SmokeTestError(f"/translate: {REQUEST['text']!r} became {text!r}, without {EXPECTED_WORD!r}")
    if (len(matrix), *{len(row) for row in matrix}) != shape:
        raise SmokeTestError(f"/translate: the alignment matrix is not {shape[0]} x {shape[1]}")
    if any(abs(sum(row) - 1) > ROW_SUM_TOLERANCE for row in matrix):
        raise SmokeTestError("/translate: a row of the alignment matrix does not sum to 1")
    if not links:
        raise SmokeTestError("/translate: no word is linked")
    return str(text)


def main() -> int:
    """Runs the checks and prints the outcome."""
    parser = argparse.ArgumentParser(description="Checks a deployed Interlinear service.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where it listens (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds it may take to be ready (default: 60)")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    try:
        wait_until_ready(url, arguments.timeout)
        text = check(translate(url))
    except SmokeTestError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(f"passed: {REQUEST['text']} -> {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
