"""The settings of a run: values only.

Every field is one flag: ``subjects.count`` is ``--subjects-count``. The description below a field is
the text of its help and of the table in docs/configuration.md.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lincorr.model.files import ModelSpec, Precision, model_name
from lincorr.prompts.tokens import TokenClass
from pipeline.config.remembered import task_of

# Settings that are paths, or may be: in them ~ and variables of the environment are expanded.
LISTS_OF_PATHS = ("catalogue", "cluster.tls")
PATHS = (
    *("model.source", "model.adapter", "model.cache", "source_answers", "target_answers"),
    *("subjects.file", "store.path", "cluster.spec", "report.folder"),
    *LISTS_OF_PATHS,
)


_MOST_WORKERS = 10_000


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def words(value: Any) -> Any:
    """Accept ``a,b`` for a list, as flags give it; a comma at its end adds nothing."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class ModelSettings(Section):
    """The language model."""

    source: str = Field(
        description="Hub id, local folder, .gguf file, or package:name/file.gguf inside an installed package."
    )
    revision: str | None = Field(None, description="Revision of a hub id.")
    adapter: str | None = Field(
        None, description="LoRA adapter (peft) on the model: local folder or hub id; extra `lora`."
    )
    dtype: Precision = Field(
        "auto", description="Precision of the weights; auto: float32 on a CPU, bfloat16 on a GPU."
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$", description="cpu, cuda, cuda:N, or auto."
    )
    trust_remote_code: bool = Field(False, description="Run the code that comes with the model.")
    cache: str | None = Field(
        None, description="Folder for converted models; default: the user's cache folder (XDG)."
    )

    def spec(self) -> ModelSpec:
        """Return the same values as they are sent to workers."""
        return ModelSpec(**self.model_dump())


class SubjectSettings(Section):
    """The subjects, which fill the slot of the templates."""

    kind: Literal["vocabulary", "tokens", "strings"] = Field(
        "vocabulary",
        description="vocabulary tokens, token ids from a file, or strings from a file.",
    )
    count: Annotated[int, Field(ge=4)] | Literal["all"] = Field(
        1000, description="Number of vocabulary tokens, drawn without replacement, or all."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the draw and of the grouped split.")
    classes: Annotated[tuple[TokenClass, ...], BeforeValidator(words)] = Field(
        ("text",), description="Token classes to draw from: text, blank, byte, added, special."
    )
    file: Path | None = Field(
        None, description="File of token ids or strings, one per line (kinds tokens and strings)."
    )
    compat: Literal["none", "notebook"] = Field(
        "none",
        description="notebook: raw vocabulary spellings drawn with replacement, as in the notebook.",
    )
    split: Literal["grouped", "even-odd"] = Field(
        "grouped",
        description="grouped: a seeded half, equal stripped texts on the same side; even-odd: as in the "
        "notebook.",
    )


class StoreSettings(Section):
    """Where and how logits are stored."""

    path: str | None = Field(
        None,
        description="Folder or URL (s3://, gs://) of the Zarr store; default: runs/<model>.zarr.",
    )
    precision: Literal["float32", "float16"] = Field(
        "float32", description="Precision of stored logits and hidden states."
    )
    hidden: bool | None = Field(
        None,
        description="Store the hidden state that enters the output head; default: if the head is linear.",
    )
    logits: Literal["answers", "all"] = Field(
        "answers",
        description="Logits to store: those of the answers, or of the full vocabulary.",
    )
    shard_rows: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Subjects in a shard, the unit of work and of commit; default: 512, on a GPU 4096.",
    )


class ClusterSettings(Section):
    """Where workers run."""

    kind: Literal["local", "serial", "address", "gpus", "ssh", "slurm", "kubernetes"] = Field(
        "local",
        description="local: worker processes; serial: in this process; address: a running scheduler; gpus: "
        "one worker per GPU of this machine; ssh: hosts; slurm: jobs; kubernetes: pods.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=_MOST_WORKERS,
        description="Number of workers; default: by cores and memory, or one where the model runs on a GPU "
        "(local); one per GPU (gpus); one job (slurm); what the resource says (kubernetes).",
    )
    minimum: int | None = Field(
        None,
        ge=1,
        le=_MOST_WORKERS,
        description="Adaptive cluster: fewest workers (local, slurm, kubernetes); default: 1.",
    )
    maximum: int | None = Field(
        None,
        ge=1,
        le=_MOST_WORKERS,
        description="Adaptive cluster: most workers; their number follows the work.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="Compute threads per worker; default: its share of the cores."
    )
    wait: float = Field(
        10,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        description="Minutes without any worker, at the start or later, after which the run stops; the same "
        "command resumes it.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Tokens per forward pass; fixed in a store; default: tried out.",
    )
    address: str | None = Field(
        None, description="Address of a scheduler (address), tcp://host:port or tls://."
    )
    host: str | None = Field(
        None,
        description="Address on which scheduler and dashboard listen; default: 127.0.0.1, with ssh the "
        "first host; slurm needs one that its nodes can reach.",
    )
    tls: Annotated[tuple[Path, ...] | None, BeforeValidator(words)] = Field(
        None,
        description="Encrypt and authenticate: folder with ca.pem, cert.pem and key.pem, or these three "
        "paths.",
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        (), description="Machines (ssh), one worker each; the first also runs the scheduler."
    )
    gpus: int | None = Field(
        None, ge=1, le=1024, description="GPUs per job (slurm) or host (ssh), with one worker per GPU."
    )
    gpus_per_worker: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of a worker: with several, the model is spread over them, layer by layer; a job "
        "(slurm) or host (ssh) then has one worker.",
    )
    pool: str | None = Field(None, description="Memory pool of each GPU (gpus), such as 20GB; default: none.")
    protocol: Literal["tcp", "ucx"] = Field("tcp", description="Protocol between workers (gpus): tcp or ucx.")
    queue: str | None = Field(None, description="SLURM partition.")
    walltime: str | None = Field(None, description="Time limit of a SLURM job, such as 04:00:00.")
    memory: str | None = Field(None, description="Memory of a SLURM job, such as 64GB.")
    cpus: int | None = Field(None, ge=1, le=1024, description="Cores of a SLURM job.")
    directives: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        (), description="Further #SBATCH options, such as --constraint=a100."
    )
    spec: Path | None = Field(None, description="File with the DaskCluster resource (kubernetes).")

    @property
    def workers_per_job(self) -> int:
        """Workers of a SLURM job: one for each GPU, or one that has them all."""
        return 1 if self.gpus_per_worker > 1 else self.gpus or 1

    def tls_files(self) -> tuple[Path, Path, Path]:
        """Return the paths of authority, certificate and key."""
        given = self.tls or ()
        if len(given) == 1:
            return given[0] / "ca.pem", given[0] / "cert.pem", given[0] / "key.pem"
        authority, certificate, key = given
        return authority, certificate, key


