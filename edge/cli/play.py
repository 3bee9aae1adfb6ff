"""The steps of `edge demo --headless` on config/demo: what goes wrong, and what must be seen."""

from __future__ import annotations

import asyncio
import math

from edge.cli.client import place
from edge.cli.points import shown
from edge.cli.script import (
    Act,
    Check,
    Step,
    World,
    alarm,
    answered,
    bad,
    good,
    heard,
    numbers_complete,
    output,
    reaches,
    rises,
    stands,
)
from edge.cli.stage import ROOT, Stage
from edge.text import Text

BEACON, BUZZER, RELAY = "io.relay1", "io.relay2", "io.relay3"
REMOTE = 67.0  # % that the platform asks of the zone 3 valve, 13 below its default
DRIFT = "ZONE3_VALVE_DEVIATION"
TRIP = "SUPPLY_PUMP1_TRIP"
SILENT = "V3_OFFLINE"
NO_RESPONSE = 4.0  # lobby_light.state
LUX = "LOBBY_LIGHT_LUX_SENSOR_NO_RESPONSE"
FLOODED = "SUMP_FLOOD_HIGH"
GUARD, SHAKEN = "guard1", "GUARD1_VIBRATION_TRIP"
STOPS = 1.0  # s from the switch to the command that stops the fan


def steps() -> list[Step]:
    """The whole script, in order; the lux sensor comes first, since its verdict takes longest."""
    return [
        Step(NORMAL, 20.0, normal(), nothing),
        Step(COVER, 55.0, covered(), start("lux_covered"), stop("lux_covered"), beside=True),
        Step(COMMAND, 20.0, commanded(), command),
        Step(PUMP, 30.0, tripped(), start("pump_trip")),
        Step(ACK, 5.0, acknowledged(), acknowledge, stop("pump_trip")),
        Step(BROKER, 8.0, [uplink(down=True), backlog()], start("broker_down")),
        Step(BACK, 15.0, [uplink(down=False), numbers_complete(COMPLETE)], stop("broker_down")),
        Step(VALVE, 15.0, drifted(), start("valve_drift"), stop("valve_drift")),
        Step(DEVICE, 15.0, silent(), start("device_silent"), stop("device_silent")),
        Step(CAR, 10.0, lit(), start("car"), stop("car")),
        Step(SHAKE, 10.0, shaken(), start("vibration"), stop("vibration")),
        Step(RESET, 10.0, restarted(), reset),
        Step(FLOOD, 15.0, flooded(), start("flood"), stop("flood")),
    ]


def normal() -> list[Check]:
    return [
        Check("state", ALL_GOOD, lambda w: _if(not _bad_devices(w) and not w.alarms, w)),
        output(RELAY, 1.0, RELAY_HELD),
        heard("status", ONLINE, lambda data: data["state"] == "online", ever=True),
        heard("meta/booster", DICTIONARY, ever=True),
    ]


def covered() -> list[Check]:
    return [
        rises("lobby.dimmer", 5.0, LAMPS_UP),
        stands(LUX),
        heard(f"alarm/{LUX}", PUBLISHED),
        Check("correction", FALLBACK, falls_back),
    ]


def commanded() -> list[Check]:
    return [
        answered("RECEIVED", Text("收到", "received")),
        answered("ACCEPTED", Text("已接受", "accepted")),
        answered("VERIFIED", Text("由独立反馈验证", "verified by independent feedback")),
        reaches("output", "v3.feedback", REMOTE - 2, REMOTE + 2, FOLLOWS),
    ]


def tripped() -> list[Check]:
    return [
        alarm(TRIP),
        output("booster.p1.run", 0.0, Text("1 号泵撤出", "pump 1 is taken out")),
        output("booster.p3.running", 1.0, Text("备用泵投入", "the standby runs")),
        pressure_returns(),
        output(BEACON, 1.0, BEACON_ON),
        output(BUZZER, 1.0, BUZZER_ON),
        output(RELAY, 0.0, RELAY_DROPS),
        heard(f"alarm/{TRIP}", PUBLISHED),
    ]


