"""A lock that lasts as long as it is renewed: one small object, or file, beside a store.

The object names its holder and the time of the last renewal. It is created and replaced by conditional PUTs
only, so that of several runs that try at once one succeeds. If the last renewal is too long ago the holder
counts as dead, and the next run takes over; a holder that was only cut off finds out at its next renewal, and
stops. Hosts' clocks should agree to within a few seconds. The object stays, marked as free, because deletions
cannot be conditional.

A server that ignores or refuses conditions is found out when the lock is taken. There, and in a folder, the
last one to write holds it, once those that tried at the same time have written, too.
"""

import _thread
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from lincorr.errors import LincorrError, ReadOnly, Unlockable
from lincorr.store.locations import SharedObject
from pipeline.runtime.executor import ignore, this_worker
from pipeline.runtime.lock_file import SharedFile

SECONDS = 120.0  # without renewal until a holder counts as dead
_RENEWALS = 6  # in that time
_SETTLED = 2.0  # seconds: whoever saw a lock free has written it by then
_NO_CONDITIONS = (
    "{!r} has no locks and no conditional writes: do not start two runs on it in the same second. Later ones "
    "are refused"
)


@dataclass(frozen=True, slots=True)
class _Record:
    """The content of the object.

    Attributes:
        holder: host and process; "" where the lock is free.
        token: identifies this hold of the lock.
        renewed: seconds since the epoch, on the holder's clock.
        seconds: after which it has expired.
    """

    holder: str
    token: str
    renewed: float
    seconds: float

    def is_held(self) -> bool:
        return bool(self.holder) and time.time() < self.renewed + self.seconds

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of(cls, content: bytes) -> "_Record":
        """Parse a record; anything else counts as free."""
        try:
            found = json.loads(content)
            return cls(
                str(found["holder"]), str(found["token"]), float(found["renewed"]), float(found["seconds"])
            )
        except (ValueError, KeyError, TypeError):
            return cls("", "", 0.0, 0.0)


class _Lease:
    """A lease on a store, kept at a place.

    Attributes:
        lost: whether another run has taken it over.
        has_conditions: whether the place refuses a write whose condition does not hold.
    """

    def __init__(self, url: str, place: SharedObject | SharedFile) -> None:
        self._url = url
        self._place = place
        self._token = uuid4().hex
        self._tag = ""
        self.lost = False
        self.has_conditions = isinstance(place, SharedObject)

    def take(self) -> None:
        """Become the holder.

        Raises:
            LincorrError: another run holds the lease.
        """
        found = self._place.read()
        if found is not None and _Record.of(found[0]).is_held():
            raise self._refusal(_Record.of(found[0]))
        if isinstance(self._place, SharedObject):
            self.has_conditions = self._write_on_condition(self._place, found)
        if not self.has_conditions:
            self._place.overwrite(self._record().to_bytes())
            time.sleep(_SETTLED)
        tag = self._own_tag()
        if tag is None:  # another run was faster
            found = self._place.read()
            raise self._refusal(_Record.of(found[0] if found else b""))
        self._tag = tag

    def renew(self, holder: str | None = None) -> None:
        """Record that the holder is alive, or with an empty `holder` that it has released the lease.

        The token is read first: a server may check conditions when an object is made, and not later.
        """
        tag, content = self._own_tag(), self._record(holder).to_bytes()
        if tag is not None and self.has_conditions and isinstance(self._place, SharedObject):
            tag = self._place.replace(content, tag) or self._own_tag()
        elif tag is not None:
            tag = self._place.overwrite(content)
        self.lost = tag is None
        self._tag = tag or self._tag

    def _write_on_condition(self, place: SharedObject, found: tuple[bytes, str] | None) -> bool:
        """Write the lease if it is still as it was found; return whether the server knows such conditions."""
        content = self._record().to_bytes()
        try:
            created = place.create(content) is not None
            if found is None:  # a second time, it must be refused; some servers refuse the first
                return place.create(content) is None if created else place.read() is not None
            if created:  # over what exists
                return False
            if place.replace(content, found[1]) is not None:
                return True
            now = place.read()
            return now is None or now[1] != found[1]  # some servers refuse whatever has a condition
        except Unlockable:
            return False

    def _record(self, holder: str | None = None) -> _Record:
        return _Record(this_worker() if holder is None else holder, self._token, time.time(), SECONDS)

    def _own_tag(self) -> str | None:
        found = self._place.read()
        return found[1] if found and _Record.of(found[0]).token == self._token else None

    def _refusal(self, record: _Record) -> LincorrError:
        until = datetime.fromtimestamp(record.renewed + record.seconds, UTC).strftime("%H:%M:%S UTC")
        return LincorrError(
            f"store.path: {self._url!r} is being written by another run, {record.holder or 'just begun'} "
            f"(host:process); wait for it, or name another store. If it is dead, its lock ends at {until}"
        )


def lease_url(url: str) -> str:
    """Return where the lock of a store by URL is."""
    whole = url.rstrip("/")
    return f"{whole}.lock" if urlsplit(whole).path else f"{whole}/lincorr.lock"


@contextmanager
def leased(
    url: str, place: SharedObject | SharedFile, *, or_read: bool = False, tell: Callable[[str], None] = ignore
) -> Iterator[None]:
    """Hold the lease of a store, renewed in a thread of its own.

    Args:
        place: where the lease is kept.
        or_read: if the location is read-only, go on without a lease.
        tell: called with a line where nothing is locked for good.

    Raises:
        BadInput: the location is read-only.
        LincorrError: another run holds it, or took it over while this one was cut off.
    """
    lease = _Lease(url, place)
    try:
        lease.take()
    except ReadOnly:
        if not or_read:
            raise
        yield
        return
    if not lease.has_conditions:
        tell(_NO_CONDITIONS.format(url))
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(lease, done), name="lease", daemon=True)
    thread.start()
    try:
        with _interruptible():
            yield
    except KeyboardInterrupt:
        if lease.lost:
            raise LincorrError(
                f"store.path: this run was cut off from {url!r} for so long that another one took over; "
                "nothing is lost: rerun when that one is done"
            ) from None
        raise
    finally:
        done.set()
        thread.join()
        if not lease.lost:
            with suppress(LincorrError):  # what was done is done, and the lock ends by itself
                lease.renew(holder="")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Handle SIGINT, by which a lost lease stops the run, also where others took it for something else.

    Shells have it ignored by what a script starts in the background (`lincorr run ... &`), and importing
    dask-jobqueue makes it an exit.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not main or before in (signal.default_int_handler, None):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _keep(lease: _Lease, done: threading.Event) -> None:
    """Renew a lease until `done`; stop the run if another one took the lease over."""
    while not done.wait(SECONDS / _RENEWALS):
        try:
            lease.renew()
        except LincorrError:  # no answer: try again at the next renewal
            continue
        if lease.lost:
            _interrupt_main()
            return


def _interrupt_main() -> None:
    if hasattr(
        signal, "pthread_kill"
    ):  # a real signal, which also wakes a main thread that waits for workers
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
