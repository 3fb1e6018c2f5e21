"""Makes `aiorq.sync` from the async API: the same classes and functions, which wait in place of being awaited.

    python -m tests.sync.generate            write the modules
    python -m tests.sync.generate --check    say which ones are not what they should be

`test_generated.py` is that check too, and does not mind how another release of ruff would break lines.

Of each module in `MODULES` the source is taken as it is, with these changes: `async` and `await` go; what is awaited of
the layers below is given to `drive`; imports lead to the other modules made here, and to redis-py's blocking client;
coroutines that RQ has as properties become properties; and the words of docstrings that speak of awaiting are others.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """What is made of one module."""

    source: str
    """The dotted name of the async one, below `aiorq`."""
    name: str
    """The dotted name of the other one, below `aiorq.sync`; where RQ has the same, RQ's."""
    properties: frozenset[str] = frozenset()
    """`Class.method` of coroutines that are properties in RQ."""
    bases: dict[str, str] = field(default_factory=dict)
    """Classes, and the one of `aiorq.sync.operators` that adds to each what only a blocking API can have, and which may
    be generic.
    """
    shared: frozenset[str] = frozenset()
    """Plain values, which are the same for both: they are imported."""
    words: tuple[tuple[str, str], ...] = ()
    """Texts of this module that are others here."""


MODULES: Final = (
    Module(
        "executions",
        "executions",
        frozenset({"ExecutionRegistry.count"}),
        {"Execution": "OfJob", "ExecutionRegistry": "Listed"},
        words=(
            (
                '''        self.job: Any = job
        """The job, where the execution was found through it; else None: `Job.fetch(execution.job_id)` reads it."""
''',
                "        self._job = job\n",
            ),
        ),
    ),
    Module("result", "results", shared=frozenset({"HasResults", "ResultType"})),
    Module("job", "job", frozenset({"Job.dependency", "Job.dependent_ids"}), {"Job": "JobStates[R]"}),
    Module("enqueuer", "enqueuer", shared=frozenset({"EnqueueData"})),
    Module(
        "registry",
        "registry",
        frozenset({"BaseRegistry.count", "RateLimitRegistry.concurrency"}),
        {"BaseRegistry": "Listed"},
    ),
    Module(
        "queue",
        "queue",
        frozenset({"Queue.count", "Queue.job_ids", "Queue.jobs", "Queue.scheduler_pid"}),
        {"Queue": "Counted"},
    ),
    Module("group", "group", shared=frozenset({"check_group_name"})),
    Module("command", "command"),
    Module("suspension", "suspension"),
    Module("decorators", "decorators", words=(("-> Coroutine[Any, Any, Job[R]]: ...", "-> Job[R]: ..."),)),
    Module(
        "worker_info",
        "worker_info",
        frozenset({"WorkerInfo.current_execution_count"}),
        shared=frozenset({"WorkerStatus"}),
    ),
    Module("cron.job", "cron.job"),
    Module("cron.entries", "cron.entries"),
    Module("cron.books", "cron.books", frozenset({"SchedulerBooks.last_heartbeat"})),
)
HOMES: Final = {f"aiorq.{module.source}": f"aiorq.sync.{module.name}" for module in MODULES}
SHARED: Final = {f"aiorq.{module.source}": module.shared for module in MODULES}
IMPORTS: Final = {"redis.asyncio": "redis", "redis.asyncio.client": "redis.client"}
NAMES: Final = {
    "here_in_loop": "here_in_process",
    "connect_as": "connect_sync_as",
}
"""What takes the place of a name, imported from the same module."""
WORDS: Final = (
    ("redis.asyncio.Redis", "redis.Redis"),
    (" Connects nothing; needs a running event loop.", " Connects nothing."),
    ("; enqueues awaited at the same moment share a round trip", ""),
    (
        " and never ask Redis; methods that ask are coroutines.",
        "; methods ask Redis, and so do the `is_...` properties.",
    ),
    ("`await queue.options", "`queue.options"),
    ("        await send.enqueue(", "        send.enqueue("),
    ("async def send(address", "def send(address"),
    ("`await add.enqueue(1, 2)`", "`add.enqueue(1, 2)`"),
    ("Gives a function the coroutines `enqueue` and `delay`", "Gives a function the methods `enqueue` and `delay`"),
    ("Give `f` the coroutines `enqueue` and `delay`", "Give `f` the methods `enqueue` and `delay`"),
    ("when it was last read. Only coroutines ask Redis.", "when it was last read."),
    ("; only coroutines ask Redis.", "; `get_job_ids` asks Redis."),
    ("subclass of aiorq.Job", "subclass of aiorq.sync.Job"),
    ("nobody has imported `aiorq.queue`", "nobody has imported `aiorq.sync.queue`"),
    ("import aiorq.queue first", "import aiorq.sync.queue first"),
    ("; `aiorq.queue`, which is built upon", "; `aiorq.sync.queue`, which is built upon"),
    ("        # The client of a URL is one for each event loop.\n", ""),
    ("  # anew in each event loop that the job's function runs", ""),
)


