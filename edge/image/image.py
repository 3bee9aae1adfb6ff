"""The process image: one flat array of values that points, requests and rules all index into.

    0 … points                      every point of the site, points of one poll side by side
    … + 16 * commandables           request[slot, c]: what each slot asks of commandable c, NaN none
    … + commandables                target[c]: what the arbiter decided last, NaN nobody asked
    … + commandables                owner[c]: the slot that won, 0 nobody
    … + cells                       literals and intermediate results of the rules

So an instruction's operand is one integer, whatever it reads or writes. One writer per index.
Written by `edge.scan` and the kernel only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.image import quality
from edge.image.slots import SLOTS

Floats = NDArray[np.float64]
Bits = NDArray[np.uint16]
Index = NDArray[np.int32]


class ProcessImage:
    """Values, quality and age of every point; requests and targets of every commandable one.

    `commandable[c]` is the point index of commandable c. `stamp` is site time in seconds, one per
    point. `expires` is the site time at which a request lapses, +inf for never. `span` is what the
    arbiter keeps automatic requests within, low and high; NaN where nothing is bound.
    """

    def __init__(self, points: int, commandable: Sequence[int], cells: int) -> None:
        self.points = points
        self.commandable: Index = np.asarray(commandable, np.int32)
        self.commandables = len(commandable)
        total = points + (SLOTS + 2) * self.commandables + cells
        self.value: Floats = np.full(total, np.nan)
        self.quality: Bits = np.zeros(total, np.uint16)
        self.quality[:points] = quality.NEVER
        self.stamp: Floats = np.full(points, -np.inf)

        requests = points + SLOTS * self.commandables
        targets = requests + self.commandables
        owners = targets + self.commandables
        self.request: Floats = self.value[points:requests].reshape(SLOTS, self.commandables)
        self.target: Floats = self.value[requests:targets]
        self.owner: Floats = self.value[targets:owners]
        self.owner[:] = 0
        self.expires: Floats = np.full((SLOTS, self.commandables), np.inf)
        self.span: Floats = np.full((2, self.commandables), np.nan)
        self.first_cell = owners


def request_index(points: int, commandables: int, slot: int, ordinal: int) -> int:
    """Where `request[slot - 1, ordinal]` lies in the flat array."""
    return points + (slot - 1) * commandables + ordinal


def target_index(points: int, commandables: int, ordinal: int) -> int:
    """Where `target[ordinal]` lies in the flat array."""
    return points + SLOTS * commandables + ordinal


def owner_index(points: int, commandables: int, ordinal: int) -> int:
    """Where `owner[ordinal]` lies in the flat array."""
    return points + (SLOTS + 1) * commandables + ordinal


def first_cell(points: int, commandables: int) -> int:
    """Where the rules' own cells begin in the flat array."""
    return points + (SLOTS + 2) * commandables
