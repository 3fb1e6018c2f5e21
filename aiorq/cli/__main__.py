"""`python -m aiorq.cli` is `aiorq`."""

from aiorq.cli import main

main()
