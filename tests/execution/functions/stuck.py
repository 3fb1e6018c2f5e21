"""A module whose import never ends."""

from __future__ import annotations

import os

from waiting import hang  # type: ignore[import-not-found]

hang(os.environ["TOLD"])
