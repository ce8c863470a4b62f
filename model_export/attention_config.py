"""Which attention mechanisms a model has, with their arguments; imports no Keras, so that its backend can still be set.

In a configuration file a mechanism is a name (`bahdanau`), or a mapping with `name` and arguments; a list holds
several, the first of which is primary. Besides the known names there is `module:Class` for a layer of one's own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, JsonValue, Tag, field_validator

from model_export.strict_model import StrictModel

# Our own choice; the originals had no limit. Every mechanism adds its memory to each row of the decoding batch and its
# matrix to each answer, so that a list which is long by mistake should not become a model.
MAX_MECHANISMS = 8
CUSTOM = "module:Class"
CUSTOM_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

Units = Annotated[int, Field(ge=0)]
ProbabilityFunction = Literal["softmax", "hardmax"]
MonotonicMode = Literal["parallel", "recursive", "hard"]
SigmoidNoise = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ScoreBias = Annotated[float, Field(allow_inf_nan=False)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class MechanismConfig(StrictModel):
    """Base: every field but `name` is a constructor argument of the mechanism.

    Attributes:
        name: of the mechanism.
    """

    name: str

    def constructor_arguments(self, model_units: int) -> dict[str, Any]:
        """Constructor arguments of the mechanism, the layer's name aside.

        Args:
            model_units: what `units` of 0 stands for.
        """
        arguments = self.model_dump(exclude={"name"})
        return arguments | {"units": arguments["units"] or model_units} if "units" in arguments else arguments


class BahdanauConfig(MechanismConfig):
    """Additive attention.

    Attributes:
        units: width of the space in which queries meet keys; 0 means the model's.
        normalize: whether the score's weights are normalised, with a gain and a bias.
        probability_fn: how scores become weights.
    """

    name: Literal["bahdanau"] = "bahdanau"
    units: Units = 0
    normalize: bool = False
    probability_fn: ProbabilityFunction = "softmax"


class LuongConfig(MechanismConfig):
    """Multiplicative attention.

    Attributes:
        units: width of the keys, which must be that of the queries; 0 means the model's.
        scale: whether a weight multiplies the scores.
        probability_fn: how scores become weights.
    """

    name: Literal["luong"] = "luong"
    units: Units = 0
    scale: bool = False
    probability_fn: ProbabilityFunction = "softmax"


class BahdanauMonotonicConfig(MechanismConfig):
    """Monotonic attention over the additive score.

    Attributes:
        units, normalize: see `BahdanauConfig`.
        sigmoid_noise: standard deviation of the noise that training adds to scores.
        score_bias_init: initial value of the scalar added to scores.
        mode: how weights are computed.
    """

    name: Literal["bahdanau_monotonic"] = "bahdanau_monotonic"
    units: Units = 0
    normalize: bool = False
    sigmoid_noise: SigmoidNoise = 0.0
    score_bias_init: ScoreBias = 0.0
    mode: MonotonicMode = "parallel"


class LuongMonotonicConfig(MechanismConfig):
    """Monotonic attention over the multiplicative score.

    Attributes:
        units, scale: see `LuongConfig`.
        sigmoid_noise, score_bias_init, mode: see `BahdanauMonotonicConfig`.
    """

    name: Literal["luong_monotonic"] = "luong_monotonic"
    units: Units = 0
    scale: bool = False
    sigmoid_noise: SigmoidNoise = 0.0
    score_bias_init: ScoreBias = 0.0
    mode: MonotonicMode = "parallel"


class KerasAttentionConfig(MechanismConfig):
    """Keras's `Attention`: nothing is projected.

    Attributes:
        use_scale: whether a weight multiplies the scores.
        score_mode: how a query is compared with a key.
        dropout: share of the weights that training drops.
    """

    name: Literal["keras_attention"] = "keras_attention"
    use_scale: bool = False
    score_mode: Literal["dot", "concat"] = "dot"
    dropout: Dropout = 0.0


class KerasAdditiveAttentionConfig(MechanismConfig):
    """Keras's `AdditiveAttention`: nothing is projected.

    Attributes:
        use_scale: whether the score has weights.
        dropout: share of the weights that training drops.
    """

    name: Literal["keras_additive_attention"] = "keras_additive_attention"
    use_scale: bool = True
    dropout: Dropout = 0.0


class CustomAttentionConfig(MechanismConfig):
    """A layer of one's own; `model_export.attention.AttentionLayer` says what it must be like.

    Attributes:
        name: `module:Class`.
        units: given to the constructor; 0 means the model's.
        options: the constructor's other arguments.
    """

    name: str = Field(pattern=f"^{CUSTOM_NAME.pattern}$")
    units: Units = 0
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def check_options(cls, options: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Rejects arguments that the model gives itself."""
        if "units" in options:
            raise ValueError("units is a field of its own, beside options")
        if "name" in options:
            raise ValueError("name is given by the model")
        return options

    def constructor_arguments(self, model_units: int) -> dict[str, Any]:
        """See `MechanismConfig`."""
        return {"units": self.units or model_units, **self.options}


