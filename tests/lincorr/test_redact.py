"""Credentials in URLs are found and starred."""

import pytest

from lincorr.redact import has_credentials, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://me:secret@host:1/b/k failed", "GET http://***@host:1/b/k failed"),
        ("tls://secret@host", "tls://***@host"),
        ("http://me:sec/r@et@host/x", "http://***@host/x"),
        ("('https://b.s3.eu.aws/k?X-Amz-Signature=secret&a=b') said", "('https://b.s3.eu.aws/k?***') said"),
        ("s3://me:secret@b/k?sig=secret", "s3://***@b/k?***"),
        ("proxy http://u:secret@p:1 and http://v:secret@q", "proxy http://***@p:1 and http://***@q"),
    ],
)
def test_users_passwords_and_queries_are_starred(text: str, shown: str) -> None:
    assert has_credentials(text)
    assert redacted(text) == shown
    assert not has_credentials(shown.replace("***@", "").replace("?***", ""))


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/run.zarr",
        "s3://bucket/me@home/run.zarr",
        "tcp://127.0.0.1:8786",
        "me@host",
        "is that it? (--debug shows where)",
        "https://huggingface.co/docs is that it?",
        "folder/with?mark",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert not has_credentials(text)
    assert redacted(text) == text
