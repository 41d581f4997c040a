"""The settings of a run: values only.

Every field is one flag: ``subjects.count`` is ``--subjects-count``. The description below a field is
the text of its help and of the table in docs/configuration.md.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lincorr.model.files import ModelSpec, Precision, model_name
from lincorr.prompts.tokens import TokenClass


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _words(value: Any) -> Any:
    """Accept ``a,b`` for a list, as flags give it."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class ModelSettings(Section):
    """Which language model is asked."""

    source: str = Field(
        description="Hub id, local folder, .gguf file, or package:name/file.gguf inside an installed package."
    )
    revision: str | None = Field(None, description="Revision of a hub id.")
    adapter: str | None = Field(
        None, description="LoRA adapter (peft) on the model: local folder or hub id; extra `lora`."
    )
    dtype: Precision = Field(
        "auto", description="Precision of the weights; auto is float32 on CPU, bfloat16 on GPU."
    )
    device: str = Field("auto", description="cpu, cuda, or auto.")
    trust_remote_code: bool = Field(False, description="Run model code that comes with the download.")
    cache: str | None = Field(
        None, description="Folder for converted models; default is the user's cache folder (XDG)."
    )

    def spec(self) -> ModelSpec:
        """The same values, as what is sent to workers."""
        return ModelSpec(**self.model_dump())


class SubjectSettings(Section):
    """What fills the slot of the templates."""

    kind: Literal["vocabulary", "tokens", "strings"] = Field(
        "vocabulary",
        description="vocabulary tokens, token ids from a file, or strings from a file.",
    )
    count: Annotated[int, Field(ge=4)] | Literal["all"] = Field(
        1000, description="How many vocabulary tokens, drawn without replacement, or all."
    )
    seed: int = Field(0, ge=0, description="Seed of the draw and of the grouped split.")
    classes: Annotated[tuple[TokenClass, ...], BeforeValidator(_words)] = Field(
        ("text",), description="Token classes to draw from: text, blank, byte, added, special."
    )
    file: Path | None = Field(
        None, description="File of token ids or strings, one a line (kinds tokens and strings)."
    )
    compat: Literal["none", "notebook"] = Field(
        "none",
        description="notebook pastes raw vocabulary spellings, with replacement, as the notebook does.",
    )
    split: Literal["grouped", "even-odd"] = Field(
        "grouped",
        description="grouped: a seeded half, equal stripped texts on one side; even-odd: as the notebook.",
    )


class StoreSettings(Section):
    """Where logits are kept, and how."""

    path: str | None = Field(
        None,
        description="Folder or URL (s3://, gs://) of the Zarr store; default runs/<model>.zarr.",
    )
    precision: Literal["float32", "float16"] = Field(
        "float32", description="Precision of stored logits and hidden states."
    )
    hidden: bool | None = Field(
        None,
        description="Keep the state that enters the output head; default: if the head is linear.",
    )
    logits: Literal["answers", "all"] = Field(
        "answers",
        description="Logits to keep beside it: of the answers, or of the full vocabulary.",
    )
    shard_rows: int | None = Field(
        None,
        ge=1,
        description="Subjects in a shard, the unit of work and of commit; default 256, 4096 on a GPU.",
    )


