"""Every code block of the design that otelflow grew from, run as it stands there; one test for each, by its heading.

Names that the blocks leave open are supplied by small fakes; a block is otherwise verbatim, but for its imports.
"""

# ruff: noqa: BLE001, RET504  the blocks are as they stand

import asyncio
import io
import json

import pytest
from osbot_utils.type_safe.Type_Safe import Type_Safe

from otelflow import (
    Flow,
    Flow_Run__Config,
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    flow,
    flow_events,
    task,
)
from otelflow.testing import MockedDependencies


@pytest.fixture(autouse=True)
def defaults(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield
    flow_events.event_listeners.clear()


def tree(spans):
    """The spans as names: ``{flow: [tasks]}``."""
    return [(root.name, [child.name for child in root.children]) for root in spans.tree()]


class Page:
    async def click(self, selector):
        self.clicked = selector

    async def content(self):
        return "<p>hello</p>"


class Playwright__Serverless(Type_Safe):
    page: Page
    calls: list

    async def launch(self):
        self.calls.append("launch")

    async def new_page(self):
        self.calls.append("new_page")

    async def goto(self, url):
        self.calls.append(f"goto {url}")


class Browser:
    pass


@pytest.fixture
def no_waiting(monkeypatch):
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(0))


# Quick Start Examples


def test_quick_start_a_flow_with_a_single_task(spans):
    # Simple example: A flow with a single task
    @flow()
    def simple_flow(data):
        result = process_data(data)
        return result

    @task()
    def process_data(data):
        return data.upper()

    # Use it naturally like any Python function
    result = simple_flow("hello world").execute()

    assert result.flow_return_value == "HELLO WORLD"
    assert tree(spans) == [("flow simple_flow", ["task process_data"])]


def test_quick_start_context_manager_style(spans, capsys):
    class ComplexDataFlow(Flow):
        input_data: str = ""

        def main(self):
            return self.input_data.upper()

    my_data = "some data"

    with ComplexDataFlow() as flow:
        flow.input_data = my_data
        result = flow.execute()
        print(f"Processing complete: {result}")

    assert result.flow_return_value == "SOME DATA"
    assert "Processing complete: <ComplexDataFlow ComplexDataFlow" in capsys.readouterr().out
    assert tree(spans) == [("flow ComplexDataFlow", [])]


# Prefect Compatibility


def test_prefect_compatibility_a_flow_inside_a_web_service(spans):
    class Flow__Playwright__Get_Page_Pdf(Flow):
        url: str = ""

        @task()
        def print_page(self, flow_data: dict):
            flow_data["pdf_bytes"] = b"%PDF " + self.url.encode()
            flow_data["pdf_base64"] = "JVBERg=="

        def main(self):
            self.print_page()

    class StreamingResponse:
        def __init__(self, content, media_type, headers):
            self.body, self.media_type, self.headers = content.read(), media_type, headers

    class Service:
        def install_browser(self):
            self.installed = True

        def url_pdf(self, url="https://httpbin.org/get", return_file: bool = False):
            self.install_browser()
            with Flow__Playwright__Get_Page_Pdf() as _:
                _.url = url
                run_data = _.run()
                pdf_bytes = run_data.get("pdf_bytes")
                pdf_base64 = run_data.get("pdf_base64")

                if return_file is True:
                    pdf_stream = io.BytesIO(pdf_bytes)
                    response = StreamingResponse(
                        pdf_stream,
                        media_type="application/pdf",
                        headers={"Content-Disposition": "attachment; filename=document.pdf"},
                    )
                else:
                    response = {"pdf_base64": pdf_base64}

                return response

    file = Service().url_pdf(return_file=True)
    plain = Service().url_pdf("https://example.com")

    assert file.body == b"%PDF https://httpbin.org/get"
    assert plain == {"pdf_base64": "JVBERg=="}
    assert tree(spans) == [("flow Flow__Playwright__Get_Page_Pdf", ["task print_page"])] * 2


# Common Patterns and Examples


class Source:
    async def fetch(self):
        return "raw"


class Validator:
    def is_valid(self, raw_data):
        return raw_data == "raw"


