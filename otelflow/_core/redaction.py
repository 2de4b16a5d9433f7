"""Take out of texts and values what looks like a secret, before anything is recorded.

Best effort: a secret that looks like an ordinary word, is split over two messages, or is encoded, passes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from otelflow._core.errors import ConfigurationError

REDACTED: Final = "[redacted]"


class _Late:
    """A regular expression that is compiled when it is first used: all of them would make an import 8 ms longer."""

    sub: Callable[..., str]
    search: Callable[[str], "re.Match[str] | None"]

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self.pattern)
        self.sub, self.search = compiled.sub, compiled.search
        return getattr(compiled, name)


# Words whose value is a secret, as a key or before '=' or ':'. "token" alone would hide token counts: the
# word boundary rules in _KEY_VALUE keep "tokens=512" readable.
_SENSITIVE_WORDS: Final = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_\- ]?key|apikey|access[_\-]?key|account[_\-]?key"
    r"|auth|authorization|bearer|credentials?|private[_\-]?key|signing[_\-]?key|encryption[_\-]?key"
    r"|session(?:[_\-]?id)?|sessid|set[_\-]cookie|cookie|csrf|xsrf|jwt|otp|pin|ssn|dsn|sig|signature|client[_\-]?secret"
    r"|shared[_\-]?access[_\-]?signature|connection[_\-]?string"
)
_SECRET_KEY: Final = _Late(rf"(?i)(?:^|[_\-.\s])(?:{_SENSITIVE_WORDS})$")
_CAMEL: Final = _Late(r"(?<=[a-z0-9])(?=[A-Z])")

# name=value, name: value, "name": "value", --name value; the name may have a prefix: DB_PASSWORD, x-api-key, dbPassword
_KEY_VALUE: Final = _Late(
    rf"""(?ix)
    (?P<name> (?<![a-z0-9]) (?:[a-z0-9]{{1,40}}[_\-.]){{0,6}} (?:{_SENSITIVE_WORDS}) )
    (?P<join> ["']? \s{{0,3}} (?: => | := | [:=] ) \s{{0,3}} | ["']? \s{{0,2}} , \s{{0,2}} (?=["']) )
    (?P<value>
        "(?:[^"\\]|\\.)*(?:"|\Z)
      | '(?:[^'\\]|\\.)*(?:'|\Z)
      | (?:bearer|basic|digest|token|negotiate)\s+[^\s"',;]+
      | [^\s"',;&<>)\]}}]+
    )"""
)
_CAMEL_KEY_VALUE: Final = _Late(
    r"""(?x)
    (?P<name> \b[a-z][A-Za-z0-9]{0,40}
        (?:Password|Passwd|Secret|Token|ApiKey|AccessKey|AccountKey|PrivateKey|Credential|Credentials|Cookie) )
    (?P<join> ["']? \s{0,3} [:=] \s{0,3} )
    (?P<value> "(?:[^"\\]|\\.)*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z) | [^\s"',;&<>)\]}]+ )"""
)
_OPTION: Final = _Late(
    rf"(?i)(?P<name>--?(?:[a-z0-9]{{1,40}}-){{0,4}}(?:{_SENSITIVE_WORDS}))(?P<join>\s+)(?P<value>[^\s\-]\S*)"
)

# Values that are secrets whatever stands before them
_SHAPES: Final = _Late(
    r"""(?x)
    (?: -----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?----- (?:[^-]|-(?!----END))*
        (?:-----END\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----)?
      | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?
      | \b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b
      | \b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{16,}
      | \bgithub_pat_[A-Za-z0-9_]{20,}
      | \bglpat-[A-Za-z0-9_\-]{16,}
      | \bxox[abeoprs]-[A-Za-z0-9\-]{10,}
      | \bhooks\.slack\.com/services/[A-Za-z0-9/]{16,}
      | \b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}
      | \bsk-(?:ant-|proj-)?[A-Za-z0-9_\-]{20,}
      | \bAIza[A-Za-z0-9_\-]{30,}
      | \bya29\.[A-Za-z0-9_\-]{20,}
      | \bGOCSPX-[A-Za-z0-9_\-]{20,}
      | \bnpm_[A-Za-z0-9]{30,}
      | \bpypi-[A-Za-z0-9_\-]{30,}
      | \bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}
      | \bhf_[A-Za-z0-9]{20,}
      | \bdop_v1_[a-f0-9]{40,}
      | \bhvs\.[A-Za-z0-9_\-]{20,}
      | \bkey-[a-f0-9]{32}\b
      | \bSK[a-f0-9]{32}\b
    )"""
)
_URL_PASSWORD: Final = _Late(
    r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.\-]{0,30}://[^\s:/@\"']{0,200}:)(?P<value>[^\s\"'/]{1,500})(?=@)"
)
_SCHEME: Final = _Late(r"(?i)(?P<head>\b(?:bearer|basic)\s+)(?P<value>[A-Za-z0-9+/_\-.=~]{12,})")

# No pattern can match a text without one of these; most messages have none, and cost one search.
_SUSPICIOUS: Final = _Late(
    rf"(?i){_SENSITIVE_WORDS}|credential|://|-----BEGIN|eyJ|A(?:KIA|SIA|ROA|IDA)|gh[opusr]_|github_pat|glpat-|xox[abeoprs]-"
    r"|slack\.com|[spr]k_(?:live|test)_|sk-|AIza|ya29|GOCSPX|npm_|pypi-|SG\.|hf_|dop_v1|hvs\.|key-|SK[a-f0-9]|basic"
)

_more: tuple[re.Pattern[str], ...] = ()


def extend(patterns: Iterable[str]) -> None:
    """Redact what matches *patterns* (regular expressions), too; replaces what an earlier call gave.

    Raises ConfigurationError for a pattern that does not compile.
    """
    global _more
    try:
        _more = tuple(re.compile(pattern) for pattern in patterns)
    except re.error as error:
        raise ConfigurationError(f"redact: {error.pattern!r} is not a regular expression: {error.msg}") from None


def is_secret(key: str) -> bool:
    """Tell whether the value under *key* is to be hidden: ``password``, ``DB_TOKEN``, ``x-api-key``, ``dbPassword``."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key)) is not None


def redact(text: str) -> str:
    """Return *text* with ``[redacted]`` in the place of each thing that looks like a secret."""
    if _SUSPICIOUS.search(text) is not None:
        text = _SHAPES.sub(REDACTED, text)
        text = _URL_PASSWORD.sub(rf"\g<head>{REDACTED}", text)
        text = _KEY_VALUE.sub(_hide_value, text)
        text = _CAMEL_KEY_VALUE.sub(_hide_value, text)
        text = _OPTION.sub(_hide_value, text)
        text = _SCHEME.sub(rf"\g<head>{REDACTED}", text)
    for pattern in _more:
        text = pattern.sub(REDACTED, text)
    return text


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.startswith(REDACTED[:5]):
        return match[0]
    quote = value[0] if value[0] in "\"'" else ""
    closing = quote if len(value) > 1 and value.endswith(quote) else ""
    return f"{match['name']}{match['join']}{quote}{REDACTED}{closing}"


def redact_value(value: object, depth: int = 8) -> object:
    """Return a copy of plain data (dicts, lists, texts) in which secret keys and texts are redacted."""
    if isinstance(value, str):
        return redact(value)
    if depth == 0:
        return value
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if isinstance(key, str) and is_secret(key) and item is not None
            else redact_value(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(item, depth - 1) for item in value]
    return value