class Transformer:
    """Edits the source of one module."""

    def __init__(self, module: Module) -> None:
        """Read and parse it."""
        self.module = module
        path = ROOT.joinpath("aiorq", *module.source.split("."))
        self.path = path.with_suffix(".py")
        self.source = self.path.read_bytes()
        self.tree = ast.parse(self.source)
        starts = [0]
        for line in self.source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.edits: list[tuple[int, int, str]] = []
        self.below = self._names_from_below()

    def _names_from_below(self) -> set[str]:
        """The names that stand for what is not made here: what is awaited of them is driven."""
        names = {"store"}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if module.startswith("aiorq") and module not in HOMES:
                    names |= {alias.asname or alias.name for alias in node.names}
        return names

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _span(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _replace(self, start: int, end: int, text: str) -> None:
        self.edits.append((start, end, text))

    def result(self) -> str:
        """The source of the other module."""
        for node in self._nodes(self.tree):
            if isinstance(node, (ast.AsyncFor, ast.AsyncWith)) or any(
                each.is_async for each in getattr(node, "generators", ())
            ):
                raise ValueError(f"{self.path}:{getattr(node, 'lineno', 0)}: nothing here knows how to turn this round")
            if getattr(node, "name", None) in self.module.shared:
                assert isinstance(node, (ast.ClassDef, ast.FunctionDef))
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                self._replace(self._at(first, 0), self._span(node)[1], "")
            elif isinstance(node, ast.AsyncFunctionDef):
                start = self._span(node)[0]
                self._replace(start, start + len("async "), "")
            elif isinstance(node, ast.Await):
                self._await(node)
            elif isinstance(node, ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
        text = self.source.decode()
        for start, end, replacement in sorted(self.edits, reverse=True):
            text = (text.encode()[:start] + replacement.encode() + text.encode()[end:]).decode()
        for old, new in NAMES.items():
            text = re.sub(rf"\b{old}\b", new, text)
        for old, new in (*WORDS, *self.module.words):
            text = text.replace(old, new)
        return self._with_header(text)

    def _nodes(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes of the module, without what is within shared ones."""
        for child in ast.iter_child_nodes(node):
            yield child
            if getattr(child, "name", None) not in self.module.shared:
                yield from self._nodes(child)

    def _await(self, node: ast.Await) -> None:
        start, end = self._span(node)
        value = self._span(node.value)[0]
        call = node.value
        if isinstance(call, ast.Call) and self._root(call.func) in self.below:
            self._replace(start, value, "drive(")
            self._replace(end, end, ")")
            return
        self._replace(start, value, "")
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and self._is_property(call.func):
            self._replace(self._span(call.func)[1], end, "")

    def _is_property(self, func: ast.Attribute) -> bool:
        names = {name.partition(".")[2] for name in self.module.properties}
        return isinstance(func.value, ast.Name) and func.value.id == "self" and func.attr in names

    def _root(self, node: ast.expr) -> str:
        """What a call is of: the first name of a dotted one, or `store` where it is of one."""
        while isinstance(node, (ast.Attribute, ast.Call)):
            if isinstance(node, ast.Attribute) and node.attr in ("store", "_store"):
                return "store"
            node = node.func if isinstance(node, ast.Call) else node.value
        return node.id if isinstance(node, ast.Name) else ""

    def _import(self, node: ast.ImportFrom) -> None:
        start, end = self._span(node)
        module = node.module or ""
        names = [alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in node.names]
        if module == "aiorq.store.base":
            below = [name for name in names if name != "store_of"]
            text = f"from aiorq.store.base import {', '.join(below)}\n" if below else ""
            self._replace(start, end, text + "from aiorq.store.blocking import drive, store_of")
        elif module == "aiorq.worker":
            raise ValueError(f"{self.path}: there is no such module of handles")
        else:
            shared = [name for name in names if name in SHARED.get(module, ())]
            text = f"from {module} import {', '.join(shared)}\n" if shared else ""
            made = [name for name in names if name not in shared]
            target = HOMES.get(module, IMPORTS.get(module, module))
            self._replace(start, end, text + (f"from {target} import {', '.join(made)}" if made else ""))

    def _class(self, node: ast.ClassDef) -> None:
        extra = self.module.bases.get(node.name)
        if extra:
            at = self._at(node.lineno, node.col_offset) + len(f"class {node.name}")
            if node.bases:
                self._replace(at + 1, at + 1, f"{extra}, ")
            else:
                self._replace(at, at, f"({extra})")
        for member in node.body:
            if f"{node.name}.{getattr(member, 'name', '')}" in self.module.properties:
                start = self._span(member)[0]
                self._replace(start, start, "@property\n    ")

    def _with_header(self, text: str) -> str:
        docstring = ast.get_docstring(ast.parse(text), clean=False)
        assert docstring is not None
        head = f'"""{docstring}"""\n'
        assert text.startswith(head)
        note = f"# Made of {self.path.relative_to(ROOT)} by tests/sync/generate.py: change that one.\n"
        bases = sorted({base.partition("[")[0] for base in self.module.bases.values()})
        extras = f"from aiorq.sync.operators import {', '.join(bases)}\n" if bases else ""
        if self.module.shared:
            extras += f"from aiorq.{self.module.source} import {', '.join(sorted(self.module.shared))}\n"
        future = "from __future__ import annotations\n\n"
        drive = "" if "import drive" in text else "from aiorq.store.blocking import drive\n"
        return text.replace(head, head + note, 1).replace(future, future + extras + drive, 1)


def tidy(text: str) -> str:
    """Sort and drop imports, and format."""
    fixes = ["check", "--quiet", "--fix-only", "--unsafe-fixes", "--fixable", "C419,F401,I,RUF100"]
    for command in (fixes, ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(ROOT / "aiorq" / "sync" / "made.py"), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return text


def made() -> Iterator[tuple[Path, str]]:
    """Each module to write, and its text."""
    for module in MODULES:
        path = ROOT.joinpath("aiorq", "sync", *module.name.split(".")).with_suffix(".py")
        yield path, tidy(Transformer(module).result())


def main() -> None:
    """Write the modules, or compare them."""
    stale = []
    for path, text in made():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print("\n".join(stale) or "all are what they should be")
    sys.exit(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    main()