class Transformer:
    def process(self, raw_data):
        return raw_data.upper()


class Storage:
    async def save(self, transformed):
        self.saved = transformed


def data_processing_flow():
    class DataProcessingFlow(Type_Safe):
        data_source: Source
        validator: Validator
        transformer: Transformer
        storage: Storage

        @task()
        async def fetch_data(self, flow_data: dict):
            # Simulating data fetch
            raw_data = await self.data_source.fetch()
            flow_data["raw_data"] = raw_data

        @task()
        def validate_data(self, flow_data: dict):
            raw_data = flow_data["raw_data"]
            if not self.validator.is_valid(raw_data):
                raise ValueError("Invalid data format")

        @task()
        def transform_data(self, flow_data: dict):
            raw_data = flow_data["raw_data"]
            transformed = self.transformer.process(raw_data)
            flow_data["transformed_data"] = transformed

        @task()
        async def store_results(self, flow_data: dict):
            transformed = flow_data["transformed_data"]
            await self.storage.save(transformed)

        @flow()
        async def process_data(self) -> Flow:
            await self.fetch_data()
            self.validate_data()
            self.transform_data()
            await self.store_results()
            return "processing complete"

    return DataProcessingFlow


def test_data_processing_pipeline(spans):
    pipeline = data_processing_flow()()

    run = pipeline.process_data().execute()

    assert run.flow_return_value == "processing complete"
    assert pipeline.storage.saved == "RAW"
    assert run.data == {"raw_data": "raw", "transformed_data": "RAW"}
    names = ["fetch_data", "validate_data", "transform_data", "store_results"]
    assert tree(spans) == [("flow process_data", [f"task {name}" for name in names])]


def test_data_processing_pipeline_that_fails_stops_at_the_task_that_failed(spans):
    class Refusing(Validator):
        def is_valid(self, raw_data):
            return False

    pipeline = data_processing_flow()()
    pipeline.validator = Refusing()

    with pytest.raises(ValueError, match="Invalid data format"):
        pipeline.process_data().execute()

    assert spans.one("task validate_data").attributes["otelflow.run.result"] == "failure"
    assert tree(spans) == [("flow process_data", ["task fetch_data", "task validate_data"])]


def test_web_automation_example(spans, no_waiting, capsys):
    class Flow__Web__Automation(Type_Safe):
        playwright_serverless: Playwright__Serverless
        url: str = "https://example.com"

        @task()
        async def setup_browser(self) -> Browser:
            await self.playwright_serverless.launch()
            await self.playwright_serverless.new_page()
            print("Browser setup complete")

        @task()
        async def navigate_and_wait(self) -> None:
            await self.playwright_serverless.goto(self.url)
            await asyncio.sleep(1)  # Allow page to stabilize

        @task()
        async def perform_interactions(self, flow_data: dict) -> None:
            page = self.playwright_serverless.page
            await page.click("#main-button")
            content = await page.content()
            flow_data["page_content"] = content

        @task()
        def process_results(self, flow_data: dict) -> None:
            content = flow_data["page_content"]
            results = self.analyze_content(content)
            flow_data["analysis_results"] = results

        @flow()
        async def execute_automation(self) -> Flow:
            await self.setup_browser()
            await self.navigate_and_wait()
            await self.perform_interactions()
            self.process_results()
            return "automation complete"

        def analyze_content(self, content):
            return len(content)

    run = Flow__Web__Automation().execute_automation().execute()

    assert run.flow_return_value == "automation complete"
    assert run.data["analysis_results"] == len("<p>hello</p>")
    assert spans.messages("task setup_browser") == ["Browser setup complete"]
    assert capsys.readouterr().out == "Browser setup complete\n"
    assert len(spans.spans) == 5


# Implementation Guidelines


async def perform_operation():
    raise ConnectionError("no route")


def test_task_level_recovery(spans):
    @task(raise_on_error=False)
    async def resilient_task(this_flow=None):
        try:
            await perform_operation()
        except Exception as error:
            this_flow.add_flow_artifact(key="error_details", data=str(error), artifact_type="error")
            return "fallback_value"

    @flow()
    async def recovering():
        return await resilient_task()

    run = recovering().execute()

    assert run.flow_return_value == "fallback_value"
    (event,) = spans.events("task resilient_task")
    assert event.attributes["otelflow.artifact.key"] == "error_details"
    assert event.attributes["otelflow.artifact.data"] == "no route"


