"""Every exception of the controller, grouped by what its catcher can do.

EdgeError
├─ DriverError          a request to the field failed; the poll's points get a quality bit
│  ├─ DeviceTimeout     the device did not answer in time
│  ├─ DeviceRefused     it answered with an error; `code` is the protocol's
│  │  └─ WrongDevice    what answers there is not the device that is configured
│  ├─ BadAnswer         what came back does not answer what was asked
│  ├─ NotYet            no failure: the same wants another turn, soon
│  └─ LinkDown          the connection or the line is gone: every device behind it
├─ UplinkDown           the broker cannot be reached, refuses us or went away
├─ Unusable             a file or state directory cannot be used; the text says why
└─ Fatal                the process must end; systemd starts the next one
"""

from __future__ import annotations

from edge.text import Text


class EdgeError(Exception):
    """The root of all of them; never raised itself."""


class DriverError(EdgeError):
    """A request to the field failed. `reason` is for people, in both languages."""

    def __init__(self, reason: Text) -> None:
        super().__init__(reason.en)
        self.reason = reason


class DeviceTimeout(DriverError):
    """No answer within the device's time-out."""


class DeviceRefused(DriverError):
    """The device answered with an error of its protocol.

    `permanent` says that asking again the same way cannot help (wrong function, wrong address); it
    is left alone for `rest` seconds. `again` are the pauses after which it is asked again out of
    turn before the refusal counts (a busy device: 1 s, three times). `unsure`: a write may have
    been carried out all the same and must be read back before it is repeated.
    """

    def __init__(
        self,
        reason: Text,
        code: str,
        *,
        permanent: bool = False,
        rest: float = 60.0,
        again: tuple[float, ...] = (),
        unsure: bool = False,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.permanent = permanent
        self.rest = rest
        self.again = again
        self.unsure = unsure


class WrongDevice(DeviceRefused):
    """Another device than the configured one answers at its address; it is not used."""


class BadAnswer(DriverError):
    """An answer arrived that does not match the request; its content was not used."""


class NotYet(DriverError):
    """Another turn is wanted in `wait` seconds; others need not wait, and nothing has failed.

    Either nothing was asked, since a late answer could be taken for this one's, or the device takes
    smaller requests only, and those come next.
    """

    def __init__(self, reason: Text, wait: float) -> None:
        super().__init__(reason)
        self.wait = wait


class LinkDown(DriverError):
    """The connection or the line is gone; nothing behind it can be reached."""


class UplinkDown(EdgeError):
    """The broker cannot be reached, refuses the connection or went away; `reason` is for people."""

    def __init__(self, reason: Text) -> None:
        super().__init__(reason.en)
        self.reason = reason


class Unusable(EdgeError):
    """A file, a directory or a port cannot be used. The text names it and says what would help."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


class Fatal(EdgeError):
    """The process must end at once and be started anew."""
