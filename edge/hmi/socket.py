"""Where the socket of a running controller is, shared by the controller and the command line.

One rule, in this order: the path that was asked for (`--socket`, `$EDGE_SOCKET`); under systemd
`$RUNTIME_DIRECTORY/edge.sock`; in a login session `/run/user/UID/edge-<site>.sock`; otherwise
`~/.local/state/edge/edge-<site>.sock`. So whoever looks in those three places finds every
controller of this machine that they may talk to.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from edge.errors import Unusable
from edge.text import Text

MODE = 0o660  # who may open the socket may command: the unit's user and group
LONGEST = 107  # sun_path of Linux, without its terminating zero
BACKLOG = 32
SYSTEM = ((Path("/run/edge"), "*.sock"), (Path("/run"), "edge-*/edge.sock"))  # of the units


class NotRunning(Unusable):
    """No controller, or more than one, or one that may not be talked to."""


def place(site: str, asked: Path | None = None) -> Path:
    """Where the controller of `site` listens."""
    if asked is not None:
        return asked.absolute()
    if chosen := os.environ.get("EDGE_SOCKET"):
        return Path(chosen).absolute()
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(runtime.split(":")[0]) / "edge.sock"
    session = _session()
    return (session if session.is_dir() else _home()) / f"edge-{site}.sock"


def find(asked: Path | None = None) -> Path:
    """The socket of the one controller that runs here; `NotRunning` says why there is none."""
    if asked is None and (chosen := os.environ.get("EDGE_SOCKET")):
        asked = Path(chosen)
    if asked is not None:
        if not alive(asked):
            raise NotRunning(NOT_THERE.format(path=asked))
        return asked
    running = [path for path in candidates() if alive(path)]
    if len(running) == 1:
        return running[0]
    if running:
        raise NotRunning(SEVERAL.format(paths="  ".join(map(str, running))))
    raise NotRunning(NONE)


def candidates() -> list[Path]:
    """Every socket file in the places where controllers listen, dead ones included."""
    found: list[Path] = []
    own = ((_session(), "edge-*.sock"), (_home(), "edge-*.sock"))
    for folder, pattern in SYSTEM + own:
        try:
            found += sorted(folder.glob(pattern))
        except PermissionError:
            continue
    return found


def alive(path: Path) -> bool:
    """Whether a process listens there. `NotRunning` when it may not be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            raise NotRunning(NOT_ALLOWED.format(path=path)) from None
        except OSError:
            return False
    return True


def listen(path: Path) -> socket.socket:
    """Bind and listen. The file of a dead process is replaced; a live one is `Unusable`."""
    if len(os.fsencode(path)) > LONGEST:
        raise Unusable(TOO_LONG.format(path=path, longest=LONGEST))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        server.bind(str(path))
        path.chmod(MODE)  # before listen(): nobody gets in earlier
        server.listen(BACKLOG)
        server.setblocking(False)
    except OSError as error:
        server.close()
        raise Unusable(CANNOT.format(path=path, reason=error.strerror)) from error
    except Unusable:
        server.close()
        raise
    return server


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Unusable(NOT_A_SOCKET.format(path=path))
    if alive(path):
        raise Unusable(IN_USE.format(path=path))
    path.unlink()


def _session() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")


def _home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "edge"


NONE = Text(
    "本机没有运行中的控制器; 请先用 edge run SITE 启动, 或用 --socket 指定",
    "no controller is running here; start one with `edge run SITE`, or name its --socket",
)
SEVERAL = Text(
    "本机有多个控制器在运行, 请用 --socket 选择其一: {paths}",
    "several controllers are running here, choose one with --socket: {paths}",
)
NOT_THERE = Text(
    "{path} 上没有控制器在监听; 请检查路径, 或用 edge run 启动",
    "no controller listens on {path}; check the path, or start one with `edge run`",
)
NOT_ALLOWED = Text(
    "无权访问 {path}; 请用 root 执行 usermod -aG edge 用户名 后重新登录",
    "not allowed to open {path}; as root, `usermod -aG edge USER`, then log in again",
)
IN_USE = Text(
    "{path} 上已有控制器在运行; 请先停止它, 或用 --socket 另选路径",
    "a controller already listens on {path}; stop it first, or choose another --socket",
)
NOT_A_SOCKET = Text(
    "{path} 已存在且不是套接字; 请用 --socket 另选路径",
    "{path} exists and is not a socket; choose another --socket",
)
TOO_LONG = Text(
    "套接字路径 {path} 超过 {longest} 字节 (Linux 限制); 请用 --socket 选较短的路径",
    "the socket path {path} is longer than the {longest} bytes that Linux allows; "
    "choose a shorter --socket",
)
CANNOT = Text(
    "无法在 {path} 上监听: {reason}; 请用 --socket 选可写的目录",
    "cannot listen on {path}: {reason}; choose a writable place with --socket",
)
