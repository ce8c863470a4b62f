"""Every attention mechanism with every cell: a tiny model learns a task, is exported and served, and answers as Keras.

The task is a cipher: every word stands for another one, in the same order, so that monotonic attention can solve it and
every alignment can be checked. What Keras computes is found here without any code of the service.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from starlette.testclient import TestClient

from model_export.cli import main
from model_export.run_directory import CONFIG_FILE, RunDirectory
from service.main import create_app
from service.settings import Settings
from tests.integration.keras_greedy import translate_greedily

WORDS = "abcdefghij"
MECHANISMS: dict[str, Any] = {
    "bahdanau": {"name": "bahdanau", "normalize": True},
    "luong": {"name": "luong", "scale": True},
    "bahdanau_monotonic": {"name": "bahdanau_monotonic", "sigmoid_noise": 1.0},
    "luong_monotonic": {"name": "luong_monotonic", "scale": True, "sigmoid_noise": 1.0},
    "keras_attention": {"name": "keras_attention", "use_scale": True, "dropout": 0.1},
    "keras_concat_attention": {"name": "keras_attention", "score_mode": "concat"},
    "keras_additive_attention": {"name": "keras_additive_attention"},
    "user": {"name": "tests.user_attention:CosineAttention", "options": {"sharpness": 8.0}},
    "two_and_aligner": [{"name": "luong"}, {"name": "bahdanau_monotonic", "units": 12}],
}
ALIGNERS = {"two_and_aligner": "bahdanau"}
# Layers that project nothing have little to learn with, and noise delays.
EPOCHS = {"luong_monotonic": 9, "keras_attention": 6, "keras_concat_attention": 14, "keras_additive_attention": 12}
COMBINATIONS = [(name, cell) for name in MECHANISMS for cell in ("gru", "lstm")]
# Discrete at decoding time, after training with a mechanism that gradients pass: only the configuration changes.
DISCRETE = [
    ("bahdanau", {"probability_fn": "hardmax"}),
    ("bahdanau_monotonic", {"mode": "hard"}),
    ("luong_monotonic", {"mode": "recursive"}),
]


def cipher(sentence: str) -> str:
    """The right translation: the next word of the list for every word."""
    return " ".join(WORDS[(WORDS.index(word) + 1) % len(WORDS)] for word in sentence.split())


def sentences(count: int, seed: int) -> list[str]:
    """Sentences of 4 or 5 words, which fall into one bucket of batches, so that one program is compiled."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.choice((4, 5)))) for _ in range(count)]


TRAIN, DEV = sentences(2500, seed=1), sentences(60, seed=2)
UNSEEN = [sentence for sentence in dict.fromkeys(sentences(90, seed=3)) if sentence not in {*TRAIN, *DEV}]


def train(directory: Path, name: str, cell: str, tokenizer: Path | None) -> RunDirectory:
    """Trains one model through the command line."""
    for part, texts in (("train", TRAIN), ("dev", DEV)):
        lines = [f"{sentence}\t{cipher(sentence)}\n" for sentence in texts]
        (directory / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    model = {"cell": cell, "embedding_dim": 16, "units": 24, "dropout": 0.0, "attention": MECHANISMS[name]}
    config = {
        "model": model | ({"aligner": ALIGNERS[name]} if name in ALIGNERS else {}),
        "training": {
            "epochs": EPOCHS.get(name, 4),
            "tokens_per_batch": 256,
            "learning_rate": 0.015,
            "warmup_steps": 20,
            "label_smoothing": 0.0,
            "tokenizer_vocabulary_size": 25,
        },
        "parity": {"sentences": 60, "int8_min_identical": 0.5, "int8_max_bleu_loss": 50},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    arguments = ["train", "--source-language", "en", "--target-language", "ne", "--output", str(directory / "run")]
    arguments += ["--train", str(directory / "train.tsv"), "--dev", str(directory / "dev.tsv")]
    arguments += ["--config", str(directory / "config.yaml")]
    arguments += ["--tokenizer", str(tokenizer)] if tokenizer else []
    if name in ALIGNERS:
        links = "".join(" ".join(f"{n}-{n}" for n in range(len(sentence.split()))) + "\n" for sentence in TRAIN)
        (directory / "links").write_text(links, encoding="utf-8")
        arguments += ["--alignments", str(directory / "links")]
    assert main(arguments) == 0
    return RunDirectory(directory / "run")


def export(run: RunDirectory, name: str) -> Path:
    """Exports a run to a bundle that stands alone in its directory."""
    bundle = run.path.parent / name / "cipher"
    dev = run.path.parent / "dev.tsv"
    assert main(["export", "--run", str(run.path), "--dev", str(dev), "--output", str(bundle)]) == 0
    return bundle


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], RunDirectory]:
    """Trained models by mechanism and cell, each trained when it is first asked for; all share one tokenizer."""
    trained: dict[tuple[str, str], RunDirectory] = {}

    class Runs(dict[tuple[str, str], RunDirectory]):
        def __missing__(self, key: tuple[str, str]) -> RunDirectory:
            directory = tmp_path_factory.mktemp("-".join(key))
            tokenizer = next((run.tokenizer_path for run in trained.values()), None)
            trained[key] = self[key] = train(directory, *key, tokenizer)
            return self[key]

    return Runs()


