"""The local server: on this machine only, or behind a token in its URL."""

import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from lincorr.errors import BadInput
from pipeline.explore.opened import OpenedStore
from pipeline.explore.page import open_page

LOOPBACK = "127.0.0.1"


class _Refused(RequestHandler):
    """403, whatever is asked for: Tornado would say 404, and so which pages there are."""

    def prepare(self) -> None:
        self.set_status(403)
        self.finish("403: open the URL that `lincorr explore` printed, as it is\n")


class ExploreServer:
    """A server that listens as soon as it is made.

    Attributes:
        url: where to open the page.

    Raises:
        BadInput: it cannot listen there.
    """

    def __init__(self, stores: Sequence[OpenedStore], host: str = LOOPBACK, port: int = 0) -> None:
        logging.getLogger("bokeh").setLevel(logging.ERROR)  # its news are not the user's
        logging.getLogger("tornado").setLevel(logging.ERROR)
        self._worker = ThreadPoolExecutor(1, "explore")
        token = "" if is_loopback(host) else secrets.token_urlsafe(24)
        application = Application(FunctionHandler(open_page(stores, self._worker)))
        port = _port(host, port)
        origins = {f"{_bracketed(name)}:{port}" for name in _names(host)}
        self._server = Server(
            {"/": application},
            address=host,
            port=port,
            prefix=token,
            allow_websocket_origin=sorted(one for one in origins if "[" not in one),
            io_loop=IOLoop.current(),
        )
        self._server._tornado._websocket_origins |= origins  # its own argument takes no address of IPv6
        if token:
            self._server._tornado.add_handlers(".*", [(rf"(?!/{token}/).*", _Refused)])
        else:  # a page of another site could let its own name lead here, and read what it opens
            own = "|".join(re.escape(_bracketed(name)) for name in _names(host))
            self._server._tornado.add_handlers(rf"(?!({own})$).*", [(".*", _Refused)])
        self._server.start()
        self.url = f"http://{_bracketed(_reachable(host))}:{port}/{token}{'/' if token else ''}"
        for store in stores:
            self._worker.submit(store.warm)

    def serve(self) -> None:
        """Serve until KeyboardInterrupt or `stop`."""
        self._server.io_loop.start()

    def stop(self) -> None:
        """Stop listening; what is being answered is finished."""
        self._server.stop()
        self._worker.shutdown(cancel_futures=True)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(host: str, port: int) -> int:
    """Return a port that can be listened on: the system's choice for 0.

    Bokeh must know it before it listens, to check where a page comes from.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            free: int = probe.getsockname()[1]
            return free
    except OSError as problem:
        where = f"{host!r}, port {port}" if port else repr(host)
        raise BadInput(f"--host, --port: cannot listen on {where} ({problem.strerror})") from None


def _names(host: str) -> list[str]:
    """The names by which a browser may reach a host: pages of others may not talk to this server."""
    if is_loopback(host):
        return [LOOPBACK, "localhost", host]
    if host not in ("0.0.0.0", "::"):
        return [host]
    families = (socket.AF_INET, socket.AF_INET6)
    own: list[Any] = [a for some in psutil.net_if_addrs().values() for a in some if a.family in families]
    return ["localhost", socket.gethostname(), *(one.address.partition("%")[0] for one in own)]


def _reachable(host: str) -> str:
    return socket.gethostname() if host in ("0.0.0.0", "::") else host


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
