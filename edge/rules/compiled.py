"""Compiled code: the kernel's chain and each kind's step, made by numba, kept one file each.

Knows neither programs nor kinds: it is handed functions. A file is named by a digest of all that
its code was made of, so changing one kind compiles that kind and the chain. Called by the kernel.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target

Function = Callable[..., None]

OPTIONS = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
INNER = OPTIONS | {"no_cpython_wrapper": True}  # Python never calls what the chain calls
WORKERS = 4  # at most: each takes some 250 MB

_index, _floats, _bits = numba.int32[::1], numba.float64[::1], numba.uint16[::1]
CHAIN = (
    numba.int32[:, ::1], numba.float64[:, ::1], _index, _floats, _floats, _floats, _bits,
    numba.float64,
)  # fmt: skip
STEP = (
    _floats, _bits, _index, numba.int32, numba.int32, _floats, numba.int32, _floats, numba.int32,
    numba.float64, numba.float64,
)  # fmt: skip
"""The arguments of `walk` and of a step function, as `walk` calls it."""
STEP_NAMES = ("v", "q", "ops", "o", "n", "par", "p", "st", "s", "now", "dt")


def compiled(chain: Function, directory: Path | None) -> tuple[Any, bool]:
    """`chain` compiled, or loaded from `directory`; and whether it is kept there now."""
    path = code_path(chain, directory)
    kept = CodeFile(path)
    with _undisturbed():
        if path is not None and kept.read() is None:
            _compile_ahead(_steps(chain), path.parent)
        compiler = _Compiler(None if path is None else path.parent)
        return compiler.dispatcher(chain, CHAIN, kept), path is not None and path.exists()


def compiled_before(chain: Function, directory: Path | None) -> bool:
    """Whether `compiled` needs to compile nothing."""
    return CodeFile(code_path(chain, directory)).read() is not None


def code_path(function: Function, directory: Path | None) -> Path | None:
    """Where the compiled code of `function` belongs."""
    assert isinstance(function, FunctionType)
    if directory is None:
        return None
    return directory / f"{function.__name__}-{digest(function)}.code"


def _steps(chain: Function) -> list[FunctionType]:
    """The step functions that `chain` calls, the longest first."""
    assert isinstance(chain, FunctionType)
    steps = [f for _, f in _callees(chain) if _is_step(f)]
    return sorted(steps, key=_weight, reverse=True)


def _is_step(function: FunctionType) -> bool:
    code = function.__code__
    return code.co_varnames[: code.co_argcount] == STEP_NAMES


def _weight(function: FunctionType) -> int:
    """About how long it takes to compile."""
    return sum(len(f.__code__.co_code) for f in _closure(function))


def _compile_ahead(steps: Sequence[FunctionType], directory: Path) -> None:
    """Compile what is missing in as many processes as there are cores, each a file for itself.

    What a process leaves behind when it dies, `compiled` does itself.
    """
    missing = [s for s in steps if CodeFile(code_path(s, directory)).read() is None]
    workers = min(WORKERS, os.cpu_count() or 1, len(missing))
    if workers < 2 or threading.active_count() > 1 or multiprocessing.current_process().daemon:
        return  # a fork takes no threads along
    shares: list[list[FunctionType]] = [[] for _ in range(workers)]
    for step in missing:
        min(shares, key=lambda share: sum(map(_weight, share))).append(step)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_compile_share, args=(s, directory)) for s in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _compile_share(steps: Sequence[FunctionType], directory: Path) -> None:
    compiler = _Compiler(directory)
    for step in steps:
        compiler.compile(step)


class _Compiler:
    """Compiles a function and the functions of the blocks that it calls, leaving them untouched."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._done: dict[FunctionType, Any] = {}

    def dispatcher(self, function: Function, signature: Any, kept: CodeFile) -> Any:
        """`function` compiled for `signature`, or loaded from where it is kept."""
        assert isinstance(function, FunctionType)
        found = kept.read() is not None
        outermost = numba.njit(**OPTIONS)(function if found else self._copy(function))
        outermost._cache = kept
        outermost.compile(signature)
        return outermost

    def compile(self, function: FunctionType) -> Any:
        """A compiled copy of `function` for others to call; of a step, its file is used or made."""
        if function not in self._done:
            inner = numba.njit(**INNER)(self._copy(function))
            if _is_step(function):
                inner._cache = CodeFile(code_path(function, self._directory))
                inner.compile(STEP)
            self._done[function] = inner
        return self._done[function]

    def _copy(self, function: FunctionType) -> FunctionType:
        names = dict(function.__globals__)
        for name, callee in _callees(function):
            names[name] = self.compile(callee)
        copy = FunctionType(function.__code__, names, function.__name__)
        copy.__module__ = function.__module__
        return copy


class CodeFile(NullCache):  # type: ignore[misc]
    """Where numba looks for the code of one function, and leaves it: a checksum and a pickle.

    Whole or not at all: what a power cut left of a file is not used. None is kept nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """The code, None when there is none or it is damaged."""
        if self._path is None:
            return None
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        checksum, code = content[:32], content[32:]
        return code if hashlib.sha256(code).digest() == checksum else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, None when it is not here."""
        code = self.read()
        if code is None:
            return None
        target_context.refresh()
        return CompileResult._rebuild(target_context, *pickle.loads(code))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, in one movement. A full disk costs a compilation at the next start."""
        if self._path is None:
            return
        code = serialize.dumps(data._reduce())
        with suppress(OSError):
            write(self._path, hashlib.sha256(code).digest() + code)


def write(path: Path, content: bytes) -> None:
    """Write a file whole: others see the old one or the new one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


@cache
def digest(function: FunctionType) -> str:
    """What tells this compiled code from any other: the bytecode of the function and of all that it
    calls, the constants it names, the options, numba, the processor.
    """
    codegen = cpu_target.target_context.codegen()
    told = [numba.__version__, np.__version__, codegen.magic_tuple(), sorted(OPTIONS.items())]
    total = hashlib.sha256(repr(told).encode())
    for each in _closure(function):
        for part in _told(each):
            total.update(repr(part).encode())
    return total.hexdigest()[:16]


def _told(function: FunctionType) -> Iterator[object]:
    code = function.__code__
    yield function.__module__, function.__qualname__, code.co_varnames, function.__defaults__
    yield code.co_code
    yield [None if isinstance(c, CodeType) else c for c in code.co_consts[1:]]  # [0]: docstring
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.startswith("edge."):
            yield name, Path(str(value.__file__)).read_bytes()
        elif isinstance(value, FunctionType | ModuleType | type) or callable(value):
            yield name, getattr(value, "__name__", "")
        else:
            yield name, value


def _closure(function: FunctionType) -> list[FunctionType]:
    """The function and all functions of the blocks that it calls, each once, in a fixed order."""
    found: dict[FunctionType, None] = {}
    waiting = [function]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = None
            waiting += [callee for _, callee in _callees(each)]
    return list(found)


def _callees(function: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    for name in function.__code__.co_names:
        callee = function.__globals__.get(name)
        if isinstance(callee, FunctionType) and callee.__module__.startswith("edge.blocks"):
            yield name, callee


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without garbage collection: a fifth of the time went there, among millions of objects."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
