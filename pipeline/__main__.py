"""``python -m pipeline`` is ``lincorr``. Signals are heard before anything slow is imported."""

import gc
import sys

from pipeline.runtime.signals import end_at_once, hear_signals, stopped, was_stopped


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code, 130 or 143 where Ctrl-C or SIGTERM ended it."""
    hear_signals()
    try:
        gc.disable()  # what is imported is no garbage
        from pipeline.cli.main import main as command

        gc.enable()
        gc.set_threshold(*gc.get_threshold()[:2], 100)  # torch's half a million objects stay
        return command(arguments)
    except BaseException:
        if not was_stopped():
            raise
        return stopped()
    finally:
        end_at_once()
        gc.freeze()  # it ends: to look through what it holds would take a second


if __name__ == "__main__":
    sys.exit(main())
