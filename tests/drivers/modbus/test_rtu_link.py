"""RTU on a line that is late, damaged, noisy or hears itself; in virtual time, without a port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from drivers.modbus import pdu, rtu
from drivers.modbus.line import ASKED_AGAIN, MOST, PATIENCE, QUIET, RtuLink
from drivers.modbus.link import SILENCE, STRIKES
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown, NotYet
from edge.proof.virtual_loop import run_virtual

READ = pdu.read(3, 100, 2)
OTHER = pdu.read(3, 200, 2)  # looks the same when answered
LONGER = pdu.read(3, 200, 4)
WRITE = pdu.write_register(100, b"\x12\x34")
ANSWER = bytes.fromhex("03 04 1234 5678")
STALE = bytes.fromhex("03 04 DEAD DEAD")
LONG_ANSWER = bytes.fromhex("03 08 0001 0002 0003 0004")
BAUD = 19200
AGAIN = 0.5 * ASKED_AGAIN + 0.01  # seconds until what had to wait has been sent


class Wire(asyncio.Transport):
    """A transport without a port: `sent` is what was written, and when; the test plays the line."""

    def __init__(self, link: RtuLink) -> None:
        super().__init__()
        self.link = link
        self.sent: list[bytes] = []
        self.at: list[float] = []
        self.echo = False
        self.answers: list[bytes] = []
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        loop = asyncio.get_running_loop()
        self.sent.append(bytes(data))
        self.at.append(loop.time())
        if self.echo:
            loop.call_soon(self.link.data_received, bytes(data))
        if self.answers:
            loop.call_later(0.05, self.link.data_received, self.answers.pop(0))

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)


Test = Callable[[RtuLink, Wire], Coroutine[Any, Any, None]]


def virtually(test: Test, baud: int | None = BAUD) -> None:
    async def main() -> None:
        link = RtuLink("/dev/ttyUSB0", baud)
        wire = Wire(link)
        link.connection_made(wire)
        await test(link, wire)
        await link.close()

    run_virtual(main)


async def asked(
    link: RtuLink, wire: Wire, request: pdu.Request = READ, *, unit: int = 7
) -> asyncio.Task[bytes]:
    """A request that has been sent."""
    before = len(wire.sent)
    task = asyncio.create_task(_ask(link, unit, request))
    while len(wire.sent) == before:
        await asyncio.sleep(0.001)
        assert not task.done() or task.exception() is None
    return task


async def _ask(link: RtuLink, unit: int, request: pdu.Request) -> bytes:
    while True:
        try:
            return await link.ask(unit, request, 0.5)
        except NotYet as later:
            await asyncio.sleep(later.wait)


def frame(body: bytes = ANSWER, unit: int = 7) -> bytes:
    return rtu.wrap(unit, body)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_request_and_answer() -> None:
    """A request is its unit, its PDU and the check sum; the answer's PDU comes back."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        assert wire.sent == [bytes.fromhex("07 03 0064 0002") + rtu.check_sum(b"\7\3\0d\0\2")]
        for byte in frame():
            link.data_received(bytes([byte]))
        assert await task == ANSWER
        assert (link.late, link.wrong, link.noise) == (0, 0, 0)

    virtually(test)


def test_silence_before_each_request() -> None:
    """Nothing is sent before the line was silent for t3.5, counted from its last byte."""

    async def test(link: RtuLink, wire: Wire) -> None:
        for _ in range(3):
            task = await asked(link, wire)
            await asyncio.sleep(0.03)
            link.data_received(frame())
            heard = now()
            assert await task == ANSWER
            await asyncio.sleep(0.001)
            link.data_received(b"\0")  # a twitch after it begins the silence anew
            task = await asked(link, wire)
            assert wire.at[-1] - heard - 0.001 == pytest.approx(rtu.silence(BAUD), abs=1e-6)
            link.data_received(frame())
            await task

    virtually(test)


