"""Sentences that advance together: their batch, and who waits for each of them."""

from __future__ import annotations

from collections.abc import Sequence

from service.decoding.lane import Outcome
from service.decoding.search import SearchBatch
from service.engine.submission import Submission, Ticket


class Group:
    """A batch whose sentences have callers.

    Args:
        batch: an empty one.
    """

    def __init__(self, batch: SearchBatch) -> None:
        self.batch = batch
        self.tickets: dict[int, Ticket] = {}  # by the batch's number for the sentence
        self._heard: dict[int, Ticket] = {}  # those of them with a listener
        self.rows = 0  # that the sentences may need

    def admit(self, tickets: Sequence[Ticket]) -> None:
        """Encodes sentences, which start with the next step; if the model fails, nothing has changed."""
        numbers = self.batch.admit([ticket.job for ticket in tickets])
        numbered = dict(zip(numbers, tickets, strict=True))
        self.tickets |= numbered
        self._heard |= {number: ticket for number, ticket in numbered.items() if ticket.submission.listener}
        self.rows += sum(ticket.job.options.rows for ticket in tickets)

    def step(self) -> dict[int, Outcome]:
        """Advances every sentence by a token; returns those that are done, which are to be forgotten."""
        return self.batch.step()

    def note_tokens(self) -> None:
        """Notes for listeners which tokens are certain by now."""
        for number, ticket in self._heard.items():
            submission = ticket.submission
            tokens = self.batch.settled(number, submission.noted(ticket.index))
            if tokens is not None:
                submission.note_tokens(ticket.index, tokens)

    @property
    def listening(self) -> set[Submission]:
        """The submissions with a listener."""
        return {ticket.submission for ticket in self._heard.values()}

    def drop(self, submission: Submission) -> None:
        """Gives up the sentences of a submission."""
        numbers = [number for number, ticket in self.tickets.items() if ticket.submission is submission]
        self.batch.drop(numbers)
        for number in numbers:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Says that a sentence has its answer, or is not wanted any more; nothing happens the second time."""
        ticket = self.tickets.pop(number, None)
        self._heard.pop(number, None)
        if ticket is not None:
            self.rows -= ticket.job.options.rows
