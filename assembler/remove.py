"""Remove trees that were made read-only, as store paths are."""

from pathlib import Path

from assembler import process


def remove_tree(path: Path) -> None:
    """Remove a file, or a directory tree whose directories may be read-only; or nothing at all.

    By chmod and rm, which unlike shutil.rmtree do not stumble over a deep tree.
    """
    if path.is_symlink():  # which chmod would follow
        path.unlink()
    elif path.exists():
        process.run(["chmod", "-R", "u+rwX", path.absolute()], what=f"removing {path}")
        process.run(["rm", "-rf", path.absolute()], what=f"removing {path}")
