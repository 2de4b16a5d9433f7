"""Take out of texts and values what looks like a secret, before anything is recorded.

Best effort, in linear time: a secret that looks like an ordinary word, is split over two messages, or is encoded,
passes. What is looked for: values of a known shape, passwords in addresses, and values under a secret's name.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from otelflow._core.text import secret_notations, secret_patterns, secret_places
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import safe_str
from otelflow._core.text.secret_columns import hide_columns, hide_inserted, hide_rows
from otelflow._core.text.secret_values import (
    HARMLESS_LENGTH,
    REDACTED,
    is_ordinary,
    is_random,
    is_secret_value,
    secret_name,
)

# Room for a secret that a cut would split: redaction sees it whole, or at least its beginning.
_MARGIN: Final = 512
# Nested deeper than this, a container is shown as text.
_DEPTH: Final = 64
_NAME_LENGTH: Final = 80
_QUOTING: Final = ("'", '"', "\\")  # the first of what joins a name in quotes to its value

# The patterns that the settings add, in one piece: a slice is replaced at once, also while another thread reads.
_additions: Final[list[re.Pattern[str]]] = []


def use_patterns(patterns: Iterable[re.Pattern[str]]) -> None:
    """Redact what matches *patterns*, too, in the place of those of an earlier call."""
    _additions[:] = patterns


def redact_address(address: str) -> str:
    """Return *address* for a message that refuses it: what stands before its last ``@`` is hidden, however it looks."""
    scheme, separator, rest = address.partition("://") if "://" in address else ("", "", address)
    credentials, at, place = rest.rpartition("@")
    return redact(scheme + separator + (REDACTED if credentials else "") + at + place)


def recorded(value: object, limit: int) -> str:
    """Return *value* as it is recorded anywhere: as text, redacted, bounded to *limit* characters; never raises."""
    text = safe_str(value, limit + _MARGIN)
    if len(text) <= limit:
        return redact(text)
    if len(text) <= limit + _MARGIN:
        return f"{redact(text)[:limit]}… [cut, {len(text):,} characters]"
    # safe_str() has cut it, and says so after the text that it left.
    text, sentence = text[: limit + _MARGIN], text[limit + _MARGIN :]
    redacted = redact(text)
    # What is left of the margin goes, also when the redacted text is short: half a secret may stand at its end.
    margin = 0
    while margin < min(_MARGIN, len(redacted)) and redacted[-1 - margin] == text[-1 - margin]:
        margin += 1
    return redacted[: len(redacted) - margin][:limit] + sentence


def redact(text: str) -> str:
    """Return *text* (str) with ``[redacted]`` in the place of each thing that looks like a secret.

    That is: tokens of known shapes, passwords in addresses, values after names such as ``password``, and what the
    setting ``redact`` adds. docs/redaction.md has the whole list.

    >>> from otelflow import redact
    >>> redact("connect with password=hunter2")
    'connect with password=[redacted]'
    """
    if lazy_compile(secret_notations.LONG_WORD).search(text) is not None or "-----BEGIN " in text:
        for stem, rest in secret_patterns.TOKEN_SHAPES:
            if stem in text:
                text = _shape(stem, rest).sub(_hide_token, text)
    if "://" in text and "@" in text:
        text = lazy_compile(secret_notations.ADDRESS).sub(_keep_beginning, text)
    lowered = text.lower()
    text = _hide_in_places(text, lowered)
    if [stem for stem in secret_patterns.NAME_STEMS if stem in lowered]:  # any() of them takes twice as long
        text = _hide_named(text, lowered)
    if "basic" in lowered or "bearer" in lowered or "-u" in lowered:
        text = lazy_compile(secret_notations.SCHEME).sub(_keep_beginning, text)
    text = lazy_compile(secret_notations.CARD).sub(_hide_card, text)
    for pattern in _additions:
        text = pattern.sub(REDACTED, text)
    return text


def is_secret(key: str, value: object = None) -> bool:
    """Tell whether *value* under *key* is to be hidden (``password``, ``DB_TOKEN``, ``x-api-key``, ``dbPassword``)."""
    words = secret_name(key[-_NAME_LENGTH:])
    if not words or words[-1] in secret_patterns.STRONG_NAMES or not isinstance(value, str):
        return bool(words)
    return is_random(value, words)


def redact_value(value: object, depth: int = _DEPTH) -> object:
    """Return a copy of plain data (dicts, lists, texts) in which secret keys and texts are redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return redact(safe_str(value, 1_000))
    if isinstance(value, Mapping):
        names = [item for key, item in value.items() if isinstance(item, str) and _ends_in(key, ("name", "key"))]
        return {
            redact(key) if isinstance(key, str) else key: REDACTED
            if item is not None
            and (
                (isinstance(key, str | bytes) and is_secret(safe_str(key, _NAME_LENGTH), item))
                or (_ends_in(key, ("value",)) and any(is_secret(name, item) for name in names))
            )
            else redact_value(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        value = hide_rows(value)
        if len(value) == 2 and isinstance(value[0], str | bytes) and isinstance(value[1], str | bytes):
            # A header as a pair: two of the same kind in a list may be two names as well.
            words = secret_name(safe_str(value[0], _NAME_LENGTH))
            if words and is_secret_value(safe_str(value[1], HARMLESS_LENGTH + 1), words, is_spoken=True):
                return [value[0], REDACTED]
        return [redact_value(item, depth - 1) for item in value]
    return value


def _ends_in(key: object, endings: tuple[str, ...]) -> bool:
    return isinstance(key, str) and key.lower().endswith(endings)


def _keep_beginning(match: re.Match[str]) -> str:
    head = match["head"] or match["start"]
    return match[0] if is_ordinary(match[0][len(head) :].removeprefix("Bearer ")) else head + REDACTED


def _hide_token(match: re.Match[str]) -> str:
    """Hide what has the shape of a token, unless it is a name that begins as one: ``sk-learn-pipeline-evaluation``."""
    is_token = match.lastgroup != "none" and lazy_compile(secret_notations.WORDED).fullmatch(match[0]) is None
    return REDACTED if is_token else match[0]


@functools.cache
def _ending_in_secret(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern if "(?P<" in pattern else pattern + secret_notations.ENDING)


def _keep_head(match: re.Match[str]) -> str:
    """Hide the last group of *match*, which ends it, unless it is what people say or a number of a port."""
    secret = match[match.lastgroup or 0]
    is_harmless = is_ordinary(secret) or lazy_compile(secret_notations.PORTS).fullmatch(secret)
    return match[0] if is_harmless else match[0][: len(match[0]) - len(secret)] + REDACTED


def _hide_options(match: re.Match[str]) -> str:
    """Hide the passwords in the arguments of one command."""
    arguments = match["arguments"]
    for command, option in secret_places.COMMANDS:
        if lazy_compile(command).fullmatch(match["command"]):
            arguments = _ending_in_secret(option).sub(_keep_head, arguments)
    return match["command"] + arguments


def _hide_card(match: re.Match[str]) -> str:
    """Hide the number of a card: twice every second digit from the right, the sum of all digits ends in 0 (Luhn)."""
    digits = [int(digit) for digit in reversed(match[0]) if digit.isdigit()]
    total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return match[0] if total % 10 else REDACTED


def _hide_manifest(match: re.Match[str]) -> str:
    """Hide each value of the data of a Secret of Kubernetes."""
    part = match.lastgroup or "entries"
    pattern = secret_notations.DATA_ENTRY if part == "entries" else secret_notations.DATA_LINE
    head = match[0][: match.start(part) - match.start()]
    return head + lazy_compile(pattern).sub(rf"\1{REDACTED}", match[part])


def _hide_in_places(text: str, lowered: str) -> str:
    """Hide what stands where secrets stand: in statements, in commands, in dialogues of protocols."""
    for piece, place in secret_places.PLACES:
        if piece in lowered:
            text = _ending_in_secret(place).sub(_keep_head, text)
    if " -" in text or " /" in text or "'-" in text or '"-' in text or ("/" in text and "@" in text):
        text = lazy_compile(secret_places.COMMAND).sub(_hide_options, text)
    if "secret" in lowered:
        manifest, data = lazy_compile(secret_notations.MANIFEST), lazy_compile(secret_notations.DATA)
        documents = [data.sub(_hide_manifest, part) if manifest.search(part) else part for part in text.split("\n---")]
        text = "\n---".join(documents)
    if "insert" in lowered and "values" in lowered:
        text = hide_inserted(text)
    return text


def _hide_named(text: str, lowered: str) -> str:
    """Hide the values under the names of secrets."""
    if lazy_compile(secret_notations.JOIN).search(text) is not None:
        text = _hide_after(secret_notations.NAME, text)
        text = _hide_after(secret_notations.OPTION, text) if "-" in text else text
        if "</" in text:
            for element in (secret_notations.ELEMENT, secret_notations.ENTRY, secret_notations.PROPERTY):
                text = _hide_after(element, text)
        if "val" in lowered or "input" in lowered:
            text = _hide_before_names(_hide_after(secret_notations.HOLDER, text))
        text = _hide_after(secret_notations.REFUSED, text) if "input_value=" in text else text
    if "\n" in text:
        text = hide_columns(text)
    return _hide_after(secret_notations.SPOKEN, text)


@functools.cache
def _shape(stem: str, rest: str) -> re.Pattern[str]:
    # The look-behind comes after the stem: a pattern that begins with plain text is found many times faster.
    literal = re.escape(stem)
    before = f"(?<![A-Za-z0-9]{literal})" if stem[0].isalnum() else ""
    return re.compile(rest[1:] if rest.startswith("^") else literal + before + rest)


def _hide_after(pattern: str, text: str) -> str:
    """Hide each value after a secret's name; a value that is none may have names inside, so it is read on."""
    pieces, done = list[str](), 0
    names: dict[str, tuple[str, ...]] = {}  # of those that mean the same whatever stands before them
    value_after = _VALUES_AFTER.get(pattern, _value)
    for match in lazy_compile(pattern).finditer(text):
        if match.start() < done:
            continue
        name, join = match.group("name", "join")
        words = names.get(name)
        if words is None:
            words = _words_before(match, text)
            if name.lower() not in secret_patterns.SECOND_WORDS:
                names[name] = words
        value = value_after(match, words, text) if words else None
        if value is None or not _is_named_secret(value[0], words, match, pattern):
            continue
        start, end = _within_quotes(value)
        hidden = REDACTED
        if join[:1] in _QUOTING and start == value.start():
            # A number or a list under a name in quotes becomes a text in quotes: what was JSON still is.
            key = lazy_compile(secret_notations.KEY_END).match(join)
            hidden = f"{key['quote']}{REDACTED}{key['quote']}" if key is not None else REDACTED
        pieces += (text[done:start], hidden)
        done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _within_quotes(value: re.Match[str]) -> tuple[int, int]:
    """Return where the text of *value* begins and ends: its quotes stay, so that JSON is still JSON."""
    start, end = value.span()
    whole = value[0]
    if "'" not in whole and '"' not in whole:  # most
        return start, end
    opening = lazy_compile(secret_notations.QUOTES).match(whole)
    start += len(opening[0]) if opening else 0
    return start, end - (opening is not None and end > start and whole[-1] in "\"'")


def _hide_before_names(text: str) -> str:
    """Hide each value that stands before a secret's name: ``{"value": "…", "name": "DB_PASSWORD"}``."""
    pieces, done = list[str](), 0
    if lazy_compile(secret_notations.HOLDER).search(text) is None:
        return text
    names = lazy_compile(secret_notations.HOLDER_BEHIND)
    for key in lazy_compile(secret_notations.HELD, re.IGNORECASE).finditer(text):
        value = lazy_compile(secret_notations.VALUE).match(text, key.end()) if key.start() >= done else None
        name = names.match(text, value.end()) if value is not None else None
        words = secret_name(name["name"][-_NAME_LENGTH:]) if name is not None else ()
        if value is not None and words and is_secret_value(value[0], words, is_spoken=False):
            start, end = _within_quotes(value)
            pieces += (text[done:start], REDACTED)
            done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _words_before(match: re.Match[str], text: str) -> tuple[str, ...]:
    name = match["name"][-_NAME_LENGTH:]
    if name.lower() in secret_patterns.SECOND_WORDS:  # "API key: …"
        start = match.start("name")
        name = text[max(0, start - 16) : start].rpartition("\n")[2].rstrip().rpartition(" ")[2] + "_" + name
    return secret_name(name)


def _value(match: re.Match[str], words: tuple[str, ...], text: str) -> re.Match[str] | None:
    start = match.end()
    if not secret_patterns.WHOLE_LINE_NAMES.isdisjoint(words):
        cookies = lazy_compile(secret_notations.COOKIES).match(text, start)
        if cookies is not None:
            return cookies
    value = lazy_compile(secret_notations.VALUE).match(text, start)
    if words[-1] == "authorization" and value is not None and value[0].isalpha() and not is_ordinary(value[0]):
        return lazy_compile(secret_notations.ANY_SCHEME).match(text, start) or value
    return value


def _value_of_name(match: re.Match[str], words: tuple[str, ...], text: str) -> re.Match[str] | None:
    start, join = match.end(), match["join"]
    if join == ": ":
        if secret_patterns.SPOKEN_NAMES.isdisjoint(words) and lazy_compile(secret_notations.PROSE).match(text, start):
            return None  # before a value is looked for, which may be as long as the line
    elif join == "=":
        if "." in match["name"] and text[match.start() - 1 : match.start()] in ("", "\n"):
            line = lazy_compile(secret_notations.LINE).match(text, start)
            return line or lazy_compile(secret_notations.VALUE).match(text, start)
    elif join.endswith("\n"):
        block = secret_notations.LINE if "<<" in join else secret_notations.BLOCK
        return lazy_compile(block).match(text, start)
    return _value(match, words, text)


def _value_of_element(match: re.Match[str], _: tuple[str, ...], text: str) -> re.Match[str] | None:
    return lazy_compile(secret_notations.TEXT_NODE).match(text, match.end())


def _held_value(match: re.Match[str], _: tuple[str, ...], text: str) -> re.Match[str] | None:
    key = lazy_compile(secret_notations.BETWEEN + secret_notations.HELD, re.IGNORECASE).match(text, match.end())
    return lazy_compile(secret_notations.VALUE).match(text, key.end()) if key is not None else None


# How the value is found after what a pattern finds; after the other patterns it stands as it is.
_VALUES_AFTER: Final[Mapping[str, Callable[[re.Match[str], tuple[str, ...], str], re.Match[str] | None]]] = {
    secret_notations.NAME: _value_of_name,
    secret_notations.ELEMENT: _value_of_element,
    secret_notations.ENTRY: _value_of_element,
    secret_notations.PROPERTY: _value_of_element,
    secret_notations.HOLDER: _held_value,
}


def _is_named_secret(value: str, words: tuple[str, ...], match: re.Match[str], pattern: str) -> bool:
    """Tell whether *value* is a secret after the name, and after what joins the two, of *match*."""
    join = match["join"]
    if pattern == secret_notations.SPOKEN:
        is_said = not join.isspace() and any(map(str.isalpha, join))
        if is_said and value[:1] in ("'", '"') and len(value) > 5:
            return is_secret_value(value, words, is_spoken=False)
        has_quotes = "'" in value or '"' in value
        bare = (lazy_compile(secret_notations.QUOTES).sub("", value) if has_quotes else value).rstrip(".,!?:;")
        is_password = words[-1] in secret_patterns.PASSWORD_NAMES
        if is_said and is_password and lazy_compile(secret_notations.PHRASE).fullmatch(bare):
            return True
        least = 0 if is_said else 6 if is_password else 16
        if len(bare) < least or (not is_said and (match["name"].lower() == "secret" or bare.isdecimal())):
            return False
        if lazy_compile(secret_notations.TECHNICAL).match(bare):
            return False
        return is_secret_value(bare, words, is_spoken=True)
    if pattern != secret_notations.NAME:
        is_object = value[0] in "{[" and pattern == secret_notations.HOLDER
        return not is_object and is_secret_value(value, words, is_spoken=False)
    if value[0] in "\"'":
        before = match.string[match.start() - 1 : match.start()]
        if before == value[0] and before not in join:
            return False  # the quote ends a text that asks for the secret: "Password: "
    elif join.endswith(('" : ', "' : ")) and value.isalpha():
        return False  # volume "token" : configmap not found
    is_listed = ("," in join or "->" in join) and not match["name"].startswith("-")
    return is_secret_value(value, words, is_spoken=is_listed)
