"""Requests that schemathesis makes up from the OpenAPI document: no 5xx, and every answer as the document says."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, settings

from service.main import create_app
from service.settings import Settings

EXAMPLES = 40

# Small limits keep each made-up request short.
app = create_app(Settings(max_text_length=200, max_target_tokens=20, max_beam_size=4, max_texts=4))
config = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": [404, 405, 413, 415, 422]}}}
)
schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_document_says(case: schemathesis.Case) -> None:
    # A document cannot say that fields exclude each other, so some of what it allows is refused.
    answer = case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])
    assert answer.status_code < 500
