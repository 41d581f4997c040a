"""Text of others, to be shown: what would steer a terminal is written as an escape."""

import unicodedata


def visible(text: str) -> str:
    r"""Return a text whose control and format characters are escaped, as in ``\x1b``; line ends stay.

    Escape sequences clear a screen, set its title or answer as if typed, and direction marks turn the rest of
    a line around. Lone surrogates and characters that have no form are escaped, too.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter == "\n" or _is_harmless(letter) else _escape(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] != "C" and category not in ("Zl", "Zp")


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
