"""Risers and branches between a header and its zones: a tree as data, and what is asked of it.

`Branch` is what a technician writes; the functions are called by the kernel, with the numbers of
`zone_layout`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from edge.blocks.zone_layout import PART, ZONES, branch_of, parent, state_of
from edge.image.image import Floats
from edge.schema.model import Model, Refusal, Words
from edge.schema.validate import did_you_mean
from edge.text import Text


class Branch(Model):
    """A pipe that zones share. `parent` is the branch it goes off from; none: the header."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: Words | None = None
    parent: str | None = None


def check_tree(branches: Sequence[Branch], used: Sequence[str | None]) -> None:
    """Refuse what is no tree, and zones on a branch that does not exist."""
    ids = [branch.id for branch in branches]
    for id in ids:
        if ids.count(id) > 1:
            raise Refusal(Text(f'支管 "{id}" 重复', f'branch "{id}" stands here twice'))
    for name in (*(branch.parent for branch in branches), *used):
        if name is not None and name not in ids:
            hint = did_you_mean(name, ids)
            raise Refusal(Text(f'没有支管 "{name}"{hint.zh}', f'no branch "{name}"{hint.en}'))
    parents = {branch.id: branch.parent for branch in branches}
    for id in ids:
        path = [id]
        while (above := parents[path[-1]]) is not None:
            if above in path:
                loop = " → ".join((*path[path.index(above) :], above))
                raise Refusal(
                    Text(
                        f"支管循环: {loop}", f"branches go off from each other in a circle: {loop}"
                    )
                )
            path.append(above)


def numbers(branches: Sequence[Branch], used: Sequence[str | None]) -> Iterator[float]:
    """The tree for the kernel: the parent of each branch, then the branch of each zone."""
    place = {branch.id: float(i) for i, branch in enumerate(branches)}
    for name in (*(branch.parent for branch in branches), *used):
        yield -1.0 if name is None else place[name]


def top(par: Floats, p: int, branch: int) -> int:
    """The branch at the header through which this one is fed, -1 for the header itself."""
    while branch >= 0 and parent(par, p, branch) >= 0:
        branch = parent(par, p, branch)
    return branch


def beneath(par: Floats, p: int, k: int, branch: int) -> bool:
    """Whether zone k is fed through `branch`."""
    b = branch_of(par, p, k)
    while b >= 0 and b != branch:
        b = parent(par, p, b)
    return b >= 0


def share_a_branch(par: Floats, p: int, j: int, k: int) -> bool:
    """Whether two zones have more in common than the header."""
    own = branch_of(par, p, k)
    return own >= 0 and top(par, p, own) == top(par, p, branch_of(par, p, j))


def spread(par: Floats, p: int, st: Floats, s: int, k: int) -> bool:
    """#2: at least two affected zones, and no branch that they have in common."""
    for j in range(int(par[p + ZONES])):
        if j != k and st[state_of(s, j) + PART] == 1.0 and not share_a_branch(par, p, j, k):
            return True
    return False


def lost_branch(par: Floats, p: int, st: Floats, s: int, k: int) -> int:
    """#3: the branch above zone k that was lost, -1 for none.

    Of all branches above it that have only affected zones, two or more, the largest; of several
    with the same zones the deepest: what they all have in common.
    """
    named, most, b = -1, 1, branch_of(par, p, k)
    while b >= 0:
        zones, hit = 0, 0
        for j in range(int(par[p + ZONES])):
            if beneath(par, p, j, b):
                zones += 1
                hit += int(st[state_of(s, j) + PART] == 1.0)
        if hit < zones:
            return named
        if zones > most:
            named, most = b, zones
        b = parent(par, p, b)
    return named