def test_time_out_covers_the_byte_times() -> None:
    """A device has its whole time-out for itself: the bytes of both frames come on top."""

    async def test(link: RtuLink, wire: Wire) -> None:
        await asyncio.sleep(1)
        begun = now()
        with pytest.raises(DeviceTimeout) as caught:
            await link.ask(7, pdu.read(3, 0, 125), 0.5)
        waited = 0.5 + rtu.wire_time(BAUD, 8 + 255)
        assert now() - begun == pytest.approx(waited, abs=1e-6)
        assert f"{waited * 1000:.0f} ms" in caught.value.reason.en

    virtually(test)


@pytest.mark.parametrize("noise", [b"\0", b"\x07", b"\x07\x03", b"\xff\x07\x83", frame(ANSWER, 8)])
def test_noise_before_an_answer_is_skipped(noise: bytes) -> None:
    """Bytes before the answer are thrown away and counted."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(noise)
        await asyncio.sleep(0.001)
        link.data_received(frame())
        assert await task == ANSWER
        assert link.noise == len(noise)

    virtually(test)


@pytest.mark.parametrize("flipped", [3, 5, 7, 8])
def test_damaged_answer_fails_fast(flipped: int) -> None:
    """A wrong check sum is a BadAnswer after a short silence, and nothing is left to wait for."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        bad = bytearray(frame())
        bad[flipped] ^= 1
        link.data_received(bytes(bad))
        begun = now()
        with pytest.raises(BadAnswer) as caught:
            await task
        assert now() - begun == pytest.approx(QUIET, abs=0.002)
        assert "check sum" in caught.value.reason.en
        task = await asked(link, wire, OTHER)
        assert now() - begun < 0.05
        link.data_received(frame())
        assert await task == ANSWER
        assert link.wrong == 1

    virtually(test)


def test_damage_followed_by_the_answer() -> None:
    """What only looked like a damaged answer does not matter when the answer follows."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(bytes.fromhex("07 03 00 00 00"))
        await asyncio.sleep(0.003)
        link.data_received(frame())
        assert await task == ANSWER

    virtually(test)


def test_refusal() -> None:
    """An exception frame is five bytes and becomes a refusal."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(frame(b"\x83\x02"))
        with pytest.raises(DeviceRefused) as caught:
            await task
        assert caught.value.code == "02"

    virtually(test)


@pytest.mark.parametrize("body", ["03 02 1234", "03 06 1234 5678 9ABC"])
def test_wrong_length_is_a_bad_answer(body: str) -> None:
    """A whole frame of our unit and function with another length fails the request at once."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(frame(bytes.fromhex(body)))
        with pytest.raises(BadAnswer) as caught:
            await task
        assert "unit 7, function 3" in caught.value.reason.en
        assert link.wrong == 1

    virtually(test)


@pytest.mark.parametrize("baud", [BAUD, None])
def test_late_answer_is_never_the_next_ones(baud: int | None) -> None:
    """A request whose answer would look the same waits until the late one came or cannot come."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        task = asyncio.create_task(_ask(link, 7, OTHER))
        await asyncio.sleep(0.3)
        assert len(wire.sent) == 1  # still waiting
        link.data_received(frame(STALE))
        await asyncio.sleep(AGAIN)
        assert len(wire.sent) == 2
        assert link.late == 1
        link.data_received(frame())
        assert await task == ANSWER

    virtually(test, baud)


