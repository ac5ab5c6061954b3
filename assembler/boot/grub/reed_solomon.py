"""GRUB's Reed-Solomon codes, which guard the core image on a BIOS disk.

Its loader mends what another program has written into the gap before the first partition. The
code is a systematic one over GF(256) with the field polynomial x^8 + x^4 + x^3 + x^2 + 1 and the
roots 2^0, 2^1, ... Bytes one sector apart make a codeword, and data and codes together are cut
into blocks of at most 200 sectors. Source: GRUB, grub-core/lib/reed_solomon.c.
"""

from functools import lru_cache

from assembler.units import SECTOR

_FIELD_POLYNOMIAL = 0x11D
_ORDER = 255  # of the field's multiplicative group
_BLOCK_SECTORS = 200


def _powers() -> tuple[bytes, bytes]:
    """The powers of 2 in the field, twice over, and the logarithm of each element but 0."""
    power, log = bytearray(2 * _ORDER), bytearray(_ORDER + 1)
    element = 1
    for exponent in range(_ORDER):
        power[exponent] = power[exponent + _ORDER] = element
        log[element] = exponent
        element <<= 1
        if element > _ORDER:
            element ^= _FIELD_POLYNOMIAL
    return bytes(power), bytes(log)


_POWER, _LOG = _powers()


def _multiply(left: int, right: int) -> int:
    return _POWER[_LOG[left] + _LOG[right]] if left and right else 0


@lru_cache(maxsize=16)
def _multiples(count: int) -> list[int]:
    """All 256 multiples of the generator polynomial of `count` codes, less the leading term.

    The bytes of each number are coefficients, the first that of the highest power.
    """
    generator = [1]
    for exponent in range(count):
        root = _POWER[exponent]
        scaled = [_multiply(coefficient, root) for coefficient in generator]
        generator = [a ^ b for a, b in zip([*generator, 0], [0, *scaled], strict=True)]
    return [
        int.from_bytes(bytes(_multiply(factor, term) for term in generator[1:]), "big")
        for factor in range(_ORDER + 1)
    ]


def _codes_of_column(column: bytes, count: int) -> bytes:
    """The remainder of one column of a block, divided by the generator polynomial."""
    multiples = _multiples(count)
    top = 8 * (count - 1)
    below = (1 << top) - 1
    remainder = 0
    for byte in column:
        remainder = ((remainder & below) << 8) ^ multiples[(remainder >> top) ^ byte]
    return remainder.to_bytes(count, "big")


def _codes_of_block(data: bytes, size: int) -> bytes:
    codes = bytearray(size)
    for place in range(min(SECTOR, len(data), size)):
        column = codes[place::SECTOR]
        codes[place::SECTOR] = _codes_of_column(data[place::SECTOR], len(column))
    return bytes(codes)


def reed_solomon_codes(data: bytes, size: int) -> bytes:
    """The `size` bytes of codes that GRUB appends to `data`.

    Raises ValueError when there is so little data for so many codes that GRUB would never end.
    """
    codes = bytearray()
    left = size
    while data and left:
        total = len(data) + left
        here, size_here = len(data), left
        if total > _BLOCK_SECTORS * SECTOR:
            here = here * _BLOCK_SECTORS // total * SECTOR
            size_here = size_here * _BLOCK_SECTORS // total * SECTOR
            if not here:
                raise ValueError(f"{len(data)} bytes are too few for {left} bytes of codes")
        codes += _codes_of_block(data[:here], size_here)
        data, left = data[here:], left - size_here
    return bytes(codes).ljust(size, b"\0")
