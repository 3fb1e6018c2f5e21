"""What the worker asks of whoever runs its jobs."""

from __future__ import annotations

from typing import Protocol

from aiorq.errors import AiorqError
from aiorq.execution.horse import Order
from aiorq.outcome import Outcome


class Executor(Protocol):
    """Runs jobs, and says how they ended. It knows no Redis, and no reason why a job runs or is ended."""

    async def start(self) -> None:
        """Get ready. After a failure there is only `close`.

        Raises:
            AiorqError: it cannot run jobs.
        """

    async def broken(self) -> AiorqError:
        """Wait until no job can be run any more, and say why. From then on `execute` answers with `NotBegun`."""
        ...

    async def execute(self, order: Order) -> Outcome:
        """Run a job and say how it ended. A caller that is cancelled leaves it running; see `kill`."""
        ...

    def next_number(self) -> int:
        """A number for an `Order`."""
        ...

    def stop(self, number: int, why: str, grace: float) -> None:
        """Tell a run to end, and kill it when it has not ended in time. Its outcome will be `Lost` with this reason.

        What the job returns or raises from now on does not count. Where this is asked for repeatedly, the first reason
        and the earliest end count. A number that does not run is passed over.

        Args:
            number: the run's.
            why: the reason; it takes the place of a reason to kill.
            grace: seconds until it is killed; 0 to kill it now.
        """

    def kill(self, number: int, why: str) -> None:
        """Kill a run. Its outcome will be `Lost` with this reason, unless it came before, or a reason did."""

    def kill_all(self, why: str) -> None:
        """`kill` every run."""

    async def close(self) -> None:
        """Kill what still runs, and end."""
