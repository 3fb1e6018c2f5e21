"""`aiorq doctor`."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.parameters import Url

if TYPE_CHECKING:
    from aiorq.doctor import Finding, Report

_SHOWN: Final = 10
_ROUNDS: Final = 3


def doctor(
    url: Url = None,
    fix: Annotated[bool, typer.Option("--fix", help="Put right what can be put right.")] = False,
    prefix: Annotated[
        str | None, typer.Option(help="Prefix of the keys.", show_default="AIORQ_KEY_PREFIX, RQ_KEY_PREFIX, else rq")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look for jobs that are lost, listed twice or stuck, for what is left over, and at the server's settings.

    Workers may go on meanwhile. Without --fix nothing is changed; with it no job is deleted. Exits with 1 when errors
    are left, with 0 when there are none; warnings do not count.
    """
    import anyio

    report = anyio.run(_main, url, prefix, fix)
    if as_json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        _show(report, fix)
    if report.errors:
        raise typer.Exit(1)


async def _main(url: str | None, prefix: str | None, fix: bool) -> Report:
    from aiorq.doctor import examine, mend
    from aiorq.store.connection import connect

    client = connect(url)
    try:
        report = await examine(client, prefix)
        if not fix:
            return report
        done: list[Finding] = []
        for _ in range(_ROUNDS):  # what is put right may bring to light what else is wrong
            await mend(report, client)
            if not report.repaired:
                break
            done += report.repaired
            report = await examine(client, prefix)
        report.findings = [*done, *report.findings]
        report.repaired = done
        return report
    finally:
        await client.aclose()


def _as_json(report: Report) -> dict[str, Any]:
    repaired = {id(finding) for finding in report.repaired}
    return {
        "server": report.where,
        "prefix": report.prefix,
        "keys": report.keys,
        "jobs": report.jobs,
        "errors": len(report.errors),
        "warnings": len(report.warnings),
        "repaired": len(report.repaired),
        "unseen": report.unseen,
        "findings": [
            {
                "invariant": finding.invariant,
                "rule": finding.rule,
                "severity": finding.severity.value,
                "subject": finding.subject,
                "problem": finding.problem,
                "remedy": finding.remedy,
                "repairable": finding.repair is not None,
                "repaired": id(finding) in repaired,
            }
            for finding in report.findings
        ],
    }


def _show(report: Report, fix: bool) -> None:
    typer.echo(f"{report.where}, prefix {report.prefix}: {_number(report.keys, 'key')}, {_number(report.jobs, 'job')}.")
    repaired = {id(finding) for finding in report.repaired}
    kinds = Counter((finding.rule, id(finding) in repaired) for finding in report.findings)
    shown: Counter[tuple[str, bool]] = Counter()
    for finding in report.findings:
        kind = finding.rule, id(finding) in repaired
        shown[kind] += 1
        if shown[kind] <= _SHOWN:
            typer.echo(_printable(f"{finding.severity} {finding.invariant}  {finding.subject}: {finding.problem}"))
            if kind[1]:
                typer.echo(_printable(f"    repaired: {finding.remedy}"))
            elif finding.repair is None:
                typer.echo(_printable(f"    no repair: {finding.remedy.removeprefix('nothing: ')}"))
            else:
                typer.echo(_printable(f"    {'not repaired, it changed' if fix else '--fix would'}: {finding.remedy}"))
        elif shown[kind] == kinds[kind]:
            typer.echo(f"... and {kinds[kind] - _SHOWN} more of the kind: {finding.rule}")
    if report.unseen:
        typer.echo(f"There seem to be {report.unseen} more: repair these and look again.")
    left = f"{_number(len(report.errors), 'error')}, {_number(len(report.warnings), 'warning')}."
    typer.echo(f"{len(report.repaired)} repaired; left: {left}" if fix else left)


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
