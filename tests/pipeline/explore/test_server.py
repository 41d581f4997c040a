"""Who may open the page."""

import socket
import urllib.error
import urllib.request

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from lincorr.errors import BadInput
from pipeline.explore.server import ExploreServer, is_loopback
from tests.pipeline.explore.conftest import ExploreIn


def status_of(url: str, host: str | None = None) -> int:
    """The status of a page, as a browser gets it that knows the server by another name."""
    try:
        headers = {} if host is None else {"Host": host}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def handshake(url: str, origin: str) -> int:
    """The status with which the server answers a page of `origin` that wants to talk to it."""
    request = HTTPRequest(url.replace("http", "ws", 1) + "ws", headers={"Origin": origin})

    async def connect() -> int:
        try:
            (await websocket_connect(request, subprotocols=["bokeh", "none"])).close()
        except HTTPClientError as refused:
            return refused.code
        return 101

    return int(IOLoop(make_current=False).run_sync(connect))


def test_only_this_machine_reaches_the_page(served):
    port = int(served.url.rsplit(":", 1)[1].strip("/"))
    assert served.url == f"http://127.0.0.1:{port}/"
    assert status_of(served.url) == 200
    own = socket.gethostbyname(socket.gethostname())
    if not own.startswith("127."):
        with socket.socket() as client:
            client.settimeout(5)
            assert client.connect_ex((own, port)) != 0


def test_pages_of_others_may_not_talk_to_it(served):
    own = served.url.rstrip("/")
    assert handshake(served.url, own) == 101
    assert handshake(served.url, own.replace("127.0.0.1", "localhost")) == 101
    assert handshake(served.url, "http://evil.example") == 403
    assert handshake(served.url, own.replace("127.0.0.1", "evil.example")) == 403


def test_a_name_that_another_site_lets_lead_here_opens_nothing(served):
    port = served.url.rsplit(":", 1)[1].strip("/")
    for name, status in (
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.localhost", 403),
    ):
        for path in ("", "static/js/bokeh.min.js"):
            assert status_of(served.url + path, f"{name}:{port}") == status, name


def test_an_address_of_ipv6_opens_the_page(opened):
    with ExploreIn([opened], "::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert status_of(server.url) == 200
        assert status_of(server.url, "evil.example") == 403


def test_beyond_this_machine_the_url_has_a_token(opened):
    with ExploreIn([opened], "0.0.0.0") as server, ExploreIn([opened], "0.0.0.0") as other:
        host, _, token = server.url.removeprefix("http://").partition("/")
        local = f"http://127.0.0.1:{host.rsplit(':', 1)[1]}"
        assert len(token) > 30
        assert token not in other.url
        assert status_of(f"{local}/{token}") == 200
        assert status_of(f"{local}/{token}static/js/bokeh.min.js") == 200
        assert status_of(f"{local}/{token}nothing") == 404
        for path in (
            "",
            "ws",
            "static/js/bokeh.min.js",
            "favicon.ico",
            "x" + token,
            f"{token[:-2]}/",
            "autoload.js",
        ):
            assert status_of(f"{local}/{path}") == 403, path
        assert handshake(f"{local}/", local) == 403
        assert handshake(f"{local}/{token}", local) == 101
        assert handshake(f"{local}/{token}", "http://evil.example") == 403


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_is_this_machine(host, is_own):
    assert is_loopback(host) == is_own


def test_an_address_that_is_not_this_machines_is_refused(opened):
    with pytest.raises(BadInput, match=r"--host, --port: cannot listen on '203\.0\.113\.7'"):
        ExploreServer([opened], "203.0.113.7")


def test_a_port_that_is_taken_is_refused(opened):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"cannot listen on '127\.0\.0\.1', port {port}"):
            ExploreServer([opened], port=port)
