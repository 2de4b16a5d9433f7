"""Go on with a run of a flow that has not ended well: as a new attempt, with what is kept of the ones before."""

import logging
from typing import Any

from otelflow._core.flows.definition import Definition
from otelflow._core.policies.cache import keeping_of
from otelflow._core.policies.cache_keys import digest_of_code
from otelflow._core.policies.checkpoints import checkpoint_of
from otelflow._core.process import losses
from otelflow._core.process.program import imported_name
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import RunNotResumable

Call = tuple[tuple[Any, ...], dict[str, Any]]


def attempt_of(definition: Definition, run_id: object, flow_name: str) -> tuple[Definition, Call]:
    """Return the definition of a new attempt of the run *run_id* of the flow *flow_name*, and its arguments.

    Raises RunNotResumable, ResultUnreadable.
    """
    options = {**definition.options, "is_resumed": True}
    keeping = keeping_of(definition.target, options) if options.get("persist_result") else None
    if keeping is None:
        place = "write @flow(persist_result=True)" if definition.owner == "@flow" else "give it persist_result=True"
        raise RunNotResumable(f"flow {flow_name!r} keeps nothing of its runs: {place}")
    if not isinstance(run_id, str) or not run_id:
        raise RunNotResumable(f"the id of a run is a text such as 'flow_id__0123abcd', not {brief_repr(run_id, 60)}")
    checkpoint = checkpoint_of(keeping, run_id, imported_name(definition.code_name))
    if checkpoint.source != digest_of_code(definition.target):
        log(
            losses.logger,
            logging.WARNING,
            "flow %s: its code has changed since run %s began; tasks whose own code is the same are not run again",
            flow_name,
            run_id,
        )
    attempt = Definition(definition.owner, definition.target, options)
    attempt.name, attempt.decorated = definition.name, definition.decorated
    return attempt, (checkpoint.args, checkpoint.kwargs)
