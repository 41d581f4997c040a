"""The configuration of a run: values only, from one YAML file and flags of the same names.

Every field is one flag: ``subjects.count`` is ``--subjects-count``. The description below a field is
the text of its help and of the table in docs/configuration.md.
"""

import copy
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lincorr.errors import BadInput
from lincorr.model.files import ModelSpec, Precision, model_name
from lincorr.prompts.tokens import TokenClass
from lincorr.strict import load_strict


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


# Settings of the cluster that belong to some kinds only.
_KINDS_WITH = {
    "address": ("address",),
    "host": ("local", "gpus", "ssh", "slurm"),
    "tls": ("local", "address", "gpus", "ssh", "slurm"),
    "hosts": ("ssh",),
    "gpus": ("ssh", "slurm"),
    "pool": ("gpus",),
    "protocol": ("gpus",),
    "minimum": ("local", "slurm", "kubernetes"),
    "maximum": ("local", "slurm", "kubernetes"),
    "queue": ("slurm",),
    "walltime": ("slurm",),
    "memory": ("slurm",),
    "cpus": ("slurm",),
    "directives": ("slurm",),
    "spec": ("kubernetes",),
}
# What a kind cannot do without, and why.
_NEEDS = {
    "address": {"address": "the scheduler's address"},
    "ssh": {"hosts": "the machines to use"},
    "slurm": {
        "host": "an address of this machine that SLURM's nodes reach",
        "cpus": "the cores of a job",
        "memory": "the memory of a job",
    },
    "kubernetes": {"spec": "a file with the DaskCluster resource"},
}


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


def settings() -> dict[str, tuple[str, Any]]:
    """Return every leaf setting: dotted name -> (description, default)."""
    leaves: dict[str, tuple[str, Any]] = {}
    for name, field in RunConfig.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            leaves[name] = (field.description or "", field.default)
            continue
        for inner, leaf in section.model_fields.items():
            default = None if leaf.is_required() else leaf.default
            leaves[f"{name}.{inner}"] = (leaf.description or "", default)
    return leaves


def forms() -> dict[str, str]:
    """Return how every leaf setting is written as a flag: its choices, or what kind of value it takes."""
    found: dict[str, str] = {}
    for name, field in RunConfig.model_fields.items():
        section = _section(field.annotation)
        leaves = {name: field} if section is None else section.model_fields
        prefix = "" if section is None else f"{name}."
        found |= {prefix + leaf: "|".join(_form(inner.annotation)) for leaf, inner in leaves.items()}
    return found


_FORMS = {bool: "true|false", int: "INTEGER", float: "NUMBER", Path: "PATH"}


