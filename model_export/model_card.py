"""`MODEL_CARD.md`: what a bundle's manifest says, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import JsonValue

from service.bundle.manifest import ALIGNER_SUFFIX, Manifest, TrainingData

PREPROCESSING = """\
Text is normalised in one place that training and serving share (`{normalization}`, `service/bundle/normalization.py`):
Unicode NFKC except for emoji, typographic apostrophes, quotes and hyphens as ASCII, every run of white space (no-break
spaces too) as one space, invisible characters removed. Case is kept, but the service reads a sentence that is in
capitals throughout in lower case if that takes fewer subwords, and writes its translation in capitals
(`service/capitals.py`). The text is then cut into words, and each word into subwords by a SentencePiece unigram model
of {vocabulary_size:,} pieces shared by both languages; no subword crosses a word boundary. Output has plain spaces,
also before French `! ? ; :`.
"""

SCORES = """\
Commands name bundles and files by the last part of their paths. BLEU and chrF go from 0 to 100; other figures are in
percent, but for findings per intact sentence, which are counts. AER is the alignment error rate of given translations,
as the service aligns them; `links of NAME` are those of a file, of another aligner or another model.
"""

PARITY = """\
Measured at export, on the CPU, on pairs of the dev set, by greedy search, each text as one sentence. The fp32 graphs
were compared with the trained model, token by token along that model's output, on sentences spread evenly over dev: the
largest difference of any log-probability and of any attention weight, and the sentences where they would have chosen
another token, at a tie or not (`tied_sentences`, `different_sentences`).
"""

REDUCED_PARITY = """\
Graphs of lower precision were compared with the fp32 graphs on all dev pairs: `identical_share` is the share of
translations that are the same to the last token, and BLEU is that of either's translations (`fp32_bleu` and
{names}). Their other `fp32_` figures are those of the fp32 graphs beside the trained model.
"""

ATTENTION = """\
Alignments are the attention by which the model translates, not the work of an aligner. They show which source words the
model looked at when it chose a token, and they may be wrong where the translation is right.
"""

ALIGNER = """\
Alignments are the work of an aligner: an attention mechanism of the model that has no part in translating, but was
trained on given word alignments to point at the source words of the token that was just read. They say which words
belong together, not what the model looked at when it chose them, and may be wrong where the translation is right.
"""

ALIGNMENTS = """\
The primary mechanism's are the `alignment` of an answer; those of further mechanisms, if there are any, stand in
`other_alignments`.

