"""The command line. `app` names the commands, each of which is a file that imports what it needs when it runs."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `aiorq` command."""
    try:
        from aiorq.cli.app import run

        run()
    except KeyboardInterrupt:  # before there is anything that could say so
        raise SystemExit(130) from None
