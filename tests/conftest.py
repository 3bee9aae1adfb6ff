"""For all tests: the compiled kernel, and property tests that come out the same on any machine.

`pytest --hypothesis-profile=search` tries others each time: it finds what nobody thought of.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from edge.rules.kernel import Kernel, compile_kernel

# No test fails because the machine was busy, or because today's dice fell differently.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session")
def compiled() -> Kernel:
    """Compiling takes a minute or two where the cache has none for these sources."""
    kernel = compile_kernel()
    assert kernel.compiled, "compilation is switched off"
    return kernel
