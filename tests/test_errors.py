"""The errors of otelflow itself: public by name, and the same in another process."""

import copy
import pickle

import pytest

from otelflow import errors

MADE = [
    errors.OtelflowError("text"),
    errors.ConfigurationError("text"),
    errors.UnknownKeyword("@task", "tsk_name", ["task_name"]),
    errors.NotCallable("@task", 3),
    errors.NoSuchAttribute("'Flow' object", "result", "it is flow_return_value"),
    errors.DecoratedTwice("@task", "@flow", "nightly"),
    errors.FlowNotSetUp(),
    errors.UnfillableParameter("task", "load", "missing a required argument: 'path'"),
    errors.RunTimeout("task", "load", 1.5),
    errors.NotSubmittable("load", "it is a generator", "return a list"),
    errors.UpstreamFailed("load", "fetch", ValueError("text")),
    errors.NotPortable("load", "argument 1 is a lock, which cannot be sent", "send what pickle takes"),
    errors.WorkerLost("load", "BrokenProcessPool: text", "look for a lack of memory"),
    errors.BlockedLoop("load"),
    errors.CircularWait(["load", "fetch", "load"]),
    errors.LimitTimeout("db", "at most 5 at once", 30.0),
    errors.InvalidArtifact("text"),
    errors.InvalidListener("text"),
    errors.TargetNotFound("text"),
    errors.TargetNotImportable("text"),
    errors.InvalidParameter("text"),
    errors.ResultNotStorable("['rows'][1]", "is of the type object"),
    errors.ResultUnreadable("text"),
    errors.RunNotResumable("text"),
    errors.StoreUnreadable("text"),
    errors.TraceNotFound("text"),
    errors.MissingExtra("cli"),
    errors.ServerError(503),
    errors.ClientGone(),
    errors.Terminated("SIGTERM"),
]


def test_every_error_is_tried_here():
    assert {type(error).__name__ for error in MADE} == set(errors.__all__) - {"nearest", "place_of"}


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_a_journey(error):
    for arrived in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(arrived) is type(error)
        assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_called_by_the_name_it_is_imported_by(error):
    assert type(error).__module__ == "otelflow.errors"
    assert getattr(errors, type(error).__name__) is type(error)


def test_an_error_of_somebody_else_keeps_its_module():
    class Theirs(errors.OtelflowError):
        pass

    assert Theirs.__module__ == __name__
