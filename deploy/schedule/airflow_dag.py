"""A DAG of Airflow 3 whose runs are one trace each.

    cp deploy/schedule/airflow_dag.py $AIRFLOW_HOME/dags/nightly.py

Its first task is the root, and tells the others of it. A task that is tried again is one more flow in that trace. On
the workers, otelflow[cli] is installed in /opt/otelflow.
"""

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

OTELFLOW = "/opt/otelflow/bin/otelflow"
ENVIRONMENT = {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
IN_THE_TRACE = {**ENVIRONMENT, "TRACEPARENT": "{{ ti.xcom_pull(task_ids='trace') }}"}

with DAG(
    "nightly",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
    catchup=False,
    max_active_runs=1,
) as dag:
    # The last line of its output is what xcom_pull() finds, and stderr is a part of that: where spans wait for a
    # Collector that is down, stands there before.
    trace = BashOperator(
        task_id="trace",
        bash_command=f"trace=$({OTELFLOW} exec --quiet --name nightly -- sh -c 'echo $TRACEPARENT') && echo $trace",
        env=ENVIRONMENT,
        append_env=True,
    )
    load = BashOperator(
        task_id="load",
        bash_command=f"{OTELFLOW} run /srv/shop/shop.py:load",
        env=IN_THE_TRACE,
        append_env=True,
        retries=2,
    )
    report = BashOperator(
        task_id="report",
        # With the space at its end: what ends in .sh, Airflow takes for the name of a template.
        bash_command=f"{OTELFLOW} exec --name report -- bash /srv/shop/report.sh ",
        env=IN_THE_TRACE,
        append_env=True,
    )
    trace >> load >> report
