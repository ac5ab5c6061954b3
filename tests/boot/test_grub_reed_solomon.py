import time
from itertools import product
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assembler.boot.grub.reed_solomon import reed_solomon_codes
from assembler.units import SECTOR


def multiply(left: int, right: int) -> int:
    """The product in GF(256), bit by bit."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        if left & 0x100:
            left ^= 0x11D
        right >>= 1
    return product


def syndromes(codeword: bytes, count: int) -> list[int]:
    """The values of a codeword at the roots of the generator polynomial."""
    values, root = [], 1
    for _ in range(count):
        value = 0
        for byte in codeword:
            value = multiply(value, root) ^ byte
        values.append(value)
        root = multiply(root, 2)
    return values


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        # One code is the sum of the data; the generator of two is (x - 1)(x - 2).
        (b"\x01\x02\x04", b"\x07"),
        (b"\x01", b"\x03\x02"),
        (b"\x00", b"\x00\x00"),
        (b"\x80", b"\x9d\x1d"),
    ],
)
def test_the_codes_of_one_column(data: bytes, codes: bytes) -> None:
    spread = b"".join(bytes([byte]) + bytes(SECTOR - 1) for byte in data)
    size = SECTOR * (len(codes) - 1) + 1
    assert reed_solomon_codes(spread, size)[::SECTOR] == codes


@given(st.integers(0, 1 << 32), st.integers(1, 5000), st.integers(1, 5000))
@example(0, 1, 5000)
@example(0, SECTOR, SECTOR)
@example(0, 5000, 1)
def test_every_column_is_a_codeword(seed: int, size: int, codes: int) -> None:
    data = Random(seed).randbytes(size)
    result = reed_solomon_codes(data, codes)
    assert len(result) == codes
    for place in (0, 1, SECTOR // 2, SECTOR - 1, (size - 1) % SECTOR, (codes - 1) % SECTOR):
        column, check = data[place::SECTOR], result[place::SECTOR]
        if column:
            assert not any(syndromes(column + check, len(check)))
        else:
            assert not any(check)


def test_blocks_have_at_most_200_sectors() -> None:
    data = bytes(byte * 7 & 0xFF for byte in range(150 * SECTOR))
    codes = reed_solomon_codes(data, 150 * SECTOR)
    first = reed_solomon_codes(data[: 100 * SECTOR], 100 * SECTOR)
    assert codes == first + reed_solomon_codes(data[100 * SECTOR :], 50 * SECTOR)


def test_what_is_left_of_unequal_parts_makes_the_last_block() -> None:
    data, size = bytes(range(256)) * 2 * 299 + b"tail", 20 * SECTOR + 3
    total = len(data) + size
    here, size_here = (part * 200 // total * SECTOR for part in (len(data), size))
    first = reed_solomon_codes(data[:here], size_here)
    rest = reed_solomon_codes(data[here:], size - size_here)
    assert reed_solomon_codes(data, size) == first + rest


def test_without_data_or_codes_there_is_nothing_to_do() -> None:
    assert reed_solomon_codes(b"", 5) == bytes(5)
    assert reed_solomon_codes(b"data", 0) == b""


@pytest.mark.parametrize(("size", "codes"), [*product([1, 512], [200 * SECTOR, 1 << 20])])
def test_too_many_codes_are_refused(size: int, codes: int) -> None:
    if size * 200 // (size + codes):
        reed_solomon_codes(bytes(size), codes)
    else:
        with pytest.raises(ValueError, match=f"^{size} bytes are too few for {codes} bytes"):
            reed_solomon_codes(bytes(size), codes)


def test_as_many_codes_as_there_can_be_take_less_than_a_second() -> None:
    data = bytes(byte & 0xFF for byte in range(444 * SECTOR))
    start = time.process_time()
    reed_solomon_codes(data, 444 * SECTOR)
    assert time.process_time() - start < 1
