"""Which names are those of secrets, and which values look like some."""

import pytest

from otelflow._core.text.secret_values import is_ordinary, is_random, is_secret_value, secret_name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dbPassword", ("db", "password")),
        ("SMTP_PASS", ("smtp", "pass", "password")),
        ("pass", ("pass",)),
        ("api_key_prod", ("api", "key", "secret")),
        ("otp code", ("otp", "code", "code", "secret")),
        ("secret_id", ("secret", "id", "signature")),
        ("mypassphrase2", ("mypassphrase", "secret")),
        ("contraseña", ("contraseña",)),
        ("User_Пароль", ("user", "пароль")),
        ("密码", ("密码",)),
        ("key", ()),
        ("bypass", ()),
        ("tokens", ()),
        ("password_changed", ()),
        ("", ()),
    ],
)
def test_a_name_is_that_of_a_secret_by_its_last_words(name, words):
    assert secret_name(name) == words


@pytest.mark.parametrize(
    "text", ["expired", "Invalid!", "xxx", "***", "${DB_PASSWORD}", "/run/secrets/db", "get_token"]
)
def test_what_people_and_programs_say_of_a_secret_is_ordinary(text):
    assert is_ordinary(text)


@pytest.mark.parametrize("text", ["x9!", "swordfish", "x" * 201, "user_name"])
def test_other_texts_are_not(text):
    assert not is_ordinary(text)


def test_a_value_is_a_secret_by_its_name_and_by_how_it_is_given():
    assert is_secret_value("swordfish", ("password",), is_spoken=False)
    assert not is_secret_value("swordfish", ("password",), is_spoken=True)
    assert not is_secret_value("swordfish", ("session",), is_spoken=False)
    assert is_secret_value("Bearer a1b2c3d4", ("authorization",), is_spoken=True)
    assert not is_secret_value("'password'", ("password",), is_spoken=False)
    assert not is_secret_value("12", ("password",), is_spoken=False)
    assert is_secret_value("4711", ("pin",), is_spoken=False)


@pytest.mark.parametrize(
    ("text", "words", "is_one"),
    [
        ("a1b2c3", ("password",), True),
        ("a1b2c3", ("session",), False),
        ("a1b2c3d4", ("session",), True),
        ("481 223", ("otp",), True),
        ("481-223", ("code", "secret"), True),
        ("a1b2c3 d4", ("password",), False),
        ("2026-11-27", ("token",), False),
        ("abcdef", ("password",), False),
        ("QUJDREVGR0hJSktM=", ("token",), True),
    ],
)
def test_a_random_text_has_letters_and_digits_in_one_word_or_is_a_code(text, words, is_one):
    assert is_random(text, words) == is_one
