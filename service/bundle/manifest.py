"""What `manifest.json` says: the format of a model bundle, version 1.

Only form is checked here; `service.bundle.verification` checks that the parts agree with each other and the files.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from service.domain import AlignmentRule, Mechanism, SpecialIds
from service.findings import DEFAULT_OMISSION_RULE, OmissionRule

FORMAT_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
UNNAMED_MECHANISM: Final = "unnamed"
ALIGNER_SUFFIX: Final = "_aligner"
"""How names of mechanisms end that only align, and have no part in translating."""

# A bundle is one flat directory: no separators, no leading dot, so no name leads out of it.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\z")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\z", max_length=100)]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\z")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
DataType = Literal["int32", "int64", "float32", "bool"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FileEntry(_Part):
    """A file's fingerprint: SHA-256 as lower-case hexadecimal, and size in bytes."""

    sha256: Sha256
    size: int = Field(ge=0)


class SpecialTokenIds(_Part):
    """Ids of the special tokens."""

    pad: int = Field(ge=0)
    bos: int = Field(ge=0)
    eos: int = Field(ge=0)
    unk: int = Field(ge=0)


class TokenizerInfo(_Part):
    """The SentencePiece model, and the version of the text normalisation that it was trained behind."""

    file: FileName
    vocabulary_size: int = Field(ge=1)
    normalization: str
    special_ids: SpecialTokenIds


class TensorSpec(_Part):
    """A graph's input or output; a dimension is a number, or a name where it varies."""

    name: str
    dtype: DataType
    shape: tuple[int | str, ...]


class GraphTensors(_Part):
    """All inputs and outputs of one graph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Tensors(_Part):
    """The tensors of both graphs; the same in every precision."""

    encoder: GraphTensors
    decoder_step: GraphTensors


class PrecisionVariant(_Part):
    """The graphs of one precision, and how far they were from the trained model at export."""

    encoder: FileName
    decoder_step: FileName
    parity: dict[str, float] = {}


class MechanismInfo(_Part):
    """An attention mechanism of the model; the fields are those of `service.domain.Mechanism`."""

    name: str = Field(min_length=1)
    normalized: bool
    row_offset: int = Field(default=0, ge=0, le=1)


class AlignmentInfo(_Part):
    """How attention becomes links, as it was tuned for this model; the defaults are those of older bundles.

    The fields are those of `service.domain.AlignmentRule`.
    """

    threshold: float = Field(0.1, gt=0, le=1)
    relative_threshold: float = Field(1.0, ge=0, le=1)
    remaining_threshold: float | None = Field(None, gt=0, le=1)

    @property
    def rule(self) -> AlignmentRule:
        """The rule, as the service takes it."""
        return AlignmentRule(self.threshold, self.relative_threshold, self.remaining_threshold)


class OmissionInfo(_Part):
    """What speaks for a word's having been left out, as it was tuned for this model.

    The fields are those of `service.findings.OmissionRule`.
    """

    unattended_below: float = Field(DEFAULT_OMISSION_RULE.unattended_below, gt=0)
    expected_from: float = Field(DEFAULT_OMISSION_RULE.expected_from, ge=0)

    @property
    def rule(self) -> OmissionRule:
        """The rule, as the service takes it."""
        return OmissionRule(self.unattended_below, self.expected_from)


class TrainingData(_Part):
    """A corpus the model was trained on."""

    name: str
    pairs: int = Field(ge=0)
    licence: str
    attribution: str
    source: str


class Training(_Part):
    """How the model was trained; `remarks` tells what the configuration cannot."""

    config: dict[str, JsonValue]
    data: tuple[TrainingData, ...]
    remarks: str = ""


class Score(_Part):
    """A measured quality figure, with all that is needed to measure it again.

    `precision` is empty where no graphs had part in it: figures of links that another aligner found.
    """

    metric: str
    value: float
    signature: str
    data: str
    precision: str
    beam_size: int | None = None
    command: str


class Manifest(_Part):
    """The whole manifest.

    Attributes:
        architecture: the model's configuration; `attention_mechanism` names the primary mechanism.
        normalized: whether every attention row of the primary mechanism sums to 1.
        mechanisms: all mechanisms, the primary first; empty in older bundles, which have one. Read
            `attention_mechanisms`, which knows both.
        memory, state: base names of the tensors that hold the encoded sentence and the decoder's state. The encoder
            gives each memory tensor and `initial_<state>`; the step takes them and gives `next_<state>`. Monotonic
            mechanisms have their last alignments (rows, source_len) in the state.
        max_source_tokens: the longest source the model was made for, end of sentence included.
        preferred_source_tokens: the longest source that it translates better whole than in parts, likewise; None, as in
            older bundles, if that is `max_source_tokens`.
        alignment: how attention becomes links.
        omission: what attention speaks for a word's having been left out.
        error_analysis: known weaknesses, as people found them who read what the model wrote; empty if nobody did.
        files: every other file of the bundle.
        versions: the packages that produced it.
    """

    format_version: Literal[1]
    name: ModelName
    source_language: LanguageCode
    target_language: LanguageCode
    architecture: dict[str, JsonValue]
    normalized: bool
    mechanisms: tuple[MechanismInfo, ...] = ()
    tokenizer: TokenizerInfo
    tensors: Tensors
    memory: tuple[str, ...] = Field(min_length=1)
    state: tuple[str, ...] = Field(min_length=1)
    precisions: dict[str, PrecisionVariant] = Field(min_length=1)
    files: dict[FileName, FileEntry]
    max_source_tokens: int = Field(ge=1)
    preferred_source_tokens: int | None = Field(None, ge=2)
    alignment: AlignmentInfo = AlignmentInfo()
    omission: OmissionInfo = OmissionInfo()
    training: Training
    scores: tuple[Score, ...] = ()
    error_analysis: str = ""
    versions: dict[str, str] = {}

    @property
    def special_ids(self) -> SpecialIds:
        """The special token ids, as search takes them."""
        ids = self.tokenizer.special_ids
        return SpecialIds(pad=ids.pad, bos=ids.bos, eos=ids.eos, unk=ids.unk)

    @property
    def attention_mechanisms(self) -> tuple[Mechanism, ...]:
        """All attention mechanisms, at least one, the primary first."""
        if self.mechanisms:
            return tuple(Mechanism(each.name, each.normalized, each.row_offset) for each in self.mechanisms)
        name = self.architecture.get("attention_mechanism", UNNAMED_MECHANISM)
        return (Mechanism(str(name), self.normalized),)