def test_an_answer_that_never_comes_is_waited_for_so_long_only() -> None:
    """After three times its time-out an answer is given up, and the line goes on."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        task = await asked(link, wire, OTHER)
        patience = 0.5 + rtu.wire_time(BAUD, 8 + 9)
        assert wire.at[1] - wire.at[0] == pytest.approx(PATIENCE * patience, abs=0.01)
        link.data_received(frame())
        assert await task == ANSWER

    virtually(test)


def test_what_must_wait_does_not_hold_the_line() -> None:
    """It is told so at once, others are asked meanwhile, and it has its turn before its like."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        for request in (OTHER, READ):  # the same bytes again would renew the wait for ever
            begun = now()
            with pytest.raises(NotYet) as caught:
                await link.ask(7, request, 0.5)
            assert now() == begun
            assert caught.value.wait <= 0.5 * ASKED_AGAIN
        task = await asked(link, wire, READ, unit=8)
        link.data_received(frame(unit=8))
        assert await task == ANSWER
        for request in (OTHER, READ):
            task = await asked(link, wire, request)
            link.data_received(frame())
            assert await task == ANSWER

    virtually(test)


def test_a_slow_line_may_carry_a_late_answer_to_its_end() -> None:
    """Bytes of one answer are no line that never falls silent, however long they take."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        task = asyncio.create_task(_ask(link, 8, READ))
        for byte in frame(bytes((3, 246)) + bytes(246)):
            link.data_received(bytes((byte,)))
            await asyncio.sleep(rtu.wire_time(1200, 1))
        await asyncio.sleep(rtu.silence(1200))
        assert len(wire.sent) == 2
        link.data_received(frame(unit=8))
        assert await task == ANSWER

    virtually(test, 1200)


@pytest.mark.parametrize(("unit", "request_"), [(8, READ), (7, LONGER), (7, pdu.read(4, 100, 2))])
def test_others_go_on_at_once(unit: int, request_: pdu.Request) -> None:
    """Other units, lengths and functions do not wait, and the late answer is not theirs."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        begun = now()
        task = await asked(link, wire, request_, unit=unit)
        assert now() - begun < 0.05
        link.data_received(frame(STALE))
        await asyncio.sleep(0)
        assert not task.done()
        answer = LONG_ANSWER if request_ is LONGER else bytes([request_.pdu[0]]) + ANSWER[1:]
        link.data_received(frame(answer, unit))
        assert await task == answer
        assert link.late == 1

    virtually(test)


def test_late_refusal_is_not_the_next_ones() -> None:
    """A refusal names no length: while another request may be refused, it is taken for that one."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        task = await asked(link, wire, LONGER)
        link.data_received(frame(b"\x83\x02"))
        await asyncio.sleep(0)
        assert not task.done()
        assert link.late == 1
        link.data_received(frame(LONG_ANSWER))
        assert await task == LONG_ANSWER

    virtually(test)


def test_late_refusal_of_several_ends_the_waiting_for_none() -> None:
    """Which of two requests a late refusal refuses nobody knows: both answers may still come."""

    async def test(link: RtuLink, wire: Wire) -> None:
        for request in (LONGER, READ):
            with pytest.raises(DeviceTimeout):
                await link.ask(7, request, 0.5)
        link.data_received(frame(b"\x83\x02"))
        task = asyncio.create_task(_ask(link, 7, OTHER))
        await asyncio.sleep(0.3)
        assert len(wire.sent) == 2
        link.data_received(frame(STALE))
        await asyncio.sleep(AGAIN)
        link.data_received(frame())
        assert await task == ANSWER
        assert link.late == 2

    virtually(test)


def test_retry_may_take_the_late_answer() -> None:
    """The same bytes again go out at once; either answer will do, and the other one may follow."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        task = await asked(link, wire)
        assert wire.at[1] - wire.at[0] < 0.55
        link.data_received(frame())
        assert await task == ANSWER
        task = asyncio.create_task(_ask(link, 7, OTHER))
        await asyncio.sleep(0.1)
        assert len(wire.sent) == 2  # the second answer to the same question is still under way
        link.data_received(frame(STALE))
        await asyncio.sleep(AGAIN)
        link.data_received(frame())
        assert await task == ANSWER
        assert link.late == 1

    virtually(test)