def test_flow_level_recovery(spans):
    @task()
    async def main_task():
        await perform_operation()

    @task()
    async def cleanup_task():
        pass

    @task()
    async def fallback_task():
        pass

    @flow()
    async def resilient_flow():
        try:
            await main_task()
        except Exception:
            await cleanup_task()
            await fallback_task()

    run = resilient_flow().execute()

    assert run.status == "success"
    assert tree(spans) == [("flow resilient_flow", ["task main_task", "task cleanup_task", "task fallback_task"])]
    assert spans.one("flow resilient_flow").attributes["otelflow.flow.tasks.failed"] == 1


def test_context_manager_pattern(spans):
    class ManagedResourceFlow(Type_Safe):
        is_open: bool = False

        def __enter__(self):
            # Setup resources
            self.is_open = True
            return self

        def __exit__(self, exc_type, exc_val, exc_tb):
            # Cleanup resources
            self.is_open = False

        @flow()
        def use(self):
            return self.is_open

    with ManagedResourceFlow() as managed:
        run = managed.use().execute()

    assert run.flow_return_value is True
    assert managed.is_open is False


def test_async_resource_management(spans):
    class AsyncResourceFlow(Type_Safe):
        steps: list

        async def __aenter__(self):
            await self.setup_resources()
            return self

        async def __aexit__(self, exc_type, exc_val, exc_tb):
            await self.cleanup_resources()

        async def setup_resources(self):
            self.steps.append("setup")

        async def cleanup_resources(self):
            self.steps.append("cleanup")

        @flow()
        async def use(self):
            self.steps.append("use")

    async def program():
        async with AsyncResourceFlow() as resources:
            await resources.use().execute_async()
        return resources

    assert list(asyncio.run(program()).steps) == ["setup", "use", "cleanup"]
    assert tree(spans) == [("flow use", [])]


def test_minimal_logging(capsys):
    flow_config = Flow_Run__Config(log_to_memory=False, log_to_console=False)

    @flow(flow_config=flow_config)
    def quiet():
        print("printed all the same")

    run = quiet().execute()

    assert run.captured_logs() == []
    assert capsys.readouterr() == ("printed all the same\n", "")


def test_efficient_task_design():
    required_keys = ["a", "b"]

    def process_result(subset):
        return {"sum": sum(subset.values())}

    process_subset = process_result

    @task()
    def optimized_task(flow_data: dict):
        # Process only required data
        subset = {k: flow_data[k] for k in required_keys}
        result = process_subset(subset)
        # Store only necessary results
        flow_data.update(result)

    @flow()
    def efficient(flow_data: dict):
        flow_data.update(a=1, b=2, c=3)
        optimized_task()

    assert efficient().execute().data == {"a": 1, "b": 2, "c": 3, "sum": 3}


def test_mock_dependencies():
    @task()
    def testable_task(this_flow=None):
        # Dependencies can be mocked for testing
        service = this_flow.get_service()
        return service.operation()

    class Service:
        def operation(self):
            return "real"

    class Fake:
        def operation(self):
            return "fake"

    class With_Service(Flow):
        def get_service(self):
            return Service()

        def main(self):
            return testable_task()

    with MockedDependencies(service=Fake()):
        mocked = With_Service().execute()
    real = With_Service().execute()

    assert (mocked.flow_return_value, real.flow_return_value) == ("fake", "real")


def test_flow_testing():
    class TestFlow(Flow):
        def main(self):
            return 1

    def test_flow():
        with MockedDependencies():
            flow = TestFlow()
            result = flow.execute()
            assert result.status == "success"

    test_flow()


# Advanced Topics


