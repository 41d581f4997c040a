"""Credentials in URLs: user and password before the host, and the query, which has a presigned URL's key."""

import re

NO_CREDENTIALS = "a URL must not contain a user, a password or a query; set credentials in the environment"

# With one slash, too: that is what is left of a URL that was taken for a path.
_USER = re.compile(r"(:/{1,2})[^/\s@:]*(?::\S*)?@")
_QUERY = re.compile(r"(:/{1,2}[^\s?]*\?)[^\s'\")]+")


def has_credentials(text: str) -> bool:
    """Whether a text has a URL with a user, a password or a query."""
    return bool(_USER.search(text) or _QUERY.search(text))


def redacted(text: str) -> str:
    """Return a text with stars in place of the users, passwords and queries of its URLs."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))
