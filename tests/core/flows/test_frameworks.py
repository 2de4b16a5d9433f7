"""A framework that gets a Flow for data says in one sentence what to return instead."""

import gc
import json
import warnings

import pytest

from otelflow import flow

CURE = r"returns f\(…\)\.execute\(\)\.flow_return_value"


@flow
def job():
    return 1


@pytest.fixture(autouse=True)
def silent():
    """That the flow never ran is a warning, too: see test_never_run.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()  # here, and not in another test


def test_what_makes_data_of_any_object_is_told_the_cure():
    for convert in (list, dict, lambda run: run.__json__(), lambda run: dict(run.flow_state)):
        with pytest.raises(TypeError, match=CURE):
            convert(job())
    with pytest.raises(TypeError, match="Flow"):
        json.dumps(job())


def test_fastapi_says_the_cure_in_one_sentence():
    encoders = pytest.importorskip("fastapi.encoders")

    with pytest.raises(ValueError, match=CURE) as raised:
        encoders.jsonable_encoder(job())

    assert len(str(raised.value)) < 400


def test_flask_says_that_it_got_a_flow():
    app = pytest.importorskip("flask").Flask(__name__)
    app.testing = True
    app.get("/")(job)

    with pytest.raises(TypeError, match="it was a Flow"):
        app.test_client().get("/")


def test_celery_says_the_cure():
    encoder = pytest.importorskip("kombu.utils.json")

    with pytest.raises(TypeError, match=CURE):
        encoder.dumps(job())
