"""Every name that otelflow writes into telemetry; others depend on them, so each is written once."""

from typing import Final

# Instrumentation scope
SCOPE: Final = "otelflow"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# Span names: low cardinality; ids and indexes are attributes
FLOW_SPAN: Final = "flow "  # and the name of the flow
TASK_SPAN: Final = "task "
ATTEMPT_SPAN: Final = "attempt "  # of a flow or task that has retries, and its name
MAP_SPAN: Final = "map "  # and the name of the task
FLOW_STARTED_SPAN: Final = "flow started "  # a marker, and the name of the flow

# Spans
FLOW_NAME: Final = "otelflow.flow.name"
FLOW_RUN_ID: Final = "otelflow.flow.run.id"
FLOW_RUN_NAME: Final = "otelflow.flow.run.name"
FLOW_TASKS_FAILED: Final = "otelflow.flow.tasks.failed"
FLOW_FAILED_IN: Final = "otelflow.flow.failed_in"  # the name of the span that raised what ended the flow
TASK_NAME: Final = "otelflow.task.name"
TASK_RUN_ID: Final = "otelflow.task.run.id"
TASK_RUN_NAME: Final = "otelflow.task.run.name"
TASK_MAP_SIZE: Final = "otelflow.task.map.size"
TASK_MAP_INDEX: Final = "otelflow.task.map.index"
RUN_RESULT: Final = "otelflow.run.result"
RUN_PARAMETER: Final = "otelflow.run.parameter.{name}"
RUN_RETURN_VALUE: Final = "otelflow.run.return_value"
RUN_TAGS: Final = "otelflow.run.tags"
RUN_ATTEMPTS: Final = "otelflow.run.attempts"  # how often it was tried
RUN_RETRY_DELAY: Final = "otelflow.run.retry_delay"  # seconds that were waited between attempts
RUN_TIMEOUT: Final = "otelflow.run.timeout"  # seconds; on a run that was given up at its deadline
# On a span that is no run, but says something of the one around it: that it has started
RUN_MARKER: Final = "otelflow.run.marker"
STARTED: Final = "started"
RUN_BODY_RUNNING: Final = "otelflow.run.body_running"  # whether what it ran goes on all the same
ATTEMPT_NUMBER: Final = "otelflow.attempt.number"
ATTEMPT_DELAY: Final = "otelflow.attempt.delay"  # seconds that were waited before it
# Of a task whose value is cached: whether it came from the cache, its key, and how long it waited for another run
CACHE_HIT: Final = "otelflow.cache.hit"
CACHE_KEY: Final = "otelflow.cache.key"
CACHE_WAIT: Final = "otelflow.cache.wait_seconds"
# Of a run whose value is kept: the key; of one of a resumed flow: whether its value is that of an earlier attempt
RUN_STORED_KEY: Final = "otelflow.run.stored_key"
RUN_REPLAYED: Final = "otelflow.run.replayed"
# On a flow that is kept: how often it was begun, with this time
FLOW_RUN_ATTEMPT: Final = "otelflow.flow.run.attempt"
# On a link to the run that a value is from, or to the attempt before: cache, replay, attempt
LINK_REASON: Final = "otelflow.link.reason"
GENERATOR_CLOSED_EARLY: Final = "otelflow.generator.closed_early"
MESSAGES_OMITTED: Final = "otelflow.messages.omitted"
ARTIFACTS_OMITTED: Final = "otelflow.artifacts.omitted"
RESULTS_OMITTED: Final = "otelflow.results.omitted"
# On an outermost run: what it and everything inside it has made, and what its process has lost meanwhile
TELEMETRY_SPANS: Final = "otelflow.telemetry.spans"
TELEMETRY_LOST: Final = "otelflow.telemetry.dropped.{signal}.{reason}"

# On the flow of a job: its id in its queue, and how often it was tried before
JOB_ID: Final = "otelflow.job.id"
JOB_RETRIES: Final = "otelflow.job.retries"

# On the flow of a schedule: what it is called, when it was due (ISO 8601), and how many before it did not take place
SCHEDULE_NAME: Final = "otelflow.schedule.name"
SCHEDULE_TIME: Final = "otelflow.schedule.time"
SCHEDULE_MISSED: Final = "otelflow.schedule.missed"

