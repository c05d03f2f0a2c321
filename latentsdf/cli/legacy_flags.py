"""Conversion of command lines of earlier versions to the current flags, with a note on standard error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from latentsdf.utils.console import show_note


class _Group(NamedTuple):
    """A flag with its values. The flag is empty for arguments before the first flag and from `--` on."""

    flag: str
    glued: bool
    """True if the first value was given as --flag=value."""
    values: list[str]


Migrate = Callable[[str, Sequence[str]], dict[str, list[str]] | None]
"""Converts an old flag and its arguments to current flags and their arguments; returns None for other flags."""


def replace_legacy_flags(
    args: Sequence[str],
    renamed: Mapping[str, str],
    flags: Mapping[str, bool],
    migrate: Migrate = lambda _flag, _args: None,
) -> list[str]:
    """Rewrite renamed flags and underscores, and join the values of a repeated flag that takes several.

    Args:
        args: Command-line arguments, without the name of the command.
        renamed: Flags of earlier versions, mapped to their current names.
        flags: Flags of the command, each with True if it takes several values.
        migrate: Converts settings of earlier versions that are not in `renamed`.

    Returns:
        The arguments to parse.
    """
    groups: list[_Group] = []
    joined: dict[str, int] = {}
    for group in _current_groups(args, renamed, flags, migrate):
        flag = group.flag
        first = next((one for one in groups if one.flag == flag), None)
        if first is None or not flags.get(flag):
            groups.append(group)
            continue
        # Insert after the first value: positional arguments may follow the values of the first occurrence.
        place = joined.setdefault(flag, min(1, len(first.values)))
        first.values[place:place] = group.values
        joined[flag] += len(group.values)
    result: list[str] = []
    for flag, glued, values in groups:
        result += [f"{flag}={values[0]}", *values[1:]] if glued else [*([flag] if flag else []), *values]
    return result


def option(args: Sequence[str], flag: str) -> str | None:
    """Return the first value given to a flag, or None."""
    return next((group.values[0] for group in _groups(args) if group.flag == flag and group.values), None)


def _current_groups(
    args: Sequence[str], renamed: Mapping[str, str], flags: Mapping[str, bool], migrate: Migrate
) -> Iterator[_Group]:
    for group in _groups(args):
        flag = group.flag if group.flag in flags or not group.flag else _current_name(group.flag, renamed)
        migrated = migrate(flag, group.values) if flag and flag not in flags else None
        if migrated is not None:
            show_note("note", f"{group.flag} is now {' and '.join(migrated) or 'a constant'}")
            yield from (_Group(current, False, values) for current, values in migrated.items())
            if not migrated:
                yield _Group("", False, group.values[1:])
            continue
        if flag != group.flag:
            show_note("note", f"{group.flag} is now {flag}")
        yield group._replace(flag=flag)


def _current_name(flag: str, renamed: Mapping[str, str]) -> str:
    dashed = flag.replace("_", "-")
    if dashed in renamed:
        return renamed[dashed]
    # A renamed section renames all its settings, such as --network.width.
    section, dot, setting = dashed.partition(".")
    return f"{renamed[section]}.{setting}" if dot and section in renamed else dashed


def _groups(args: Sequence[str]) -> Iterator[_Group]:
    group = _Group("", False, [])
    for place, token in enumerate(args):
        if token.startswith("--"):
            if group.flag or group.values:
                yield group
            if token == "--":
                yield _Group("", False, list(args[place:]))
                return
            flag, equals, value = token.partition("=")
            group = _Group(flag, bool(equals), [value] if equals else [])
        else:
            group.values.append(token)
    if group.flag or group.values:
        yield group
