"""The report of what would be instrumented names each function, and imports none."""

import pytest

from support.instrumented import otelflow as run_in
from support.instrumented import write_program, write_shop


@pytest.fixture
def program(tmp_path):
    write_shop(tmp_path)
    return write_program(tmp_path)


def test_a_report_names_every_function_and_imports_nothing(program):
    (program / "shop" / "__init__.py").write_text("raise RuntimeError('imported')\n")

    done = run_in(program, "instrument", "otelflow.toml", "--dry-run")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "flow shop.jobs:nightly_*\n  shop.jobs:nightly_bill\n  shop.jobs:nightly_refund\n"
        "task shop.billing:Client.charge\n  shop.billing:Client.charge\n"
    )


def test_a_report_of_a_pattern_that_means_nothing_fails(program):
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:wekly"]\n')

    done = run_in(program, "instrument", "otelflow.toml")

    assert done.returncode == 1
    assert "flow shop.jobs:wekly: no function of shop.jobs is called 'wekly'; did you mean 'weekly'?" in done.stdout


def test_a_report_looks_where_a_program_will(program):
    (program / "shop").rename(program / "src")
    (program / "src" / "main.py").write_text("")
    (program / "otelflow.toml").write_text('flows = ["jobs:weekly", "main:work"]\n')

    here = run_in(program, "instrument", "otelflow.toml", "--dry-run")
    there = run_in(program, "instrument", "otelflow.toml", "--dry-run", "--", "python", "-u", "src/main.py")

    assert here.stdout.startswith("flow jobs:weekly: there is no module 'jobs'")
    assert there.stdout.startswith("flow jobs:weekly\n  jobs:weekly\nflow main:work: main is the program that is run")


def test_a_report_names_the_listeners_too(program):
    with (program / "otelflow.toml").open("a") as file:
        file.write('listeners = ["watch:Watcher", "shop.jobs:weekly", "shop.billing:Client"]\n')

    done = run_in(program, "instrument", "otelflow.toml")

    assert done.returncode == 1
    assert done.stdout.endswith(
        "listener watch:Watcher: there is no module 'watch'\n"
        "listener shop.jobs:weekly: it is a function: name a subclass of otelflow.Listener, or an object of one\n"
        "listener shop.billing:Client\n"
    )


def test_a_report_says_which_functions_would_have_one_name(program):
    (program / "shop" / "more.py").write_text("class Other:\n    def charge(self): ...\ndef weekly(): ...\n")
    flows = '["shop.more:weekly", {pattern = "shop.jobs:weekly", flow_name = "bill"}]'
    (program / "otelflow.toml").write_text(f'flows = {flows}\ntasks = ["shop.*:*.charge"]\n')

    done = run_in(program, "instrument", "otelflow.toml")

    assert done.stdout.splitlines()[-1] == "several functions have one name, also in metrics: task charge (2)"


def test_a_report_knows_the_names_that_an_entry_makes_of_its_functions(program):
    (program / "shop" / "more.py").write_text("class Other:\n    def charge(self): ...\n")
    tasks = '[{pattern = "shop.*:*.charge", task_name = "{qualname}"}]'
    (program / "otelflow.toml").write_text(f"tasks = {tasks}\n")

    done = run_in(program, "instrument", "otelflow.toml")

    assert "have one name" not in done.stdout
    assert "Other.charge" in done.stdout


def test_a_report_of_a_lenient_file_says_whose_key_it_does_not_know(program):
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:weekly"]\nstrict = false\nbogus = 1\n')

    done = run_in(program, "instrument", "otelflow.toml")

    assert done.stdout.startswith("otelflow.toml: has no key 'bogus'")


def test_one_file_of_patterns_is_given_and_it_is_a_file(program):
    twice = run_in(program, "run", *["--instrument", "otelflow.toml"] * 2, "--", "python", "main.py")
    none = run_in(program, "run", "--instrument", "--", "python", "main.py")
    folder = run_in(program, "run", "--instrument", "shop", "--", "python", "main.py")

    assert twice.stderr == "otelflow: --instrument is given more than once: write all patterns into one file\n"
    assert none.stderr == "otelflow: --instrument names no file: write --instrument FILE -- python main.py\n"
    assert folder.stderr.endswith("shop is a folder: name the file of functions to instrument in it\n")
    assert {twice.returncode, none.returncode, folder.returncode} == {2}


def test_a_command_with_options_that_does_not_stand_after_dashes_is_told_so(program):
    done = run_in(program, "run", "--instrument", "otelflow.toml", "python", "-c", "print(1)")
    other = run_in(program, "run", "--strange")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "otelflow: the command of --instrument stands after --, such as --instrument FILE -- python main.py\n"
    )
    assert "--instrument" not in other.stderr
