"""`edge equipment`: the models behind a site's devices on real sockets of this machine.

So that a site can be tried with `edge run --local` before it is built. Not the demo, which brings a
controller and a screen. Faults are typed while it runs, in the words of scenarios.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from edge.cli.command import OK, UNREACHABLE, USAGE, Failed, command, note, option, say
from edge.errors import Unusable
from edge.text import Text

if TYPE_CHECKING:
    from drivers.sim.equipment import Equipment


@command(
    Text(
        """
在本机的真实套接字上提供站点的仿真设备: 寄存器和对象取自站点与设备配置, 背后是 plant.yaml
的模型。用于在施工前试运行站点:

  edge equipment config/residential           一个终端
  edge run config/residential --local         另一个终端

已写为 127.0.0.1 的地址不变; 其他 Modbus TCP 总线依次用 127.0.0.1:15511 起的端口, BACnet 用
47831 起的端口, 串口成为伪终端。运行中可键入:

  fault zones valve_drift:3    故障          repair zones valve_drift:3    排除
  silent v3                    设备不应答    answers v3                    恢复应答
  faults                       列出全部故障  quit                          结束

退出码: 0 已结束, 2 命令行有误, 69 端口被占用或某设备不能仿真, 78 站点或 plant.yaml 有误
""",
        """
Serve a site's simulated equipment on real sockets of this machine: registers and
objects as the site and its profiles have them, with the models of plant.yaml
behind them. For trying a site before it is built:

  edge equipment config/residential           one terminal
  edge run config/residential --local         another one

Addresses that are 127.0.0.1 already stay. Other Modbus TCP buses get the ports of
127.0.0.1 from 15511 on, BACnet those from 47831 on, serial lines become
pseudo-terminals. While it runs, type:

  fault zones valve_drift:3    a fault         repair zones valve_drift:3   its end
  silent v3                    no answers      answers v3                   answers again
  faults                       list all        quit                         end

Exit codes: 0 ended, 2 mistake on the command line, 69 a port is taken or a device
cannot be simulated, 78 the site or its plant.yaml is wrong
""",
    )
)
@click.argument("site", type=click.Path(path_type=Path))
@option("--plant", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
        text=Text("设备背后的模型, 缺省为站点旁的 plant.yaml",
                  "what stands behind the devices; plant.yaml beside the site"))  # fmt: skip
@option("--noise", type=click.FloatRange(0), default=1.0, metavar="N",
        text=Text("传感器噪声: 0 无, 1 如实际, 缺省 1",
                  "of sensors: 0 none, 1 as real; 1 unless given"))  # fmt: skip
@option("--seed", type=int, default=1, metavar="N", text=Text("噪声的种子", "seed of the noise"))
@option("--fault", "faults", multiple=True, metavar='"MODEL FAULT"',
        text=Text("一开始就有的故障", "a fault that is there from the start"))  # fmt: skip
@option("--serial", type=click.Path(path_type=Path), metavar="LINK",
        text=Text("第一条 Modbus 总线的设备也放在伪终端上, 以此链接",
                  "the first Modbus bus also on a terminal with this link"))  # fmt: skip
def equipment(
    site: Path, plant: Path | None, noise: float, seed: int, faults: Sequence[str],
    serial: Path | None,
) -> int:  # fmt: skip
    """Serve until somebody ends it."""
    from drivers.sim.equipment import Equipment
    from edge.cli.site import load, load_setting
    from edge.proof.local import local

    now = datetime.fromtimestamp(_wall(), ZoneInfo(load(site).timezone))
    found = load_setting(site, now.hour * 60 + now.minute, plant)
    found.field.rig.noise, found.field.rig.seed = noise, seed
    try:
        served = Equipment(found.field, local(found.site).buses, serial=serial)
        for fault in faults:
            if (complaint := obey(served, f"fault {fault}")) is not None:
                raise Failed(complaint, USAGE)
        asyncio.run(_serve(served))
    except Unusable as unusable:
        raise Failed(unusable.text, UNREACHABLE) from None
    return OK


async def _serve(served: Equipment) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    typed = bytearray()

    def read() -> None:
        data = os.read(0, 4096)
        if not data:
            loop.remove_reader(0)
        typed.extend(data)
        while b"\n" in typed:
            line, _, rest = typed.partition(b"\n")
            typed[:] = rest
            if line.strip() == b"quit":
                ended.set()
            elif (answer := obey(served, line.decode(errors="replace"))) is not None:
                say(answer)

    async with served, asyncio.TaskGroup() as group:
        running = group.create_task(served.run())
        for place in served.places():
            click.echo(place)
        if sys.stdin.isatty():
            note(HINT)
        sys.stdout.flush()
        with suppress(OSError, ValueError):  # no terminal and no pipe: nobody types
            loop.add_reader(0, read)
        await ended.wait()
        running.cancel()


def obey(served: Equipment, line: str) -> Text | None:
    """Do what a line says; a sentence when there is something to say."""
    from edge.schema.validate import did_you_mean

    match line.split():
        case []:
            return None
        case ["fault" | "repair" as word, model, name]:
            try:
                (served.rig.start if word == "fault" else served.rig.stop)(model, name)
            except KeyError:
                known = [f"{m} {f}" for m in served.rig.models for f in served.rig.faults(m)]
                near = did_you_mean(f"{model} {name}", known)
                return NO_FAULT.format(model=model, name=name, near=near)
            return None
        case ["silent" | "answers" as word, device]:
            try:
                served.silence(device, word == "silent")
            except KeyError:
                return NO_DEVICE.format(device=device, near=did_you_mean(device, served.devices))
            return None
        case ["faults"]:
            own = {name: " ".join(sorted(m.faults)) for name, m in served.rig.models.items()}
            listed = "\n".join(f"{name}: {faults}" for name, faults in own.items() if faults)
            return Text(f"{listed}\n{SENSORS.zh}", f"{listed}\n{SENSORS.en}")
    return NO_WORD.format(line=line.strip())


def _wall() -> float:
    from edge.clock import Clock

    return Clock().wall()


HINT = Text(
    "另一终端: edge run 站点 --local; 在此键入 fault, repair, silent, answers, faults, quit",
    "elsewhere: edge run SITE --local; here: fault, repair, silent, answers, faults, quit",
)
SENSORS = Text(
    "每个模型的传感器: sensor_bad:变量, sensor_jump:变量, sensor_frozen:变量",
    "sensors of each model: sensor_bad:VARIABLE, sensor_jump:VARIABLE, sensor_frozen:VARIABLE",
)
NO_FAULT = Text(
    "没有故障 {model} {name}{near} (键入 faults 列出全部)",
    "no fault {model} {name}{near} (`faults` lists them)",
)
NO_DEVICE = Text("站点没有设备 {device}{near}", "the site has no device {device}{near}")
NO_WORD = Text(
    "不明白 {line}; 可用 fault, repair, silent, answers, faults, quit",
    "{line} is not understood; there are fault, repair, silent, answers, faults, quit",
)