# What the body of a run has taken, if that was asked for: seconds of a processor, and bytes that its process had at
# most: ``exact`` by the system, where no other run went on in that process, else ``sampled`` now and then
RUN_CPU: Final = "otelflow.run.cpu_seconds"
RUN_MEMORY: Final = "otelflow.run.memory.peak"
RUN_MEMORY_METHOD: Final = "otelflow.run.memory.method"

# How many seconds a run has waited for a limit before it could go on
LIMIT_WAITED: Final = "otelflow.limit.waited.{name}"

# OpenTelemetry's own
CODE_FUNCTION_NAME: Final = "code.function.name"
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
PROCESS_EXIT_CODE: Final = "process.exit.code"
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
RPC_SYSTEM: Final = "rpc.system.name"

# Span events
EXCEPTION_EVENT: Final = "exception"
MESSAGE_EVENT: Final = "otelflow.message"
MESSAGE_TEXT: Final = "otelflow.message.text"
MESSAGE_SEVERITY: Final = "otelflow.message.severity"
ARTIFACT_EVENT: Final = "otelflow.artifact"
ARTIFACT_KEY: Final = "otelflow.artifact.key"
ARTIFACT_TYPE: Final = "otelflow.artifact.type"
ARTIFACT_DESCRIPTION: Final = "otelflow.artifact.description"
ARTIFACT_DATA: Final = "otelflow.artifact.data"
ARTIFACT_SIZE: Final = "otelflow.artifact.size"
ARTIFACT_REFERENCE: Final = "otelflow.artifact.reference"
ARTIFACT_CUT: Final = "otelflow.artifact.cut"
RESULT_EVENT: Final = "otelflow.result"
RESULT_KEY: Final = "otelflow.result.key"
RESULT_DESCRIPTION: Final = "otelflow.result.description"

# How a run ends: the vocabulary of OpenTelemetry's CI/CD conventions
SUCCESS: Final = "success"
FAILURE: Final = "failure"
TIMEOUT: Final = "timeout"
CANCELLATION: Final = "cancellation"
ERROR: Final = "error"
RESULTS: Final = (SUCCESS, FAILURE, TIMEOUT, CANCELLATION, ERROR)
#: The results with which a run has failed
FAILED_RESULTS: Final = (FAILURE, TIMEOUT, ERROR)
#: The ``error.type`` of a run whose process was killed, or crashed
PROCESS_LOST: Final = "process_lost"
# Only of a task that was not run, since one that it waits for has failed: a metric has it when it has happened
SKIP: Final = "skip"
# Not a result: the run goes on
RUNNING: Final = "running"

# Metrics
FLOW_RUNS: Final = "otelflow_flow_runs_total"
FLOW_RETRIES: Final = "otelflow_flow_retries_total"
FLOW_RUN_DURATION: Final = "otelflow_flow_run_duration_seconds"
FLOW_RUNS_IN_PROGRESS: Final = "otelflow_flow_runs_in_progress"
FLOW_OLDEST_RUN: Final = "otelflow_flow_oldest_run_start_timestamp_seconds"
FLOW_LAST_RUN: Final = "otelflow_flow_last_run_timestamp_seconds"
FLOW_LAST_RUN_DURATION: Final = "otelflow_flow_last_run_duration_seconds"
TASK_RUNS: Final = "otelflow_task_runs_total"
TASK_RETRIES: Final = "otelflow_task_retries_total"
TASK_RUN_DURATION: Final = "otelflow_task_run_duration_seconds"
TASK_RESULTS_REUSED: Final = "otelflow_task_results_reused_total"
TASK_FAILURES: Final = "otelflow_task_failures_total"
TELEMETRY_DROPPED: Final = "otelflow_telemetry_dropped_total"
SCHEDULE_MISSED_RUNS: Final = "otelflow_schedule_missed_runs_total"
LIMIT_PASSES: Final = "otelflow_limit_passes_total"
LIMIT_WAIT: Final = "otelflow_limit_wait_seconds_total"
LISTENER_ERRORS: Final = "otelflow_listener_errors_total"
BUILD_INFO: Final = "otelflow_build_info"
# The value of a label that stands for all values beyond those that are told apart
OVERFLOW: Final = "__overflow__"
