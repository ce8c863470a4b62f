"""The form of `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.bundle.manifest import Manifest
from service.bundle.reader import parse_manifest
from service.domain import AlignmentRule, Mechanism, SpecialIds
from service.errors import BundleError
from service.findings import OmissionRule
from tests.service.tiny_bundle import make_manifest

FILES = {"tokenizer.model": {"sha256": "0" * 64, "size": 1}}


def parse(values: dict[str, Any]) -> Manifest:
    return parse_manifest(json.dumps({"files": FILES} | values).encode())


def test_a_manifest_gives_back_what_was_written() -> None:
    manifest = parse(make_manifest())
    assert manifest.name == "tiny"
    assert manifest.special_ids == SpecialIds(pad=0, bos=1, eos=2, unk=3)
    assert manifest.tensors.encoder.inputs[0].shape == ("batch", "source_len")
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


def test_an_older_manifest_tells_of_no_weaknesses() -> None:
    assert "error_analysis" not in make_manifest()
    assert parse(make_manifest()).error_analysis == ""
    manifest = parse(make_manifest() | {"error_analysis": "Rare words are misspelt."})
    assert manifest.error_analysis == "Rare words are misspelt."
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


def test_an_older_manifest_has_the_mechanism_of_its_architecture() -> None:
    manifest = make_manifest()
    assert "mechanisms" not in manifest
    assert parse(manifest).attention_mechanisms == (Mechanism("luong", normalized=True),)
    manifest |= {"architecture": {}, "normalized": False}
    assert parse(manifest).attention_mechanisms == (Mechanism("unnamed", normalized=False),)


def test_mechanisms_stand_in_their_order() -> None:
    declared = [
        {"name": "own:Layer", "normalized": True, "row_offset": 1},
        {"name": "luong_monotonic", "normalized": False},
    ]
    manifest = parse(make_manifest() | {"mechanisms": declared})
    expected = (Mechanism("own:Layer", normalized=True, row_offset=1), Mechanism("luong_monotonic", normalized=False))
    assert manifest.attention_mechanisms == expected
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


def test_links_follow_the_rule_of_the_manifest_or_that_of_older_ones() -> None:
    assert parse(make_manifest()).alignment.rule == AlignmentRule(0.1, 1.0)
    manifest = parse(make_manifest() | {"alignment": {"threshold": 0.25, "relative_threshold": 0.5}})
    assert manifest.alignment.rule == AlignmentRule(0.25, 0.5, remaining_threshold=None)
    manifest = parse(make_manifest() | {"alignment": {"remaining_threshold": 0.05}})
    assert manifest.alignment.rule == AlignmentRule(0.1, 1.0, 0.05)
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 0.0),
        ("threshold", 1.1),
        ("relative_threshold", -0.1),
        ("remaining_threshold", 0.0),
        ("rule", "argmax"),
    ],
)
def test_a_link_rule_that_makes_no_sense_is_refused(field: str, value: object) -> None:
    with pytest.raises(BundleError, match=rf"manifest\.json: alignment\.{field}: "):
        parse(make_manifest() | {"alignment": {field: value}})


def test_words_left_out_are_found_by_the_rule_of_the_manifest() -> None:
    assert parse(make_manifest()).omission.rule == OmissionRule()
    manifest = parse(make_manifest() | {"omission": {"unattended_below": 0.25, "expected_from": 1.5}})
    assert manifest.omission.rule == OmissionRule(0.25, 1.5)
    assert parse_manifest(manifest.model_dump_json().encode()) == manifest


@pytest.mark.parametrize(("field", "value"), [("unattended_below", 0.0), ("expected_from", -0.1)])
def test_a_rule_for_words_left_out_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(BundleError, match=rf"manifest\.json: omission\.{field}: "):
        parse(make_manifest() | {"omission": {field: value}})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_said_to_be_so(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: content: is not valid JSON"):
        parse_manifest(content)


def test_a_manifest_that_is_no_object_is_refused() -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: content: must be a JSON object"):
        parse_manifest(b"[1]")


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0, "x" * 1000])
def test_an_unknown_format_version_is_refused_before_anything_else(version: object) -> None:
    with pytest.raises(BundleError, match="this version of the service reads 1") as caught:
        parse_manifest(json.dumps({"format_version": version, "new_field": 1}).encode())
    assert caught.value.field == "format_version"
    assert len(str(caught.value)) < 200


def remove(field: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.pop(field)


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        part = manifest
        for name in parents:
            part = part[name]
        part[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (remove("name"), "name"),
        (remove("precisions"), "precisions"),
        (put("surprise", 1), "surprise"),
        (put("tokenizer.surprise", 1), "tokenizer.surprise"),
        (put("name", ""), "name"),
        (put("name", "../up"), "name"),
        (put("source_language", "English"), "source_language"),
        (put("tokenizer.vocabulary_size", "40"), "tokenizer.vocabulary_size"),
        (put("tokenizer.special_ids.eos", -1), "tokenizer.special_ids.eos"),
        (put("tokenizer.special_ids.eos", True), "tokenizer.special_ids.eos"),
        (put("max_source_tokens", 0), "max_source_tokens"),
        (put("preferred_source_tokens", 1), "preferred_source_tokens"),
        (put("memory", []), "memory"),
        (put("mechanisms", [{"name": "luong"}]), "mechanisms.0.normalized"),
        (put("mechanisms", [{"name": "", "normalized": True}]), "mechanisms.0.name"),
        (put("state", []), "state"),
        (put("precisions", {}), "precisions"),
        (put("precisions.fp32.parity", {"log_prob": "small"}), "precisions.fp32.parity.log_prob"),
        (put("files", {"tokenizer.model": {"sha256": "ABC", "size": 1}}), "files.tokenizer.model.sha256"),
        (put("files", {"tokenizer.model": {"sha256": "0" * 64, "size": -1}}), "files.tokenizer.model.size"),
    ],
)
def test_a_malformed_field_is_named(change: Callable[[dict[str, Any]], None], field: str) -> None:
    manifest = make_manifest()
    change(manifest)
    with pytest.raises(BundleError) as caught:
        parse(manifest)
    assert caught.value.file == "manifest.json"
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "a\0b", "a\n"])
def test_file_names_cannot_lead_out_of_the_bundle(name: str) -> None:
    manifest = make_manifest()
    manifest["tokenizer"]["file"] = name
    with pytest.raises(BundleError) as caught:
        parse(manifest)
    assert caught.value.field == "tokenizer.file"

    manifest = make_manifest()
    manifest["precisions"]["fp32"]["encoder"] = name
    with pytest.raises(BundleError) as caught:
        parse(manifest)
    assert caught.value.field == "precisions.fp32.encoder"

    with pytest.raises(BundleError) as caught:
        parse(make_manifest() | {"files": {name: FILES["tokenizer.model"]}})
    assert caught.value.field.startswith("files.")
