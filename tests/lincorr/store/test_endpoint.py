"""Variables of the environment for S3: used, or refused in one line that does not repeat them."""

import asyncio

import pytest
from obstore.exceptions import GenericError
from zarr.storage import ObjectStore

from lincorr.errors import BadInput, LincorrError
from lincorr.store.endpoint import s3_endpoint
from lincorr.store.locations import open_location
from lincorr.store.store import LogitStore


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "https://s3.eu-central-1.amazonaws.com",
        "https://account.r2.cloudflarestorage.com/",
        "http://minio:9000/path",
        "http://[::1]:9000",
        "http://my_host",
    ],
)
def test_a_url_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    assert s3_endpoint() == url


@pytest.mark.parametrize(
    "url",
    [
        *("notaurl", "http://", "http:///x", "http:host", "ftp://host", "http://[::1", "http://h:99999"),
        *("http://h:0", "http://a b", "http://h\n", "http://h/ x", "http://%", "https://über.example"),
        *("http://1.2.3.4.5", "http://999.1.1.1", "http://user:hush@h", "http://h?hush"),
    ],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_what_is_no_url_is_one_line_and_not_repeated(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(BadInput) as refused:
        LogitStore.exists("s3://bucket/run.zarr")
    message = str(refused.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert url not in message
    assert "hush" not in message
    assert capfd.readouterr().err == ""  # no panic of the client


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_what_is_no_header_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "hush\n")
    with pytest.raises(BadInput, match=name) as refused:
        LogitStore.exists("s3://bucket/run.zarr")
    assert "hush" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_url_of_another_kind_is_refused_in_a_few_words():
    with pytest.raises(BadInput, match="name a folder, or a URL such as s3://") as refused:
        LogitStore.exists("ftp://host/a.zarr")
    assert "Debug" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://example.org/a.zarr", "https://example.org/a.zarr", "memory:///a.zarr"]
)
def test_a_place_that_is_no_bucket_is_refused_before_it_is_asked(url: str) -> None:
    with pytest.raises(BadInput, match=f"^store.path: '{url}' is neither a folder nor a bucket; name one"):
        LogitStore.exists(url)


@pytest.mark.parametrize(
    ("scheme", "named"),
    [("s3", "AWS_ENDPOINT_URL"), ("gs", "GOOGLE_APP"), ("az", "AZURE_STORAGE_ACCOUNT_KEY")],
)
def test_a_server_that_cannot_be_reached_is_told_by_its_own_variables(
    scheme: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "toy")
    store = open_location(f"{scheme}://bucket/run.zarr")

    async def unreachable(*_: object) -> bool:
        raise GenericError("no answer")

    monkeypatch.setattr(ObjectStore, "exists", unreachable)
    with pytest.raises(LincorrError, match=rf"cannot be reached \(no answer\); check .*{named}"):
        asyncio.run(store.exists("zarr.json"))
