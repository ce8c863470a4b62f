"""A step of training, beside a plain loop over time steps on the same backend, in the same run.

The model has the built-in ones' size, with guided attention and an aligner.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from tests.benchmark.command_line import Effort, effort_of, make_parser
from tests.benchmark.figures import median, median_ratio
from tests.benchmark.report import Report, Table
from tests.benchmark.sides.pool import RunningSide, SideSpec, running

FULL = Effort(rounds=6, seconds=5)
QUICK = Effort(rounds=1, seconds=0.5)
BATCH = {"rows": 170, "width": 12}
MODEL = {
    "vocabulary_size": 5000,
    "embedding_dim": 256,
    "units": 512,
    "attention": "bahdanau",
    "aligner": "bahdanau",
    "attention_units": 256,
}
PLAIN = "plain loop, JAX"
SIDES = {
    PLAIN: ("jax", {"loop": "plain", "product_dtype": "float32"}),
    "TensorFlow": ("tensorflow", {"loop": "own", "product_dtype": "float32"}),
    "JAX": ("jax", {"loop": "own", "product_dtype": "float32"}),
    "JAX, bfloat16 products": ("jax", {"loop": "own", "product_dtype": "bfloat16"}),
}
NOTES = (
    f"A whole step, Adam's part included, on {BATCH['rows']} pairs of {BATCH['width']} tokens a side without padding.",
    "The plain loop has the same layers and dropout, makes each step's logits within the loop, takes the smoothed loss "
    "of an array of all log-probabilities, keeps what attention computes for the gradient, and leaves freed memory to "
    "the C library.",
    "A round's figure is the fastest step of a side; the table has the median and the range over the rounds, the last "
    "column the median of the ratios of each round.",
)


def main() -> int:
    """Measures everything and writes the report."""
    parser = make_parser(__doc__, FULL, QUICK)
    arguments = parser.parse_args()
    if importlib.util.find_spec("jax") is None:
        print("jax is missing: pip install -e '.[benchmark]' (or make bench-training)", file=sys.stderr)
        return 1
    effort = effort_of(arguments)
    report = Report("training", "A step of training", arguments.quick, notes=list(NOTES))
    with running(choose_sides(arguments)) as sides:
        for side in sides:
            side.prepare(BATCH)
        rounds = [measure_round(sides, number, effort.seconds) for number in range(effort.rounds)]
    report.tables = [speed_table(rounds)]
    report.data = {"fastest_step_s": rounds}
    report.write(arguments.output)
    return 0


def choose_sides(arguments: argparse.Namespace) -> list[SideSpec]:
    """All of them; of a quick run without the slowest to start."""
    module = "tests.benchmark.sides.training_step"
    return [
        SideSpec(name, module, options | {"model": MODEL}, environment=environment(backend))
        for name, (backend, options) in SIDES.items()
        if not (arguments.quick and backend == "tensorflow")
    ]


def environment(backend: str) -> dict[str, str]:
    """Of a side's process."""
    return {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}


def measure_round(sides: list[RunningSide], number: int, seconds: float) -> dict[str, float]:
    """The fastest step of every side, one side after the other in an order that turns from round to round."""
    turned = [sides[(place + number) % len(sides)] for place in range(len(sides))]
    return {side.spec.name: min(side.run(seconds)[0]["durations_s"]) for side in turned}


def speed_table(rounds: list[dict[str, float]]) -> Table:
    """A row for each side."""
    rows: list[list[object]] = []
    tokens = BATCH["rows"] * BATCH["width"]
    plain = [each[PLAIN] for each in rounds]
    for name in SIDES:
        if name not in rounds[0]:
            continue
        times = [each[name] for each in rounds]
        middle = median(times)
        rows.append([name, middle, min(times), max(times), tokens / middle, median_ratio(plain, times)])
    columns = ("side", "step, s", "least", "most", "target tokens/s", "times as fast as the plain loop")
    return Table("Speed", columns, rows)


if __name__ == "__main__":
    sys.exit(main())
