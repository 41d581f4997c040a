"""How many answers of each relation have a column in a model's vocabulary, and of which kind."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from lincorr.prompts.columns import Columns, find_columns
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import prompt_template
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Relation, Side
from pipeline.config import RunConfig
from pipeline.prepare.prepare import open_tokenizer
from pipeline.prepare.relations import truth_in_tokens


@dataclass(frozen=True, slots=True)
class SideCoverage:
    """One side of a relation.

    Attributes:
        template, text: its prompt.
        columns: number of distinct tokens that stand for answers.
        whole, phrase, subword: numbers of answers (see `lincorr.prompts.columns.Coverage`).
    """

    template: str
    text: str
    columns: int
    whole: int
    phrase: int
    subword: int


@dataclass(frozen=True, slots=True)
class RelationCoverage:
    """The answers of one relation.

    Attributes:
        name, family: of the relation.
        source, target: its two sides.
        truth: number of sources with a known target, as the ground truth counts them; None without one.
    """

    name: str
    family: str
    source: SideCoverage
    target: SideCoverage
    truth: int | None

    @property
    def fits(self) -> bool:
        """Whether both sides have a column, as a fit needs."""
        return bool(self.source.columns and self.target.columns)

    def as_document(self) -> dict[str, object]:
        """The coverage as JSON values."""
        return asdict(self) | {"fits": self.fits}


def coverage(config: RunConfig, tell: Callable[[str], None] = lambda _: None) -> list[RelationCoverage]:
    """Count the answers of the configured relations in the model's vocabulary, without reading weights.

    Raises:
        BadInput: a catalogue file or a relation's name is wrong, or the tokenizer merges a template with its
            subject.
    """
    catalogue = load_catalogue(config.catalogue)
    names = catalogue.select(config.relations)
    _, tokenizer = open_tokenizer(config, tell)
    return [_relation(catalogue.relation(name), tokenizer, config) for name in names]


def _relation(relation: Relation, tokenizer: Tokenizer, config: RunConfig) -> RelationCoverage:
    source, target = (
        _columns(side, tokenizer, multi_token=config.multi_token)
        for side in (relation.source, relation.target)
    )
    truth = len(truth_in_tokens(relation, source, target)) if relation.truth else None
    return RelationCoverage(
        relation.name, relation.family, _side(relation.source, source), _side(relation.target, target), truth
    )


def _columns(side: Side, tokenizer: Tokenizer, *, multi_token: bool) -> Columns:
    prompt_template(tokenizer, side.template.text)  # refuse what cannot be spliced
    return find_columns(tokenizer, side.answers, side.template.gap, multi_token=multi_token)


def _side(side: Side, columns: Columns) -> SideCoverage:
    return SideCoverage(
        side.template.name, side.template.text, len(columns), **columns.coverage().as_counts()
    )
