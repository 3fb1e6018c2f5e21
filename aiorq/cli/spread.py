"""Options in groups: a dataclass whose fields are options, as the one parameter of a command that stands for them all.

    @dataclass(frozen=True, kw_only=True)
    class Given:
        url: Annotated[str | None, typer.Option("--url", "-u"), Setting("redis_url", "RQ_REDIS_URL")] = None

    def info(given: Given, queues: Annotated[list[str] | None, typer.Argument()] = None) -> None: ...

Every field of a group, and every other parameter with a `Setting` in its annotation, is a setting: what the command
line does not say is taken from the environment (`AIORQ_REDIS_URL`, then RQ's variable), else from the config file (the
key `redis_url`), else it is the default.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import ParameterInfo

from aiorq.cli.config import KEYS, Config, read_config

Function = TypeVar("Function", bound=Callable[..., Any])
_SETTINGS: Final = "__aiorq_settings__"
_CONTEXT: Final = "_context"
_CONFIG: Final = "aiorq.config"


@dataclass(frozen=True)
class Setting:
    """How a parameter is called outside the command line."""

    key: str
    """In a config file; upper-case and with AIORQ_ before it in the environment."""
    of_rq: str = ""
    """RQ's environment variable, which is heeded where ours is not set."""
    in_environment: bool = True

    def __post_init__(self) -> None:
        """Check that config files may have it."""
        if self.key not in KEYS and self.key != "config":
            raise ValueError(f"{self.key} is missing among the keys of config files")

    @property
    def variables(self) -> list[str]:
        """The environment variables, the first one that is set and not empty counts."""
        if not self.in_environment:
            return []
        return [f"AIORQ_{self.key.upper()}", *([self.of_rq] if self.of_rq else [])]


def settings_of(group: type) -> dict[str, Setting]:
    """The settings of a group, by the names of its fields."""
    return {name: setting for name, _, setting in _options_of(group)}


def spread(function: Function) -> Function:
    """A command for typer that calls `function`, with the options of its groups in their place."""
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    settings: dict[str, Setting] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            continue
        setting = _setting_in(parameter.annotation)
        if setting is not None:
            settings[parameter.name] = setting
            parameter = parameter.replace(annotation=_with_variables(parameter.annotation, setting))
        parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    # In the help, where Redis is comes last: it is the same for all commands.
    for group in sorted(groups.values(), key=_has_config):
        defaults = {field.name: field.default for field in fields(group)}
        for name, annotation, setting in _options_of(group):
            settings[name] = setting
            annotation = _with_variables(annotation, setting)
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation)
            )
    parameters.append(inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    @wraps(function)
    def command(**values: Any) -> Any:
        context: typer.Context = values.pop(_CONTEXT)
        for name, group in groups.items():
            mine = {option: values.pop(option) for option, _, _ in _options_of(group)}
            if _has_config(group):
                mine["settings"] = context.meta.get(_CONFIG)
            values[name] = group(**mine)
        return function(**values)

    made: Any = command
    made.__signature__ = inspect.Signature(parameters)
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(made, _SETTINGS, settings)
    return made  # type: ignore[no-any-return]


class Command(TyperCommand):
    """A command that finds in the config file what neither the command line nor the environment says."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the config file first, since it has defaults for the other options."""
        settings: Mapping[str, Setting] = getattr(self.callback, _SETTINGS, {})
        if "config" in settings and not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(list(args))
            if not given.get("help"):
                config = _config(given, settings["config"])
                ctx.meta[_CONFIG] = config
                if config is not None:
                    ctx.default_map = {
                        name: config.values[setting.key]
                        for name, setting in settings.items()
                        if setting.key in config.values
                    }
        return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """Commands below one word, as in `aiorq cron list`; their parameters may be groups of options."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Register a function as a command; it stays as it is."""

        def decorate(function: Function) -> Function:
            register = super(Commands, self).command
            register(name, **{"cls": Command, "help": _unwrapped(function.__doc__ or ""), **options})(spread(function))
            return function

        return decorate


def origin_of(error: Exception) -> str:
    """Where a value that was refused stands, if that is not the command line; else an empty text."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    setting = getattr(context.command.callback, _SETTINGS, {}).get(parameter.name)
    if source is None or setting is None:
        return ""
    if source.name == "DEFAULT_MAP":
        return f"{context.meta[_CONFIG].path}, key {setting.key}: "
    if source.name == "ENVIRONMENT":
        return f"{next(name for name in setting.variables if os.environ.get(name))}: "
    return ""


def _unwrapped(docstring: str) -> str:
    """A docstring with a line for each of its paragraphs, since its own lines end where the source's do."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(docstring).split("\n\n"))


def _config(given: Mapping[str, Any], setting: Setting) -> Config | None:
    named = given.get("config") or next(filter(None, map(os.environ.get, setting.variables)), None)
    return read_config(named, given.get("path") or ["."]) if named else None


def _has_config(group: Any) -> bool:
    """Whether a group is the one that is given what the config file says."""
    return any(field.name == "settings" for field in fields(group))


def _options_of(group: type) -> Iterator[tuple[str, Any, Setting]]:
    """The names of the fields of a group that are options, with their annotations and settings."""
    for name, annotation in get_type_hints(group, include_extras=True).items():
        if get_origin(annotation) is Annotated:
            yield name, annotation, _setting_in(annotation) or Setting(name)


def _setting_in(annotation: Any) -> Setting | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((part for part in get_args(annotation) if isinstance(part, Setting)), None)


def _with_variables(annotation: Any, setting: Setting) -> Any:
    kind, *parts = get_args(annotation)
    info = copy(next(part for part in parts if isinstance(part, ParameterInfo)))
    info.envvar = setting.variables
    info.show_envvar = False
    return Annotated[kind, info]
