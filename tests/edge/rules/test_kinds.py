"""What holds for every block kind, whatever it computes: run over the whole table of kinds."""

from __future__ import annotations

import random
from math import inf, isfinite, isnan, nan

import numpy as np
import pytest

from edge.blocks import INTERNAL, KINDS
from edge.blocks.kind import Example, Kind, layout, references
from edge.blocks.operators import OPERATORS
from edge.image import quality
from edge.rules import kernel as kernel_module
from edge.rules.kernel import Kernel, plain_kernel
from edge.rules.program import FIRST_KIND, OPCODES
from tests.support.rules import Bench, site_of

EXAMPLES = [
    pytest.param(kind, example, id=f"{kind.name}-{i}")
    for kind in KINDS.values()
    for i, example in enumerate(kind.examples)
]
BLOCKS = [pytest.param(kind, id=kind.name) for kind in KINDS.values()]


def bench(kind: Kind, example: Example, kernel: Kernel) -> Bench:
    return Bench(site_of({"rule": (kind.name, example.options)}), kernel)


def result(it: Bench, kind: Kind, name: str) -> float:
    """What an example calls `name`: a request, or a published point."""
    if name in it.ordinal:
        return it.request(name, kind.slot)
    return it[f"rule.{name}" if name else "rule"]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_every_example_holds_in_both_kernels(
    kind: Kind, example: Example, compiled: Kernel
) -> None:
    """The documentation of a kind is what it does, and both kernels agree bit for bit."""
    fast, plain = bench(kind, example, compiled), bench(kind, example, plain_kernel())
    for now, inputs, expected in example.steps:
        for it in (fast, plain):
            for name, value in inputs.items():
                it[name] = value
            it.step(now)
        for name, wanted in expected.items():
            got = result(fast, kind, name)
            close = abs(got - wanted) <= example.tolerance
            assert close or (isnan(got) and isnan(wanted)), f"t={now} {name}: {got}, not {wanted}"
        assert_same(fast, plain, f"t={now}")


def assert_same(a: Bench, b: Bench, where: str) -> None:
    assert a.image.value.tobytes() == b.image.value.tobytes(), where
    assert a.image.quality.tobytes() == b.image.quality.tobytes(), where
    for one, other in zip(a.programs, b.programs, strict=True):
        assert one.state.tobytes() == other.state.tobytes(), where


def points_of(it: Bench, kind: Kind) -> list[str]:
    """The points that feed the block, outputs' read-backs among them."""
    written = {it.site.points[i].id for i in it.programs.published}
    return [p.id for p in it.site.points if p.id not in written]


def wander(seed: int) -> random.Random:
    return random.Random(seed)


def disturb(it: Bench, kind: Kind, dice: random.Random, around: dict[str, float]) -> None:
    """Move some inputs near what the example gives them, far away, or into bad quality."""
    names = points_of(it, kind) + (["agenda"] if it.programs.agendas else [])
    for name in names:
        if dice.random() > 0.4:
            continue
        base = around.get(name, 1.0)
        it[name] = dice.choice([base, base * dice.uniform(0.5, 1.5), 0.0, 1e6, -base, nan])


def example_of(kind: Kind) -> tuple[Example, dict[str, float]]:
    example = kind.examples[0]
    around: dict[str, float] = {}
    for _, inputs, _ in example.steps:
        around |= {name: value for name, value in inputs.items() if isfinite(value)}
    return example, around


@pytest.mark.parametrize("kind", BLOCKS)
def test_both_kernels_agree_under_any_input(kind: Kind, compiled: Kernel) -> None:
    """Wild inputs, lost devices, foreign owners, gaps in time: identical bits, nothing raised."""
    example, around = example_of(kind)
    fast, plain = bench(kind, example, compiled), bench(kind, example, plain_kernel())
    dice_a, dice_b, clock = wander(1), wander(1), wander(2)
    now = 0.0
    for k in range(600):
        now += clock.choice([0.1, 0.1, 0.1, 0.5, 1.0, 30.0, 4000.0])
        for it, dice in ((fast, dice_a), (plain, dice_b)):
            disturb(it, kind, dice, around)
            it.taken = dict.fromkeys(it.ordinal, (8, 33.0)) if k % 7 == 0 else {}
            it.step(now)
        assert_same(fast, plain, f"step {k}")