def acknowledged() -> list[Check]:
    return [
        Check("alarm", Text(f"{TRIP} 已确认", f"{TRIP} acknowledged"),
              lambda w: "ACKED" if _state(w, TRIP) == "ACKED" else None),
        output(BUZZER, 0.0, BUZZER_OFF),
    ]  # fmt: skip


def drifted() -> list[Check]:
    return [
        alarm(DRIFT),
        output(BUZZER, 1.0, BUZZER_AGAIN),
        heard(f"alarm/{DRIFT}", PUBLISHED),
        good("zone1.pressure", 2.0, Text("其他分区照常", "the other zones go on")),
    ]


def silent() -> list[Check]:
    return [
        bad("v3.feedback", Text("其值不再当作有效", "its values are no longer good")),
        alarm(SILENT),
        good("v2.feedback", 2.0, Text("相邻设备照常", "its neighbour keeps its rate")),
    ]


def lit() -> list[Check]:
    return [
        rises("lane.level", 50.0, LANE_LIT),
        reaches("output", "lane.level", 100, 100, LANE_FULL),
    ]


def flooded() -> list[Check]:
    return [
        output("pit.p1.running", 1.0, Text("1 号潜水泵运行", "submersible pump 1 runs")),
        output("pit.p2.running", 1.0, Text("2 号潜水泵运行", "submersible pump 2 runs")),
        alarm(FLOODED),
        heard(f"alarm/{FLOODED}", PUBLISHED),
    ]


def shaken() -> list[Check]:
    return [
        alarm(SHAKEN),
        Check("correction", STOPPED, stopped_at_once),
        output("ct.f2.running", 1.0, Text("另一台照常运行", "the other goes on")),
    ]


def restarted() -> list[Check]:
    return [
        output(f"{GUARD}.tripped", 0.0, Text("人工复位后解除", "released by a person's reset")),
        output("ct.f1.run", 1.0, Text("风机重新启动", "the fan starts again")),
    ]


def uplink(*, down: bool) -> Check:
    """The uplink knows of the broker's state."""

    def test(world: World) -> str | None:
        (state,) = world.health["uplinks"]
        return f"{state['id']} up={state['up']}" if state["up"] is not down else None

    return Check("state", BROKER_GONE if down else BROKER_THERE, test)


def backlog() -> Check:
    """Messages wait in the outbox."""

    def test(world: World) -> str | None:
        (state,) = world.health["uplinks"]
        return f"backlog={state['backlog']}" if state["backlog"] >= 5 else None

    return Check("message", WAITING, test)


def pressure_returns() -> Check:
    """The pressure dips while the standby speeds up, and is back within 0.01 MPa."""
    lowest = math.inf

    def test(world: World) -> str | None:
        nonlocal lowest
        now, wanted = world.value("booster.discharge_pressure"), world.value("supply_pressure")
        if now is None or wanted is None:
            return None
        lowest = min(lowest, now)
        if lowest > wanted - 0.01 or now < wanted - 0.01:
            return None
        return f"{lowest:.3f} -> {world.text('booster.discharge_pressure')}"

    return Check("correction", PRESSURE_BACK, test)


def stopped_at_once(world: World) -> str | None:
    """From when the switch was seen to when the device took the stop, by the controller."""
    seen: dict[str, float] = {}
    for message in world.heard:
        if message.topic == f"{ROOT}/d/ct":
            for sample in message.data["s"]:
                for name, value in (("f1.switch", 1), ("f1.run", 0)):
                    if sample["v"].get(name) == value:
                        seen.setdefault(name, sample["ts"] / 1000)
    if len(seen) < 2 or seen["f1.run"] - seen["f1.switch"] > STOPS:
        return None
    return f"ct.f1.run 0, {seen['f1.run'] - seen['f1.switch']:.2f} s"


def falls_back(world: World) -> str | None:
    """The light follows the schedule, since its sensor cannot be believed."""
    target, level = world.value("lobby_light.target"), world.value("lobby_level")
    if target is None or target != level or world.value("lobby_light.state") != NO_RESPONSE:
        return None
    return world.text("lobby_light.target")


async def nothing(stage: Stage, world: World) -> None:
    """Only look."""


def start(name: str) -> Act:
    """Turn a fault on."""
    return lambda stage, world: _switch(stage, name, on=True)


