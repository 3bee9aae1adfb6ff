"""Whatever a site file holds, there are problems with places and both texts, never an exception."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.schema.loader import load_text
from edge.site.load import read_site
from tests.edge.site.test_load import PLANT
from tests.support.bench_site import DRIVERS, KINDS

DOCUMENT, _ = load_text(PLANT, "plant")
assert DOCUMENT is not None
DATA: dict[str, Any] = DOCUMENT.data


def paths(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the plant."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in pairs:
        found.append((*here, key))
        if isinstance(value, dict | list):
            found += paths(value, (*here, key))
    return found


WORDS = st.sampled_from([
    "", "pump", "pump.speed", "pump.speed > 3", "target", "low", "supply.error", "0.4 MPa", "4 bar",
    "5s", "-1", "never", "hold", "m³/h", "%", "P1", "follow", "group", "value", "bench", "other",
    "../x", "a/b", "yes", "\x00", "{rule}", "{", "not", "(" * 60, "1e999", "١", "站",
])  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
CHANGE = st.tuples(
    st.sampled_from(paths(DATA)), st.sampled_from(["set", "remove", "rename"]), ANYTHING, WORDS
)


def holds(data: Any, key: Any) -> bool:
    """Whether `data[key]` is there."""
    if isinstance(data, dict):
        return key in data
    return isinstance(data, list) and isinstance(key, int) and key < len(data)


def changed(data: dict[str, Any], path: tuple[Any, ...], how: str, value: Any, word: str) -> None:
    """One mistake at `path`, unless an earlier one took the place away."""
    here: Any = data
    for part in path:
        if not holds(here, part):
            return
        above, here = here, here[part]
    if how == "set":
        above[path[-1]] = value
    elif isinstance(above, dict):
        old = above.pop(path[-1])
        if how == "rename":
            above[word] = old


@given(st.lists(CHANGE, min_size=1, max_size=3))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_mistake_raises(tmp_path: Path, changes: list[tuple[Any, ...]]) -> None:
    """Up to three arbitrary changes of a good site give a site or problems, all full sentences."""
    data = copy.deepcopy(DATA)
    for change in changes:
        changed(data, *change)
    file = tmp_path / "site.yaml"
    file.write_text(json.dumps(data, ensure_ascii=True))
    checked = read_site(file, DRIVERS, KINDS)
    errors = [problem for problem in checked.problems if problem.level == "error"]
    assert (checked.site is None) == bool(errors)
    for problem in checked.problems:
        assert problem.text.zh
        assert problem.text.en
        assert problem.mark.line >= 1
        assert "Input should" not in problem.text.en
