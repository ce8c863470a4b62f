"""The line between a process and its supervisor."""

from __future__ import annotations

import multiprocessing

from service.process_link import Failed, Listening, send


def test_a_line_that_nobody_reads_keeps_nobody_waiting() -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        for number in range(3000):  # ten times what the line holds
            send(ours, Failed(f"{number:300}"))
        assert theirs.recv() == Failed(f"{0:300}")
        while theirs.poll():
            theirs.recv()
        send(ours, Listening())
        assert theirs.recv() == Listening()


def test_a_line_whose_end_is_gone_is_no_error() -> None:
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    send(ours, Listening())
    ours.close()
    send(ours, Listening())
