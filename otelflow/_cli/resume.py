"""Go on with a run of a flow that has not ended well."""

from pathlib import Path

from otelflow import settings
from otelflow._cli import _targets as targets
from otelflow._cli.run import RunOptions, new_flow_of, run, say_how_to_resume
from otelflow._core.process import project_files


def resume_target(target: str, run_id: str, options: RunOptions) -> int:
    """Run the flow that *target* names as the next attempt of the run *run_id*, and return the exit code.

    Raises OtelflowError for input that cannot be run.
    """
    project_files.use_program(targets.file_of(target))  # before its settings are read
    settings.check()
    flow = new_flow_of(targets.find(target)).resume(run_id)
    flow.flow_state.expect_no_run()  # it is run next
    code = run(flow, options, service_name=Path(targets.place_of(target)).stem)
    say_how_to_resume(target, flow)
    return code
