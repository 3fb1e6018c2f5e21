"""`aiorq doctor`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiorq.cli.mistakes import printable
from aiorq.cli.output import number_of, print_json, run
from aiorq.cli.parameters import AsJson, Given
from aiorq.cli.settings import client_of

if TYPE_CHECKING:
    from aiorq.doctor import Finding, Report

_SHOWN: Final = 10
_ROUNDS: Final = 3


def doctor(
    given: Given,
    fix: Annotated[bool, typer.Option("--fix", help="Put right what can be put right.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for jobs that are lost, listed twice or stuck, for what is left over, and at the server's settings.

    Workers may go on meanwhile. Without --fix nothing is changed; with it no job is deleted. Exits with 1 when errors
    are left, with 0 when there are none; warnings do not count.
    """
    report = run(_main, given, fix)
    if as_json:
        print_json(_as_json(report))
    else:
        _show(report, fix)
    if report.errors:
        raise typer.Exit(1)


async def _main(given: Given, fix: bool) -> Report:
    from aiorq.doctor import examine, mend

    async with client_of(given) as client:
        report = await examine(client, given.prefix)
        if not fix:
            return report
        done: list[Finding] = []
        for _ in range(_ROUNDS):  # what is put right may bring to light what else is wrong
            await mend(report, client)
            if not report.repaired:
                break
            done += report.repaired
            report = await examine(client, given.prefix)
        report.findings = [*done, *report.findings]
        report.repaired = done
        return report


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
    print(f"{report.where}, prefix {report.prefix}: {number_of(report.keys, 'key')}, {number_of(report.jobs, 'job')}.")
    repaired = {id(finding) for finding in report.repaired}
    kinds = Counter((finding.rule, id(finding) in repaired) for finding in report.findings)
    shown: Counter[tuple[str, bool]] = Counter()
    for finding in report.findings:
        kind = finding.rule, id(finding) in repaired
        shown[kind] += 1
        if shown[kind] <= _SHOWN:
            print(printable(f"{finding.severity} {finding.invariant}  {finding.subject}: {finding.problem}"))
            if kind[1]:
                print(printable(f"    repaired: {finding.remedy}"))
            elif finding.repair is None:
                print(printable(f"    no repair: {finding.remedy.removeprefix('nothing: ')}"))
            else:
                print(printable(f"    {'not repaired, it changed' if fix else '--fix would'}: {finding.remedy}"))
        elif shown[kind] == kinds[kind]:
            print(f"... and {kinds[kind] - _SHOWN} more of the kind: {finding.rule}")
    if report.unseen:
        print(f"There seem to be {report.unseen} more: repair these and look again.")
    left = f"{number_of(len(report.errors), 'error')}, {number_of(len(report.warnings), 'warning')}."
    print(f"{len(report.repaired)} repaired; left: {left}" if fix else left)