class FitSettings(Section):
    """How W is fitted."""

    rcond: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Keep singular values above rcond times the largest; default: above storage noise.",
    )

    method: Literal["auto", "direct", "factored", "gram", "dual", "lowrank", "tiled"] = Field(
        "auto", description="Solver of every fit; auto chooses by size and says why (see `lincorr plan`)."
    )
    penalty: float | None = Field(
        None,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Penalty of the ridge fits as √λ/σ₁; default: chosen by leave-one-out (tiled: 0.003).",
    )
    memory: float | None = Field(
        None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Memory of a worker while fitting, in GB; default: half of what is available to this "
        "process, or with slurm a worker's share of cluster.memory.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where fits compute; auto: on a GPU if there is one and CuPy is installed; cuda: "
        "out-of-core fits refuse workers without a GPU.",
    )


class ReportSettings(Section):
    """What the report shows."""

    folder: Path | None = Field(
        None,
        description="Folder of the report, where only what a report wrote is replaced; default: "
        "<store>-report, beside the store.",
    )
    sources: int = Field(20, ge=1, le=10_000, description="Well-known sources in tables and the heatmap.")


class RunConfig(Section):
    """All settings of a run."""

    model: Annotated[ModelSettings, BeforeValidator(lambda v: {"source": v} if isinstance(v, str) else v)]
    relations: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        ("city-country",),
        description="Relations to fit: names, all, family:NAME, NAME.* (every wording) or NAME.*-* (every "
        "wording of the source with every wording of the target); see `lincorr relations list`.",
    )
    wordings: Literal["paper", "chosen", "all"] = Field(
        "paper",
        description="paper: relations in their first wording; chosen: fitted in every wording, and shown in "
        "the one of the best leave-one-out r, beside the first; all: every wording is shown.",
    )
    catalogue: Annotated[tuple[Path, ...], BeforeValidator(words)] = Field(
        (), description="YAML files with your own templates and relations."
    )
    source_answers: Path | None = Field(
        None, description="Your own list of source answers (JSON, CSV or text), for every relation."
    )
    target_answers: Path | None = Field(
        None, description="Your own list of target answers (JSON, CSV or text), for every relation."
    )
    multi_token: bool = Field(
        False,
        description="Answers of several tokens count, too: in maps by their first token, where no other "
        "answer begins with it; asked outright by all their tokens.",
    )
    subjects: SubjectSettings = SubjectSettings()
    store: Annotated[StoreSettings, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = (
        StoreSettings()
    )
    cluster: ClusterSettings = ClusterSettings()
    fit: FitSettings = FitSettings()
    report: ReportSettings = ReportSettings()

    def model_spec(self) -> ModelSpec:
        """Return the model as it is sent to workers, which spread it over their GPUs."""
        return replace(self.model.spec(), gpus=self.cluster.gpus_per_worker)

    def to_remember(self) -> dict[str, Any]:
        """Return the settings that a store remembers, as JSON values: of the task, not of where it ran."""
        remembered = task_of(self.model_dump(mode="json"))
        remembered["catalogue"] = [str(path.absolute()) for path in self.catalogue]
        for name in ("source_answers", "target_answers"):
            path = getattr(self, name)
            remembered[name] = None if path is None else str(path.absolute())
        for name in ("source", "adapter"):
            value = remembered["model"][name]
            if value is not None and Path(value).exists():
                remembered["model"][name] = str(Path(value).absolute())
        file = self.subjects.file
        remembered["subjects"]["file"] = None if file is None else str(file.absolute())
        return remembered

    def store_url(self) -> str:
        """Return the store's location: a folder or a URL."""
        name = model_name(self.model.spec().described) or "store"
        return self.store.path or f"runs/{name}.zarr"

    def report_folder(self) -> Path:
        """Return the folder of the report."""
        if self.report.folder is not None:
            return self.report.folder
        url = self.store_url()
        name = url.rstrip("/").removesuffix(".zarr") + "-report"
        return Path(name.rpartition("/")[2] if "://" in url else name)
