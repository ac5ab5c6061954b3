"""The builder of a Nix derivation: programs of this Debian machine as one store path.

Like programs in nixpkgs, these need no file outside of the store: each has its loader and its
libraries in the same store path, patched in by patchelf. What to copy is in the environment:
`programs` and `libraries` by name, `python` packages by path, `trees` of data as pairs of a source
and the place in the output, and which programs are `converting` characters: the C library has the
place of its tables compiled in, so these get a variable that names it.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_LOADER = "ld-linux-x86-64.so.2"
_NEEDED = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_WRAPPER = """#!{out}/bin/bash
GCONV_PATH={out}/lib/gconv exec {program} "$@"
"""
_UNUSED = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "tkinter", "config-3*")


_given = os.environ  # with names in small letters, as Nix has them


def main(out: Path) -> None:
    """Fill the store path `out`."""
    binaries, libraries = out / "bin", out / "lib"
    for directory in (binaries, libraries, out / "libexec"):
        directory.mkdir(parents=True)
    python = Path(sysconfig.get_path("stdlib"))
    modules = libraries / python.name
    shutil.copytree(python, modules, symlinks=False, ignore=_UNUSED, ignore_dangling_symlinks=True)
    packages = libraries / "python3" / "dist-packages"  # where Debian's Python looks
    packages.mkdir(parents=True)
    for source in map(Path, _given["python"].split()):
        _copy(source, packages / source.name)
    for pair in _given["trees"].split():
        source, _, place = pair.partition(":")
        shutil.copytree(source, out / place, symlinks=False, dirs_exist_ok=True)
    programs = {name: _program(name) for name in _given["programs"].split()}
    for name, program in programs.items():
        shutil.copy(program, binaries / name)
    shutil.copy(Path(sys.executable).resolve(), binaries / python.name)
    (binaries / "python3").symlink_to(python.name)
    loaded = [Path(_library(name)) for name in _given["libraries"].split()]
    extensions = [*modules.rglob("*.so"), *packages.rglob("*.so")]
    _copy_libraries([*programs.values(), Path(sys.executable), *loaded, *extensions], libraries)
    for library in loaded:
        shutil.copy(library, libraries / library.name)
    for program in binaries.iterdir():
        if not program.is_symlink() and _patchelf("--print-interpreter", program):
            program.chmod(0o755)
            _patchelf("--set-interpreter", libraries / _LOADER, program)
            # The older kind of search path is for libraries of libraries, too: ld.so(8) ...
            _patchelf("--force-rpath", "--set-rpath", libraries, program)
    for name in _given["converting"].split():
        program = binaries / name
        program.rename(hidden := out / "libexec" / name)
        program.write_text(_WRAPPER.format(out=out, program=hidden))
        program.chmod(0o755)
    for library in _with_search_path(list(libraries.rglob("*.so*"))):  # ... without one of its own
        library.chmod(0o644)
        _patchelf("--force-rpath", "--set-rpath", libraries, library)


def _program(name: str) -> Path:
    found = shutil.which(name)
    assert found is not None, f"{name} is absent"
    return Path(found).resolve()


def _library(name: str) -> str:
    """The file of a library that a program opens by its name when it runs."""
    printed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} \(libc6,x86-64.*\) => (\S+)$", printed, re.MULTILINE)
    assert found is not None, f"{name} is absent"
    return found[1]


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place, ignore=_UNUSED)
    else:
        shutil.copy(source, place)


def _copy_libraries(files: list[Path], libraries: Path) -> None:
    """Copy all libraries that programs and libraries need, by the names they are asked for by."""
    for file in files:
        done = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
        for needed in map(Path, _NEEDED.findall(done.stdout)):  # none of what is static
            if not (libraries / needed.name).exists():
                shutil.copy(needed, libraries / needed.name)


def _with_search_path(files: list[Path]) -> list[Path]:
    """The ELF files that have a search path of the newer kind, if an empty one."""
    argv = ["readelf", "-d", *files]
    printed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    sections = (section.partition("\n") for section in printed.split("File: ")[1:])
    return [Path(name) for name, _, rest in sections if "(RUNPATH)" in rest]


def _patchelf(*args: str | Path) -> str:
    """What patchelf prints: nothing for what it does not change, a script or a static program."""
    done = subprocess.run(["patchelf", *args], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(_given["out"]))
