"""Take out of texts and values what looks like a secret, before anything is recorded.

Best effort, in linear time: a secret that looks like an ordinary word, is split over two messages, or is encoded,
passes. What is looked for: values under a secret's name, values of a known shape, and passwords in addresses.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

from otelflow._core.bounded import shown
from otelflow._core.errors import ConfigurationError

REDACTED: Final = "[redacted]"

# Room for a secret that a cut would split: redaction sees it whole, or at least its beginning.
_MARGIN: Final = 512
# Nested deeper than this, a container is shown as text.
_DEPTH: Final = 64

# --- Names. Their words are compared, so "tokens", "author" and "keyboard" are none of these.

#: Whatever stands under such a name is hidden, unless it is plainly no secret ("token: expired").
_STRONG: Final = frozenset(
    "password passwd passphrase passcode pwd secret token apikey apitoken authtoken accesstoken secretkey accesskey "
    "authorization credential credentials cookie cookies jwt bearer dsn csrf xsrf csrftoken sessionid sessid "
    "phpsessid jsessionid cvv cvc mnemonic".split()
)
#: Under such a name only what looks like a secret is hidden: "session: morning" stays.
_WEAK: Final = frozenset("pass auth session otp totp pin ssn sig signature sid nonce salt creds pw".split())
#: "key" and "string" are ordinary words, unless after one of these.
_PAIRS: Final = frozenset(
    "api key,access key,account key,private key,signing key,encryption key,secret key,master key,shared key,auth key,"
    "service key,storage key,subscription key,functions key,ssh key,deploy key,license key,session key,session id,"
    "connection string,recovery code,backup code,security code,verification code,webhook url,security answer".split(",")
)
_TAILS: Final = frozenset(
    "value text plain raw b64 base64 hash hashed encrypted new old current prod production staging stage dev test live "
    "default env key id primary secondary".split()
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# --- Values

#: After a secret's name, these are no secrets: what programs and people say about one.
_HARMLESS: Final = frozenset(
    "a an the is was are be been being has have had must should may can could will would not no yes on off true false "
    "none null nil undefined empty unset set missing required optional expired invalid valid incorrect wrong correct "
    "unexpected expected changed updated reset rotated revoked refreshed renewed found ok okay failed failure success "
    "successful passed denied accepted rejected unknown disabled enabled enable disable started stopped closed open "
    "opened created deleted removed active inactive to for of from in into by with without and or but if when then at "
    "as it its this that these all any each every only both flag option argument parameter file field value values "
    "header headers auth login string str bytes int float bool any secretstr optional[str] str|none number text basic "
    "bearer digest hidden masked redacted encrypted hashed provided given supplied type expires end eof eol identifier "
    "authentication authorization credentials password secret token cannot does did mismatch matches match".split()
)
_PLACEHOLDER: Final = re.compile(
    r"""(?x)
    [*x•.X\-_?]+ | <[^<>]*>? | \$\{?\w+\}? .* | \{\{.* | \{\w*\}? | %[\w(%].* | \[ (?:redacted|masked|filtered|hidden) .*
    | (?:self|cls|os|config|settings|args|env|environ|kwargs|params|options|request|req|ctx)\.[\w.]+ .*  # code
    | [A-Za-z_][\w.]*\( .* | [A-Za-z_][\w.]*\[ .*                                                        # calls, items
    """
)
_SHORT_NUMBER: Final = re.compile(r"\d{1,5}")

_QUOTED: Final = r""" "(?:[^"\\]|\\.)*+(?:"|\Z) | '(?:[^'\\]|\\.)*+(?:'|\Z) """
_SCHEMES: Final = r"(?:bearer|basic|token|negotiate|apikey|api-key|splunk|sso-key)"
# A separator belongs to the value unless a blank or another name follows.
_BARE: Final = r"""(?:[^\s"',;&<>)\]}\\] | [,;&](?=[^\s"',;&\\]) (?![\w.\-]{1,60}[=:]) )++"""
_VALUE: Final = re.compile(
    rf"""(?ix)
      [brfu]{{0,2}}(?:{_QUOTED})
    | \\{{1,3}}["'][^"'\\]*+
    | (?:digest|aws4-hmac-sha256)\s[^\r\n]*+
    | {_SCHEMES}\s+[^\s"',;]++
    | {_BARE}"""
)
_REST_OF_COOKIE: Final = re.compile(r"""[^\r\n"'}]*+""")

# name=value, name: value, "name": "value", 'name' => value, name is value, "name", "value", --name value
_NAME: Final = re.compile(
    r"""(?ix)
    (?<![\w.\-])
    (?P<name> (?:(?:api|access|account|private|secret|signing|encryption|auth|session|client|security|connection)[ ])?
              [\w.\-]++ )
    (?P<join> \\{0,3}["']?\]?[ \t]{0,3} (?: =>|:=|[:=](?!=) ) [ \t]{0,3}
            | [ \t]{1,3}(?:is|was)[ \t]{1,3}
            | \\{0,3}["'] [ ]{0,3} , \s{0,3} (?=\\{0,3}["'])
            | (?<=\w) [ \t]{1,3} (?=[^\s\-]) )"""
)
_ELEMENT: Final = re.compile(r"<([\w.\-]{1,60})(?:[ ][^<>]{0,200})?+>([^<>]{1,2000})(?=</)")
_ADDRESS: Final = re.compile(
    r"""(?x) (?P<head> :// [^\s:/@"'<>]{0,200} :) (?!\d{1,5}[/?\#]) [^\s"'<>]{1,500} (?=@)
           | (?P<user> ://) [A-Za-z0-9_\-]{20,200} (?=@)"""
)
_SCHEME: Final = re.compile(
    r"(?i)(?P<head>\b(?:bearer|basic)[ ]+)(?=[^\s\"']{0,200}[0-9=_.])[A-Za-z0-9+/_\-.=~]{12,}"
    r"|(?P<user>(?<!\S)(?:-u|--user)[ =]+[^\s:\"']{1,100}:)[^\s\"']{1,200}"
)

# --- Shapes: secrets whatever stands before them; each begins with one of the literal texts beside it.
_SHAPES: Final = re.compile(
    r"""(?x) (?:
      -----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?----- (?:(?!-----END)[\s\S])*+ (?:-----END\ [A-Z0-9 ]{0,40}-----)?
    | AGE-SECRET-KEY-1[A-Z0-9]{20,}
    | (?<![A-Za-z0-9]) (?:
        eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-.]*)?
      | A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}\b
      | gh[opusr]_[A-Za-z0-9]{16,} | github_pat_\w{20,} | gl[a-z]{2,5}-[\w\-.]{16,}
      | xox[a-z]-[\w\-]{10,} | xapp-[\w\-]{10,} | xoxe\.[\w\-.]{10,}
      | (?:sk|pk|rk)_(?:live|test)_\w{10,} | whsec_[\w+/=]{16,}
      | sk-[\w\-]{20,} | gsk_\w{20,} | r8_\w{20,} | pplx-\w{20,} | xai-[\w\-]{20,} | lsv2_[a-z]{2}_\w{20,} | hf_\w{20,}
      | AIza[\w\-]{30,} | ya29\.[\w\-.]{20,} | GOCSPX-[\w\-]{20,} | 1//0[\w\-]{20,}
      | npm_\w{30,} | pypi-[\w\-]{30,} | rubygems_[a-f0-9]{30,} | dckr_[a-z]{2,4}_[\w\-]{20,}
      | SG\.[\w\-]{16,}\.[\w\-]{16,} | key-[a-f0-9]{32}\b | SK[a-f0-9]{32}\b | xkeysib-[\w\-]{20,}
      | do[opr]_v1_[a-f0-9]{40,} | hv[bs]\.[\w\-]{20,} | dp\.[a-z]{2,5}\.\w{20,} | pul-[a-f0-9]{40} | tskey-[\w\-]{16,}
      | shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32} | sq0[a-z]{3}-[\w\-]{20,} | dapi[a-f0-9]{32} | PMAK-[\w\-]{20,}
      | lin_api_\w{20,} | ntn_\w{20,} | figd_[\w\-]{20,} | gls?[ac]_[\w=+/]{20,} | sntry[a-z]_[\w=+/\-]{20,}
      | NRAK-\w{20,} | AT(?:ATT|CTT)3[\w\-=]{20,} | HRKU-[\w\-]{20,} | sbp_\w{20,} | sb_secret_\w{16,}
      | pscale_[a-z]{2,5}_[\w\-.]{20,} | CFPAT-[\w\-]{20,} | EAACEdEose0cBA\w+ | ops_eyJ[\w\-]{20,}
      | [0-9a-f]{32}-us\d{1,2}\b | \d{8,10}:AA[\w\-]{33} | [A-Za-z0-9]{14}\.atlasv1\.[\w\-]{40,}
      | [MNO][\w\-]{23,25}\.[\w\-]{6}\.[\w\-]{27,40} | [\w~.\-]{3}8Q~[\w~.\-]{31,34}
      )
    | (?<=hooks\.slack\.com/services/)[\w/]{16,} | (?<=/api/webhooks/)\d+/[\w\-]{16,}
    | (?<=webhook\.office\.com/)[\w/@\-]{16,}
    )"""
)
_SHAPE_STEMS: Final = (
    "-----BEGIN", "SECRET-KEY-1", "eyJ", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "_pat_", "gl", "xox", "xapp-", "_live_", "_test_", "whsec_", "sk-", "gsk_", "r8_", "pplx-", "xai-", "lsv2_", "hf_",
    "AIza", "ya29.", "GOCSPX", "1//0", "npm_", "pypi-", "rubygems_", "dckr_", "SG.", "key-", "SK", "xkeysib-", "_v1_",
    "hvs.", "hvb.", "dp.", "pul-", "tskey-", "shpat_", "shpss_", "shpca_", "shppa_", "sq0", "dapi", "PMAK-", "lin_api_",
    "ntn_", "figd_", "sntry", "NRAK-", "ATATT3", "ATCTT3", "HRKU-", "sbp_", "sb_secret_", "pscale_", "CFPAT-", "EAACEd",
    "-us", ":AA", ".atlasv1.", "8Q~", "hooks.slack", "/webhooks/", "webhook.office",
)  # fmt: skip
_DISCORD: Final = re.compile(r"[MNO][\w\-]{23,25}\.[\w\-]{6}\.")
_LONG_WORD: Final = re.compile(r"(?:\A|[\s\"'=:/,(])[^\s\"'=,()]{16}")
# No name in a text without one of these (in lower case) is a secret's.
_NAME_STEMS: Final = (
    "pass", "pwd", "secret", "token", "key", "auth", "cred", "cookie", "sess", "jwt", "bearer", "dsn", "srf", "sig",
    "otp", "pin", "ssn", "sid", "nonce", "salt", "cv", "mnemonic", "code", "connection", "webhook", "answer", "pw",
)  # fmt: skip

_more: tuple[re.Pattern[str], ...] = ()


def compiled(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Return *patterns* ready for use. Raises ConfigurationError for one that does not compile."""
    try:
        return tuple(re.compile(pattern) for pattern in patterns)
    except re.error as error:
        raise ConfigurationError(f"redact: {error.pattern!r} is not a regular expression: {error.msg}") from None


def extend(patterns: Iterable[str]) -> None:
    """Redact what matches *patterns* (regular expressions), too; replaces what an earlier call gave.

    Raises ConfigurationError for a pattern that does not compile.
    """
    global _more
    _more = compiled(patterns)


def redact(text: str) -> str:
    """Return *text* with ``[redacted]`` in the place of each thing that looks like a secret."""
    if _LONG_WORD.search(text) is not None and _has_shape(text):
        text = _SHAPES.sub(REDACTED, text)
    if "://" in text:
        text = _ADDRESS.sub(_after_head, text)
    lowered = text.lower()
    for stem in _NAME_STEMS:
        if stem in lowered:
            text = _hide_values(text)
            break
    if "basic" in lowered or "bearer" in lowered or "-u" in lowered:
        text = _SCHEME.sub(_after_head, text)
    for pattern in _more:
        text = pattern.sub(REDACTED, text)
    return text


def recorded(value: object, limit: int) -> str:
    """Return *value* as it is recorded anywhere: as text, redacted, bounded to *limit* characters; never raises."""
    text = shown(value, limit + _MARGIN)
    if len(text) <= limit:
        return redact(text)
    if len(text) <= limit + _MARGIN:
        return redact(text)[:limit] + f"… [cut, {len(text):,} characters]"
    # ``shown`` has cut it and says so at the end.
    return redact(text[: limit + _MARGIN])[:limit] + text[limit + _MARGIN :]
