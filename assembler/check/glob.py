"""Match names as systemd-boot does: efi_fnmatch in systemd, src/boot/efi/efi-string.c."""

_ANY = None  # stands for any number of characters
Step = frozenset[tuple[str, str]] | None  # ranges of characters, of which one must hold


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern with `*`, `?`, `[a-z]` and backslashes.

    The time is that of the lengths multiplied, and what is longer than a name can be ends at once.
    """
    steps = _steps(pattern)
    if steps is None or sum(step is not _ANY for step in steps) > len(name):
        return False
    at = step = 0
    retry: tuple[int, int] | None = None  # where to go on if what follows the last star fails
    while at < len(name):
        if step < len(steps) and steps[step] is _ANY:
            step += 1
            retry = at + 1, step
        elif step < len(steps) and _holds(steps[step], name[at]):
            at, step = at + 1, step + 1
        elif retry is not None:
            at, step = retry
            retry = at + 1, step
        else:
            return False
    return all(rest is _ANY for rest in steps[step:])


def _holds(step: Step, one: str) -> bool:
    return any(low <= one <= high for low, high in step or ())


def _steps(pattern: str) -> list[Step] | None:
    """A pattern in its steps; None where one is not whole, which matches nothing."""
    steps: list[Step] = []
    at = 0
    while at < len(pattern):
        one = pattern[at]
        at += 1
        match one:
            case "*":
                if not steps or steps[-1] is not _ANY:
                    steps.append(_ANY)
            case "?":
                steps.append(frozenset({("\0", "\U0010ffff")}))
            case "[":
                found, at = _ranges(pattern, at)
                if not at:
                    return None
                steps.append(found)
            case "\\":
                if at == len(pattern):
                    return None
                steps.append(frozenset({(pattern[at], pattern[at])}))
                at += 1
            case _:
                steps.append(frozenset({(one, one)}))
    return steps


def _ranges(pattern: str, at: int) -> tuple[frozenset[tuple[str, str]], int]:
    """What stands between brackets, and the place behind them; 0 where nothing closes them."""
    found: set[tuple[str, str]] = set()
    first = at
    while at < len(pattern):
        low = pattern[at]
        if low == "]" and at > first:
            return frozenset(found), at + 1
        if low == "\\":
            at += 1
            low = pattern[at : at + 1]
        high = low
        if pattern[at + 1 : at + 2] == "-" and pattern[at + 2 : at + 3] not in ("", "]"):
            high = pattern[at + 2]
            at += 2
        found.add((low, high))
        at += 1
    return frozenset(), 0