@pytest.mark.parametrize("kind", BLOCKS)
def test_bad_input_leaves_no_trace(kind: Kind, compiled: Kernel) -> None:
    """After NaN and infinity with bad quality, good inputs give what a fresh block can give."""
    example, around = example_of(kind)
    it = bench(kind, example, compiled)
    dice = wander(3)
    for k in range(300):
        disturb(it, kind, dice, around)
        if k % 3 == 0:
            name = dice.choice(points_of(it, kind))
            it.image.value[it.index[name]] = dice.choice([inf, -inf, nan])
            it.image.quality[it.index[name]] = quality.RANGE
        it.step(0.5 * k)
    fresh = bench(kind, example, compiled)
    for k in range(300, 600):
        for each in (it, fresh):
            for name in (*points_of(each, kind), *(["agenda"] if each.programs.agendas else [])):
                each[name] = around.get(name, 1.0)
            if each.programs.resets and k == 300:
                each["reset"] = 1.0  # a lockout is no trace: it is what a person has to look at
            each.step(0.5 * k)
    for index in it.programs.published:
        bad = it.image.quality[index] & quality.BAD
        assert not bad or fresh.image.quality[index] & quality.BAD, it.site.points[index].id
    for name in it.ordinal:
        assert isfinite(it.asked(name)) == isfinite(fresh.asked(name)), name


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_published_value_is_a_number_or_bad(kind: Kind, compiled: Kernel) -> None:
    """Whatever happens, a virtual point without a BAD bit holds a finite number."""
    example, around = example_of(kind)
    it, dice = bench(kind, example, compiled), wander(4)
    for k in range(400):
        disturb(it, kind, dice, around)
        it.step(0.5 * k)
        for index in it.programs.published:
            usable = not it.image.quality[index] & quality.BAD
            assert not usable or isfinite(it.image.value[index]), it.site.points[index].id


