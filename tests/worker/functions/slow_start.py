"""A module whose import waits at a gate."""

from __future__ import annotations

import os

from waiting import pass_gate  # type: ignore[import-not-found]

pass_gate(os.environ["GATE"])
