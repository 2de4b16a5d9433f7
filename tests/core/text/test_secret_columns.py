"""What stands below a secret's name in a table is hidden; what tables say about secrets stays."""

import time

import pytest

from otelflow import flow
from otelflow._core.text.redaction import redact, redact_value
from otelflow._core.text.secret_columns import hide_columns, hide_inserted, hide_rows

TABLES = [
    "user,password,role\nbob,Juniper11,admin\namy,x9!,user\n",
    'user,password\r\nbob,"Juniper11, and ""more"""\r\namy,"x9!"\r\n',
    "name;passwort;ort\nbob;Juniper11;Ulm\namy;x9!;Ulm",
    "user\tDB_PASSWORD\tplan\nbob\tJuniper11\tfree\namy\tx9!\tfree",
    '"user","password"\n"bob","Juniper11"\n"amy","x9!"',
    "| user | password |\n|------|----------|\n| bob  | Juniper11 |\n| amy | `x9!` |\n",
    " user | password  \n------+-----------\n bob  | Juniper11\n amy  | x9!\n(2 rows)\n",
    "+------+-----------+\n| user | password  |\n+------+-----------+\n| bob  | Juniper11 |\n| amy  | x9!       |\n",
    "imported:\nuser,password\nbob,Juniper11\namy,x9!\n\nuser,orders\nbob,12",
    "user,password\nbob,Juniper11\namy,x9!\nuser,pw,x\nbob,Juniper11,1\namy,x9!,2",
]  # fmt: skip

HARMLESS = [
    "token,count\nhello,12\nworld1,9",
    "name|secret\nshop|db-credentials-2",
    "field,description\npassword,the secret of the user\nemail,where mails go",
    "password,string\nage,integer\nsize_of_shoes,varchar(20)",
    "user,password\nbob,required\namy,swordfish\njoe,***\nsue,at least 8 characters",
    "SELECT id, password, email\nFROM users, tokens7, orders",
    "login(user,password,role)\nlogin2,password2,role2",
    "user,password_changed\nbob,2026-11-27",
    "user,password\n\nbob,Juniper11",
    "user,password",
    "| token | password |",
    "    user, password, role,\n    user1, password1, role1",
]


@pytest.mark.parametrize("text", TABLES)
def test_a_cell_below_the_name_of_a_secret_is_hidden_and_the_table_stays_one(text):
    shown = redact(text)

    assert "Juniper11" not in shown
    assert "x9!" not in shown
    assert shown.count("\n") == text.count("\n")
    assert shown.count("[redacted]") == text.count("Juniper11") + text.count("x9!")
    assert "bob" in shown


@pytest.mark.parametrize(
    "name",
    ["access_key", "private_key", "psk", "senha", "authorization", "wachtwoord", "пароль", "密码", "jwt", "dsn",
     "bindpw", "webhook_url", "recovery_code", "session_id", "mnemonic", "client-secret-value"],
)  # fmt: skip
def test_whatever_is_the_name_of_a_secret_elsewhere_is_one_at_the_head_of_a_column(name):
    for separator in ",;\t|":
        table = separator.join(("id", "user", name)) + "\n" + separator.join(("1", "bob", "Zk3-9fQ!x7Lm2")) + "\n"

        assert redact(table) == table.replace("Zk3-9fQ!x7Lm2", "[redacted]")


def test_a_short_number_is_hidden_below_a_name_whose_value_is_one():
    assert redact("card,cvv,count\n1,731,204\n") == "card,cvv,count\n1,[redacted],204\n"
    assert redact("test,pass,fail\nfast,731,204\n") == "test,pass,fail\nfast,731,204\n"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_tables_say_about_secrets_stays(text):
    assert hide_columns(text) == text


def test_the_rows_of_a_table_of_lists_are_hidden_below_the_name_in_the_first():
    rows = [["user", "api_key"], ["bob", "zx81kk20"], ["amy", None], ["joe", "none"]]

    assert redact_value(rows) == [["user", "api_key"], ["bob", "[redacted]"], ["amy", None], ["joe", "none"]]
    assert redact_value({"rows": [("user", "password"), ("bob", "x9!")]}) == {
        "rows": [["user", "password"], ["bob", "[redacted]"]]
    }


@pytest.mark.parametrize(
    "rows",
    [[], [[]], [["password"], ["x9!"]], [["user", "password"], "bob"], [["user", "password"], ["x9!"]], [[1, 2]]],
)
def test_what_is_no_table_of_lists_is_left_as_it_is(rows):
    assert hide_rows(rows) == rows


def test_a_table_as_an_artifact_hides_the_column(spans):
    @flow
    def report(this_flow):
        this_flow.add_flow_artifact(key="users", data=[["user", "password"], ["bob", "x9!"]], artifact_type="table")
        this_flow.add_flow_artifact(key="csv", data="user,password\nbob,Juniper11", artifact_type="markdown")

    report().execute()

    shown = spans.one("flow report").to_json()
    assert "x9!" not in shown
    assert "Juniper11" not in shown
    assert "bob" in shown


def test_the_values_of_an_insert_are_hidden_by_the_names_of_its_columns():
    shown = hide_inserted("INSERT INTO users (id, password) VALUES (1, 'x9!'), (2, 'Juniper11');")

    assert shown == "INSERT INTO users (id, password) VALUES (1, '[redacted]'), (2, '[redacted]');"


@pytest.mark.parametrize(
    "text",
    ["password,a\nx\n", "password,", "password|\n", "user,password\n" + "bob,x1y2z3\n" * 90, 'pwd,a\n"', "\n|"],
)
def test_a_table_made_to_be_slow_is_read_in_linear_time(text):
    text *= 1_000_000 // len(text)
    began = time.process_time()

    hide_columns(text)

    assert time.process_time() - began < 5  # less than half a second; what is quadratic takes minutes