def stop(name: str) -> Act:
    """Turn it off again."""
    return lambda stage, world: _switch(stage, name, on=False)


async def command(stage: Stage, world: World) -> None:
    """Ask over MQTT."""
    world.command = await stage.command(REMOTE)


async def acknowledge(stage: Stage, world: World) -> None:
    """Acknowledge whatever stands, one by one, as a person at the terminal."""
    for name, entry in world.alarms.items():
        if entry["state"] == "UNACK":
            body = {"op": "ack", "n": entry["n"]}
            await asyncio.to_thread(stage.client().post, place("alarms", name), body)


async def reset(stage: Stage, world: World) -> None:
    """Reset the guard, as a person does who has looked at the fan and seen it at rest."""
    client = stage.client()
    model = await asyncio.to_thread(client.get, "model")
    for _ in range(20):
        points = shown(model, await asyncio.to_thread(client.get, "snapshot"))
        if any(p.id == "ct.f1.switch" and p.value == 0.0 for p in points):
            break
        await asyncio.sleep(0.1)
    await asyncio.to_thread(client.post, place("alarms", GUARD), {"op": "reset", "n": 0})


async def _switch(stage: Stage, name: str, *, on: bool) -> None:
    if stage.switches[name].on is not on:
        await stage.switches[name].toggle()


def _bad_devices(world: World) -> list[str]:
    return [p.id for p in world.points.values() if p.device and p.bad]


def _if(seen: bool, world: World) -> str | None:
    return f"{len(world.points)} points" if seen else None


def _state(world: World, id: str) -> str:
    return str(world.alarms.get(id, {}).get("state", "NORMAL"))


NORMAL = Text("正常运行", "all is well")
COVER = Text("遮挡照度传感器", "the lux sensor is covered")
COMMAND = Text("经 MQTT 远程调阀至 67 %", "a remote command moves the valve to 67 %")
VALVE = Text("三区阀门自行关至 20 %", "the zone 3 valve runs to 20 %")
ACK = Text("人员确认报警", "a person acknowledges")
PUMP = Text("1 号泵跳停", "pump 1 trips")
DEVICE = Text("三区阀门设备失联", "the zone 3 valve goes silent")
CAR = Text("车辆进入车库", "a car comes into the garage")
FLOOD = Text("车库进水", "water pours into the garage")
SHAKE = Text("冷却塔风机剧烈振动", "a fan of the cooling tower shakes")
RESET = Text("人员复位振动保护", "a person resets the guard")
BROKER = Text("MQTT 服务器停止", "the MQTT broker stops")
BACK = Text("MQTT 服务器恢复", "the MQTT broker is back")

ALL_GOOD = Text("全部点有效, 没有报警", "every field point good, no alarms")
RELAY_HELD = Text("总报警继电器吸合 (正常)", "common alarm relay energised (well)")
ONLINE = Text("状态: 在线", "status: online")
DICTIONARY = Text("点表已发布", "the dictionary of points")
LAMPS_UP = Text("灯光调亮以补足照度", "lamps go up to make up for it")
STOPPED = Text("1 秒内停机", "it stops within 1 s")
LANE_LIT = Text("车道灯调亮", "the lane lights up")
LANE_FULL = Text("车道灯全亮", "the lane is fully lit")
FALLBACK = Text("灯光改按时间表", "the light follows the schedule")
FOLLOWS = Text("阀位跟随", "the valve follows")
BEACON_ON = Text("警灯闪", "beacon flashes")
BUZZER_ON = Text("蜂鸣器响", "buzzer sounds")
BUZZER_OFF = Text("蜂鸣器停", "buzzer is silent")
BUZZER_AGAIN = Text("新报警, 蜂鸣器再响", "buzzer sounds again for the new alarm")
RELAY_DROPS = Text("总报警继电器释放", "common alarm relay drops")
PUBLISHED = Text("报警已上送", "the alarm went upstream")
PRESSURE_BACK = Text("供水压力恢复", "the pressure dips and is back")
BROKER_GONE = Text("上行中断", "the uplink is down")
BROKER_THERE = Text("上行恢复", "the uplink is up")
WAITING = Text("消息在本地积压", "messages wait in the outbox")
COMPLETE = Text("编号连续, 一条不少", "numbers without a gap")
