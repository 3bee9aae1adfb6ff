"""Every event the controller can log or count, declared once with both texts.

An event is something worth a line in the journal; whoever notices it emits it, with the places of
its text as keywords. An outage is one event when it begins and one when it ends, never one in
between. Not alarms: those are configured (`edge/scan/alarms.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from edge.text import Language, Text

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event: a stable code, a level and the text in both languages."""

    code: str
    level: Level
    text: Text


def _event(code: str, level: Level, zh: str, en: str) -> Event:
    return Event(code, level, Text(zh, en))


STARTED = _event(
    "started", "info", "{site} 已启动: {points} 点, {rules} 条规则, {alarms} 条报警",
    "{site} started: {points} points, {rules} rules, {alarms} alarms",
)  # fmt: skip
COMPILING = _event(
    "compiling", "info", "首次启动: 正在编译内核, 慢的机器上需一两分钟, 之后从缓存载入",
    "first start: the kernel is compiled, a minute or two on a slow board; then it is kept",
)  # fmt: skip
OBSERVING = _event(
    "observing", "warning", "只观察: 计算一切, 不写任何设备",
    "observing: everything is computed, nothing is written",
)  # fmt: skip
STOPPING = _event("stopping", "info", "正在停止: {reason}", "stopping: {reason}")
STOPPED = _event("stopped", "info", "已停止", "stopped")

TASK_FAILED = _event(
    "task-failed", "error", "任务 {task} 失败 ({error}), {retry:g} 秒后重启",
    "task {task} failed ({error}), restarting in {retry:g} s",
)  # fmt: skip
CALLBACK_FAILED = _event(
    "callback-failed",
    "error",
    "后台回调出错: {error}",
    "a callback in the background failed: {error}",
)
CONTROL_FAILED = _event(
    "control-failed", "error", "控制程序出错, 其请求已撤销, 保护继续: {error}",
    "the control program failed, its requests are withdrawn, protections go on: {error}",
)  # fmt: skip
PROTECT_FAILED = _event(
    "protect-failed", "error", "保护程序出错, 所有输出进入故障安全值: {error}",
    "the protect program failed, every output goes to its failsafe: {error}",
)  # fmt: skip
ALARMS_FAILED = _event(
    "alarms-failed", "error", "报警程序出错, 报警状态不再更新: {error}",
    "the alarm program failed, alarm states are no longer updated: {error}",
)  # fmt: skip
SCAN_OVERRUN = _event(
    "scan-overrun", "warning", "扫描用时 {took_ms:.0f} 毫秒, 超过 {limit_ms:.0f} 毫秒",
    "a scan took {took_ms:.0f} ms, more than {limit_ms:.0f} ms",
)  # fmt: skip

