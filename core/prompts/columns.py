"""Lists of values beside prompts, as if they were columns of the prompts' rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InvalidRequest
from ..wording import counted
from .prompt import Prompt, Settings
from .rows import Setting


def with_columns(
    prompts: Sequence[Prompt], columns: Mapping[str, Sequence[Setting]]
) -> list[Prompt]:
    """The prompts, each with its value of every list; one prompt serves for all values.

    Args:
        prompts: whose rows' own values give way.
        columns: fields of `ImageRequest`, each with its values; a list of one says nothing of rows.

    Raises:
        InvalidRequest: the lists are not of one length.
    """
    longer = {name: values for name, values in columns.items() if len(values) > 1}
    if not longer:
        return list(prompts)
    lengths = {len(values) for values in longer.values()} | ({len(prompts)} - {1})
    if len(lengths) > 1:
        said = [counted(len(prompts), "prompts")]
        said += [f"{len(values)} of {name}" for name, values in longer.items()]
        raise InvalidRequest(
            "as many values as prompts, or one prompt for all of them",
            ", ".join(said),
            "Give each list one value for every prompt, or a single one.",
        )
    (count,) = lengths
    rows = list(prompts) * (count if len(prompts) == 1 else 1)
    return [
        prompt._replace(
            settings=Settings(
                {**prompt.settings, **{name: values[place] for name, values in longer.items()}}
            )
        )
        for place, prompt in enumerate(rows)
    ]
