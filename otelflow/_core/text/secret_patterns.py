"""The names of secrets, the shapes of secrets, and the words that people say about secrets."""

from typing import Final


def _words(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(text.split(separator))


#: Whatever stands under such a name is hidden, unless it is plainly harmless ("token: expired").
STRONG_NAMES: Final = _words(
    "password passwords passwd passphrase passcode passwort pwd secret token apikey apitoken authtoken accesstoken "
    "secretkey accesskey authorization credential credentials cookie cookies jwt bearer dsn csrf xsrf csrftoken "
    "sessionid sessid phpsessid jsessionid cvv cvc mnemonic"
)
#: Under such a name only what looks like a secret is hidden: "session: morning" stays.
WEAK_NAMES: Final = _words("pass auth session otp totp pin ssn sig signature sid nonce salt creds pw")
#: Strong, too; their last words alone are ordinary.
TWO_WORD_NAMES: Final = _words(
    "api key,access key,account key,private key,signing key,encryption key,secret key,master key,shared key,auth key,"
    "service key,storage key,subscription key,functions key,ssh key,deploy key,license key,session key,session id,"
    "connection string,recovery code,backup code,security code,verification code,webhook url,security answer,secret id,"
    "access signature",
    ",",
)
SECOND_WORDS: Final = frozenset(pair.partition(" ")[2] for pair in TWO_WORD_NAMES)
#: A name may end in such a word: password_old, TOKEN_PROD.
NAME_ENDINGS: Final = _words(
    "value text plain raw b64 base hash hashed encrypted new old current prod production staging stage dev test live "
    "default primary secondary"
)
#: Names whose value may be short or a number; under the others that is a count or a position.
NUMERIC_NAMES: Final = _words("pass pw password passwd passwort passcode pwd pin otp totp cvv cvc ssn code")
#: Of these, only digits are secrets.
DIGITS_ONLY_NAMES: Final = _words("pin otp totp ssn")
PASS_NAMES: Final = _words("pass pw")
COOKIE_NAMES: Final = _words("cookie cookies")

#: No name in a text without one of these (in lower case) is a secret's.
NAME_STEMS: Final = (
    "pass", "key", "token", "auth", "secret", "pwd", "cred", "cookie", "sess", "jwt", "bearer", "dsn", "srf", "sig",
    "otp", "pin", "ssn", "sid", "nonce", "salt", "cv", "mnemonic", "code", "connection", "webhook", "answer", "pw",
)  # fmt: skip

#: What people and programs say of a secret.
HARMLESS_VALUES: Final = _words(
    "a an the is was are be been being has have had must should may can could will would not no yes on off true false "
    "none null nil undefined empty unset set missing required optional expired invalid valid incorrect wrong correct "
    "unexpected expected changed updated reset rotated revoked refreshed renewed found ok okay failed failure success "
    "successful passed denied accepted rejected unknown disabled enabled enable disable started stopped closed open "
    "opened created deleted removed active inactive to for of from in into by with without and or but if when then at "
    "as it its this that these all any each every only both flag option argument parameter file field value values "
    "header headers auth login string str bytes int float bool secretstr optional number text basic bearer digest "
    "hidden masked redacted encrypted hashed provided given supplied type expires end eof identifier authentication "
    "authorization credentials password secret token cannot does did mismatch matches match ready done"
)

#: Secrets whatever stands before them: the text they begin with, and a pattern for the rest. A pattern that begins
#: with "^" is for the whole, and the text may be anywhere in it.
TOKEN_SHAPES: Final = (
    (
        "-----BEGIN ",
        r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S])*+(?:-----END [A-Z0-9 ]{0,40}-----)?",
    ),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{20,}"),
    ("eyJ", r"[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-.]*)?"),
    ("AKIA", r"[A-Z0-9]{16}\b"),
    ("ASIA", r"[A-Z0-9]{16}\b"),
    ("ABIA", r"[A-Z0-9]{16}\b"),
    ("ghp_", r"[A-Za-z0-9]{16,}"),
    ("gho_", r"[A-Za-z0-9]{16,}"),
    ("ghu_", r"[A-Za-z0-9]{16,}"),
    ("ghs_", r"[A-Za-z0-9]{16,}"),
    ("ghr_", r"[A-Za-z0-9]{16,}"),
    ("github_pat_", r"\w{20,}"),
    ("glpat-", r"[\w\-.]{16,}"),
    ("gldt-", r"[\w\-.]{16,}"),
    ("glrt-", r"[\w\-.]{16,}"),
    ("glptt-", r"[\w\-.]{16,}"),
    ("glcbt-", r"[\w\-.]{16,}"),
    ("xox", r"[a-z][\-.][\w\-.]{10,}"),
    ("xapp-", r"[\w\-]{10,}"),
    ("hooks.slack.com/services/", r"[\w/]{16,}"),
    ("/api/webhooks/", r"\d+/[\w\-]{16,}"),
    ("webhook.office.com/", r"[\w/@\-]{16,}"),
    ("sk_live_", r"\w{10,}"),
    ("sk_test_", r"\w{10,}"),
    ("rk_live_", r"\w{10,}"),
    ("rk_test_", r"\w{10,}"),
    ("whsec_", r"[\w+/=]{16,}"),
    ("sk-", r"[\w\-]{20,}"),
    ("gsk_", r"\w{20,}"),
    ("r8_", r"\w{20,}"),
    ("pplx-", r"\w{20,}"),
    ("xai-", r"[\w\-]{20,}"),
    ("lsv2_", r"[a-z]{2}_\w{20,}"),
    ("hf_", r"\w{20,}"),
    ("AIza", r"[\w\-]{30,}"),
    ("ya29.", r"[\w\-.]{20,}"),
    ("GOCSPX-", r"[\w\-]{20,}"),
    ("1//0", r"[\w\-]{20,}"),
    ("npm_", r"\w{30,}"),
    ("pypi-", r"[\w\-]{30,}"),
    ("rubygems_", r"[a-f0-9]{30,}"),
    ("dckr_", r"[a-z]{2,4}_[\w\-]{20,}"),
    ("SG.", r"[\w\-]{16,}\.[\w\-]{16,}"),
    ("key-", r"[a-f0-9]{32}\b"),
    ("SK", r"[a-f0-9]{32}\b"),
    ("xkeysib-", r"[\w\-]{20,}"),
    ("dop_v1_", r"[a-f0-9]{40,}"),
    ("doo_v1_", r"[a-f0-9]{40,}"),
    ("hvs.", r"[\w\-]{20,}"),
    ("hvb.", r"[\w\-]{20,}"),
    ("dp.", r"[a-z]{2,5}\.\w{20,}"),
    ("pul-", r"[a-f0-9]{40}"),
    ("tskey-", r"[\w\-]{16,}"),
    ("shpat_", r"[a-fA-F0-9]{32}"),
    ("shpss_", r"[a-fA-F0-9]{32}"),
    ("sq0", r"[a-z]{3}-[\w\-]{20,}"),
    ("dapi", r"[a-f0-9]{32}"),
    ("PMAK-", r"[\w\-]{20,}"),
    ("lin_api_", r"\w{20,}"),
    ("ntn_", r"\w{20,}"),
    ("figd_", r"[\w\-]{20,}"),
    ("glsa_", r"[\w=+/]{20,}"),
    ("glc_", r"[\w=+/]{20,}"),
    ("sntrys_", r"[\w=+/\-]{20,}"),
    ("sntryu_", r"[\w=+/\-]{20,}"),
    ("NRAK-", r"\w{20,}"),
    ("ATATT3", r"[\w\-=]{20,}"),
    ("ATCTT3", r"[\w\-=]{20,}"),
    ("HRKU-", r"[\w\-]{20,}"),
    ("sbp_", r"\w{20,}"),
    ("sb_secret_", r"\w{16,}"),
    ("pscale_", r"[a-z]{2,5}_[\w\-.]{20,}"),
    ("CFPAT-", r"[\w\-]{20,}"),
    ("EAACEdEose0cBA", r"\w+"),
    ("ops_eyJ", r"[\w\-]{20,}"),
    ("-us", r"^\b[0-9a-f]{32}-us\d{1,2}\b"),
    (":AA", r"^\b\d{8,10}:AA[\w\-]{33}"),
    (".atlasv1.", r"^\b[A-Za-z0-9]{14}\.atlasv1\.[\w\-]{40,}"),
    ("8Q~", r"^(?<![\w~.\-])[\w~.\-]{3}8Q~[\w~.\-]{31,34}"),
    (".G", r"^\b[MNO][\w\-]{23,25}\.G[\w\-]{5}\.[\w\-]{27,40}"),
)
