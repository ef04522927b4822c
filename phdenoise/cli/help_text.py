"""Help in two lengths: --help shows the options that most runs need, --help-all every one."""

import contextlib
import io
import re
from collections.abc import Callable, Collection

_OPTION = re.compile(r"^[│ ]{1,3} ?(-[a-zA-Z]|--[a-zA-Z][\w.-]*)")
_FLAG = re.compile(r"--[\w.-]+")


def short_help(show: Callable[[], object], basic: Collection[str], command: str) -> str:
    """The help of a command without its advanced options.

    Args:
        show: prints the whole help.
        basic: flags that stay, without hyphens.
        command: name of the command.

    Returns:
        The help, with a line that says how many options are left out.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        show()
    kept: list[str] = []
    left, keep = 0, True
    for line in printed.getvalue().splitlines():
        found = _OPTION.match(line)
        if found:
            flags = {f.lstrip("-") for f in _FLAG.findall(line)}
            keep = bool(flags & ({"help"} | set(basic)))
            left += not keep
        elif not line.strip(" │") or line.lstrip().startswith(("╭", "╰", "---")) or _title(line):
            keep = True
        if keep:
            kept.append(line)
    text = "\n".join(_without_empty(kept))
    return f"{text}\n\n{left} advanced options are not shown: phdenoise {command} --help-all"


def _title(line: str) -> bool:
    """The title of a group of options, which stands one space from the left."""
    return bool(re.match(r"^ \S", line)) and not line.startswith(" -")


def _without_empty(lines: list[str]) -> list[str]:
    """Lines without the groups that hold no option any more, and without double blank lines."""
    out: list[str] = []
    for line in lines:
        bare = line.strip()
        # A group that ends, or a new one that begins, where the one before has no option.
        if bare.startswith("╰") and out and out[-1].startswith("╭"):
            out.pop()
            continue
        if _title(line) and len(out) > 1 and out[-1].strip().startswith("---") and _title(out[-2]):
            del out[-2:]
        if not bare and out and (not out[-1].strip() or out[-1].strip().startswith("---")):
            continue
        out.append(line)
    while out and (not out[-1].strip() or out[-1].strip().startswith("---") or _title(out[-1])):
        out.pop()
    return out
