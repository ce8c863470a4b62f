"""Evaluation: the figures are sacreBLEU's own, and what is translated is what the service would answer."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import sacrebleu

from model_export.cli import main
from model_export.corpus_readers import Corpus, SentencePair
from model_export.evaluation import (
    BATCH_SIZE,
    Coverage,
    EvaluatedModel,
    LocalDecoder,
    best_texts,
    load_bundle,
    load_run,
    measure_coverage,
    measure_speed,
    score_translations,
    translate_corpus,
)
from model_export.run_directory import RunDirectory
from service.bundle.reader import read_bundle
from service.domain import DecodingOptions
from service.errors import BundleError, TextTooLongError
from tests.reversing_task import random_sentences, reverse, write_pairs
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, make_job, texts
from tests.service.translation_fakes import (
    EchoDecoder,
    ScriptedDecoder,
    WordTokenizer,
    hypothesis,
    make_translator,
    translate_with,
)

GREEDY = DecodingOptions(beam_size=1)


def corpus_of(*pairs: tuple[str, str]) -> Corpus:
    return Corpus("made up", [SentencePair(*pair) for pair in pairs], list(range(1, len(pairs) + 1)))


# --- Scores -----------------------------------------------------------------------------------------------------

REFERENCES = ["Le chat noir dort sur le toit.", "Il pleut depuis ce matin.", "Où est la gare ?", "Non !"]
TRANSLATIONS = ["Le chat noir dort sur un toit.", "il pleut ce matin.", "Où est la gare ?", "Oui !"]


def test_scores_are_those_of_sacrebleu() -> None:
    bleu, chrf = score_translations(TRANSLATIONS, corpus_of(*(("?", reference) for reference in REFERENCES)))
    assert (bleu.name, chrf.name) == ("BLEU", "chrF")
    assert bleu.value == round(sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES]).score, 2)
    assert chrf.value == round(sacrebleu.corpus_chrf(TRANSLATIONS, [REFERENCES]).score, 2)
    assert 0 < bleu.value < 100


def test_signatures_say_how_was_measured() -> None:
    bleu, chrf = score_translations(TRANSLATIONS, corpus_of(*(("?", reference) for reference in REFERENCES)))
    version = f"version:{sacrebleu.__version__}"
    assert bleu.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert chrf.signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{version}"


def test_case_counts() -> None:
    same, lower = (
        score_translations([text], corpus_of(("?", "Le chat noir dort.")))
        for text in ("Le chat noir dort.", "le chat noir dort.")
    )
    assert same[0].value == 100
    assert lower[0].value < 100


# --- Translations -----------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_jobs() -> None:
    sources = [letters * count for count in (5, 1, 3, 2) for letters in "abcdefghijklmnopqrst"]
    assert len(sources) > BATCH_SIZE
    backend = ScriptedBackend(copying)
    jobs = [make_job(source) for source in sources]
    found = asyncio.run(LocalDecoder(backend, IDS).decode(jobs))
    assert [texts(hypotheses)[0] for hypotheses in found] == [f"{source}." for source in sources]
    assert max(backend.rows_per_step) == BATCH_SIZE


@pytest.fixture(scope="module")
def unseen() -> Corpus:
    return corpus_of(*((sentence, reverse(sentence)) for sentence in random_sentences(30, seed=4)))


def test_keras_and_fp32_graphs_translate_alike(
    reversing_run: RunDirectory, reversing_bundle: Path, unseen: Corpus
) -> None:
    trained, exported = load_run(reversing_run.path), load_bundle(reversing_bundle, "fp32")
    assert (trained.precision, exported.precision) == ("keras", "fp32")
    assert trained.max_source_tokens == exported.max_source_tokens == 101
    for options in (GREEDY, DecodingOptions(beam_size=4)):
        translations = best_texts(translate_corpus(trained, unseen, options))
        assert translations == best_texts(translate_corpus(exported, unseen, options))
        assert sum(text == pair.target for text, pair in zip(translations, unseen.pairs, strict=True)) >= 28


def test_a_bundle_is_evaluated_in_8_bits_by_default(reversing_bundle: Path) -> None:
    model = load_bundle(reversing_bundle, None)
    assert model.precision == "int8"
    [translation] = best_texts(translate_corpus(model, corpus_of(("a b c d e f", "?")), GREEDY))
    assert translation == "f e d c b a"


def test_a_source_beyond_the_model_is_parted_and_never_cut(reversing_bundle: Path) -> None:
    model = load_bundle(reversing_bundle, "int8")
    short = EvaluatedModel(model.backend, model.tokenizer, max_source_tokens=5, precision="int8")
    [translation] = best_texts(translate_corpus(short, corpus_of(("a b c d e f", "?")), GREEDY))
    assert translation == "c b a f e d"
    with pytest.raises(TextTooLongError):
        translate_corpus(short, corpus_of(("a.....", "?")), GREEDY)


def test_the_length_from_which_on_sentences_are_parted_is_recorded(reversing_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    test = tmp_path / "test.tsv"
    test.write_text("a b c d e f\tc b a f e d\n", encoding="utf-8")
    parted = ["--beam-size", "1", "--preferred-source-tokens", "5", "--record"]
    assert main(["evaluate", "--bundle", str(bundle), "--test", str(test), *parted]) == 0
    manifest = read_bundle(bundle).manifest
    assert manifest.preferred_source_tokens == 5
    bleu = manifest.scores[0]
    assert (bleu.metric, bleu.value) == ("BLEU", 100)
    assert bleu.command.endswith("--test test.tsv --preferred-source-tokens 5")
    assert "those of more than\n5 in parts" in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("tokens", ["1", "102"])
def test_no_such_length_is_recorded_that_the_model_cannot_have(
    reversing_bundle: Path, tmp_path: Path, tokens: str, capsys: pytest.CaptureFixture[str]
) -> None:
    test = tmp_path / "test.tsv"
    test.write_text("a\ta\n", encoding="utf-8")
    arguments = ["--bundle", str(reversing_bundle), "--test", str(test), "--preferred-source-tokens", tokens]
    assert main(["evaluate", *arguments]) == 1
    assert "must be from 2 to 101" in capsys.readouterr().err


def test_a_precision_that_the_bundle_lacks_is_an_error(reversing_bundle: Path) -> None:
    with pytest.raises(BundleError, match="has no 'fp16'; it has fp32, int8"):
        load_bundle(reversing_bundle, "fp16")


def test_words_without_links_and_cut_sentences_are_counted() -> None:
    tokenizer = WordTokenizer()
    ids = (tokenizer.id_of("un"), tokenizer.id_of("thé"))
    # "un" attends to "tea", "thé" to the end of sentence alone; no end was produced
    decoder = ScriptedDecoder((hypothesis(ids, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], finished=False),))
    [cut] = asyncio.run(make_translator(decoder, tokenizer).translate(["some tea"], GREEDY))
    translated = [cut, translate_with(EchoDecoder(), "tea")]
    assert measure_coverage(translated) == Coverage(
        unlinked_source_words=pytest.approx(1 / 3),
        unlinked_target_words=pytest.approx(1 / 3),
        unfinished=0.5,
    )
    speed = measure_speed(translated, seconds=0.5)
    assert (speed.sentences_per_s, speed.target_tokens_per_s) == (4.0, 8.0)  # 2 sentences; 2 tokens and 2


# --- The command ------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "test.tsv", random_sentences(20, seed=5))
    return tmp_path / "test.tsv"


def test_the_command_writes_figures_translations_and_record(
    reversing_bundle: Path, tmp_path: Path, pairs_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    outputs = ("--translations", str(tmp_path / "out.txt"), "--json", str(tmp_path / "out.json"), "--record")
    arguments = ("evaluate", "--bundle", str(bundle), "--test", str(pairs_file), "--precision", "int8")
    assert main([*arguments, "--beam-size", "2", *outputs]) == 0

    translations = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    references = [line.split("\t")[1] for line in pairs_file.read_text(encoding="utf-8").splitlines()]
    bleu = round(sacrebleu.corpus_bleu(translations, [references]).score, 2)
    figures = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (figures["test"], figures["precision"], figures["beam_size"]) == ("test.tsv", "int8", 2)
    assert (figures["metrics"][0]["name"], figures["metrics"][0]["value"]) == ("BLEU", bleu)
    assert f"BLEU {bleu:.2f}  nrefs:1|case:mixed" in capsys.readouterr().out
    recorded = read_bundle(bundle).manifest.scores[0]
    assert (recorded.metric, recorded.value, recorded.data, recorded.beam_size) == ("BLEU", bleu, "test.tsv", 2)
    assert recorded.signature == figures["metrics"][0]["signature"]
    assert recorded.command == (
        "interlinear-export evaluate --bundle reverser --precision int8 --beam-size 2 --length-penalty 1.0 "
        "--test test.tsv"
    )


def test_coverage_is_recorded_with_the_rule_of_the_links_and_its_command(
    reversing_bundle: Path, tmp_path: Path, pairs_file: Path
) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    written = tmp_path / "out.json"
    arguments = ["--test", str(pairs_file), "--beam-size", "1", "--json", str(written), "--record"]
    assert main(["evaluate", "--bundle", str(bundle), *arguments]) == 0
    found = json.loads(written.read_text(encoding="utf-8"))["coverage"]
    manifest = read_bundle(bundle).manifest
    scores = {score.metric: score for score in manifest.scores}
    expected = {
        "source words without link": found["unlinked_source_words"],
        "target words without link": found["unlinked_target_words"],
        "sentences cut at the length limit": found["unfinished"],
    }
    assert set(scores) == {"BLEU", "chrF", *expected}
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    for metric, share in expected.items():
        score = scores[metric]
        assert (score.value, score.beam_size) == (round(100 * share, 2), 1)
        assert score.command == scores["BLEU"].command
        assert f"| {metric} | {score.value:.2f} | test.tsv | int8 | 1 |" in card
    rule = manifest.alignment
    links = f"bahdanau|offset:0|threshold:{rule.threshold:g}|relative:{rule.relative_threshold:g}"
    assert scores["source words without link"].signature == f"pairs:20|percent|{links}"
    assert scores["sentences cut at the length limit"].signature == "pairs:20|percent"


def test_figures_of_a_run_cannot_be_recorded(pairs_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", "anywhere", "--test", str(pairs_file), "--record"]) == 1
    assert "--record" in capsys.readouterr().err


def test_a_run_that_is_none_is_named(pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", str(tmp_path / "nowhere"), "--test", str(pairs_file)]) == 1
    assert "nowhere: no training run here" in capsys.readouterr().err