@contextmanager
def serving(bundle: Path) -> Iterator[TestClient]:
    """A client of the service with this bundle alone, in fp32."""
    settings = Settings(models_dir=bundle.parent, built_in_models=False, provider="cpu", precision="fp32")
    with TestClient(create_app(settings)) as client:
        yield client


def translate(client: TestClient) -> list[dict[str, Any]]:
    """The service's greedy answers for the unseen sentences, asked for together."""
    request = {"text": UNSEEN, "model": "cipher", "beam_size": 1, "length_penalty": 0.0}
    answer = client.post("/translate", json=request)
    assert answer.status_code == 200, answer.text
    return [translation["hypotheses"][0] for translation in answer.json()["translations"]]


def assert_same(answers: list[dict[str, Any]], run: RunDirectory, aligner: bool = False) -> None:
    """The service's answers are those of the Keras model: tokens, log-probabilities and every alignment."""
    tokenizer = run.read_tokenizer()
    for answer, expected in zip(answers, translate_greedily(run, UNSEEN), strict=True):
        decoded = tokenizer.decode(expected.target_ids)
        assert [token["text"] for token in answer["tokens"]] == [token.text for token in decoded.tokens]
        log_probs = [token["log_prob"] for token in answer["tokens"]]
        np.testing.assert_allclose(log_probs, expected.log_probs, atol=1e-4)
        alignments = [answer["alignment"], *answer["other_alignments"]]
        attentions = expected.attentions
        if aligner:  # the aligner looks back: the next step's row; for the last token Luong's
            attentions = [np.concatenate([attentions[0][1:], attentions[1][-1:]]), *attentions[1:]]
        for alignment, attention in zip(alignments, attentions, strict=True):
            np.testing.assert_allclose(alignment["tokens"], attention, atol=2e-4)  # rounded to 4 decimals


@pytest.mark.parametrize(("name", "cell"), COMBINATIONS, ids=lambda value: value)
def test_it_learns_is_exported_and_served_as_keras_computes_it(
    name: str, cell: str, runs: dict[tuple[str, str], RunDirectory]
) -> None:
    run = runs[name, cell]
    with serving(export(run, "soft")) as client:
        answers = translate(client)
        [listed] = client.get("/models").json()["models"]
    right = [answer["text"] == cipher(sentence) for answer, sentence in zip(answers, UNSEEN, strict=True)]
    assert sum(right) >= 0.95 * len(right)
    assert_same(answers, run, aligner=name in ALIGNERS)
    given = MECHANISMS[name] if isinstance(MECHANISMS[name], list) else [MECHANISMS[name]]
    names = [f"{ALIGNERS[name]}_aligner"] if name in ALIGNERS else []
    assert [(each["name"], each["row_offset"]) for each in listed["mechanisms"]] == [
        *((each, 1) for each in names),
        *((each["name"], 0) for each in given),
    ]
    for each in listed["mechanisms"]:
        assert each["normalized"] is ("monotonic" not in each["name"])
    assert listed["normalized"] is listed["mechanisms"][0]["normalized"]
    for answer in answers:
        sums = np.sum(answer["alignment"]["tokens"], axis=1)
        assert (sums <= 1.001).all()
        assert not listed["normalized"] or (sums >= 0.999).all()
        others = [
            {"name": other["mechanism"], "normalized": other["normalized"]} for other in answer["other_alignments"]
        ]
        assert others == [{key: each[key] for key in ("name", "normalized")} for each in listed["mechanisms"][1:]]
    if name in ALIGNERS:
        for answer in answers:
            rows = np.array(answer["alignment"]["words"])
            assert (rows.argmax(axis=1) == np.arange(len(rows))).all()


@pytest.mark.parametrize(("name", "changes"), DISCRETE, ids=str)
def test_a_trained_mechanism_can_be_made_discrete_before_export(
    name: str, changes: dict[str, str], runs: dict[tuple[str, str], RunDirectory]
) -> None:
    run = runs[name, "gru"]
    path = run.path / CONFIG_FILE
    before = path.read_text(encoding="utf-8")
    config = yaml.safe_load(before)
    config["model"]["attention"] = [{**MECHANISMS[name], **changes}]
    try:
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        with serving(export(run, "-".join(changes.values()))) as client:
            answers = translate(client)
        assert_same(answers, run)
    finally:
        path.write_text(before, encoding="utf-8")
    if set(changes.values()) & {"hardmax", "hard"}:
        for answer in answers:
            assert set(np.ravel(answer["alignment"]["tokens"])) <= {0.0, 1.0}