def _form(annotation: Any) -> list[str]:
    """The ways to write a value of this type; None is left out, as it is the default where it is one."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if origin is Annotated:
        return _form(get_args(annotation)[0])
    if origin is tuple:
        return ["|".join(_form(get_args(annotation)[0])) + ",..."]
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return list(dict.fromkeys(form for part in parts for form in _form(part)))
    return [_FORMS.get(annotation, "TEXT")]


def load_config(
    path: Path | None, overrides: Mapping[str, str], remembered: Mapping[str, Any] | None = None
) -> RunConfig:
    """Read a YAML file and override it by flags.

    Args:
        remembered: settings to begin with where there is no file: those that a store was made with.
        overrides: dotted setting -> value as text; "null" takes a value back.

    Raises:
        BadInput: the file cannot be read, or a setting is unknown, missing or wrong.
    """
    values = copy.deepcopy(dict(remembered or {})) if path is None else _read_yaml(path)
    if "templates" in values or isinstance(values.get("relations"), dict):
        raise BadInput(f"configuration: {path} is a catalogue of relations; give it with --catalogue")
    for name, section in RunConfig.model_fields.items():
        if isinstance(values.get(name), str) and _section(section.annotation) is not None:
            values[name] = {"source" if name == "model" else "path": values[name]}
    for setting, text in overrides.items():
        section_name, _, leaf = setting.rpartition(".")
        target = values.setdefault(section_name, {}) if section_name else values
        if not isinstance(target, dict):
            raise BadInput(
                f"{section_name}: {target!r} is no section; write `{section_name}:` and its settings below"
            )
        target[leaf] = _flag_value(text)
    if "model" not in values:
        raise BadInput("model: no model is named; give --model, or model: in the configuration")
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as problem:
        raise BadInput(_first_error(problem, path)) from None
    _refuse_contradictions(config)
    return config


def _section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, Section)]
    return found[0] if found else None


def _flag_value(text: str) -> Any:
    """Read null and lists as YAML; all else stays text, so that a name such as 2024 is a name."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    return value if value is None or isinstance(value, list) else text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = load_strict(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(f"configuration: {path} cannot be read ({problem})") from None
    except yaml.YAMLError as problem:
        where = getattr(problem, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        what = getattr(problem, "problem", None) or "it cannot be parsed"
        raise BadInput(f"configuration: {path}{line} is no valid YAML: {what}") from None
    except (ValueError, RecursionError) as problem:  # such as the date 2026-13-01
        raise BadInput(f"configuration: {path} is no valid YAML ({problem})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"configuration: {path} must hold settings, such as `model: folder`")
    return values


def _first_error(problem: ValidationError, path: Path | None) -> str:
    error = problem.errors()[0]
    parts = [str(part) for part in error["loc"] if isinstance(part, str)]
    known = settings()
    name = next(
        (".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known),
        ".".join(parts),
    )
    where = f"{path}: " if path else ""
    if error["type"] == "extra_forbidden":
        names = [*known, *RunConfig.model_fields]
        near = difflib.get_close_matches(".".join(parts), names, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else "; see docs/configuration.md"
        return f"{where}{'.'.join(parts)}: there is no such setting{hint}"
    value = error["input"]
    return f"{where}{name}: {value!r} is refused: {error['msg'].lower()}"


def _refuse_contradictions(config: RunConfig) -> None:
    subjects, cluster = config.subjects, config.cluster
    if subjects.kind != "vocabulary" and subjects.file is None:
        raise BadInput(f"subjects.file: subjects.kind {subjects.kind} needs a file")
    if subjects.kind == "vocabulary" and subjects.file is not None:
        raise BadInput("subjects.file: subjects.kind vocabulary reads no file; use kind tokens or strings")
    if subjects.compat == "notebook" and (subjects.kind != "vocabulary" or subjects.count == "all"):
        raise BadInput(
            "subjects.compat: notebook draws from the vocabulary; it needs subjects.kind vocabulary and "
            "a subjects.count"
        )
    _refuse_contradictions_of(cluster)
    if not config.relations:
        raise BadInput("relations: the list is empty; name at least one relation")
    _refuse_credentials("store.path", config.store.path)
    _refuse_credentials("cluster.address", cluster.address)


def _refuse_contradictions_of(cluster: ClusterSettings) -> None:
    for name, kinds in _KINDS_WITH.items():
        given = getattr(cluster, name) != ClusterSettings.model_fields[name].default
        if given and cluster.kind not in kinds:
            raise BadInput(
                f"cluster.{name}: cluster.kind {cluster.kind} has no use for it; leave it out, or use kind "
                f"{' or '.join(kinds)}"
            )
    for name, what in _NEEDS.get(cluster.kind, {}).items():
        if not getattr(cluster, name):
            raise BadInput(f"cluster.{name}: cluster.kind {cluster.kind} needs {what}")
    if cluster.kind == "ssh" and cluster.workers is not None:
        raise BadInput("cluster.workers: cluster.kind ssh has a worker a host; name a host twice for two")
    if cluster.tls is not None and len(cluster.tls) not in (1, 3):
        raise BadInput("cluster.tls: give a folder, or three paths: authority, certificate, key")
    if cluster.tls is not None and cluster.protocol == "ucx":
        raise BadInput("cluster.protocol: ucx is not encrypted; use tcp, or leave cluster.tls out")
    address = cluster.address or ""
    if cluster.tls is None and address.startswith("tls://"):
        raise BadInput(f"cluster.tls: {address} wants a certificate; give a folder or three paths")
    if cluster.tls is not None and "://" in address and not address.startswith("tls://"):
        raise BadInput(f"cluster.address: {address} is not encrypted; write tls://, or leave cluster.tls out")
    if cluster.minimum is not None and cluster.maximum is None:
        raise BadInput("cluster.minimum: an adaptive cluster needs cluster.maximum, too")
    if cluster.maximum is not None:
        if cluster.workers is not None:
            raise BadInput("cluster.workers: give a fixed number, or cluster.minimum and cluster.maximum")
        if cluster.maximum < (cluster.minimum or 1):
            raise BadInput(
                f"cluster.maximum: {cluster.maximum} is less than cluster.minimum {cluster.minimum}"
            )


def _refuse_credentials(name: str, url: str | None) -> None:
    """Refuse a URL with a password: it would be shown and remembered."""
    if url and "://" in url and "@" in url.partition("://")[2].partition("/")[0]:
        raise BadInput(f"{name}: a URL must hold no user or password; give them through the environment")
