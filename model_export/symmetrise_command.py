"""`interlinear-export symmetrise`: the links of both directions of a word aligner, put together line by line."""

from __future__ import annotations

from argparse import Namespace

from model_export.staged_file import keep_inputs, staged_file
from model_export.word_alignments import pharaoh_line, read_side_by_side
from service.symmetrisation import symmetrise_points


def run_symmetrise(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and prints how many links there were and are."""
    keep_inputs(arguments.output, [arguments.forward, arguments.reverse])
    forward_links = reverse_links = links = lines = 0
    with staged_file(arguments.output, encoding="ascii") as file:
        for forward, reverse in read_side_by_side([arguments.forward, arguments.reverse], "symmetrising"):
            points = symmetrise_points(forward, reverse, arguments.method)
            file.write(pharaoh_line(points))
            forward_links += len(forward)
            reverse_links += len(reverse)
            links += len(points)
            lines += 1
    print(f"{forward_links:,} forward and {reverse_links:,} reverse links make {links:,} ({arguments.method})")
    print(f"wrote {lines:,} lines to {arguments.output}")