LINK_DOWN = _event("link-down", "error", "总线 {bus} 中断: {reason}", "bus {bus} is down: {reason}")
LINK_UP = _event(
    "link-up", "info", "总线 {bus} 恢复, 中断 {lasted:.0f} 秒",
    "bus {bus} is back after {lasted:.0f} s",
)  # fmt: skip
DEVICE_OFFLINE = _event(
    "device-offline",
    "error",
    "设备 {device} 离线: {reason}",
    "device {device} is offline: {reason}",
)
DEVICE_ONLINE = _event(
    "device-online", "info", "设备 {device} 恢复, 离线 {lasted:.0f} 秒",
    "device {device} is back after {lasted:.0f} s",
)  # fmt: skip
RETRY_ASKED = _event(
    "retry-asked", "info", "{user} 要求立即重试: {what}", "{user} asks to try {what} again now"
)
BUS_HEALTH = _event(
    "bus-health", "info",
    "总线 {bus} 近 {minutes:.0f} 分钟: {requests} 次请求, {failures}, 负载 {load:.0f} %, "
    "响应时间中位数 {median}, p99 {p99}, 最旧数据 {age}",
    "bus {bus} in {minutes:.0f} min: {requests} requests, {failures}, load {load:.0f} %, "
    "round trip {median}, p99 {p99}, oldest point {age}",
)  # fmt: skip
DEVICE_HEALTH = _event(
    "device-health", "info",
    "设备 {device} 近 {minutes:.0f} 分钟: {requests} 次请求, {failures}, "
    "响应时间中位数 {median}, p99 {p99}, 最旧数据 {age}, 退避 {back_off:.0f} 秒",
    "device {device} in {minutes:.0f} min: {requests} requests, {failures}, "
    "round trip {median}, p99 {p99}, oldest point {age}, backed off {back_off:.0f} s",
)  # fmt: skip
POLL_REFUSED = _event(
    "poll-refused", "warning",
    "设备 {device} 拒绝 {poll}: {reason}",
    "device {device} refuses {poll}: {reason}",
)  # fmt: skip
POLL_SILENT = _event(
    "poll-silent", "warning",
    "设备 {device} 不应答 {poll}, 其余照常应答: {reason}; 请核对点表, 或减少一次读取的数量",
    "device {device} does not answer {poll}, though it answers others: {reason}; compare its map, "
    "or let it be asked for less at once",
)  # fmt: skip
REGISTER_REFUSED = _event(
    "register-refused", "warning",
    "设备 {device} 没有 {register} ({points}), 其余照常读取; 请核对寄存器表和 base, 或删除该点",
    "device {device} has no {register} ({points}), the rest is read as before; compare the "
    "register map and base, or remove the point",
)  # fmt: skip
REGISTER_ACCEPTED = _event(
    "register-accepted", "info", "设备 {device} 现有 {register} ({points}), 恢复读取",
    "device {device} has {register} ({points}) by now, it is read again",
)  # fmt: skip
BLOCK_DIVIDED = _event(
    "block-divided", "info", "设备 {device} 不能一次读取 {block}, 改为分别读取 {parts}; {advice}",
    "device {device} does not give {block} in one answer, read as {parts} from now on; {advice}",
)  # fmt: skip
DEVICE_DAMAGED = _event(
    "device-damaged", "error", "设备 {device} 报告存储器校验错误; 请断电重启, 仍出现则更换",
    "device {device} reports an error of its memory; power-cycle it, replace it if that stays",
)  # fmt: skip
WRONG_DEVICE = _event(
    "wrong-device", "error",
    "设备 {device} 不是配置的设备, 不读也不写: 应为 {expected}; 实为 {found}",
    "device {device} is not the one that is configured and is neither read nor written: expected "
    "{expected}; found {found}",
)  # fmt: skip
RIGHT_DEVICE = _event(
    "right-device", "info", "设备 {device} 现为配置的设备, 恢复读写",
    "device {device} is the one that is configured by now, it is read and written again",
)  # fmt: skip
DEVICE_PROGRAMMED = _event(
    "device-programmed", "info",
    "设备 {device}: {setting} ({register}) 由 {old:.10g} 改为 {new:.10g}",
    "device {device}: {setting} ({register}) was {old:.10g} and is now {new:.10g}",
)  # fmt: skip
DEVICE_NOT_PROGRAMMED = _event(
    "device-not-programmed", "warning",
    "设备 {device}: {setting} ({register}) 未能设为 {value:.10g}: {reason}; 照常读取",
    "device {device}: {setting} ({register}) could not be set to {value:.10g}: {reason}; it is "
    "read as before",
)  # fmt: skip
WRITE_FAILED = _event(
    "write-failed", "error", "写 {point} = {value:g} 失败: {reason}",
    "writing {point} = {value:g} failed: {reason}",
)  # fmt: skip
WRITE_UNVERIFIED = _event(
    "write-unverified", "error",
    "写 {point} = {value:g} 未得到应答, 又无法读回: 是否执行不明, 不再重写; 请到现场核对",
    "nobody knows whether {point} = {value:g} was carried out: no answer came and it cannot be read"
    " back, so it is not written again; look on site",
)  # fmt: skip
WRITES_SPENT = _event(
    "writes-spent", "warning",
    "{point} 在 24 小时内已写 {most} 次, 为保护 EEPROM, 新值暂缓写入",
    "{point} was written {most} times in 24 h; to spare its EEPROM the next value has to wait",
)  # fmt: skip
WRITE_NOT_FOLLOWED = _event(
    "write-not-followed", "error", "{point} 未跟随: 应为 {value:g}, 实为 {seen:g}",
    "{point} did not follow: asked for {value:g}, reads {seen:g}",
)  # fmt: skip
CHANGED_ELSEWHERE = _event(
    "changed-elsewhere", "warning",
    "{point} 被他处改为 {seen:g}, 本控制器写的是 {value:g}; 每分钟至多重写一次; "
    "请查是否另有主站或就地操作",
    "{point} was changed elsewhere to {seen:g}, we wrote {value:g}; it is written again, at most "
    "once a minute; see whether another master or somebody on site sets it",
)  # fmt: skip
OVERRIDDEN_OUTSIDE = _event(
    "overridden-outside", "warning", "{point} 被外部以更高优先级强制为 {value:g}",
    "{point} is held from outside by a stronger priority, with {value:g}",
)  # fmt: skip
OVERRIDE_ENDED = _event(
    "override-ended", "info", "{point} 的外部强制已解除", "nobody outside holds {point} any more"
)
LEFTOVERS = _event(
    "leftovers", "info", "{point}: 清除本控制器上次运行遗留在设备上的优先级: {left}",
    "{point}: clears the priorities that an earlier run of this controller left behind: {left}",
)  # fmt: skip
START_DEFERRED = _event(
    "start-deferred", "warning", "{point} 每小时启动次数已满, {wait:.0f} 秒后再启动",
    "{point} has started too often this hour, the next start must wait {wait:.0f} s",
)  # fmt: skip

