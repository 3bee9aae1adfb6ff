"""One block on its own: operands, parameters and state laid out as the compiler would, no kernel.

Points are named as the rule's options name them; published points by their name in the rule. For
the worked examples of the documentation, and for tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

import numpy as np

from edge.blocks.expression import quantity
from edge.blocks.kind import Kind, layout
from edge.image.quality import BAD, GOOD, NEVER

ABSENT = 0  # the cell of what is left out


class Instance:
    """`values[name]` sets and reads points; `step` runs the block at a site time.

    `arbiter` lets this block's requests win and be followed at once, unless `taken` holds the
    point: name to (slot, value).
    """

    def __init__(self, kind: Kind, options: Mapping[str, Any], *, arbiter: bool = True) -> None:
        self.kind, self.arbiter = kind, arbiter
        self.model = kind.model.model_validate(dict(options))
        plan = layout(kind, self.model)
        self.index: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self.taken: dict[str, tuple[int, float]] = {}
        values, bits, ops = [nan], [NEVER], []

        def cell(value: float = nan, quality: int = GOOD) -> int:
            values.append(value)
            bits.append(quality)
            return len(values) - 1

        for operand in plan.operands:
            source = operand.source
            if operand.role == "target":
                ops += [cell(), cell(), cell(0.0)] if source else [cell(), ABSENT, ABSENT]
                if source:
                    self.requests[str(source)] = ops[-3]
                    ops.append(self.index.setdefault(str(source), cell(quality=NEVER)))
                else:
                    ops.append(ABSENT)
            elif operand.role == "published":
                ops.append(self.index.setdefault(str(source), cell(quality=NEVER)))
            elif operand.role in ("agenda", "reset"):
                ops.append(self.index.setdefault(operand.role, cell(quality=NEVER)))
            elif source is None:
                ops.append(ABSENT)
            elif isinstance(source, str) and (known := quantity(source, operand.unit)) is not None:
                ops.append(cell(known))
            elif isinstance(source, str):
                ops.append(self.index.setdefault(source, cell(quality=NEVER)))
            else:
                ops.append(cell(float(source)))
        ops += [self.index[kind.shared]] if kind.shared else []
        self.v, self.q = np.array(values), np.array(bits, np.uint16)
        self.ops: Any = ops  # a list: plain Python reads it three times as fast as an array
        self.par = np.array(plan.parameters or [nan])
        self.st = np.full(max(1, kind.states(self.model)), nan)
        self.every = getattr(self.model, "every", kind.every)
        self.last = nan

    def __setitem__(self, name: str, value: float) -> None:
        self.v[self.index[name]] = value
        self.q[self.index[name]] = NEVER if isnan(value) else GOOD

    def __getitem__(self, name: str) -> float:
        return float(self.v[self.index[name]])

    def bad(self, name: str, bits: int) -> None:
        """Give the point these quality bits; the value stays."""
        self.q[self.index[name]] = bits

    def quality(self, name: str) -> int:
        return int(self.q[self.index[name]])

    def request(self, name: str) -> float:
        """What the block asks of the point."""
        return float(self.v[self.requests[name]])

    def step(self, now: float) -> None:
        """One run at `now`, with dt as the scan hands it over; then the arbiter."""
        gap = now - self.last
        longest = 3 * self.every if self.every > 0.0 else 3.0
        dt = 0.0 if isnan(gap) or gap > longest else max(gap, 0.2 * self.every, 1e-6)
        self.last = now
        self.kind.step(self.v, self.q, self.ops, 0, len(self.ops), self.par, 0, self.st, 0, now, dt)
        if self.arbiter:
            self.arbitrate()

    def arbitrate(self) -> None:
        for name, request in self.requests.items():
            value, owner = self.v[request], self.kind.slot
            slot, held = self.taken.get(name, (17, nan))
            if isnan(value) or slot < owner:
                value, owner = held, slot
            self.v[request + 1] = value
            self.v[request + 2] = 0 if isnan(value) else owner
            at = self.index[name]
            if not isnan(value) and not self.q[at] & (BAD ^ NEVER):
                self.v[at] = value
                self.q[at] = GOOD
