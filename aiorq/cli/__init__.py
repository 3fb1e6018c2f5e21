"""The command line. `app` names the commands, each of which is a file that imports what it needs when it runs."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `aiorq` command."""
    from aiorq.cli.app import run

    run()
