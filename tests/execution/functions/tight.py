"""A module whose import leaves its process some MiB of memory."""

from __future__ import annotations

import resource
from pathlib import Path

_has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (_has + (4 << 20), resource.getrlimit(resource.RLIMIT_DATA)[1]))
