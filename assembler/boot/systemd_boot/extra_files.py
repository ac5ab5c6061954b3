"""Files that a system's installer of systemd-boot copies beside kernels, and its other commands.

Source: extraFiles, extraEntries and extraInstallCommands in nixpkgs'
nixos/modules/system/boot/loader/systemd-boot/systemd-boot.nix, and the latter in grub/grub.nix.
"""

import logging
import posixpath
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from assembler.boot.boot_file import BootFile
from assembler.boot.lookup import find_file
from assembler.boot.scripts import follow_scripts, name_without_hash, read_script, store_paths
from assembler.errors import RequestError
from assembler.store.paths import Store

log = logging.getLogger(__name__)

_SCRIPT = "copy-extra-files"
_NOTHING = "/dev/null"
_SHELL = re.compile(r"#!.*sh\b(?!.*python)")
_IDLE = ("set", "export", "exit", "true", ":")


def copied_files(store: Store, builder: str, boot: str) -> list[BootFile]:
    """The files that a builder's script copies into the partition that is mounted at `boot`.

    Among them are empty files: they mark which files are the installer's own copies. Raises
    RequestError with a line for each file that the closure lacks.
    """
    script = next((path for path in store_paths(builder) if name_without_hash(path) == _SCRIPT), "")
    found, problems = [], []
    for words in _commands(read_script(store, script)):
        copy = _copy(words, boot)
        if copy is None:
            log.warning("not run until the first rebuild, from %s: %s", script, shlex.join(words))
            continue
        path, source = copy
        try:
            found.append(BootFile(path, _content(store, source)))
        except RequestError as error:
            problems.append(f"boot.loader.systemd-boot.extraFiles: {path}: {error}")
    if problems:
        raise RequestError(problems)
    return found


def _content(store: Store, source: str) -> bytes | Path:
    return b"" if source == _NOTHING else store.host(find_file(store, source))


def warn_of_commands(store: Store, loader: str, program: str, builder: str) -> None:
    """Warn of what scripts do beside running the installer of a boot loader.

    `program` is the first script; it or another script that it runs starts the program `builder`.
    There is no warning about a script that runs none of these: it does the work itself.
    """
    installers = {builder, f"install-{loader}.sh"}
    for script in follow_scripts(store, [program]):
        text = read_script(store, script)
        if not _SHELL.match(text):
            continue
        commands = [words for words in _commands(text) if words[0] not in _IDLE]
        others = [
            words for words in commands if installers.isdisjoint(map(name_without_hash, words))
        ]
        if 0 < len(others) < len(commands):
            log.warning(
                "%s installs %s, and does what is not done until the first rebuild: %s",
                script,
                loader,
                "; ".join(map(shlex.join, others)),
            )


def _commands(script: str) -> Iterator[list[str]]:
    """The words of each line of a shell script that has any."""
    for line in script.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            words = line.split()
        if words:
            yield words


def _copy(words: list[str], boot: str) -> tuple[str, str] | None:
    """The target in a partition and the source, where a command copies one file there."""
    match words:
        case [program, "-D" | "-Dp", source, target] if program.endswith("/install"):
            path = posixpath.normpath(target.replace("//", "/"))
            above = f"{boot.rstrip('/')}/"
            if path.startswith(above) and "$" not in target:
                return path.removeprefix(above), source
    return None
