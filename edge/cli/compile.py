"""`edge compile`: compile the kernel ahead, at installation, so that `edge run` starts at once."""

from __future__ import annotations

import time

from edge.cli.command import command, note, say
from edge.text import Text


@command(
    Text(
        """
预先编译内核。安装或升级后以服务用户运行一次; 之后 edge run 直接从缓存载入。
缓存目录: $NUMBA_CACHE_DIR, $CACHE_DIRECTORY, 否则 ~/.cache/edge。
不运行本命令也可以: 首次启动会自行编译, 只是慢一些。
""",
        """
Compile the kernel ahead. Run it once as the service's user after an installation
or an upgrade; from then on `edge run` loads it from the cache.
Cache directory: $NUMBA_CACHE_DIR, $CACHE_DIRECTORY, else ~/.cache/edge.
Nothing breaks without it: the first start compiles by itself and takes longer.
""",
    )
)
def compile() -> None:
    """Compile or load, and say which and how long it took."""
    note(Text("正在编译内核, 慢的机器上需一两分钟", "compiling; a minute or two on a slow board"))
    started = time.perf_counter()
    from edge.rules.kernel import compile_kernel

    kernel = compile_kernel()
    took = time.perf_counter() - started
    if not kernel.compiled:
        say(
            Text(
                "编译已关闭, 内核以纯 Python 运行", "compilation is off: the kernel runs as Python"
            )
        )
    elif kernel.cache is None:
        say(
            Text(
                "内核可用 ({took:.1f} 秒), 但没有可写的缓存目录: 每次启动都要重新编译; "
                "请设置 NUMBA_CACHE_DIR",
                "the kernel works ({took:.1f} s) but there is no writable cache directory: every "
                "start compiles anew; set NUMBA_CACHE_DIR",
            ),
            took=took,
        )
    else:
        say(
            Text("内核就绪 ({took:.1f} 秒): {cache}", "kernel ready ({took:.1f} s): {cache}"),
            took=took,
            cache=kernel.cache,
        )