def renamed(example: Example, prefix: str) -> dict[str, object]:
    """The options with points of their own, so that two instances share none."""

    def other(value: object) -> object:
        if isinstance(value, str) and "." in value and not value[0].isdigit():
            return " ".join(prefix + w if w[0].isalpha() and "." in w else w for w in value.split())
        if isinstance(value, dict):
            return {k: other(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [other(v) for v in value]
        return value

    return {key: other(value) for key, value in example.options.items()}


@pytest.mark.parametrize("kind", BLOCKS)
def test_two_instances_share_nothing(kind: Kind, compiled: Kernel) -> None:
    """An instance beside another one computes what it computes alone."""
    example, around = example_of(kind)
    alone = bench(kind, example, compiled)
    both = Bench(
        site_of(
            {"noise": (kind.name, renamed(example, "z")), "rule": (kind.name, example.options)}
        ),
        compiled,
    )
    mine = points_of(alone, kind)
    dice, noise = wander(5), wander(6)
    for k in range(200):
        disturb(alone, kind, dice, around)
        for name in mine:
            both.image.value[both.index[name]] = alone[name]
            both.image.quality[both.index[name]] = alone.bits(name)
        for i, cell in enumerate(both.programs.agendas):
            if cell.owner == "rules.rule":
                source = alone.programs.agendas[0].index
                both.image.value[cell.index] = alone.image.value[source]
                both.image.quality[cell.index] = alone.image.quality[source]
            else:
                both.image.value[both.programs.agendas[i].index] = noise.uniform(0, 100)
        for name in points_of(both, kind):
            if name not in mine:
                both[name] = noise.uniform(0, 100)
        alone.step(0.5 * k)
        both.step(0.5 * k)
        for name in (*mine, *(alone.site.points[i].id for i in alone.programs.published)):
            a, b = alone[name], both[name]
            assert a == b or (isnan(a) and isnan(b)), f"{name} at step {k}"


@pytest.mark.parametrize("kind", BLOCKS)
def test_state_survives_save_and_restore(kind: Kind, compiled: Kernel) -> None:
    """Saved and restored into fresh programs, it goes on as if nothing had happened."""
    example, around = example_of(kind)
    a = bench(kind, example, compiled)
    dice = wander(7)
    for k in range(100):
        disturb(a, kind, dice, around)
        a.step(0.5 * k)
    b = bench(kind, example, compiled)
    b.programs.restore(a.programs.retained())
    b.image.value[:], b.image.quality[:] = a.image.value, a.image.quality
    for program, other in zip(a.programs, b.programs, strict=True):
        other.timing[:] = program.timing
    dice_a, dice_b = wander(8), wander(8)
    for k in range(100, 200):
        for it, dice in ((a, dice_a), (b, dice_b)):
            disturb(it, kind, dice, around)
            it.step(0.5 * k)
        assert_same(a, b, f"step {k}")


@pytest.mark.parametrize("kind", [*KINDS.values(), *INTERNAL.values()], ids=lambda k: k.name)
def test_kinds_are_described_in_both_languages(kind: Kind) -> None:
    """Every kind and every result has a Chinese and an English text."""
    assert all(kind.text)
    for example in kind.examples:
        for published in kind.publishes(kind.model.model_validate(dict(example.options))):
            assert all(published.text)


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_kind_has_an_example(kind: Kind) -> None:
    """An example is executed documentation: each kind has one that expects something."""
    assert kind.examples
    assert all(any(expected for _, _, expected in e.steps) for e in kind.examples)


@pytest.mark.parametrize("kind", BLOCKS)
def test_layout_and_references_agree(kind: Kind) -> None:
    """Each input or target of the layout that is a text is a reference, at the same place."""
    for example in kind.examples:
        model = kind.model.model_validate(dict(example.options))
        wanted = {
            (o.loc, o.source)
            for o in layout(kind, model).operands
            if o.role in ("input", "target") and isinstance(o.source, str)
        }
        found = {(r.loc, r.text) for r in references(model) if r.role != "trip"}
        assert found == wanted


def test_opcodes_and_chain_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opcode k of the chain runs the step function of the k-th name, for all of them."""
    called: list[object] = []
    names = {**OPERATORS, **{k.name: k.step for k in (*KINDS.values(), *INTERNAL.values())}}
    assert set(OPCODES) == set(names)
    assert len(set(OPCODES)) == len(OPCODES)
    assert set(OPCODES[:FIRST_KIND]) == set(OPERATORS)
    for function in names.values():
        monkeypatch.setattr(
            kernel_module, function.__name__, lambda *_, f=function: called.append(f)
        )
    for op, name in enumerate(OPCODES):
        called.clear()
        code = np.array([[op, 0, 0, 0, 0]], np.int32)
        empty = np.zeros(0)
        kernel_module.walk(
            code, np.array([[0.0, nan]]), np.zeros(0, np.int32), empty, empty, empty,
            np.zeros(0, np.uint16), 0.0,
        )  # fmt: skip
        assert called == [names[name]], name


def test_an_unknown_opcode_raises(compiled: Kernel) -> None:
    """Neither kernel runs on past an instruction that it does not know."""
    for walk in (compiled.walk, kernel_module.walk):
        for op in (-1, len(OPCODES)):
            code = np.array([[op, 0, 0, 0, 0]], np.int32)
            empty = np.zeros(0)
            with pytest.raises(ValueError, match="unknown"):
                walk(
                    code, np.array([[0.0, nan]]), np.zeros(0, np.int32), empty, empty, empty,
                    np.zeros(0, np.uint16), 0.0,
                )  # fmt: skip
