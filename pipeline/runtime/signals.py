"""Ctrl-C and SIGTERM end a command in one line, whatever they meet; so this file imports nothing slow."""

import os
import signal
import sys

_AT_ONCE = 3  # signals after which a process does not wait for its workers, locks and threads

_heard: list[int] = []
_said: list[int] = []


def hear_signals() -> None:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt, once; the third signal ends this process at once.

    A second one would only break off what the first one lets end well. Signals that whoever started this
    process has it ignore stay ignored.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == usual:
            signal.signal(number, _hear)


def _hear(number: int, _: object) -> None:
    _heard.append(number)
    if len(_heard) == 1:
        raise KeyboardInterrupt
    if len(_heard) >= _AT_ONCE:
        if not _said:
            os.write(2, f"{_line()}\n".encode())  # printing may be what the signal broke into
        os._exit(128 + _heard[0])


def stopped() -> int:
    """Say in a line that a signal ended this process, unless it was said; return the exit code."""
    if not _said:
        print(_line(), file=sys.stderr, flush=True)
        _said.extend(_heard)
    return 128 + (_heard[0] if _heard else signal.SIGINT)


def _line() -> str:
    word = "terminated" if _heard and _heard[0] == signal.SIGTERM else "interrupted"
    return f"error: {word}; what was done is stored, the same command resumes from there"


def was_stopped() -> bool:
    """Whether a signal has come; what fails after it may fail in any way."""
    return bool(_heard)


def end_at_once() -> None:
    """Have signals end this process without a word: its work is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _hear:
            signal.signal(number, lambda number, _: os._exit(128 + number))
