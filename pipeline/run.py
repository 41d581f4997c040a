"""The story: extract, fit, evaluate, report. Each verb does only what is not yet done."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from lincorr.model.device import loaded_bytes, visible_gpus
from lincorr.prompts.subjects import split_rows
from lincorr.scores.results import Results
from lincorr.scores.wordings import Wordings
from lincorr.store.place import require_place
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.basis import Others
from pipeline.evaluate.document import results_of
from pipeline.evaluate.on_workers import evaluate_on_workers, evaluations_apart
from pipeline.evaluate.scores import evaluate_relation, is_evaluated, require_maps, require_scores
from pipeline.evaluate.wordings import relations_read, wordings_of
from pipeline.extract.asked import ask_all, missing_asked
from pipeline.extract.stage import (
    create_store,
    extract_head,
    extract_shards,
    head_is_missing,
    missing_shards,
    not_left_empty,
    register,
    require_identity,
)
from pipeline.fit.inputs import FitInputs, Split, fit_inputs, has_maps
from pipeline.fit.on_workers import fit_on_workers, fits_apart
from pipeline.fit.relation import fit_relation
from pipeline.fit.sharing import Apart
from pipeline.fit.sources import SourceCache, device_for
from pipeline.plan.memory import fit_memory
from pipeline.plan.plan import Plan, asked_to_do, make_plan
from pipeline.prepare.prepare import Inputs, prepare
from pipeline.prepare.relations import RelationInputs
from pipeline.report.names import require_report_folder
from pipeline.runtime.console import Narrator
from pipeline.runtime.device import own_device
from pipeline.runtime.executor import Executor, Receipt
from pipeline.runtime.lock import sole_writer
from pipeline.runtime.machine import limit_threads


class Run:
    """One configuration, carried through the verbs.

    Raises:
        BadInput: from every verb, if a setting cannot be met; nothing was changed then.
        LincorrError: if a run failed; what was done is stored, and the same verb resumes from there.
    """

    def __init__(self, config: RunConfig, narrator: Narrator | None = None) -> None:
        limit_threads(config.cluster.threads if config.cluster.kind == "serial" else None)
        self.config = config
        self.narrator = narrator or Narrator(quiet=True)
        self.seconds: dict[str, float] = {}
        self.idle: float | None = None  # share of extraction in which the device did not compute
        self._sources: SourceCache | None = None  # of the last verb: the next one decomposes nothing again
        self._is_writing = False

    @cached_property
    def inputs(self) -> Inputs:
        """Subjects, columns and sizes."""
        return prepare(self.config, self.narrator.tell)

    @cached_property
    def fit_bytes(self) -> int:
        """Bytes that a fit may hold, by the first verb that asks: what is kept later changes no choice."""
        return fit_memory(self.config.fit, self.config.cluster)

    @cached_property
    def fit_gpus(self) -> int:
        """GPUs of this machine that fits and evaluations will use."""
        device = own_device(self.config.fit.device, 0, self.narrator.tell_once)
        return 0 if device == "cpu" else visible_gpus("cuda")

    # --- the verbs --------------------------------------------------------------------------------

    def run(self) -> tuple[Results, Path]:
        """Do everything that is not yet done; return the results and the path of the page."""
        plan = self.plan()
        self._require_report()
        with self.writing():  # from one verb to the next, too
            self.extract(plan)
            self.fit()
            results = self.evaluate()
            return results, self.report(results)

    def plan(self) -> Plan:
        """Return what a run would do; write nothing."""
        plan = make_plan(self.config, self.inputs)
        if plan.exists:
            require_identity(LogitStore.open(plan.store), self.config, self.inputs)
        plan.check()
        return plan

    def extract(self, plan: Plan | None = None) -> list[Receipt]:
        """Make every forward pass that the store is missing; return the receipts.

        Args:
            plan: of this run, if it is made already.
        """
        plan = plan or self.plan()
        url = plan.store
        self._sources = None  # of rows that may be repaired now
        with self.timed("extract"), self.writing():
            exists = LogitStore.exists(url)
            if exists:
                store = self._registered()
                tasks = missing_shards(store, self.config, self.inputs, plan.whole)
                if not tasks and not head_is_missing(store) and not asked_to_do(store, self.inputs):
                    self.narrator.tell(f"Nothing to extract: {url} is complete")
                    return []
            gpus = visible_gpus(self.config.model.device)
            model_bytes = loaded_bytes(self.inputs.folder, self.config.model.spec())
            with (
                ExitStack() as afterwards,
                self.executor(model_bytes, gpus, keep_memory=True) as executor,
            ):
                if not exists:
                    create_store(executor, self.config, self.inputs, self.narrator)
                    store = self._registered()
                    if self.config.cluster.kind != "address":  # whose workers go on, and may still write
                        afterwards.enter_context(not_left_empty(store))
                    tasks = missing_shards(store, self.config, self.inputs, plan.whole)
                extract_head(executor, store, self.config, self.inputs)
                receipts: list[Receipt] = []
                if tasks:
                    receipts, self.idle = extract_shards(executor, store, tasks, self.narrator)
                to_ask = missing_asked(store, self.config, self.inputs)
                receipts += ask_all(executor, store, to_ask, self.narrator)
        return receipts

    def fit(self) -> list[str]:
        """Fit every map that the store is missing; return "relation/fit" of the new ones."""
        store = self.store(write=True)
        done = []
        with (
            self.timed("fit"),
            self.writing(),
            self.executor_on_demand(self.fit_bytes, self.fit_gpus, keep_memory=False) as executor,
        ):
            relations = list(self.fit_inputs(store, self.inputs.relations))
            with store.shards.kept(0):  # records, which all relations read
                missing = [one for one in relations if not has_maps(store, one, one.all_fits)]
            to_fit = {one.relation.name for one in missing}
            apart = fits_apart(missing, self.config.cluster)
            with self.narrator.lines("Fitting", len(relations), "relations") as count:
                if apart.relations:
                    with self.executor_for(apart, "Fitting") as workers:
                        done += fit_on_workers(workers, store, apart.relations, count)
                here = apart.others(relations)
                shared = self.source_cache(store, here)
                for inputs in here:
                    if inputs.relation.name in to_fit:
                        self.narrator.tell(f"Fitting {inputs.relation.name}")
                    fitted = fit_relation(store, inputs, executor, shared)
                    done += [f"{inputs.relation.name}/{fit}" for fit in fitted]
                    count(1)
        return done

    def evaluate(self) -> Results:
        """Score the maps on held-out subjects where the store has no scores; return all scores.

        A store that is read-only, and has all scores, is read.
        """
        store = self.store(write=True)
        n_sources = self.config.report.sources
        with self.timed("evaluate"), self.writing(or_read=True):
            with store.shards.kept(0):  # records, which all relations read
                for fitted in self.fit_inputs(store, self.inputs.relations):
                    require_maps(store, fitted)  # of wordings that are only compared, too
                wordings = wordings_of(store, self.inputs.relations)
                relations = list(self.fit_inputs(store, self._read(wordings)))
                others = {one.relation.name: self._others(store, one) for one in relations}
                missing = [
                    one
                    for one in relations
                    if not is_evaluated(store, one, others[one.relation.name], n_sources)
                ]
            to_evaluate = {one.relation.name for one in missing}
            apart = evaluations_apart(missing, self.config.cluster)
            with self.narrator.lines("Evaluating", len(relations), "relations") as count:
                if apart.relations:
                    with self.executor_for(apart, "Evaluating") as workers:
                        evaluate_on_workers(workers, store, apart.relations, others, n_sources, count)
                here = apart.others(relations)
                shared = self.source_cache(store, here)
                for inputs in here:
                    if inputs.relation.name in to_evaluate:
                        self.narrator.tell(f"Evaluating {inputs.relation.name}")
                    evaluate_relation(store, inputs, others[inputs.relation.name], n_sources, shared)
                    count(1)
        return self._results(store, wordings)

    def report(self, results: Results | None = None) -> Path:
        """Write the page, its plots and tables; return the path of the page.

        Args:
            results: of this run, if they are read already.
        """
        from pipeline.report.tables import write_results  # matplotlib and pyarrow: a second

        self._require_report()
        with self.timed("report"):
            return write_results(results or self.results(), self.config.report_folder())

    # --- what the verbs, studies and experiments are made of --------------------------------------

    def store(self, *, write: bool = False) -> LogitStore:
        """Open the store; raises BadInput if there is none."""
        return LogitStore.open(self.config.store_url(), write=write)

    def require_places(self, *, study: bool = False) -> None:
        """Refuse a place where no store can be, or no report (or that of a study), with BadInput."""
        url = self.config.store_url()
        if not LogitStore.exists(url):
            require_place(url)
        self._require_report(study=study)

    def _require_report(self, *, study: bool = False) -> None:
        relations = [relation.name for relation in self.inputs.relations]
        require_report_folder(self.config.report_folder(), relations, study=study)

    def split(self) -> Split:
        """Positions of the subjects to fit and of those held out."""
        settings = self.config.subjects
        return split_rows(self.inputs.subjects.texts, settings.split, seed=settings.seed)

    def results(self) -> Results:
        """Return scores, settings and provenance.

        Raises:
            BadInput: scores are missing, or were found with other settings.
        """
        store = self.store()
        with store.shards.kept(0):  # records, which all relations read
            wordings = wordings_of(store, self.inputs.relations)
            relations = list(self.fit_inputs(store, self._read(wordings)))
            results = self._results(store, wordings)
            found = {scores.name: scores for scores in results.relations}
            for one in relations:
                others, n_sources = self._others(store, one), self.config.report.sources
                require_scores(store, one, found[one.relation.name], others, n_sources)
        return results

    def _others(self, store: LogitStore, inputs: FitInputs) -> Others:
        return Others.of(store, inputs, self.inputs.relations)

    def _results(self, store: LogitStore, wordings: Sequence[Wordings]) -> Results:
        read, split = self._read(wordings), self.split()
        return results_of(self.config, self.inputs, store, read, wordings, split, self.seconds, self.idle)

    def read(self, store: LogitStore) -> tuple[RelationInputs, ...]:
        """Return the relations that are evaluated and shown, of several wordings the chosen and the first.

        Raises:
            BadInput: a wording is to be chosen, and a map is missing.
        """
        chooses = self.config.wordings == "chosen"
        return self._read(wordings_of(store, self.inputs.relations) if chooses else ())

    def _read(self, wordings: Sequence[Wordings]) -> tuple[RelationInputs, ...]:
        if self.config.wordings != "chosen":
            return self.inputs.relations
        return relations_read(self.inputs.relations, wordings)

    def fit_inputs(
        self, store: LogitStore, relations: Sequence[RelationInputs] | None = None
    ) -> Iterator[FitInputs]:
        """Yield what each relation is fitted from; relations that share a source prompt follow each other.

        Args:
            relations: others than those that are read (`read`), of the configuration's templates.

        Raises:
            BadInput: a wording is to be chosen, and a map is missing.
            LincorrError: a subject or template is not in the store.
        """
        require_identity(store, self.config, self.inputs)
        relations = self.read(store) if relations is None else relations
        return fit_inputs(store, self.config, self.inputs, self.split(), relations, self.fit_bytes)

    def source_cache(self, store: LogitStore, relations: Sequence[FitInputs]) -> SourceCache:
        """Return the cache of sources that are decomposed without workers: on a GPU of this process."""
        device = device_for(relations, self.narrator.tell_once)
        if device != "cpu":
            self.narrator.tell_once("Fits in memory are done on the GPU")
        if self._sources is None or self._sources.device != device:
            self._sources = SourceCache(store, device)
        return self._sources

    @contextmanager
    def executor_for(self, apart: Apart, doing: str) -> Iterator[Executor]:
        """Start workers for relations, and stop them in the end; say what they are doing."""
        with self.executor(apart.worker_bytes, self.fit_gpus, keep_memory=False) as workers:
            among = f"{workers.workers} worker{'s' if workers.workers > 1 else ''}"
            self.narrator.tell(f"{doing} {len(apart.relations)} relations on {among}")
            yield workers

    @contextmanager
    def executor(self, worker_bytes: int, gpus: int, *, keep_memory: bool) -> Iterator[Executor]:
        """Start workers (see `open_executor`), and stop them in the end."""
        from pipeline.runtime.dask_executor import open_executor  # Dask is imported only where it is used

        with open_executor(
            self.config.cluster,
            model_bytes=worker_bytes,
            tell=self.narrator.tell,
            gpus=gpus,
            keep_memory=keep_memory,
        ) as executor:
            yield executor

    @contextmanager
    def executor_on_demand(
        self, worker_bytes: int, gpus: int, *, keep_memory: bool
    ) -> Iterator[Callable[[], Executor]]:
        """Yield a function that starts workers when it is first called, and returns them ever after."""
        with ExitStack() as opened:
            yield functools.cache(
                lambda: opened.enter_context(self.executor(worker_bytes, gpus, keep_memory=keep_memory))
            )

    @contextmanager
    def writing(self, *, or_read: bool = False) -> Iterator[None]:
        """Hold the store's lock, from the first of several verbs to the end of the last (`sole_writer`)."""
        if self._is_writing:
            yield
            return
        with sole_writer(self.config.store_url(), or_read=or_read, tell=self.narrator.tell_once):
            self._is_writing = True
            try:
                yield
            finally:
                self._is_writing = False

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record how long a stage takes, in seconds."""
        began = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - began

    def _registered(self) -> LogitStore:
        store = self.store(write=True)
        register(store, self.config, self.inputs)
        return store
