"""A lock that lasts as long as it is renewed: one small object beside a store on an object store.

The object names its holder and the time of the last renewal. It is created and replaced by conditional PUTs
only, so that of several runs that try at once one succeeds. If the last renewal is too long ago the holder
counts as dead, and the next run takes over; a holder that was only cut off finds out at its next renewal, and
stops. Hosts' clocks should agree to within a few seconds. The object stays, marked as free, because deletions
cannot be conditional.
"""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from lincorr.errors import LincorrError, ReadOnly, Unlockable
from lincorr.store.locations import SharedObject
from pipeline.runtime.executor import this_worker

SECONDS = 120.0  # without renewal until a holder counts as dead
_RENEWALS = 6  # in that time


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
    def __init__(self, url: str) -> None:
        self._url = url
        self._object = SharedObject(lease_url(url))
        self._token = uuid4().hex
        self._tag = ""
        self.lost = False

    def take(self) -> None:
        """Become the holder.

        Raises:
            LincorrError: another run holds the lease.
        """
        found = self._object.read()
        if found is None:
            tag = self._object.create(self._record().to_bytes())
        else:
            content, old = found
            record = _Record.of(content)
            if record.is_held():
                raise self._refusal(record)
            tag = self._object.replace(self._record().to_bytes(), old)
        if tag is None:  # another run was faster, or our own PUT was retried after its answer was lost
            tag = self._own_tag()
        if tag is None:
            found = self._object.read()
            raise self._refusal(_Record.of(found[0] if found else b""))
        self._tag = tag

    def renew(self, holder: str | None = None) -> None:
        """Record that the holder is alive, or with an empty `holder` that it has released the lease."""
        tag = self._object.replace(self._record(holder).to_bytes(), self._tag) or self._own_tag()
        self.lost = tag is None
        self._tag = tag or self._tag

    def _record(self, holder: str | None = None) -> _Record:
        return _Record(this_worker() if holder is None else holder, self._token, time.time(), SECONDS)

    def _own_tag(self) -> str | None:
        found = self._object.read()
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
def leased(url: str, *, or_read: bool = False) -> Iterator[None]:
    """Hold the lease of a store by URL, renewed in a thread of its own.

    A server without conditional PUTs gives no lock.

    Args:
        or_read: if the location is read-only, go on without a lease.

    Raises:
        BadInput: the location is read-only.
        LincorrError: another run holds it, or took it over while this one was cut off.
    """
    lease = _Lease(url)
    try:
        lease.take()
    except (ReadOnly, Unlockable) as problem:
        if isinstance(problem, ReadOnly) and not or_read:
            raise
        yield
        return
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
            lease.renew(holder="")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Handle SIGINT, by which a lost lease stops the run, even where a shell made this process ignore it.

    Shells do so for what a script starts in the background (`lincorr run ... &`).
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _keep(lease: _Lease, done: threading.Event) -> None:
    """Renew a lease until `done`; stop the run if another one took the lease over."""
    while not done.wait(SECONDS / _RENEWALS):
        try:
            lease.renew()
        except LincorrError:  # no answer: try again at the next renewal
            continue
        if lease.lost:
            # a real signal, which also wakes a main thread that waits for workers
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return