UPLINK_DOWN = _event(
    "uplink-down", "warning", "上行 {uplink} 中断: {reason}", "uplink {uplink} is down: {reason}"
)
UPLINK_UP = _event(
    "uplink-up", "info", "上行 {uplink} 恢复, 中断 {lasted:.0f} 秒, 积压 {backlog} 条",
    "uplink {uplink} is back after {lasted:.0f} s, {backlog} messages waiting",
)  # fmt: skip
MESSAGE_REFUSED = _event(
    "message-refused", "error", "服务器拒收第 {n} 条 ({topic}): {reason}; 已另存并记录",
    "the broker refused message {n} ({topic}): {reason}; it is set aside and recorded",
)  # fmt: skip
OUTBOX_GAP = _event(
    "outbox-gap", "error", "上行缓存丢弃 {count} 条 ({first}-{last}, {reason}), 已记录缺口",
    "the outbox dropped {count} messages ({first}-{last}, {reason}), a gap record was kept",
)  # fmt: skip
OUTBOX_UNCLEAN = _event(
    "outbox-unclean", "warning", "上次未正常停止, 上行编号从新流 {stream} 开始",
    "the last stop was not clean: message numbers begin anew in stream {stream}",
)  # fmt: skip
COMMANDS_UNHEARD = _event(
    "commands-unheard", "error", "上行 {uplink}: 服务器拒绝订阅 {topic} ({reason}), 收不到命令",
    "uplink {uplink}: the broker refuses the subscription to {topic} ({reason}): no commands",
)  # fmt: skip
BMS_DOWN = _event(
    "bms-down", "error", "不能在 {address} 上为楼控系统提供服务 ({reason}), 继续尝试, 控制不受影响",
    "cannot serve the BMS on {address} ({reason}): trying on, control is not affected",
)  # fmt: skip
BMS_UP = _event(
    "bms-up", "info", "已在 {address} 上为楼控系统提供服务, 中断 {lasted:.0f} 秒",
    "serving the BMS on {address} after {lasted:.0f} s",
)  # fmt: skip
BMS_CLIENT_REFUSED = _event(
    "bms-client-refused", "warning", "拒绝 Modbus 客户端 {client}: {reason}",
    "Modbus client {client} was turned away: {reason}",
)  # fmt: skip
RECORDING = _event(
    "recording", "info", "正在记录全部输入到 {file}, 用 edge replay 重演",
    "all inputs are recorded in {file}; edge replay goes through them again",
)  # fmt: skip
RECORD_ENDED = _event(
    "record-ended", "warning", "记录 {file} 到此为止 ({reason}); 控制不受影响",
    "the record {file} ends here ({reason}); control is not affected",
)  # fmt: skip
STATE_GONE = _event(
    "state-gone", "error", "状态目录 {directory} 已被删除, 此后不再保存; 请尽快重启控制器",
    "the state directory {directory} is gone and nothing is kept any more: restart the controller",
)  # fmt: skip
STATE_UNREADABLE = _event(
    "state-unreadable", "warning", "保存的状态 {what} 来自其他版本或已损坏, 不予采用",
    "the kept state {what} is of another version or damaged: it is not taken up",
)  # fmt: skip
STORE_DAMAGED = _event(
    "store-damaged", "error", "{file} 已损坏, 移至 {aside}, 从空文件继续",
    "{file} is damaged, set aside as {aside}; going on with an empty one",
)  # fmt: skip
STORE_FULL = _event(
    "store-full", "error", "磁盘已满, 控制不受影响: {reason}",
    "the disk is full, control goes on: {reason}",
)  # fmt: skip
STORE_BACK = _event("store-back", "info", "磁盘恢复可写", "the disk can be written again")

ALARM = _event("alarm", "warning", "报警 {alarm} {state}: {text}", "alarm {alarm} {state}: {text}")
COMMAND = _event(
    "command", "info", "命令 {id} {point} = {value}: {state} {refusal}",
    "command {id} {point} = {value}: {state} {refusal}",
)  # fmt: skip

CORRECTION = _event(
    "correction", "info", "规则 {rule}: {text} ({numbers})", "rule {rule}: {text} ({numbers})"
)

EVENTS: tuple[Event, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Event))

Watcher = Callable[[Event, dict[str, Any]], None]


class Events:
    """Emits events to the log and to whoever watches; counts them. One per controller."""

    def __init__(self, language: Language = "en", *, quiet: bool = False) -> None:
        """`quiet`: counted and watched, not logged; for runs that only pretend."""
        self.language: Language = language
        self._quiet = quiet
        self.counts: Counter[str] = Counter()
        self._log = structlog.get_logger()
        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` for each event from now on; it must not raise and not block."""
        self._watchers.append(watcher)

    def emit(self, event: Event, **fields: Any) -> None:
        """Log one event. `exc_info` adds a traceback and is not part of the text."""
        self.counts[event.code] += 1
        if not self._quiet:
            self._say(event, dict(fields))
        fields.pop("exc_info", None)
        for watcher in self._watchers:
            watcher(event, fields)

    def _say(self, event: Event, fields: dict[str, Any]) -> None:
        exc_info = fields.pop("exc_info", None)
        extra = {"exc_info": exc_info} if exc_info is not None else {}
        text = event.text.format(**fields).of(self.language)
        flat = {k: v.of(self.language) if isinstance(v, Text) else v for k, v in fields.items()}
        getattr(self._log, event.level)(text, code=event.code, **flat, **extra)
