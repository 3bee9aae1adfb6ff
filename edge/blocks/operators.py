"""The operators of expressions: instructions between cells, with quality.

`and` and `or` are three-valued: a good false decides `and` and a good true decides `or`, whatever
the rest is. Everything else gives NaN with the operands' bits when one of them is bad, and NaN with
RANGE when the result is no finite number. Operands: the result, then what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, nan

from edge.blocks.kind import usable
from edge.image.image import Bits, Floats, Index
from edge.image.quality import BAD, GOOD, NEVER, RANGE


def conclude(v: Floats, q: Bits, ops: Index, o: int, value: float, bits: int) -> None:
    """Store a result: NaN when `bits` are bad, or when it is no finite number."""
    flags = bits | (GOOD if isfinite(value) or bits & BAD != 0 else RANGE)
    v[ops[o]] = value if flags & BAD == 0 else nan
    q[ops[o]] = flags


def all_true(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a and b and …"""
    decide(v, q, ops, o, n, False)


def any_true(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a or b or …"""
    decide(v, q, ops, o, n, True)


def decide(v: Floats, q: Bits, ops: Index, o: int, n: int, decisive: bool) -> None:
    """One good operand that is `decisive` settles it; otherwise all must be usable."""
    notes, bad, settled = 0, 0, False
    for i in range(o + 1, o + n):
        k = ops[i]
        if usable(v, q, k):
            notes |= q[k]
            settled = settled or (v[k] != 0.0) == decisive
        else:
            bad |= q[k] | RANGE if q[k] & BAD == 0 else q[k]
    value = 1.0 if settled == decisive else 0.0
    conclude(v, q, ops, o, value, notes if settled else notes | bad)


def negated(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """not a"""
    k = ops[o + 1]
    truth = 1.0 if v[k] == 0.0 else 0.0
    conclude(v, q, ops, o, truth if v[k] == v[k] else nan, q[k])


def certain(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """1 if a is true beyond doubt, else 0: what is not known does not count.

    That something was not read yet is passed on: the alarms wait for it at a start.
    """
    k = ops[o + 1]
    v[ops[o]] = 1.0 if usable(v, q, k) and v[k] != 0.0 else 0.0
    q[ops[o]] = q[k] & NEVER


def choose(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """b if a else c; the branch that is not taken may be bad."""
    a = ops[o + 1]
    k = ops[o + 2] if v[a] != 0.0 else ops[o + 3]
    conclude(v, q, ops, o, nan if v[a] != v[a] else v[k], q[a] | q[k] if usable(v, q, a) else q[a])


def less(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a < b"""
    compared(v, q, ops, o, v[ops[o + 1]] < v[ops[o + 2]])


def less_equal(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a <= b"""
    compared(v, q, ops, o, v[ops[o + 1]] <= v[ops[o + 2]])


def greater(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a > b"""
    compared(v, q, ops, o, v[ops[o + 1]] > v[ops[o + 2]])


def greater_equal(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a >= b"""
    compared(v, q, ops, o, v[ops[o + 1]] >= v[ops[o + 2]])


def equal(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a == b"""
    compared(v, q, ops, o, v[ops[o + 1]] == v[ops[o + 2]])


def unequal(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a != b"""
    compared(v, q, ops, o, v[ops[o + 1]] != v[ops[o + 2]])


def compared(v: Floats, q: Bits, ops: Index, o: int, truth: bool) -> None:
    """Store a comparison; with a NaN there is none."""
    a, b = ops[o + 1], ops[o + 2]
    value = 1.0 if truth else 0.0
    conclude(v, q, ops, o, nan if v[a] != v[a] or v[b] != v[b] else value, q[a] | q[b])


def add(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a + b"""
    a, b = ops[o + 1], ops[o + 2]
    conclude(v, q, ops, o, v[a] + v[b], q[a] | q[b])


def subtract(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a - b"""
    a, b = ops[o + 1], ops[o + 2]
    conclude(v, q, ops, o, v[a] - v[b], q[a] | q[b])


def multiply(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a * b"""
    a, b = ops[o + 1], ops[o + 2]
    conclude(v, q, ops, o, v[a] * v[b], q[a] | q[b])


def divide(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """a / b; by zero: NaN with RANGE"""
    a, b = ops[o + 1], ops[o + 2]
    conclude(v, q, ops, o, nan if v[b] == 0.0 else v[a] / v[b], q[a] | q[b])


def negative(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """-a"""
    conclude(v, q, ops, o, -v[ops[o + 1]], q[ops[o + 1]])


def absolute(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """abs(a)"""
    conclude(v, q, ops, o, abs(v[ops[o + 1]]), q[ops[o + 1]])


def smallest(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """min(a, b, …)"""
    extreme(v, q, ops, o, n, -1.0)


def greatest(v: Floats, q: Bits, ops: Index, o: int, n: int) -> None:
    """max(a, b, …)"""
    extreme(v, q, ops, o, n, 1.0)


def extreme(v: Floats, q: Bits, ops: Index, o: int, n: int, sign: float) -> None:
    """The greatest operand by `sign`; NaN if one is NaN."""
    value, bits = v[ops[o + 1]], 0
    for i in range(o + 1, o + n):
        k = ops[i]
        bits |= q[k]
        if v[k] != v[k] or sign * v[k] > sign * value:
            value = v[k]
    conclude(v, q, ops, o, value, bits)


OPERATORS: dict[str, Callable[..., None]] = {
    "and": all_true,
    "or": any_true,
    "not": negated,
    "certain": certain,
    "if": choose,
    "lt": less,
    "le": less_equal,
    "gt": greater,
    "ge": greater_equal,
    "eq": equal,
    "ne": unequal,
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "div": divide,
    "neg": negative,
    "abs": absolute,
    "min": smallest,
    "max": greatest,
}
"""By the name that `expression.Call` uses, and `certain`, which the compiler adds."""
