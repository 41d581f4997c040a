"""How far something is: steps that are done, their rate of late, and the time that the rest takes at it."""

import time
from collections import deque
from collections.abc import Callable, Mapping

_WINDOW = 300.0  # seconds that a rate is over: longer than an audit, or a wait between two shards
_APART = 1.0  # seconds between two times that are remembered


class Tally:
    """Counts the steps of what is finished, by a call, and of tasks under way.

    The rate is that of all work. Work that is lost counts there, and no longer as done.

    Attributes:
        total: steps in all.
        done: finished ones, and those of tasks under way.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing done; `clock` tells seconds."""
        self.total = total
        self.done = 0
        self._clock = clock
        self._began = clock()
        self._under_way: Mapping[str, int] = {}
        self._heard = False
        self._work = 0
        self._remembered = deque([(self._began, 0)])  # times, and the work until then

    def __call__(self, steps: int, task: str = "") -> None:
        """Count finished steps, which are all of a task's if its key is given."""
        before = self._under_way.get(task, 0)
        self._under_way = {key: n for key, n in self._under_way.items() if key != task}
        self.done += steps - before
        self._remember(max(0, steps - before))

    def under_way(self, steps: Mapping[str, int]) -> None:
        """Hear how many steps each unfinished task has done, by its key.

        One that has done fewer than before has begun again, and one that is not named was lost.
        """
        before, self._under_way = self._under_way, dict(steps)
        self.done += sum(steps.values()) - sum(before.values())
        new = sum(n - before.get(key, 0) if n >= before.get(key, 0) else n for key, n in steps.items())
        if steps and not self._heard:
            self._heard = True
            if not self._work:  # models were loaded until now, which says nothing of the rate
                self._work = new
                self._remembered = deque([(self._clock(), new)])
                return
        self._remember(new)

    def _remember(self, new: int) -> None:
        """Note the time of new work, and forget what is older than the window, but for its beginning."""
        if not new:
            return
        self._work += new
        now, times = self._clock(), self._remembered
        if len(times) > 1 and times[-1][0] - times[-2][0] < _APART:
            times.pop()
        times.append((now, self._work))
        while len(times) > 2 and times[1][0] <= now - _WINDOW:
            times.popleft()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._began

    @property
    def rate(self) -> float | None:
        """Steps a second in the last minutes; None until two times are known."""
        (begin, before), (end, after) = self._remembered[0], self._remembered[-1]
        return (after - before) / (end - begin) if end > begin else None

    @property
    def seconds_left(self) -> float | None:
        """What the rest takes at that rate; None without one."""
        return (self.total - self.done) / self.rate if self.rate else None
