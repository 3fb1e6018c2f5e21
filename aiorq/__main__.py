"""`python -m aiorq` is `aiorq`."""

from aiorq.cli import main

main()
