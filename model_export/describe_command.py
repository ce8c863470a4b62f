"""`interlinear-export describe`: what people found out about a model, put into its bundle."""

from __future__ import annotations

from argparse import Namespace

from model_export.bundle_writer import MODEL_CARD_FILE, record_weaknesses
from model_export.errors import DataError
from service.bundle.manifest import MANIFEST_FILE


def run_description(arguments: Namespace) -> None:
    """Puts the text of a file into manifest and model card; an empty one takes out what stands there.

    Raises:
        BundleError: there is no valid bundle.
        DataError: the file is no text.
    """
    try:
        text = arguments.weaknesses.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{arguments.weaknesses}: is not valid UTF-8") from error
    record_weaknesses(arguments.bundle, text)
    done = f"wrote {len(text):,} characters on known weaknesses to" if text else "took known weaknesses out of"
    print(f"{done} {MANIFEST_FILE} and {MODEL_CARD_FILE} of {arguments.bundle}")