_CONFIGS: dict[str, type[MechanismConfig]] = {
    "bahdanau": BahdanauConfig,
    "luong": LuongConfig,
    "bahdanau_monotonic": BahdanauMonotonicConfig,
    "luong_monotonic": LuongMonotonicConfig,
    "keras_attention": KerasAttentionConfig,
    "keras_additive_attention": KerasAdditiveAttentionConfig,
}
MECHANISM_NAMES = tuple(_CONFIGS)


def _tag_of(item: Any) -> str:
    name = item.name if isinstance(item, MechanismConfig) else item["name"]
    return name if name in _CONFIGS else CUSTOM


def _read_item(item: Any) -> Any:
    """Makes a mapping of a name, and names what is wrong with name or fields."""
    if isinstance(item, BaseModel):
        return item
    values = {"name": item} if isinstance(item, str) else item
    if not isinstance(values, dict) or not isinstance(name := values.get("name"), str):
        raise ValueError(f"{item!r} is neither a name nor a mapping with a name; names are {_known_names()}")
    if name not in _CONFIGS and not CUSTOM_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is unknown; known are {_known_names()}")
    fields = [*_CONFIGS.get(name, CustomAttentionConfig).model_fields]
    if unknown := [key for key in values if key not in fields]:
        raise ValueError(f"{name} has no field {unknown[0]!r}; it has {', '.join(fields[1:])}")
    return values


def _known_names() -> str:
    return f"{', '.join(MECHANISM_NAMES)} and {CUSTOM}"


def _read_list(value: Any) -> Any:
    if value is None or value in ([], ()):
        raise ValueError(f"names no mechanism; names are {_known_names()}")
    return value if isinstance(value, list | tuple) else [value]


AttentionConfig = Annotated[
    Annotated[BahdanauConfig, Tag("bahdanau")]
    | Annotated[LuongConfig, Tag("luong")]
    | Annotated[BahdanauMonotonicConfig, Tag("bahdanau_monotonic")]
    | Annotated[LuongMonotonicConfig, Tag("luong_monotonic")]
    | Annotated[KerasAttentionConfig, Tag("keras_attention")]
    | Annotated[KerasAdditiveAttentionConfig, Tag("keras_additive_attention")]
    | Annotated[CustomAttentionConfig, Tag(CUSTOM)],
    Discriminator(_tag_of),
    BeforeValidator(_read_item),
]
"""One mechanism, read from its name or a mapping."""

AlignerConfig = Annotated[
    Annotated[BahdanauConfig, Tag("bahdanau")] | Annotated[LuongConfig, Tag("luong")],
    Discriminator(_tag_of),
    BeforeValidator(_read_item),
]
"""A mechanism that can look at tokens one by one, in any order."""

AttentionConfigs = Annotated[
    tuple[AttentionConfig, ...], Field(min_length=1, max_length=MAX_MECHANISMS), BeforeValidator(_read_list)
]
"""The mechanisms of a model, primary first, read from one of them or a list."""
