"""`interlinear-export describe`: known weaknesses in manifest and card, whose fingerprints stay true."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.cli import main
from model_export.model_card import render_model_card
from service.bundle.reader import read_bundle
from tests.model_export.commands import fail
from tests.service.tiny_bundle import write_bundle

TEXT = '\ufeffOf 60 translations 33 are right.\r\n\r\n- \u00ab L\'\u00e9cureuil \u00bb becomes "squirate".\n\n'
KEPT = 'Of 60 translations 33 are right.\n\n- \u00ab L\'\u00e9cureuil \u00bb becomes "squirate".'


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def describe(bundle: Path, text: str) -> int:
    weaknesses = bundle.with_name("weaknesses.md")
    weaknesses.write_bytes(text.encode())
    return main(["describe", "--bundle", str(bundle), "--weaknesses", str(weaknesses)])


def test_weaknesses_stand_in_manifest_and_card_of_a_sound_bundle(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_bundle(bundle).manifest
    assert before.error_analysis == ""
    assert describe(bundle, TEXT) == 0
    manifest = read_bundle(bundle).manifest  # fingerprints are checked here
    assert manifest.error_analysis == KEPT
    assert manifest.model_copy(update={"error_analysis": "", "files": before.files}) == before
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == render_model_card(manifest)
    assert f"## Known weaknesses\n\n{KEPT}\n" in card
    assert {path.name for path in bundle.iterdir()} == {*manifest.files, "manifest.json"}
    shown = capsys.readouterr().out
    assert shown == f"wrote {len(KEPT)} characters on known weaknesses to manifest.json and MODEL_CARD.md of {bundle}\n"


def test_what_was_there_is_replaced_and_an_empty_text_takes_it_out(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("Numbers are wrong.", "Names are wrong."):
        assert describe(bundle, text) == 0
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Names are wrong." in card
    assert "Numbers are wrong." not in card
    assert describe(bundle, "\n") == 0
    assert read_bundle(bundle).manifest.error_analysis == ""
    assert "Known weaknesses" not in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "took known weaknesses out of manifest.json" in capsys.readouterr().out


def test_nothing_is_written_where_something_is_wrong(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: (bundle / name).read_bytes() for name in ("manifest.json", "MODEL_CARD.md")}
    text = bundle.with_name("weaknesses.txt")
    command = ("describe", "--bundle", bundle, "--weaknesses", text)
    assert fail(capsys, *command) == f"{text}: No such file or directory"
    text.write_bytes(b"caf\xe9")
    assert fail(capsys, *command) == f"{text}: is not valid UTF-8"
    text.write_text("Names.", encoding="utf-8")
    (bundle / "tokenizer.model").write_bytes(b"changed")
    assert "tokenizer.model" in fail(capsys, *command)
    assert {name: (bundle / name).read_bytes() for name in before} == before
