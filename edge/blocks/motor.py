"""A motor that a contactor switches, as sump and cooling tower have them.

What it is doing and who sees it is said in `pumps.py`, of whose pumps it is the simpler sister. A
motor's operands begin at `r`, its inputs at `f`, its state at `t`; called by the steps.
"""

from __future__ import annotations

from math import nan
from typing import Annotated

from edge.blocks.kind import TARGET_OPERANDS, Input, Source, Target
from edge.blocks.output import ask
from edge.blocks.pumps import NOT_AUTO, WANTED, ByName
from edge.image.image import Bits, Floats, Index


class Motor(ByName):
    """`pit.p1` stands for its points `.run`, `.running` and `.fault`.

    `running` is the run feedback, `fault` the trip contact (overload relay), `hoa` the contact of a
    hard-wired Hand-Off-Auto switch: 1 in AUTO.
    """

    run: Annotated[str, Target("")]
    running: Annotated[Source, Input("")]
    fault: Annotated[Source | None, Input("")] = None
    hoa: Annotated[Source | None, Input("")] = None


RUN, INPUTS, MOTOR_OPERANDS = 0, TARGET_OPERANDS, 7


def switch_motor(
    v: Floats, q: Bits, ops: Index, r: int, st: Floats, t: int, state: float, bits: int
) -> None:  # fmt: skip
    """Ask for what is wanted; of a motor that is not in AUTO nothing."""
    ask(v, q, ops, r + RUN, nan if state == NOT_AUTO else st[t + WANTED], bits)