A target word is linked to every source word with a weight of at least {threshold:g} that has at least
{relative_threshold:g} times the greatest weight of that target word; {remaining}. A token's weights are
those of the step that {step} it. How often links are wrong is under Scores, if it was measured.
"""

LIMITS = """\
Sentences of at most {max_source_tokens} subwords, their end counted as one, those of more than
{preferred_source_tokens} in parts, which know nothing of each other. The model knows the kind of text that it was
trained on; expect worse elsewhere, and on sentences much longer than those.
"""


def render_model_card(manifest: Manifest) -> str:
    """Writes the card as Markdown."""
    sections = [
        f"# {manifest.name}\n",
        f"Translates {manifest.source_language} to {manifest.target_language} with an attention encoder-decoder.\n",
        "## Training data\n",
        *_data_lines(manifest.training.data),
        "## Preprocessing\n",
        PREPROCESSING.format(
            normalization=manifest.tokenizer.normalization, vocabulary_size=manifest.tokenizer.vocabulary_size
        ),
        "## Architecture\n",
        _table(("setting", "value"), _settings(manifest)),
        _mechanisms(manifest),
        "## Training\n",
        _table(("setting", "value"), ((key, str(value)) for key, value in manifest.training.config.items())),
        *([f"{manifest.training.remarks}\n"] if manifest.training.remarks else []),
        "## Scores\n",
        _scores(manifest),
        *(["## Known weaknesses\n", f"{manifest.error_analysis}\n"] if manifest.error_analysis else []),
        "## Agreement of the graphs with the trained model\n",
        _parity(manifest),
        "## Alignments\n",
        _alignments(manifest),
        "## Limits\n",
        LIMITS.format(
            max_source_tokens=manifest.max_source_tokens,
            preferred_source_tokens=manifest.preferred_source_tokens or manifest.max_source_tokens,
        ),
    ]
    return "\n".join(sections)


def _settings(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """All settings but those of the attention mechanisms, which have a table of their own."""
    for key, value in manifest.architecture.items():
        if key != "aligner" and not (isinstance(value, list) and key == "attention"):
            yield key, str(value)


def _mechanisms(manifest: Manifest) -> str:
    """The attention mechanisms with their arguments, as far as the manifest knows them."""
    settings = manifest.architecture.get("attention")
    aligner = manifest.architecture.get("aligner")
    named = settings if isinstance(settings, list) else [{}]
    arguments = [aligner, *named] if aligner else named
    rows = [
        (
            mechanism.name,
            "primary" if index == 0 else "further",
            "1" if mechanism.normalized else "at most 1",
            _arguments(given),
        )
        for index, (mechanism, given) in enumerate(zip(manifest.attention_mechanisms, arguments, strict=True))
    ]
    return _table(("attention mechanism", "role", "rows sum to", "arguments"), rows)


def _arguments(settings: JsonValue) -> str:
    given = settings if isinstance(settings, dict) else {}
    return ", ".join(f"{key}: {value}" for key, value in given.items() if key != "name")


def _data_lines(sources: Sequence[TrainingData]) -> list[str]:
    """Credits, each once, and below each what it is for."""
    by_credit: dict[str, list[str]] = {}
    for data in sources:
        credit = f"{data.attribution}. From {data.source}. Licence: {data.licence}.\n"
        by_credit.setdefault(credit, []).append(f"- {data.name}: {data.pairs:,} pairs")
    return [line for credit, names in by_credit.items() for line in (credit, *names, "")] or ["Not recorded.\n"]


def _scores(manifest: Manifest) -> str:
    if not manifest.scores:
        return "None recorded.\n"
    rows = (
        (
            score.metric,
            f"{score.value:.2f}",
            score.data,
            score.precision,
            "" if score.beam_size is None else str(score.beam_size),
            f"`{score.signature}`",
            f"`{score.command}`",
        )
        for score in manifest.scores
    )
    return f"{SCORES}\n" + _table(("metric", "value", "data", "precision", "beam", "signature", "command"), rows)


def _alignments(manifest: Manifest) -> str:
    rule, primary = manifest.alignment, manifest.attention_mechanisms[0]
    kind = ALIGNER if primary.name.endswith(ALIGNER_SUFFIX) else ATTENTION
    return f"{kind}\n" + ALIGNMENTS.format(
        threshold=rule.threshold,
        relative_threshold=rule.relative_threshold,
        remaining=_remaining(rule.remaining_threshold),
        step="reads" if primary.row_offset else "produces",
    )


def _remaining(threshold: float | None) -> str:
    if threshold is None:
        return "other words have no link"
    return f"words without a link are then linked to each other, heaviest first, each once, from {threshold:g} on"


def _parity(manifest: Manifest) -> str:
    rows = [
        (precision, name, f"{value:.6g}")
        for precision, variant in manifest.precisions.items()
        for name, value in variant.parity.items()
    ]
    if not rows:
        return "None recorded.\n"
    reduced = [f"`{precision}_bleu`" for precision in manifest.precisions if precision != "fp32"]
    told = [PARITY, *([REDUCED_PARITY.format(names=", ".join(reduced))] if reduced else [])]
    return "\n".join([*told, _table(("precision", "figure", "value"), rows)])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in cells] for cells in lines)  # signatures hold the cells' separator
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)
