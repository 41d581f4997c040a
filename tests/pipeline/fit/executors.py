"""Executors that disturb a fit."""

from collections.abc import Callable

import numpy as np

from pipeline.runtime.executor import Result, Stage, Task, ignore


class Disorderly:
    """Runs the tasks of a stage in any order, some of them twice, and may stop before a stage's end."""

    def __init__(self, seed: int, stop_after: int | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.left = stop_after
        self.ran: list[str] = []
        self.on_device: set[bool] = set()
        self.workers = 2

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        self.on_device.add(stage.on_device)
        results: dict[int, Result] = {}
        waiting = {i: str(getattr(task, "key", i)) for i, task in enumerate(stage.tasks)}
        while waiting:
            undone = set(waiting.values())
            may_begin = [i for i, key in waiting.items() if undone.isdisjoint(stage.needs.get(key, ()))]
            index = int(self.rng.choice(may_begin))
            if self.left is not None:
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
            for _ in range(1 + int(self.rng.integers(2))):
                results[index] = stage.function(stage.tasks[index])
            self.ran.append(f"{stage.name} {waiting.pop(index)}")
        return [results[i] for i in range(len(stage.tasks))]


class Before(Disorderly):
    """Does something before a stage."""

    def __init__(self, stage: str, do: Callable[[], object]) -> None:
        super().__init__(0)
        self.stage, self.do = stage, do

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        if stage.name == self.stage:
            self.do()
        return super().run(stage, on_result)


def interrupt() -> None:
    raise KeyboardInterrupt