def test_acknowledgement_of_an_earlier_value_is_none() -> None:
    """Function 16 acknowledges no value: another one waits until the first is acknowledged."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, pdu.write_registers(10, b"\0\1\0\2"), 0.5)
        task = asyncio.create_task(_ask(link, 7, pdu.write_registers(10, b"\0\3\0\4")))
        await asyncio.sleep(0.3)
        assert len(wire.sent) == 1
        link.data_received(frame(bytes.fromhex("10 000A 0002")))
        await asyncio.sleep(AGAIN)
        assert not task.done()
        assert len(wire.sent) == 2
        link.data_received(frame(bytes.fromhex("10 000A 0002")))
        await task

    virtually(test)


def test_cancelled_request_is_remembered() -> None:
    """A cancelled request may still be answered; that is not the answer to the next."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = asyncio.create_task(_ask(link, 7, OTHER))
        await asyncio.sleep(0.1)
        link.data_received(frame(STALE))
        await asyncio.sleep(AGAIN)
        link.data_received(frame())
        assert await task == ANSWER

    virtually(test)


def test_line_is_drained_after_a_time_out() -> None:
    """After a time-out all is thrown away until the line was silent; then the next goes out."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, READ, 0.5)
        for _ in range(20):
            link.data_received(b"\x55")
            await asyncio.sleep(0.004)
        heard = now() - 0.004
        task = await asked(link, wire)
        assert wire.at[-1] - heard == pytest.approx(QUIET, abs=1e-6)
        link.data_received(frame())
        assert await task == ANSWER
        assert link.noise == 20

    virtually(test)


def test_line_that_never_falls_silent() -> None:
    """A second master or a stuck device is named, and we do not talk into it."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = asyncio.create_task(_ask(link, 7, READ))
        while not task.done():
            link.data_received(b"\x55" * 3)
            await asyncio.sleep(0.001)
        with pytest.raises(BadAnswer) as caught:
            await task
        assert "second master" in caught.value.reason.en
        assert wire.sent == []

    virtually(test)