def test_custom_event_handlers():
    class CustomEventHandler:
        def __init__(self):
            self.events = []

        def handle_event(self, event: Flow_Run__Event):
            if event.event_type == Flow_Run__Event_Type.TASK_START:
                self.handle_task_start(event)
            elif event.event_type == Flow_Run__Event_Type.TASK_STOP:
                self.handle_task_stop(event)

        def handle_task_start(self, event):
            task_name = event.event_data.task_name
            self.events.append(f"Started: {task_name}")

        def handle_task_stop(self, event):
            task_name = event.event_data.task_name
            self.events.append(f"Completed: {task_name}")

    handler = CustomEventHandler()
    flow_events.event_listeners.append(handler.handle_event)

    @task()
    def work():
        pass

    flow()(lambda: work())().execute()

    assert handler.events == ["Started: work", "Completed: work"]


def test_custom_flow_configurations(capsys):
    class CustomFlowConfig(Flow_Run__Config):
        def __init__(self):
            super().__init__()
            self.log_to_console = True
            self.print_logs = True

        def custom_setup(self):
            # Additional setup logic
            pass

    custom = CustomFlowConfig()
    custom.custom_setup()

    flow(flow_config=custom)(lambda: 1)().execute()

    captured = capsys.readouterr()
    assert "Flow return value" in captured.out
    assert "Flow return value" in captured.err
    assert custom.raise_flow_error is True


def test_external_service_integration(spans):
    class Service:
        async def call(self):
            return {"n": 1}

    class ServiceIntegrationFlow(Type_Safe):
        service: Service

        @task()
        async def call_service(self, flow_data: dict):
            response = await self.service.call()
            flow_data["service_response"] = response

        @task()
        def process_response(self, flow_data: dict):
            response = flow_data["service_response"]
            result = self.process(response)
            return result

        def process(self, response):
            return response["n"] + 1

        @flow()
        async def integrate(self):
            await self.call_service()
            return self.process_response()

    assert ServiceIntegrationFlow().integrate().execute().flow_return_value == 2
    assert tree(spans) == [("flow integrate", ["task call_service", "task process_response"])]


def test_database_integration():
    class Model:
        pass

    class Session:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *error):
            return None

        def query(self, model):
            return self

        async def all(self):
            return [1, 2, 3]

    class Database:
        def session(self):
            return Session()

    class DatabaseFlow(Type_Safe):
        db: Database

        @task()
        async def fetch_records(self, flow_data: dict):
            async with self.db.session() as session:
                records = await session.query(Model).all()
                flow_data["records"] = records

        @task()
        def process_records(self, flow_data: dict):
            records = flow_data["records"]
            return [self.transform(record) for record in records]

        def transform(self, record):
            return record * 10

        @flow()
        async def load(self):
            await self.fetch_records()
            return self.process_records()

    assert DatabaseFlow().load().execute().flow_return_value == [10, 20, 30]


# Configuration


def test_flow_configuration():
    defaults = {
        "add_task_to_self": True,
        "log_to_console": False,
        "log_to_memory": True,
        "logging_enabled": True,
        "print_logs": False,
        "print_none_return_value": False,
        "print_finished_message": False,
        "raise_flow_error": True,
    }

    assert {name: getattr(Flow_Run__Config(), name) for name in defaults} == defaults
    assert set(defaults) < set(Flow_Run__Config.__annotations__)


def test_event_system_every_event_type_is_heard():
    heard = []
    flow_events.event_listeners.append(lambda event: heard.append(event.event_type))

    @task()
    def work():
        print("message")

    @flow()
    def everything(this_flow=None):
        work()
        this_flow.add_flow_artifact(key="a", data=1)
        return 1

    everything().execute()

    assert {kind.name for kind in heard} == {
        "FLOW_START",
        "FLOW_STOP",
        "TASK_START",
        "TASK_STOP",
        "FLOW_MESSAGE",
        "NEW_ARTIFACT",
        "NEW_RESULT",
    }
    assert (heard[0], heard[-1]) == (Flow_Run__Event_Type.FLOW_START, Flow_Run__Event_Type.FLOW_STOP)


# Usage Patterns


