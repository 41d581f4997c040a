"""The story: plan, extract, fit, evaluate, report. Each verb does only what is not yet done."""

import functools
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError
from lincorr.model.files import ModelSpec, Precision, float32_bytes, model_name
from lincorr.model.load import visible_gpus
from lincorr.prompts.subjects import split_rows
from lincorr.store.identity import Identity
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.document import title_of, versions
from pipeline.evaluate.scores import evaluate_relation
from pipeline.experiments.copies import _TRAINING_COPIES
from pipeline.experiments.edit import EditOptions, edit_relation, require_editable
from pipeline.experiments.generalisation import across_relations
from pipeline.experiments.gradients import GradientOptions, gradients_of, require_gradients
from pipeline.extract.check import CheckTask, HeadTask, check_model, keep_head
from pipeline.extract.shard import ExtractTask, extract_shard
from pipeline.extract.stage import _HOW
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.fit.sources import Decompositions
from pipeline.plan.memory import fit_memory
from pipeline.plan.plan import Plan, choices, make_plan, shards_to_do
from pipeline.prepare.prepare import Inputs, RelationInputs, prepare
from pipeline.report.tables import write_results
from pipeline.runtime.console import Narrator
from pipeline.runtime.device import own_device
from pipeline.runtime.executor import Executor, Receipt, Stage, waiting_share
from pipeline.runtime.lock import sole_writer

_TEMPORARIES = 2  # what evaluation holds beside what a fit does


