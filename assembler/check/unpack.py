"""Get at the raw image that a file in another format holds."""

from dataclasses import dataclass
from pathlib import Path

from assembler.errors import DamagedError, HostError, reason
from assembler.formats.registry import recognised

_DEEPEST = 3  # formats in one another, such as a compressed QCOW2


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """A raw image, and the formats that it was in, the outermost first."""

    raw: Path | None  # None where a format is damaged, so that its disk cannot be read
    formats: tuple[str, ...]
    faults: tuple[str, ...]  # of the formats


def unpack_image(alias: Path, image: Path, scratch: Path) -> UnpackedImage:
    """Unpack `image`, which `alias` names, into `scratch`; raises HostError.

    A damaged format is a fault, and what it holds is not looked at.

    A file that has no other format is taken as raw, whatever it is.
    """
    raw, formats, faults = alias, list[str](), list[str]()
    try:
        while len(formats) < _DEEPEST and (found := recognised(raw)) is not None:
            target = scratch / f"unpacked-{len(formats)}"
            formats.append(found.name)
            faults += [f"{found.name}: {words}" for words in found.unpack(raw, target)]
            if raw != alias:
                raw.unlink()
            raw = target
        if len(formats) == _DEEPEST and (found := recognised(raw)) is not None:
            more = f"it holds another format ({found.name}), and at most {_DEEPEST} in one another"
            raise DamagedError(f"{more} are unpacked")
    except DamagedError as error:
        damage = f"{formats[-1]}: {' '.join(str(error).split())}"
        return UnpackedImage(None, tuple(formats), (*faults, damage))
    except FileNotFoundError:
        raise HostError(f"{image} went away while it was read") from None
    except OSError as error:
        raise HostError(f"cannot read {image}: {reason(error)}") from None
    return UnpackedImage(raw, tuple(formats), tuple(faults))
