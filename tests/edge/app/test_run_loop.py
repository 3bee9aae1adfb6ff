"""What all of a controller's code runs in."""

from __future__ import annotations

import asyncio
import warnings

from drivers.modbus.codec import Cell
from drivers.modbus.decoder import Decoder
from edge.app import run_loop
from edge.image import quality


def test_numbers_that_are_none_are_quality_and_no_warning() -> None:
    """A signalling NaN and a product without end: neither numpy nor Python has a word to say, not
    in a callback of the loop either."""
    decoder = Decoder([Cell(0, "f32"), Cell(2, "f64", scale=1e10)], 0, bits=False)
    answer = bytes.fromhex("030C 7F800001 7FE0000000000000")

    async def main() -> int:
        asyncio.get_running_loop().call_soon(decoder.decode, answer)
        await asyncio.sleep(0.01)
        return 7

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_loop(main) == 7
    assert decoder.quality.tolist() == [quality.RANGE] * 2