def test_basic_flow_usage():
    data, processed_data = "in", "out"

    # Define a flow that processes input data
    @flow()
    def my_flow(input_data):
        # The flow coordinates the overall process
        result = process_data(input_data)
        return result

    # Define a task that performs specific work
    @task()
    def process_data(data):
        # Tasks handle individual units of work
        # This could be data transformation, API calls, etc.
        return processed_data

    # Execute the flow and get results
    flow_instance = my_flow(data).execute()

    assert flow_instance.flow_return_value == "out"
    assert [task.task_name for task in flow_instance.executed_tasks] == ["process_data"]


def test_task_dependencies_and_data_sharing():
    seen = []

    @task()
    def task_with_deps(this_task=None, this_flow=None, task_data=None, flow_data=None):
        # this_task: Access to task instance for internal operations
        # this_flow: Access to parent flow for flow-level operations
        # task_data: Task-specific storage that doesn't persist
        # flow_data: Flow-wide storage shared between tasks

        # Task-specific data example
        seen.append((dict(task_data), dict(flow_data), this_task, this_flow))
        task_data["local"] = "only visible to this task"

        # Flow-wide data example
        flow_data["shared"] = "visible to all tasks"

    @flow()
    def sharing():
        task_with_deps()
        task_with_deps()

    run = sharing().execute()

    assert [(task_data, flow_data) for task_data, flow_data, _, _ in seen] == [
        ({}, {}),
        ({}, {"shared": "visible to all tasks"}),
    ]
    assert [one for _, _, one, _ in seen] == list(run.executed_tasks)
    assert {id(one) for _, _, _, one in seen} == {id(run)}


def test_async_support(no_waiting):
    @flow()
    async def async_flow():
        result = await async_task()
        return result

    @task()
    async def async_task():
        await asyncio.sleep(1)
        return "completed"

    async def awaited():
        return await async_flow().execute_async()

    assert async_flow().execute().flow_return_value == "completed"
    assert asyncio.run(awaited()).flow_return_value == "completed"


def test_async_support_in_web_automation(spans, no_waiting):
    class BrowserInstance(Playwright__Serverless):
        pass

    class WebAutomationFlow(Type_Safe):
        browser_instance: BrowserInstance
        target_url: str = "https://example.com"

        @task()
        async def launch_browser(self) -> Browser:
            await self.browser_instance.launch()
            print("launched browser")

        @task()
        async def navigate(self) -> None:
            print(f"opening url: {self.target_url}")
            await self.browser_instance.goto(self.target_url)
            await asyncio.sleep(1)  # Ensure page load

        @flow()
        async def execute_automation(self) -> Flow:
            await self.launch_browser()
            await self.navigate()
            return "completed"

    run = WebAutomationFlow().execute_automation().execute()

    assert run.flow_return_value == "completed"
    assert spans.messages("task navigate") == ["opening url: https://example.com"]


# Real-World Implementation Patterns


def test_web_automation_pattern(spans, capsys):
    class Flow__Playwright__Operation(Type_Safe):
        playwright_serverless: Playwright__Serverless
        url: str = "https://example.com"

        @task()
        def check_config(self) -> Browser:
            print("checking config")

        @task()
        async def launch_browser(self) -> Browser:
            await self.playwright_serverless.launch()

        @task()
        async def new_page(self) -> Browser:
            await self.playwright_serverless.new_page()

        @task()
        async def perform_operation(self, flow_data: dict) -> None:
            # Operation-specific logic here
            pass

        @flow()
        async def execute(self) -> Flow:
            self.check_config()
            await self.launch_browser()
            await self.new_page()
            await self.perform_operation()
            return "all done"

    operation = Flow__Playwright__Operation()

    run = operation.execute().execute()

    assert run.flow_return_value == "all done"
    assert list(operation.playwright_serverless.calls) == ["launch", "new_page"]
    names = ["check_config", "launch_browser", "new_page", "perform_operation"]
    assert tree(spans) == [("flow execute", [f"task {name}" for name in names])]


