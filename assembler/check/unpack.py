"""Get at the raw image that a file in another format holds."""

from dataclasses import dataclass
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.formats.registry import recognised
from assembler.host import programs

_DEEPEST = 3  # formats in one another, such as a compressed QCOW2


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """A raw image, and the formats that it was in, the outermost first."""

    raw: Path
    formats: tuple[str, ...]
    faults: tuple[str, ...]  # of the formats


def unpack_image(alias: Path, image: Path, scratch: Path) -> UnpackedImage:
    """Unpack `image`, which `alias` names, into `scratch`; raises HostError.

    A file that has no other format is taken as raw, whatever it is.
    """
    raw, formats, faults = alias, list[str](), list[str]()
    try:
        while len(formats) < _DEEPEST and (found := recognised(raw)) is not None:
            if missing := programs.require(*found.programs):
                raise HostError(*missing)
            target = scratch / f"unpacked-{len(formats)}"
            found.unpack(raw, target)
            faults += found.faults(raw)
            if formats:
                raw.unlink()
            raw = target
            formats.append(found.name)
    except FileNotFoundError:
        raise HostError(f"{image} went away while it was read") from None
    except OSError as error:
        raise HostError(f"cannot read {image}: {reason(error)}") from None
    return UnpackedImage(raw, tuple(formats), tuple(faults))
