"""Registrations in JSON: structured attributes, and what `nix path-info --json` prints.

Sources: "Advanced attributes" (exportReferencesGraph, __structuredAttrs) and "Store object info"
(protocols/json) in the Nix manual. Old releases of Nix make a list of objects, each with its
`path`; newer ones an object whose keys are the paths. The newest write paths without the store
directory, and hashes as objects.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from assembler.errors import RequestError
from assembler.host.json_text import Pairs, load_json
from assembler.store.paths import STORE, is_store_path
from assembler.store.registration import PathInfo, parse_hash

_INFO = "info"  # the key below which the newest `nix path-info --json` has its objects


def parse_json(content: bytes, source: str) -> list[PathInfo]:
    """Read every graph in a JSON document, which messages call `source`.

    Raises RequestError with every problem.
    """
    document = load_json(content, source, partial(_unique, source))
    found = list(_graphs(document))
    if not found:
        raise RequestError(
            f"{source} holds no registration: no list of objects with path and narHash, and no "
            "object with store paths for keys"
        )
    infos: dict[str, PathInfo] = {}
    problems: list[str] = []
    for graph in found:
        for path, fields in graph:
            try:
                info = _path_info(path, fields)
            except ValueError as error:
                problems.append(f"{source}: {error}")
                continue
            # Two graphs of one build may share paths.
            if infos.setdefault(info.path, info) != info:
                problems.append(f"{source}: {info.path} is there twice, with two registrations")
        counts = Counter(path for path, _ in graph if isinstance(path, str))
        problems += [f"{source}: {path} is there twice" for path in counts if counts[path] > 1]
    if problems:
        raise RequestError(list(dict.fromkeys(problems)))
    return list(infos.values())


Graph = list[tuple[object, object]]  # path, its fields


def _graphs(document: object) -> Iterator[Graph]:
    """The graphs in a document: itself, or the values of its keys."""
    if (graph := _graph(document)) is not None:
        yield graph
        return
    if isinstance(document, dict):
        for value in document.values():
            if (graph := _graph(value)) is not None:
                yield graph


def _graph(value: object) -> Graph | None:
    """A value as a graph, or None if it is something else."""
    if isinstance(value, list) and any(map(_is_registered, value)):
        return [(one.get("path"), one) if isinstance(one, dict) else (one, None) for one in value]
    if isinstance(value, dict) and value:
        if all(is_store_path(_absolute(key)) for key in value):
            return list(value.items())
        if "version" in value and isinstance(value.get(_INFO), dict):
            about = {"storeDir": value.get("storeDir", STORE)}
            return [
                (path, {**about, **fields} if isinstance(fields, dict) else fields)
                for path, fields in value[_INFO].items()
            ]
    return None


def _is_registered(value: object) -> bool:
    return isinstance(value, dict) and "path" in value and ("narHash" in value or "valid" in value)


def _unique(source: str, pairs: Pairs) -> dict[str, Any]:
    """An object of the document; raises RequestError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = max(counts, key=counts.__getitem__)
        raise RequestError(f"{source}: the key {twice!r} is there twice")
    return found


def _path_info(path: object, fields: object) -> PathInfo:
    """One store path; raises ValueError."""
    if not isinstance(path, str) or not is_store_path(_absolute(path)):
        raise ValueError(f"{path!r} is not a store path")
    if not isinstance(fields, dict) or fields.get("valid") is False:
        raise ValueError(f"{path} is not valid in its store")
    if fields.get("storeDir", STORE) != STORE:
        raise ValueError(f"{path} is for another store, {fields['storeDir']}")
    references = fields.get("references")
    if not isinstance(
        references, list
    ):  # without them a garbage collection would delete what is needed
        raise ValueError(f"{path} has no list of references")
    for reference in references:
        if not isinstance(reference, str) or not is_store_path(_absolute(reference)):
            raise ValueError(f"{path} refers to {reference!r}, which is not a store path")
    size = fields.get("narSize")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 1 << 63:
        raise ValueError(f"the narSize of {path} is {size!r}")
    try:
        nar_hash = _hash(fields.get("narHash"))
    except ValueError as error:
        raise ValueError(f"the narHash of {path}: {error}") from None
    return PathInfo(_absolute(path), nar_hash, size, tuple(map(_absolute, references)))


def _hash(value: object) -> str:
    """A SHA-256 in hexadecimal from its text, or from its algorithm and digits."""
    if isinstance(value, Mapping):
        digits: Any = value.get("hash")
        if value.get("algorithm") != "sha256" or not isinstance(digits, str):
            raise ValueError(f"{value!r} is not a SHA-256")
        value = f"sha256-{digits}" if value.get("format") == "base64" else digits
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a SHA-256")
    return parse_hash(value)


def _absolute(path: str) -> str:
    """The absolute path of a store path, from that or from its name in the store."""
    return path if path.startswith("/") else f"{STORE}/{path}"
