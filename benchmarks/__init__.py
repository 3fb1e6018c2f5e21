"""How fast aiorq is, beside others, in one run on one machine. Start it with `nox -s bench`."""
