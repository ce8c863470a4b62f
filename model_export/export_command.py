"""`interlinear-export export`: from a run directory to a bundle."""

from __future__ import annotations

from argparse import Namespace

from model_export.bundle_archive import check_archive_name, write_archive
from model_export.corpus_readers import CorpusFormat, read_pairs
from model_export.export import export_bundle
from model_export.parity import USUAL_PRECISIONS
from model_export.run_directory import RunDirectory
from service.bundle.manifest import MANIFEST_FILE


def run_export(arguments: Namespace) -> None:
    """Exports as the command line says, and prints what the bundle holds."""
    if arguments.archive:
        check_archive_name(arguments.archive)  # before the work is done
    run = RunDirectory(arguments.run)
    facts = run.read_data_facts()
    corpus_format = CorpusFormat(
        source_language=facts.source_language, target_language=facts.target_language, swapped=arguments.swap
    )
    if (arguments.output / MANIFEST_FILE).exists():
        print(f"{arguments.output}: will be replaced, with the scores, rules and texts that were recorded there")
    dev = read_pairs(arguments.dev, corpus_format, show_progress=False)
    print(dev.report())
    name = arguments.name or arguments.output.resolve().name
    manifest = export_bundle(run, dev, arguments.output, name, arguments.precision or USUAL_PRECISIONS)
    for file, entry in manifest.files.items():
        print(f"{entry.size:>12,} bytes  {file}")
    print(f"wrote {arguments.output}")
    if arguments.archive:
        checksum = write_archive(arguments.output, arguments.archive)
        print(f"wrote {arguments.archive} (SHA-256 {checksum})")