class Run:
    """One configuration, carried through the verbs.

    Raises:
        BadInput: from every verb, if a setting cannot be met; nothing was changed then.
        LincorrError: if a run failed; what was done is kept, and the same verb goes on from there.
    """

    def __init__(self, config: RunConfig, narrator: Narrator | None = None) -> None:
        self.config = config
        self.narrator = narrator or Narrator(quiet=True)
        self.seconds: dict[str, float] = {}
        self.waiting: float | None = None  # share of extraction in which the device did not compute
        self._inputs: Inputs | None = None

    @property
    def inputs(self) -> Inputs:
        """Subjects, columns and sizes."""
        if self._inputs is None:
            self._inputs = prepare(self.config, self.narrator.tell)
        return self._inputs

    def plan(self) -> Plan:
        """Return what a run would do; write nothing."""
        plan = make_plan(self.config, self.inputs)
        if plan.exists:
            self._require(LogitStore.open(plan.store))
        plan.check()
        return plan

    def extract(self) -> list[Receipt]:
        """Make every forward pass that the store lacks; return the receipts."""
        url = self.plan().store
        with self.timed("extract"), sole_writer(url):
            exists = LogitStore.exists(url)
            if exists:
                store = self._register(self.store(write=True))
                tasks = self._tasks(store)
                if not tasks and self._head_is_kept():
                    self.narrator.tell(f"Nothing to extract: {url} has it all")
                    return []
            gpus = visible_gpus(self.config.model.device)
            with self._executor(self._model_bytes(), gpus, keep_memory=True) as executor:
                if not exists:
                    self._create(executor)
                    store = self._register(self.store(write=True))
                    tasks = self._tasks(store)
                self._keep_head(executor, store)
                return self._extract(executor, tasks)

    def fit(self) -> list[str]:
        """Fit every map that the store lacks; return "relation/fit" of the new ones."""
        store = self.store(write=True)
        done = []
        with self.timed("fit"), sole_writer(store.url), ExitStack() as opened:

            @functools.cache
            def executor() -> Executor:
                settings = self.config.fit
                gpus = 0 if own_device(settings.device, 0) == "cpu" else visible_gpus("cuda")
                return opened.enter_context(self._executor(fit_memory(settings), gpus, keep_memory=False))

            relations = list(self.fit_inputs(store))
            shared = self.decompositions(store, relations)
            for inputs in relations:
                self.narrator.tell(f"Fitting {inputs.relation.name}")
                fitted = fit_relation(store, inputs, executor, shared)
                done += [f"{inputs.relation.name}/{fit}" for fit in fitted]
        return done

    def evaluate(self) -> dict[str, Any]:
        """Score the maps on held-out subjects where the store lacks it; return all scores.

        A store that is read-only, and has all scores, is read.
        """
        store = self.store(write=True)
        texts, n_sources = self.inputs.token_texts, self.config.report.sources
        with self.timed("evaluate"), sole_writer(store.url, or_read=True):
            relations = list(self.fit_inputs(store))
            shared = self.decompositions(store, relations)
            for inputs in relations:
                self.narrator.tell(f"Evaluating {inputs.relation.name}")
                evaluate_relation(store, inputs, self.inputs.relations, texts, n_sources, shared)
        return self.document()

    def edit(self, options: EditOptions) -> dict[str, Any]:
        """Teach a copy of the model new source facts where the store lacks it; return what all edits show.

        Relations that are not asked for by name, as in `all`, are left out where no truth is known.
        """
        asked_for = self.config.relations
        relations = [one for one in self.inputs.relations if one.truth or one.name in asked_for]
        require_editable(relations, len(self.split()[1]))
        texts = self.inputs.token_texts
        ask = partial(edit_relation, options, texts)
        edited = self._ask_copies("edit", "edits", options.edits, ask, relations)
        store = self.store()
        scores = [store.maps.load_scores(relation.name) for relation in relations]
        return {"relations": edited, "across": across_relations(edited, scores)}

    def gradients(self, options: GradientOptions) -> list[dict[str, Any]]:
        """Correlate gradients with what W makes of them where the store lacks it; return all scores."""
        require_gradients(self.inputs.relations, options, len(self.split()[1]))
        ask = partial(gradients_of, options)
        return self._ask_copies("gradients", "subjects", options.subjects, ask, self.inputs.relations)

    def _ask_copies(
        self,
        stage: str,
        unit: str,
        per_relation: int,
        ask: Callable[..., dict[str, Any]],
        chosen: Sequence[RelationInputs],
    ) -> list[dict[str, Any]]:
        """Have the maps of relations tested on copies of the model that take gradients.

        The copies are in float32: small steps would be lost in half precision.
        """
        self.evaluate()
        store = self.store(write=True)
        spec, fingerprint = replace(self.config.model.spec(), dtype="float32"), self.inputs.fingerprint
        with self.timed(stage), sole_writer(store.url, or_read=True), ExitStack() as opened:

            @functools.cache
            def executor() -> Executor:
                worker_bytes = _TRAINING_COPIES * float32_bytes(self.inputs.folder)
                gpus = visible_gpus(self.config.model.device)
                return opened.enter_context(self._executor(worker_bytes, gpus, keep_memory=True))

            relations = list(self.fit_inputs(store, chosen))
            with self.narrator.progress(stage.capitalize(), per_relation * len(relations), unit) as advance:
                return [ask(store, inputs, spec, fingerprint, executor, advance) for inputs in relations]

    def document(self) -> dict[str, Any]:
        """Return scores, settings and provenance as one document of JSON values."""
        store = self.store()
        identity, subjects = store.identity, self.inputs.subjects
        fit, test = self.split()
        return {
            "title": f"{title_of(self.inputs.relations)} on {model_name(identity.source)}",
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "versions": versions(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
            "model": {
                "name": model_name(identity.source),
                "source": identity.source,
                "revision": identity.revision,
                "fingerprint": self.inputs.fingerprint.short,
                "dtype": identity.compute,
                "device": store.device or self.config.model.device,
                "head": identity.head,
            },
            "store": store.url,
            "seconds": self.seconds,
            "device_waited": self.waiting,
            "subjects": {
                "from": self.config.subjects.kind,
                "count": len(subjects),
                "fit": len(fit),
                "test": len(test),
                "split": self.config.subjects.split,
                "seed": self.config.subjects.seed,
                "classes": subjects.class_counts(),
                "left_out": subjects.left_out,
            },
            "notes": list(self.inputs.notes),
            "relations": [store.maps.load_scores(inputs.name) for inputs in self.inputs.relations],
        }

    def report(self) -> Path:
        """Write the page, its plots and tables; return the path of the page."""
        with self.timed("report"):
            return write_results(self.document(), self.config.report_folder())

    def run(self) -> tuple[dict[str, Any], Path]:
        """Do everything that is not yet done; return the document and the path of the page."""
        self.extract()
        self.fit()
        document = self.evaluate()
        return document, self.report()

    # --- extraction -------------------------------------------------------------------------------

    @contextmanager
    def _executor(self, worker_bytes: int, gpus: int, *, keep_memory: bool) -> Iterator[Executor]:
        from pipeline.runtime.dask_executor import open_executor  # Dask is imported only where it is used

        with open_executor(
            self.config.cluster,
            model_bytes=worker_bytes,
            tell=self.narrator.tell,
            gpus=gpus,
            keep_memory=keep_memory,
        ) as executor:
            yield executor

    def _model_bytes(self) -> int:
        return sum(f.stat().st_size for f in self.inputs.folder.glob("*.safetensors"))

    def _create(self, executor: Executor) -> None:
        """Make the store, now that a worker has seen what the model is."""
        settings, cluster = self.config.store, self.config.cluster
        task = CheckTask(self.config.model.spec(), cluster.batch_tokens, settings.shard_rows)
        check = executor.run(Stage("check", check_model, [task], on_device=True))[0]
        wanted = settings.hidden
        if wanted and not check.linear:
            raise BadInput(
                f"store.hidden: this model's logits are not a linear function of its hidden states "
                f"(largest difference {check.difference:.3g}); leave it out"
            )
        if not check.linear:
            self.narrator.tell("Hidden states do not stand for logits in this model; only logits are kept")
        store = LogitStore.create(
            self.config.store_url(),
            Identity(
                source=self.config.model.spec().described,
                revision=self.config.model.revision,
                config=self.inputs.fingerprint.config,
                weights=self.inputs.fingerprint.weights,
                tokenizer=self.inputs.fingerprint.tokenizer,
                compute=check.compute,
                head=check.head,
                linear=check.linear,
                vocabulary_size=check.vocabulary_size,
                width=check.width,
                precision=settings.precision,
                hidden=check.linear if wanted is None else wanted,
                shard_rows=check.shard_rows,
                batch_tokens=check.batch_tokens,
                passes=check.passes,
            ),
        )
        store.save_device(check.device)
        self.narrator.tell(f"{_HOW[check.passes]}; {check.batch_tokens:,} tokens a pass")

    def _require(self, store: LogitStore) -> None:
        """Refuse a store that was made otherwise than the configuration says."""
        mine, model = store.identity, self.config.model
        settings, cluster = self.config.store, self.config.cluster
        store.require(
            replace(
                mine,
                config=self.inputs.fingerprint.config,
                weights=self.inputs.fingerprint.weights,
                tokenizer=self.inputs.fingerprint.tokenizer,
                compute=mine.compute if model.dtype == "auto" else model.dtype,
                precision=settings.precision,
                hidden=mine.hidden if settings.hidden is None else settings.hidden,
                shard_rows=settings.shard_rows or mine.shard_rows,
                batch_tokens=cluster.batch_tokens or mine.batch_tokens,
            )
        )

    def _register(self, store: LogitStore) -> LogitStore:
        """Give the run's subjects and templates their place in the store."""
        self._require(store)
        for name, template in self.inputs.templates.items():
            store.check_template(template, self.inputs.columns[name].ids)
        store.add_subjects(self.inputs.subjects)
        for name, template in self.inputs.templates.items():
            store.add_template(template, self.inputs.columns[name])
        store.save_settings(self.config.to_remember())
        return store

    def _model_spec(self, store: LogitStore) -> ModelSpec:
        """The model to load, in the store's precision."""
        return replace(self.config.model.spec(), dtype=cast(Precision, store.identity.compute))

    def _tasks(self, store: LogitStore) -> list[ExtractTask]:
        todo = shards_to_do(store, list(self.inputs.templates), store.rows_of(self.inputs.subjects))
        spec = self._model_spec(store)
        return [
            ExtractTask(store.url, spec, self.inputs.fingerprint, templates, shard)
            for shard, templates in todo.items()
        ]

    def _head_is_kept(self) -> bool:
        store = self.store()
        return store.head.exists() or not store.identity.hidden

    def _keep_head(self, executor: Executor, store: LogitStore) -> None:
        if store.identity.hidden and not store.head.exists():
            task = HeadTask(self._model_spec(store), store.url)
            executor.run(Stage("head", keep_head, [task], on_device=True))

    def _extract(self, executor: Executor, tasks: list[ExtractTask]) -> list[Receipt]:
        stage = Stage("extract", extract_shard, tasks, overlapping=True, on_device=True)
        total = sum(self._task_rows(task) for task in tasks)
        with self.narrator.progress("Extracting", total, "prompts") as advance:
            receipts = executor.run(stage, lambda receipt: advance(receipt.rows))
        self.waiting = waiting_share(receipts)
        self.narrator.tell(f"The device waited {self.waiting:.0%} of the time")
        cut = sum(receipt.cut_batches for receipt in receipts)
        if cut:
            self.narrator.tell(
                f"Out of memory: {cut} batches were cut in two, and their last bits may differ; set "
                "cluster.batch_tokens lower next time"
            )
        return receipts

    def _task_rows(self, task: ExtractTask) -> int:
        """Forward passes that a task has to make."""
        store = self.store()
        rows = store.shards.rows(task.shard)
        return sum(
            rows.stop - rows.start - store.shards.whole_rows(name, task.shard) for name in task.templates
        )

    # --- fitting ----------------------------------------------------------------------------------

    def store(self, *, write: bool = False) -> LogitStore:
        """Open the store; raises BadInput if there is none."""
        return LogitStore.open(self.config.store_url(), write=write)

    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the subjects to fit and of those held out."""
        settings = self.config.subjects
        return split_rows(self.inputs.subjects.texts, settings.split, seed=settings.seed)

    def fit_inputs(
        self, store: LogitStore, relations: Sequence[RelationInputs] | None = None
    ) -> Iterator[FitInputs]:
        """What each relation is fitted from; those that share a source prompt come one after the other.

        Args:
            relations: others than the configuration's, of its templates.

        Raises:
            LincorrError: a subject or template is not in the store.
        """
        self._require(store)
        rows = store.rows_of(self.inputs.subjects)
        lacking = set(self.inputs.templates) - {t.name for t in store.templates()}
        if (rows < 0).any() or lacking:
            raise LincorrError(
                f"store: {store.url!r} lacks {int((rows < 0).sum()):,} of the subjects and "
                f"{len(lacking)} of the templates; run `lincorr extract` first, or name the settings that "
                "it was made with"
            )
        fit, test = self.split()
        settings, identity = self.config.fit, store.identity
        inputs = self.inputs if relations is None else replace(self.inputs, relations=tuple(relations))
        chosen = choices(settings, inputs, n_fit=len(fit), hidden=identity.hidden, linear=identity.linear)
        by_source: dict[str, list[RelationInputs]] = {}
        for relation in inputs.relations:
            by_source.setdefault(relation.relation.source.template.name, []).append(relation)
        for relation in itertools.chain.from_iterable(by_source.values()):
            yield FitInputs(
                relation=relation,
                fit_rows=rows[fit],
                test_rows=rows[test],
                choices={s: c for (name, s), c in chosen.items() if name == relation.name},  # type: ignore[misc]
                n_tokens=identity.vocabulary_size,
                rcond=settings.rcond,
                root_penalty=settings.penalty,
                memory_bytes=fit_memory(settings),
                device=settings.device,
            )

    def decompositions(self, store: LogitStore, relations: Sequence[FitInputs]) -> Decompositions:
        """Return what keeps the sources that are decomposed without workers: on a GPU of this process."""
        choices = [choice for inputs in relations for choice in inputs.choices.values()]
        needed = max((choice.worker_bytes for choice in choices if not choice.streamed), default=0)
        device = own_device(self.config.fit.device, _TEMPORARIES * needed) if needed else "cpu"
        if device != "cpu":
            self.narrator.tell("Fits in memory are done on the GPU")
        return Decompositions(store, device)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Remember how long a stage takes, in seconds."""
        began = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - began