def test_strange_bytes_instead_of_an_answer() -> None:
    """Bytes without a frame are told from silence: that is a matter of baud rate and polarity."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(bytes.fromhex("FE 80 66 00 78 98"))
        with pytest.raises(BadAnswer) as caught:
            await task
        assert "polarity" in caught.value.reason.en
        task = await asked(link, wire)
        link.data_received(b"\0")
        with pytest.raises(DeviceTimeout):
            await task

    virtually(test)


def test_many_wrong_answers_replace_the_link() -> None:
    """Nothing but damaged answers in a row: the port is opened anew."""

    async def test(link: RtuLink, wire: Wire) -> None:
        for _ in range(STRIKES):
            task = await asked(link, wire)
            link.data_received(frame()[:-1] + b"\0")
            with pytest.raises(BadAnswer):
                await task
        assert wire.aborted
        with pytest.raises(LinkDown):
            await link.ask(7, READ, 0.5)

    virtually(test)


def test_lasting_silence_replaces_the_link() -> None:
    """Many requests without a byte: the port is opened anew, in case its adapter hangs."""

    async def test(link: RtuLink, wire: Wire) -> None:
        link._heard.add(7)
        for _ in range(SILENCE - 1):
            with pytest.raises(DeviceTimeout):
                await link.ask(7, READ, 0.5)
        with pytest.raises(LinkDown):
            await link.ask(7, READ, 0.5)

    virtually(test)


def test_lost_port_fails_all_who_wait() -> None:
    """An unplugged adapter ends the request under way, and one that waits for its turn, at once."""

    async def test(link: RtuLink, wire: Wire) -> None:
        for sent in (1, 0):
            task = asyncio.create_task(_ask(link, 7, READ if sent else OTHER))
            await asyncio.sleep(0.1)
            link.connection_lost(None)
            begun = now()
            with pytest.raises(LinkDown):
                await task
            assert now() - begun <= (0 if sent else AGAIN)
            link = RtuLink("/dev/ttyUSB0", BAUD)
            wire = Wire(link)
            link.connection_made(wire)
            with pytest.raises(DeviceTimeout):
                await link.ask(7, READ, 0.5)

    virtually(test)


def test_unanswered_requests_are_forgotten() -> None:
    """However often a dead unit is asked, a bounded number of requests is remembered."""

    async def test(link: RtuLink, wire: Wire) -> None:
        for i in range(60):
            with pytest.raises(DeviceTimeout):
                await link.ask(7, READ, 0.5)
            assert len(link._outstanding) <= MOST + 1
            if i % 5 == 0:
                link._silent = 0
        await asyncio.sleep(10)
        link.data_received(frame())
        assert link.late == 1

    virtually(test)


def test_echo_is_stripped() -> None:
    """On a line that hears itself answers are found behind the request come back."""

    async def test(link: RtuLink, wire: Wire) -> None:
        wire.echo = True
        for request, answer in ((READ, ANSWER), (WRITE, WRITE.pdu), (LONGER, LONG_ANSWER)):
            task = await asked(link, wire, request)
            await asyncio.sleep(0.01)
            assert not task.done()
            link.data_received(frame(answer))
            assert await task == answer
        assert link.echoes is True
        assert link.noise == 0

    virtually(test)


@pytest.mark.parametrize("known", [True, False])
def test_own_echo_acknowledges_nothing(known: bool) -> None:
    """A write to a dead device on a line that hears itself fails, also when it is the first."""

    async def test(link: RtuLink, wire: Wire) -> None:
        wire.echo = True
        if known:
            wire.answers.append(frame())
            await link.ask(7, READ, 0.5)
        with pytest.raises(DeviceTimeout):
            await link.ask(7, WRITE, 0.5)
        assert link.echoes is True

    virtually(test)


@pytest.mark.parametrize("answer", [b"\x03\x02\x00\x01", b"\x83\x02"])
def test_first_write_looks_first_whether_the_line_echoes(answer: bytes) -> None:
    """Before a write whose echo would pass for its acknowledgement, its register is read once."""

    async def test(link: RtuLink, wire: Wire) -> None:
        wire.answers += [frame(answer), frame(WRITE.pdu), frame(WRITE.pdu)]
        for _ in range(2):
            assert await link.ask(7, WRITE, 0.5) == WRITE.pdu
        assert [sent[1] for sent in wire.sent] == [3, 6, 6]
        assert link.echoes is False

    virtually(test)


def test_first_write_to_a_dead_device_is_not_sent() -> None:
    """When nobody answers the look before the first write, nothing is written."""

    async def test(link: RtuLink, wire: Wire) -> None:
        with pytest.raises(DeviceTimeout):
            await link.ask(7, WRITE, 0.5)
        assert [sent[1] for sent in wire.sent] == [3]

    virtually(test)


def test_noise_proves_nothing_about_echo() -> None:
    """An answer behind noise does not show that the line is free of echo."""

    async def test(link: RtuLink, wire: Wire) -> None:
        task = await asked(link, wire)
        link.data_received(b"\0" + frame())
        assert await task == ANSWER
        assert link.echoes is None
        wire.answers.append(b"\0" + frame(b"\x03\x02\x00\x01"))
        with pytest.raises(BadAnswer) as caught:
            await link.ask(7, WRITE, 0.5)
        assert "nothing was written" in caught.value.reason.en
        assert [sent[1] for sent in wire.sent] == [3, 3]

    virtually(test)


def test_identification_says_itself_how_long_it_is() -> None:
    """The answer to a device identification is found by its own objects."""

    async def test(link: RtuLink, wire: Wire) -> None:
        body = bytes.fromhex("2B 0E 01 01 00 00 02 00 03 41 42 43 01 01 44")
        task = await asked(link, wire, pdu.identify(pdu.BASIC))
        for byte in frame(body):
            assert not task.done()
            link.data_received(bytes([byte]))
        assert await task == body

    virtually(test)
