"""Random steps of a worker that promotes what is due on its queues."""

from __future__ import annotations

import math

import hypothesis.strategies as st
from hypothesis.stateful import precondition

from aiorq.store import schedule
from tests.model.ground import QUEUES, step
from tests.model.upkeep import Upkeep


class Schedules(Upkeep):
    @precondition(lambda self: any(job.status == "scheduled" for job in self.model.jobs.values()))
    @step(seconds=st.sampled_from((5, 80, 0, -5)), most=st.sampled_from((99, 99, 1)), backwards=st.booleans())
    def promote_due(self, seconds: int, most: int, backwards: bool) -> None:
        """Some time later what is due is promoted, the earliest first, whatever the order of the queues."""
        if seconds:
            self.pass_time(seconds)
            self.check()
        queues = QUEUES[::-1] if backwards else QUEUES
        predicted = self.predict_due(list(queues), most)
        moved, next_in = self.ask("promote_due", schedule.promote_due(self.store, queues, most))
        assert (moved, round(next_in, 3)) == predicted, f"promote_due answered {(moved, next_in)}, not {predicted}"
        if next_in == 0:
            self.repeatable = None  # sent again, it goes on
        self.count("promote_due", f"{moved}{' more' * (next_in == 0)}")

    def predict_due(self, queues: list[str], most: int) -> tuple[int, float]:
        model = self.model
        entries = sorted(
            (score, index, job_id)
            for index, queue in enumerate(queues)
            for job_id, score in model.at(f"scheduled:{queue}", dict).items()
        )
        due = [entry for entry in entries if entry[0] <= model.moment]
        words = [model.promote(queues[index], job_id) for _, index, job_id in due[:most]]
        left = [score - model.moment for score, _, _ in entries[len(due) :]]
        next_in = 0.0 if len(due) > most else min(left, default=math.inf)
        return sum(word != "dropped" for word in words), round(next_in, 3)
