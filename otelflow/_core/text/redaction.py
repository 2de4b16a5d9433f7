"""Take out of texts and values what looks like a secret, before anything is recorded.

Best effort, in linear time: a secret that looks like an ordinary word, is split over two messages, or is encoded,
passes. What is looked for: values of a known shape, passwords in addresses, and values under a secret's name.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

from otelflow._core.text import secret_patterns
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import safe_str

REDACTED: Final = "[redacted]"

# Room for a secret that a cut would split: redaction sees it whole, or at least its beginning.
_MARGIN: Final = 512
# Nested deeper than this, a container is shown as text.
_DEPTH: Final = 64
# A longer value is never taken for something harmless, so that no text is read twice.
_HARMLESS_LENGTH: Final = 200
_NAME_LENGTH: Final = 80

_LONG_WORD: Final = r"(?:\A|[\s\"'=:/,(])[^\s\"'=,()]{16}"
_ADDRESS: Final = r"""(?x) (?P<head> :// [^\s:/@"'<>]{0,200} :) (?!\d{1,5}[/?\#])
             [^\s"'<>@]{1,500}+ (?:@[^\s"'<>@/]{0,100}+(?=@))*+ (?=@)
           | (?P<start> ://) [A-Za-z0-9_\-]{20,200} (?=@)"""
_SCHEME: Final = (
    r"(?i)(?P<head>\b(?:bearer|basic)[ ]+)(?=[^\s\"']{0,200}[0-9=_.])[A-Za-z0-9+/_\-.=~]{12,}"
    r"|(?P<start>(?<!\S)(?:-u|--user)[ =]+[^\s:\"']{1,100}:)[^\s\"']{1,200}"
)

# No value is joined to a name in a text without one of these.
_JOIN: Final = r"[=:<]|--|[\"'][ ]{0,3},| (?:is|was) "
# name=value, name: value, "name": "value", 'name' => value, name is value, "name", "value"
_NAME: Final = r"""(?ix)
    (?<![\w.\-])
    (?P<name> [\w.\-]++ )
    (?P<join> \\{0,3}["']?\]?[ \t]{0,3} (?: =>|:=|[:=](?!=) ) [ \t]{0,3}
            | [ \t]{1,3}(?:is|was)[ \t]{1,3}
            | \\{0,3}["'] [ ]{0,3} , \s{0,3} (?=\\{0,3}["']) )"""
_OPTION: Final = r"(?<![\w\-])(?P<name>--?[A-Za-z][\w\-]{1,60}+)(?P<join>[ \t]{1,3})(?=[^\s\-])"
_ELEMENT: Final = r"<(?P<name>[\w.\-]{1,60})(?:[ ][^<>]{0,200})?+(?P<join>>)(?=[^<>\s])"
_VALUE: Final = r"""(?ix)
      [brfu]{0,2} (?: "(?:[^"\\]|\\.)*+(?:"|\Z) | '(?:[^'\\]|\\.)*+(?:'|\Z) )
    | \\{1,3}["'][^"'\\]*+
    | (?:digest|aws4-hmac-sha256)\s[^\r\n]*+
    | (?:bearer|basic|token|negotiate|apikey|api-key|splunk|sso-key)\s+[^\s"',;]++
    | \{[^{}]*+\}?+ | \[[^\[\]]*+\]?+
    # A separator belongs to the value unless a blank or another name follows.
    | (?:[^\s"',;&<>)\]}\\] | [,;&](?=[^\s"',;&\\]) (?![\w.\-]{1,60}[=:]) )++"""
_COOKIES: Final = r"""[^\r\n"'{}]++"""
_TEXT_NODE: Final = r"[^<>]++"

_WORDS: Final = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
_QUOTES: Final = r"""^[brfuBRFU]{0,2}\\{0,3}["']|["']$"""
_DATE: Final = r"\d{4}-\d\d|\d\d?:\d\d"
_PLACEHOLDER: Final = r"""(?x)
    \W+ | [xX]+ | <[^<>]*>? | \$\{.* | \$\(.* | \$[A-Z_][A-Z0-9_]* | \{\{.* | \{\w*\}? | %[sdr(].*
    | \[?(?:redacted|masked|filtered|hidden|REDACTED|MASKED|FILTERED|HIDDEN).*
    | (?:self|cls|os|config|settings|args|env|environ|kwargs|params|options|request|req|ctx)\.[\w.\[\]]*  # code
    | [A-Za-z_][\w.]*[(\[].*                                                                 # calls, items
    """

# An escaped character, a set, a quantifier, or one character of a regular expression.
_TOKENS: Final = r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,\d*\}|."

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


def split_patterns(text: str) -> list[str]:
    r"""Return the patterns in *text*, which commas separate.

    A comma in a quantifier, a set or a group (``[0-9]{8,16}``, ``[,;]``, ``(a,b)``) belongs to its pattern, as an
    escaped one does (``\,``).
    """
    patterns = [""]
    depth = 0
    for token in lazy_compile(_TOKENS).findall(text):
        depth = max(0, depth + (token == "(") - (token == ")"))  # noqa: S105 a token of a pattern
        if token == "," and depth == 0:  # noqa: S105
            patterns.append("")
        else:
            patterns[-1] += token
    return [pattern.strip() for pattern in patterns if pattern.strip()]


def recorded(value: object, limit: int) -> str:
    """Return *value* as it is recorded anywhere: as text, redacted, bounded to *limit* characters; never raises."""
    text = safe_str(value, limit + _MARGIN)
    if len(text) <= limit:
        return redact(text)
    if len(text) <= limit + _MARGIN:
        return f"{redact(text)[:limit]}… [cut, {len(text):,} characters]"
    # safe_str() has cut it, and says so after the text that it left.
    return redact(text[: limit + _MARGIN])[:limit] + text[limit + _MARGIN :]


def redact(text: str) -> str:
    """Return *text* with ``[redacted]`` in the place of each thing that looks like a secret."""
    if lazy_compile(_LONG_WORD).search(text) is not None or "-----BEGIN " in text:
        for stem, rest in secret_patterns.TOKEN_SHAPES:
            if stem in text:
                text = _shape(stem, rest).sub(REDACTED, text)
    if "://" in text and "@" in text:
        text = lazy_compile(_ADDRESS).sub(_keep_beginning, text)
    lowered = text.lower()
    if lazy_compile(_JOIN).search(text) is not None and any(map(lowered.__contains__, secret_patterns.NAME_STEMS)):
        text = _hide_after(_NAME, text)
        text = _hide_after(_OPTION, text) if "-" in text else text
        text = _hide_after(_ELEMENT, text) if "</" in text else text
    if "basic" in lowered or "bearer" in lowered or "-u" in lowered:
        text = lazy_compile(_SCHEME).sub(_keep_beginning, text)
    for pattern in _additions:
        text = pattern.sub(REDACTED, text)
    return text


def is_secret(key: str, value: object = None) -> bool:
    """Tell whether *value* under *key* is to be hidden (``password``, ``DB_TOKEN``, ``x-api-key``, ``dbPassword``)."""
    words = _secret_name(key[-_NAME_LENGTH:])
    if not words or words[-1] in secret_patterns.STRONG_NAMES or not isinstance(value, str):
        return bool(words)
    return _is_random(value, words)


def redact_value(value: object, depth: int = _DEPTH) -> object:
    """Return a copy of plain data (dicts, lists, texts) in which secret keys and texts are redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return redact(safe_str(value, 1_000))
    if isinstance(value, Mapping):
        return {
            redact(key) if isinstance(key, str) else key: REDACTED
            if isinstance(key, str) and item is not None and is_secret(key, item)
            else redact_value(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(item, depth - 1) for item in value]
    return value


def _keep_beginning(match: re.Match[str]) -> str:
    return (match["head"] or match["start"]) + REDACTED


@functools.cache
def _shape(stem: str, rest: str) -> re.Pattern[str]:
    # The look-behind comes after the stem: a pattern that begins with plain text is found many times faster.
    literal = re.escape(stem)
    before = f"(?<![A-Za-z0-9]{literal})" if stem[0].isalnum() else ""
    return re.compile(rest[1:] if rest.startswith("^") else literal + before + rest)


def _hide_after(pattern: str, text: str) -> str:
    """Hide each value after a secret's name; a value that is none may have names inside, so it is read on."""
    pieces: list[str] = []
    done = 0
    for name in lazy_compile(pattern).finditer(text):
        words = _words_before(name, text) if name.start() >= done else ()
        value = _value_after(name, words, text) if words else None
        if value is not None and _is_secret_value(value[0], words, name["join"]):
            opening = lazy_compile(_QUOTES).match(value[0])
            start = value.start() + (len(opening[0]) if opening else 0)
            end = value.end() - (opening is not None and value.end() > start and text[value.end() - 1] in "\"'")
            pieces += (text[done:start], REDACTED)
            done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _words_before(match: re.Match[str], text: str) -> tuple[str, ...]:
    name = match["name"][-_NAME_LENGTH:]
    if name.lower() in secret_patterns.SECOND_WORDS:  # "API key: …"
        start = match.start("name")
        name = text[max(0, start - 16) : start].rstrip().rpartition(" ")[2] + "_" + name
    return _secret_name(name)


def _value_after(match: re.Match[str], words: tuple[str, ...], text: str) -> re.Match[str] | None:
    if match["join"] == ">":
        return lazy_compile(_TEXT_NODE).match(text, match.end())
    cookies = None
    if words[-1] in secret_patterns.COOKIE_NAMES:
        cookies = lazy_compile(_COOKIES).match(text, match.end())
    return cookies or lazy_compile(_VALUE).match(text, match.end())


@functools.lru_cache(maxsize=2048)
def _secret_name(name: str) -> tuple[str, ...]:
    """Return the words of *name* up to the one that makes it a secret's, or nothing."""
    words = [word.lower() for word in lazy_compile(_WORDS).findall(name)]
    while words:
        last, pair = words[-1], " ".join(words[-2:])
        if last in secret_patterns.STRONG_NAMES or last in secret_patterns.WEAK_NAMES:
            # "pass: 12" counts what passed; SMTP_PASS does not.
            is_password = last in secret_patterns.PASS_NAMES and len(words) > 1
            return (*words, "password") if is_password else tuple(words)
        is_pair = pair in secret_patterns.TWO_WORD_NAMES
        if is_pair or last.endswith(("password", "passwd", "apikey", "secret")):
            return (*words, "code", "secret") if last == "code" else (*words, "secret")
        if not last.isdigit() and last not in secret_patterns.NAME_ENDINGS:
            return ()
        words.pop()
    return ()


def _is_secret_value(value: str, words: tuple[str, ...], join: str) -> bool:
    bare = lazy_compile(_QUOTES).sub("", value)
    if len(bare) > _HARMLESS_LENGTH:
        return True
    if bare.rstrip(".,!?:;").lower() in secret_patterns.HARMLESS_VALUES or bare == words[-1]:
        return False
    if lazy_compile(_PLACEHOLDER).fullmatch(bare):
        return False
    if bare.isdecimal() and len(bare) < 6:
        return len(bare) >= 3 and not secret_patterns.NUMERIC_NAMES.isdisjoint(words)
    is_told = "," in join or "is" in join or "was" in join
    return _is_random(bare, words) if is_told or words[-1] in secret_patterns.WEAK_NAMES else True


def _is_random(text: str, words: tuple[str, ...]) -> bool:
    """Tell whether *text* looks like nothing that people say: letters and digits in one word, or a code's digits."""
    if not secret_patterns.NUMERIC_NAMES.isdisjoint(words) and text.replace("-", "").isdecimal():
        return len(text) >= 4
    is_weak = words[-1] in secret_patterns.WEAK_NAMES and words[-1] not in secret_patterns.PASS_NAMES
    if len(text) < (8 if is_weak else 6) or " " in text:
        return False
    if words[-1] in secret_patterns.DIGITS_ONLY_NAMES or lazy_compile(_DATE).match(text):
        return False
    digits = sum(map(str.isdigit, text))
    return 0 < digits < len(text)
