"""Go on with a run of a flow that has not ended well."""

from otelflow._cli import _targets as targets
from otelflow._cli.run import RunOptions, new_flow_of, read_settings, run, say_how_to_resume, service_name_of


def resume_target(target: str, run_id: str, options: RunOptions) -> int:
    """Run the flow that *target* names as the next attempt of the run *run_id*, and return the exit code.

    Raises OtelflowError for input that cannot be run.
    """
    read_settings(target)
    flow = new_flow_of(targets.find(target)).resume(run_id)
    flow.flow_state.expect_no_run()  # it is run next
    code = run(flow, options, service_name=service_name_of(target))
    say_how_to_resume(target, flow)
    return code
