"""Looking over the books in Redis: is every job where its status says, and is everything there for a reason?

`check` says what is wrong in a snapshot, and is a pure function. `examine` makes sure that it is no job that moves, and
`mend` puts right what can be put right. No repair loses a job, and each is atomic and made only where things are still
as they were found.
"""

from aiorq.doctor.check import check
from aiorq.doctor.examine import Report, examine, mend
from aiorq.doctor.finding import Finding, Severity

__all__ = ["Finding", "Report", "Severity", "check", "examine", "mend"]
