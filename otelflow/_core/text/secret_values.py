"""Which names are those of secrets, and which values under them look like secrets."""

import functools
from typing import Final

from otelflow._core.text import secret_notations, secret_patterns
from otelflow._core.text.regex import lazy_compile

#: What stands in the place of a secret
REDACTED: Final = "[redacted]"
#: A longer value is never taken for something harmless, so that no text is read twice.
HARMLESS_LENGTH: Final = 200


@functools.lru_cache(maxsize=2048)
def secret_name(name: str) -> tuple[str, ...]:
    """Return the words of *name* up to the one that makes it a secret's, or nothing."""
    words = [word.lower() for word in lazy_compile(secret_notations.WORDS).findall(name)]
    while words:
        last, pair = words[-1], " ".join(words[-2:])
        if last in secret_patterns.STRONG_NAMES or last in secret_patterns.WEAK_NAMES:
            # "pass: 12" counts what passed; SMTP_PASS does not.
            is_password = last in secret_patterns.PASS_NAMES and len(words) > 1
            return (*words, "password") if is_password else tuple(words)
        is_pair = pair in secret_patterns.TWO_WORD_NAMES
        if is_pair or (last.endswith(secret_patterns.NAME_TAILS) and last not in secret_patterns.ORDINARY_NAMES):
            if pair == "secret id":  # of AppRole; where secrets are managed, it is the name of one
                return (*words, "signature")
            return (*words, "code", "secret") if last == "code" else (*words, "secret")
        if not last.isdigit() and last not in secret_patterns.NAME_ENDINGS:
            return ()
        words.pop()
    return ()


def is_ordinary(text: str, *, may_be_file: bool = True) -> bool:
    """Tell whether *text* is what people and programs say of a secret, or a place where one is put in."""
    if len(text) > HARMLESS_LENGTH:
        return False
    if text.strip("()[]<>-.,!?:;").lower() in secret_patterns.HARMLESS_VALUES:
        return True
    if text.isalnum():  # no placeholder but this, and most texts
        is_name = len(text) > 3 and text.isalpha() and text.lower() in secret_patterns.STRONG_NAMES
        return is_name or not text.strip("xX")
    if lazy_compile(secret_notations.FILE).fullmatch(text) is not None:
        return may_be_file
    if lazy_compile(secret_notations.PLACEHOLDER).fullmatch(text) is not None:
        return True
    # Code that names a secret and has none: token=read_token
    return lazy_compile(secret_notations.VARIABLE).fullmatch(text) is not None and any(
        map(secret_name, text.split("."))
    )


def is_secret_value(value: str, words: tuple[str, ...], *, is_spoken: bool) -> bool:
    """Tell whether *value* is a secret under the name of these *words*; what is spoken must look like one, too."""
    bare = value.strip()
    if "'" in bare or '"' in bare:
        bare = lazy_compile(secret_notations.QUOTES).sub("", bare).strip()
    scheme = (
        lazy_compile(secret_notations.SCHEME_WORD).match(bare) if words[-1] in secret_patterns.HEADER_NAMES else None
    )
    if scheme is not None:
        bare = bare[scheme.end() :]
    if len(bare) > HARMLESS_LENGTH:
        return True
    # Where a password is named, "notes2.txt" is a file; "Winter2023.zip" may be one, and may be the password.
    may_be_file = bare.islower() or words[-1] not in secret_patterns.PASSWORD_NAMES
    if is_ordinary(bare, may_be_file=may_be_file) or bare == words[-1]:
        return False
    if bare.isdecimal() and len(bare) < 6:
        return len(bare) >= 3 and not secret_patterns.NUMERIC_NAMES.isdisjoint(words)
    is_spoken = is_spoken and scheme is None
    return is_random(bare, words) if is_spoken or words[-1] in secret_patterns.WEAK_NAMES else True


def is_random(text: str, words: tuple[str, ...]) -> bool:
    """Tell whether *text* looks like nothing that people say: letters and digits in one word, or a code's digits."""
    is_code = text[-1:].isdecimal() and not secret_patterns.NUMERIC_NAMES.isdisjoint(words)
    if is_code and text.replace("-", "").replace(" ", "").isdecimal():
        return len(text) >= 4
    is_weak = words[-1] in secret_patterns.WEAK_NAMES and words[-1] not in secret_patterns.PASS_NAMES
    if len(text) < (8 if is_weak else 6) or " " in text:
        return False
    if words[-1] in secret_patterns.DIGITS_ONLY_NAMES or lazy_compile(secret_notations.DATE).match(text):
        return False
    digits = sum(map(str.isdigit, text))
    return 0 < digits < len(text) or (text.endswith("=") and len(text) >= 16 and not text.islower())
