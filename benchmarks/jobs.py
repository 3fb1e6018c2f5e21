"""What the jobs do."""


def nothing() -> None:
    """Cost nothing, so that what is measured is the queue."""