class ClusterSettings(Section):
    """Where the work runs."""

    kind: Literal["local", "serial", "address", "gpus", "ssh", "slurm", "kubernetes"] = Field(
        "local",
        description="local worker processes, serial in this process, a scheduler's address, a worker for "
        "each of this machine's gpus, ssh to hosts, slurm jobs, kubernetes pods.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="Worker processes; default by cores and memory, or one where the model runs on a GPU "
        "(local), one a GPU (gpus), else one job or what the resource says.",
    )
    minimum: int | None = Field(
        None, ge=1, description="Adaptive: fewest workers (local, slurm, kubernetes); default 1."
    )
    maximum: int | None = Field(
        None, ge=1, description="Adaptive: most workers; they come and go with the work."
    )
    threads: int | None = Field(
        None, ge=1, description="Compute threads of a worker; default its share of the cores."
    )
    batch_tokens: int | None = Field(
        None, ge=1, description="Tokens in a forward pass; fixed in a store; default: tried out."
    )
    address: str | None = Field(
        None, description="Address of a scheduler (address), tcp://host:port or tls://."
    )
    host: str | None = Field(
        None,
        description="Address that scheduler and dashboard listen on; default 127.0.0.1, for ssh the first "
        "host; slurm needs one that its nodes reach.",
    )
    tls: Annotated[tuple[Path, ...] | None, BeforeValidator(_words)] = Field(
        None,
        description="Encrypt and authenticate: folder of ca.pem, cert.pem and key.pem, or these three paths.",
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        (), description="Machines of kind ssh, a worker each; the first also has the scheduler."
    )
    gpus: int | None = Field(
        None, ge=1, description="GPUs of a job (slurm) or a host (ssh): one worker a GPU."
    )
    pool: str | None = Field(None, description="Memory pool of a GPU (gpus), as 20GB; default: none.")
    protocol: Literal["tcp", "ucx"] = Field("tcp", description="Between workers on gpus: tcp or ucx.")
    queue: str | None = Field(None, description="Partition of SLURM.")
    walltime: str | None = Field(None, description="Time limit of a SLURM job, as 04:00:00.")
    memory: str | None = Field(None, description="Memory of a SLURM job, as 64GB.")
    cpus: int | None = Field(None, ge=1, description="Cores of a SLURM job.")
    directives: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        (), description="More #SBATCH options, as --constraint=a100."
    )
    spec: Path | None = Field(None, description="File with the DaskCluster resource (kubernetes).")

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
        allow_inf_nan=False,
        description="Penalty of the ridge fits as √λ/σ₁; default: chosen by leave-one-out (tiled: 0.003).",
    )
    memory: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Memory of a worker while fitting, in GB; default: half of what is free.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where fits compute: auto is a GPU where one is seen and CuPy is installed; cuda has "
        "fits that stream refuse workers without.",
    )


class ReportSettings(Section):
    """What is shown."""

    folder: Path | None = Field(
        None, description="Folder of the report; default beside the store, <store>-report."
    )
    sources: int = Field(20, ge=1, description="Well-known sources in tables and the heatmap.")


class RunConfig(Section):
    """All settings of a run."""

    model: Annotated[ModelSettings, BeforeValidator(lambda v: {"source": v} if isinstance(v, str) else v)]
    relations: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        ("city-country",),
        description="Relations to fit: names, all, family:NAME, or NAME.* (every wording); see "
        "`lincorr relations list`.",
    )
    catalogue: Annotated[tuple[Path, ...], BeforeValidator(_words)] = Field(
        (), description="YAML files with templates and relations of your own."
    )
    source_answers: Path | None = Field(
        None, description="Own list of source answers (JSON, CSV or text), for every relation."
    )
    target_answers: Path | None = Field(
        None, description="Own list of target answers (JSON, CSV or text), for every relation."
    )
    subjects: SubjectSettings = SubjectSettings()
    store: Annotated[StoreSettings, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = (
        StoreSettings()
    )
    cluster: ClusterSettings = ClusterSettings()
    fit: FitSettings = FitSettings()
    report: ReportSettings = ReportSettings()

    def to_remember(self) -> dict[str, Any]:
        """Return what a store remembers of a run, as JSON values: what was asked, not where it ran."""
        kept = self.model_dump(mode="json", exclude={"store", "cluster", "report"})
        kept["catalogue"] = [str(path.absolute()) for path in self.catalogue]
        for name in ("source_answers", "target_answers"):
            path = getattr(self, name)
            kept[name] = None if path is None else str(path.absolute())
        file = self.subjects.file
        kept["subjects"]["file"] = None if file is None else str(file.absolute())
        return kept

    def store_url(self) -> str:
        """Where the store is."""
        name = model_name(self.model.spec().described) or "store"
        return self.store.path or f"runs/{name}.zarr"

    def report_folder(self) -> Path:
        """Where the report goes."""
        if self.report.folder is not None:
            return self.report.folder
        url = self.store_url()
        name = url.rstrip("/").removesuffix(".zarr") + "-report"
        return Path(name.rpartition("/")[2] if "://" in url else name)