def test_data_transformation_pattern():
    class Camera:
        async def get_data(self):
            return "screenshot"

    class Flow__Data__Transform(Type_Safe):
        source: Camera

        @task()
        async def capture_data(self, flow_data: dict) -> None:
            raw_data = await self.source.get_data()
            flow_data["raw_data"] = raw_data

        @task()
        def transform_data(self, flow_data: dict) -> None:
            raw_data = flow_data["raw_data"]
            transformed = self.transform_function(raw_data)
            flow_data["transformed"] = transformed

        @flow()
        async def execute_transformation(self) -> Flow:
            await self.capture_data()
            self.transform_data()
            return "transformation complete"

        def transform_function(self, raw_data):
            return raw_data[::-1]

    run = Flow__Data__Transform().execute_transformation().execute()

    assert run.data == {"raw_data": "screenshot", "transformed": "tohsneercs"}


def test_flow_composition_and_inheritance(spans):
    class BaseWebFlow(Type_Safe):
        @task()
        async def common_setup(self):
            # Shared setup logic
            pass

    class SpecificWebFlow(BaseWebFlow):
        @task()
        async def specific_operation(self):
            # Specific operation logic
            pass

        @flow()
        async def execute(self) -> Flow:
            await self.common_setup()
            await self.specific_operation()
            return "operation complete"

    SpecificWebFlow().execute().execute()

    assert tree(spans) == [("flow execute", ["task common_setup", "task specific_operation"])]


def test_error_handling(spans):
    # Task-level error handling
    @task(raise_on_error=False)
    def task_continues_on_error():
        # This error won't stop the flow
        raise ValueError("Task error")

    # Flow-level error handling
    flow_config = Flow_Run__Config(raise_flow_error=False)

    @flow(flow_config=flow_config)
    def flow_continues_on_error():
        # Flow continues despite task errors
        task_continues_on_error()
        return "Flow completed despite error"

    run = flow_continues_on_error().execute()

    assert run.flow_return_value == "Flow completed despite error"
    assert spans.one("task task_continues_on_error").attributes["otelflow.run.result"] == "failure"
    assert "Error executing 'task_continues_on_error' task: Task error" in run.captured_logs()


def test_event_listening(capsys):
    def event_listener(event: Flow_Run__Event):
        # Handle different event types
        if event.event_type == Flow_Run__Event_Type.TASK_START:
            print(f"Task started: {event.event_data.task_name}")
        elif event.event_type == Flow_Run__Event_Type.FLOW_MESSAGE:
            print(f"Log message: {event.event_data.data['message_data']['message']}")

    # Register the listener
    flow_events.event_listeners.append(event_listener)

    @task()
    def work():
        print("hello")

    flow()(lambda: work())().execute()

    printed = capsys.readouterr().out
    assert "Task started: work\n" in printed
    assert "hello\nLog message: hello\n" in printed


def test_artifacts_and_results(spans):
    @flow()
    def flow_with_artifacts(this_flow=None):
        # Store structured data as an artifact
        this_flow.add_flow_artifact(
            description="API Response", key="api-response", data={"status": "success"}, artifact_type="json"
        )

        # Record a result
        this_flow.add_flow_result(key="calculation-result", description="Final calculation value: 42")

    flow_with_artifacts().execute()

    artifact, result = spans.events("flow flow_with_artifacts")
    assert json.loads(artifact.attributes["otelflow.artifact.data"]) == {"status": "success"}
    assert result.attributes["otelflow.result.description"] == "Final calculation value: 42"


# Technical Details


def test_context_discovery():
    found = []

    @task()
    def inside(this_task=None):
        found.append(this_task.find_flow())

    run = flow()(lambda: inside())().execute()
    inside()

    assert found == [run, None]


def test_dependency_injection():
    class Clock:
        now = 12

    class Timed(Flow):
        def task_dependencies(self):
            return {"clock": Clock(), "zone": "UTC"}

        def main(self):
            return by_name_and_type()

    @task()
    def by_name_and_type(zone=None, watch: Clock = None, other="default"):
        return zone, watch.now, other

    assert Timed().execute().flow_return_value == ("UTC", 12, "default")


def test_event_data_structure():
    found = Flow_Run__Event_Data()

    assert {name: getattr(found, name) for name in Flow_Run__Event_Data._fields[:7]} == {
        "data": {},
        "event_source": "",
        "flow_name": None,
        "flow_run_id": None,
        "log_level": 20,
        "task_name": None,
        "task_run_id": None,
    }
