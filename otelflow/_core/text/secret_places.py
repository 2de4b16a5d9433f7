"""Where secrets stand without a name: in commands, statements, and what protocols and programs say to one another."""

from typing import Final

_COMMANDS: Final = (
    (r"(?:twine)", r"\s-p[ =]?"),
    (r"(?:ssh-keygen)", r"\s-[NP][ ]?"),
    (r"(?:mysql\w*|mariadb(?:-[a-z]{1,16}){0,3}|7z[ar]?|rar|unrar)", r"\s-p"),
    (
        r"(?:sshpass|mongo\w*|cqlsh|rabbitmqadmin|mosquitto_(?:pub|sub)|psexec|nxc|netexec|beeline|cypher-shell|hdbsql|rdesktop|evil-winrm|ncftp\w*)",
        r"\s-[pP][ =]?",
    ),
    (r"(?:sqlcmd|bcp|isql|tsql|mosquitto_\w+|ipmitool|zip|unzip)", r"\s-P[ ]?"),
    (r"(?:redis-cli|valkey-cli|ipsec)", r"\s-a[ ]?"),
    (r"(?:ldap[a-z]+)", r"\s-w[ ]?"),
    (r"(?:snmp[a-z]+)", r"\s-[cAX][ ]?"),
    (r"(?:x?freerdp\w*|wfreerdp)", r"\s/p:"),
    (
        r"(?:curl|http|https|wget|xh|hurl)",
        r"\s(?:-u|-a|--user|--auth|--proxy-user|-U)[ =]?[\"']?[^\s:\"']{0,100}:(?!//)",
    ),
    (r"(?:smbclient|winexe|rpcclient|smbmap|crackmapexec)", r"\s-U[ ]?[\"']?[^\s%\"']{1,100}%"),
    (r"(?:openssl)", r"\s-?pass(?:in|out)?[ ][\"']?pass:"),
    (r"(?:openssl)", r"\s-k[ ]"),
    (r"(?:sqlplus|expdp|impdp|sqlldr|rman|exp|imp)", r"[ =][\"']?\w{1,60}/(?=[^\s/@]+@)"),
    (
        r"(?:curl|http|https|wget|xh|hurl)",
        r"\s(?:-u|-a|--user|--auth|--proxy-user|-U)[ =]?\"[^\s:\"]{0,100}:(?P<double>[^\"\n]+)",
    ),
    (
        r"(?:curl|http|https|wget|xh|hurl)",
        r"\s(?:-u|-a|--user|--auth|--proxy-user|-U)[ =]?'[^\s:']{0,100}:(?P<single>[^'\n]+)",
    ),
    (r"(?:htpasswd)", r"\s-\w{0,9}b\w{0,9}[ ]+\S+[ ]+\S+[ ]"),
    (r"(?:net)", r"\s/user:\S+[ ]"),
    (r"(?:codecov)", r"\s-t[ ]"),
    (r"(?:lftp)", r"\s-u[ ][^\s,]{1,100},"),
)


def _in_lists_too(option: str) -> str:
    """Return the pattern *option* so that it fits the items of a list: ``['mysql', '-pabc']``."""
    if r"\S" in option or not option.startswith(r"\s"):
        return option
    blank = r"(?:[ =]|[\"'],[ ][\"'])"
    return option.replace(r"\s", r"[\s\"']", 1).replace("[ =]", "[ ]").replace("[ ]", blank)


#: Commands, and their options whose value is a password.
COMMANDS: Final = tuple((command, _in_lists_too(option)) for command, option in _COMMANDS)
COMMAND: Final = (
    r"\b(?P<command>"
    + "|".join(dict.fromkeys(command for command, _ in COMMANDS))
    + r""")(?P<arguments>(?:[ ]|["'],[ ])(?:'[^'\n]*+'|"[^"\n]*+"|\\\r?\n|[^\n|;&])*+)"""
)

_NAMED: Final = "(?:password|passwd|secret|token|api_?key)"
_DEFINED: Final = f"(?:{_NAMED}|(?:auth|logged_in|nonce)_(?:key|salt))"  # the latter of WordPress

# A password, as people of other languages call it, in lower case; what they say before it, and what it looks like.
_PASSWORDS_ELSEWHERE: Final = (
    "passwort", "kennwort", "lykilor",
    "contraseña", "contrasena", "contrasenya", "senha", "palavra-passe", "mot de passe", "wachtwoord", "adgangskode",
    "kodeord", "passord", "lösenord", "salasana", "parool", "parole", "slaptažodis", "hasło", "heslo", "geslo",
    "lozinka", "jelszó", "jelszav", "parola", "parolă", "şifre", "kata sandi", "mật khẩu", "парол", "лозинк",
    "κωδικός", "סיסמ",
    "كلمة المرور", "كلمة السر", "رمز عبور", "पासवर्ड", "รหัสผ่าน", "api-schlüssel", "clé api", "clé d'api", "clave api",
    "clave de api", "chave api", "chave de api", "chiave api", "klucz api", "ключ api",
)  # fmt: skip
_SAID_ELSEWHERE: Final = (
    r"[^\W\d_]{0,5}(?:[ ][^\W\d_]{1,15}){0,4}?"
    r"(?:[ ]?[:\uff1a=]"
    r"|[ ](?:is|ist|lautet|est|es|é|è|e|jest|to|är|er|on|je|este|là|adalah|είναι|هي|הוא|היא|это|є|\u0435)(?=[ ]))"
)
_PASSWORDS_WITHOUT_BLANKS: Final = (
    "密码", "密碼", "口令", "密钥", "密鑰", "パスワード", "パスフレーズ", "暗証番号", "비밀번호", "암호",
)  # fmt: skip
_SAID_WITHOUT_BLANKS: Final = r"[ ]?(?:[:\uff1a=]|是|为|為|は|는|은)"
# The code that a bank or a shop sends, with a piece of its name
_CODE_SAID: Final = (
    r"(?:[ ][^\W\d_]{1,15}){0,4}?(?:[ ]?[:\uff1a=]|[ ](?:is|ist|lautet|est|es|é|è|jest|to|är|er|on|je))?[ ]{0,3}"
    r"(?=\d{4,8}(?!\w)|\d{3}[ \-]\d{3}(?!\w))"
)
_CODES_ELSEWHERE: Final = (
    ("scode", rf"(?i)(?:bestätigung|sicherheit|beveiliging)scode{_CODE_SAID}"),
    ("ecode", rf"(?i)verificatiecode{_CODE_SAID}"),
    ("code de ", rf"(?i)code[ ]de[ ](?:vérification|sécurité|confirmation){_CODE_SAID}"),
    ("código de ", rf"(?i)código[ ]de[ ](?:verifica|seguran|segurid|confirma)\w{{1,6}}{_CODE_SAID}"),
    ("codice di ", rf"(?i)codice[ ]di[ ](?:verifica|sicurezza|conferma){_CODE_SAID}"),
    ("kod", rf"(?i)(?:verifieringskod|be[kr]r?[eæ]ftelseskode|kod[ ]weryfikacyjny|doğrulama[ ]kodu){_CODE_SAID}"),
    ("код п", rf"(?i)код[ ]п(?:\u043e|\u0456)дтвер\w{{1,10}}{_CODE_SAID}"),
    *(
        (name, rf"{name}[ ]?(?:[:\uff1a=]|是|为|為|は|는|은)?[ ]?(?=\d{{4,8}}(?!\w))")
        for name in ("验证码", "認証コード", "인증번호")
    ),
)
# Letters and a digit, no date, and not how it is kept: "ist SHA256-verschlüsselt"
_LETTERS_AND_DIGITS: Final = (
    r"[ ]{0,3}(?!\d{4}-\d\d|\d\d?[.:]\d\d|v?\d{1,5}(?:\.\d{1,5}){1,3}(?![\w.])"
    r"|(?i:sha|md|aes|utf|rsa|base)-?\d{1,3}(?![\da-f]))"
    r"(?=[\"'«「]?[^\s\"'«「]{6})(?=\S{0,60}\d)(?=\S{0,60}[A-Za-z])"
)

#: Places in a text where a secret stands, with a piece of text that is found there (in lower case).
PLACES: Final = (
    # SQL
    (
        "identified",
        r"(?:\bIDENTIFIED|\b(?i:user|role|to|exists)\s+\S{1,100}\s+(?i:identified))\s+(?i:with\s+[\w'\"]+\s+)?(?i:by|as)\s+(?i:password\s+|values\s+)?(?=[\"']|\S{0,99}\d)",
    ),
    (
        "password",
        (
            r"(?i)\b(?:with|encrypted|unencrypted|(?:no)?(?:login|inherit|createdb|createrole|superuser|replication)"
            r"|(?:user|role|for)\s+\S{1,100}|set|add)\s+password\s*+[=(]?\s*+(?:password\s*+\(\s*+)?N?(?=['\"])"
        ),
    ),
    ("password", r"\bPASSWORD\s*+\(?\s*+N?(?=')"),
    ("set password", r"(?i)\bset[ ]password[ ]for[ ]\S{1,100}[ ]?=[ ]?(?:password\s*+\(\s*+)?(?=')"),
    ("gen_salt", r"\bcrypt\([ ]?(?=')"),
    ("crypt(", r"(?i)\b(?:pgp_sym_\w{1,30}|aes_(?:en|de)crypt)\((?:[^()'\n]{1,100}|'[^'\n]{0,200}'),\s{0,9}(?=')"),
    (
        "variable ",
        rf'(?i)\bvariable[ ]"\w{{0,40}}{_NAMED}\w{{0,20}}"\s{{0,9}}\{{[^{{}}]{{0,200}}?\bdefault[ ]{{0,9}}=[ ]?(?=")',
    ),
    # The new value of a change, as a plan of Terraform shows it
    (
        "->",
        r"(?i)\b\w{0,40}"
        + _NAMED
        + r"\w{0,20}\"?[ ]{0,60}[=:][ ]{0,3}(?:\"[^\"\n]{0,500}\"|[^\s\"]{1,500})[ ]->[ ](?=\")",
    ),
    # "user bob password x", as in ~/.netrc
    ("passw", r"(?i)\blogin[ \t]+\S{1,100}\s+password\s+"),
    (
        "passw",
        r"(?i)\b(?:user|username|account)[ \t]+\S{1,100}\s+(?:(?:and|with)\s+)?(?:the\s+)?password\s+(?=\S{0,99}\d)",
    ),
    # Configuration without signs: routers, Redis, Gradle
    ("community", r"(?im)\b(?:snmp-server[ ]community|^r[ow]community6?)[ ]+"),
    ("pw", r"(?m)^[ \t]*(?:bind|root)pw[ \t]+(?:--\w+[ ]+)?"),
    ("pw ", r"\b(?:bind|root)pw[ ]+(?=[^\s\"']{0,99}\d)"),
    ("requirepass", r"(?m)^[ ]*requirepass[ ]+"),
    ("masterauth", r"(?m)^[ ]*masterauth[ ]+"),
    ("shared-key", r"(?i)\bpre-?shared-key[ ]+(?:(?:local|remote|ascii-text)[ ]+)?(?=\S{0,99}\d)"),
    ("password", r"(?m)^[ \t]*password[ \t]+(?=[\"'])"),
    # Gradle's signing; Juniper's and strongSwan's
    ("password", r"\b(?:key|store)Password[ \t]+(?=[\"']|\S{0,99}\d)"),
    ("password-value", r"\bplain-text-password-value[ ]+"),
    ("shared-secret", r"\bshared-secret[ ]+(?=[^\s=:]{0,99}[\d!#$%&*@])"),
    ("issecret=true", r"(?i)\bsetvariable[ ][^\]\n]{0,200}\bissecret=true[^\]\n]{0,100}\]"),
    (" <<< ", r"(?i)\bsecrets?[ ](?:set|put|add)[ ]\S{1,100}[ ]<<<[ ]"),
    (
        "pass is",
        (
            r"(?i)(?:^|[\n,;.!?]|\b(?:my|your|the|wifi|root|admin|login|db|user|vpn|ssh)[ ])[ ]?pass[ ]is[ ](?=\S{6})"
            r"(?=\S{0,60}\d)(?=\S{0,60}[a-z])(?!\d)"
        ),
    ),
    ("form-data", r'(?i)form-data;\s*name="?\w*(?:password|passwd|token|secret)"?(?:\\r\\n|\r?\n){2}'),
    (
        "define ",
        (
            r"(?im)^[ \t]*#[ \t]*define[ \t]+"
            r"\w{0,60}(?:pass|passwd|password|passphrase|psk|pwd|secret|token|api_?key)[ \t]+(?=\")"
        ),
    ),
    # CREATE SECRET (TYPE S3, KEY_ID '…', SECRET '…')
    ("secret", r"\b(?:SECRET|(?:SESSION_|BEARER_)?TOKEN)\s+(?='[^'\s]{8})(?='[^'\s]{0,60}\d)"),
    # What puts a secret where secrets are kept: gh secret set, az keyvault secret set, aws secretsmanager …
    (
        "secret",
        (
            r"\bsecrets?(?:manager)?[ ](?:set|put|add|create|update|(?:put|create|update)-secret(?:-value)?)\b"
            r"[ ]+(?:(?!\W{0,9}secrets?[ ])[^\s|;&]++[ ]+){0,30}?"  # to the next one at most
            r"(?:--(?:value|body|data|payload|secret-string|string-value)|-b)[ =]"
        ),
    ),
    ("routing", r"(?i)routing_?key[\"']?\s{0,3}[=:]\s{0,3}[\"']?(?=(?:[0-9a-f]{32}|R[0-9A-Z]{31})\b)"),
    ("securestring", r"\bput-parameter\b(?=[^\n|;&]{0,400}?\bSecureString\b)[^\n|;&]{0,300}?\s--value[ =]"),
    ("vault login", r"\bvault[ ]login[ ](?:-\S{1,60}[ ]){0,4}(?=[\w.\-]{12})(?=[\w.\-]{0,60}\d)"),
    ("nmcli", r"\bnmcli\b[^\n|;&]{0,200}?\s(?:password|\S{1,40}\.psk|\S{1,40}\.wep-key\d)[ ]"),
    ("setuser", r"(?i)\bsetuser[ ]\S{1,100}(?:[ ][^\s>]{1,100}){0,9}?[ ]>"),
    ("sip", r"(?i)\bsips?:[\w.+\-]{1,60}:(?P<sip>[^\s@;>:/]{3,100})(?=@)"),
    # A name that says nothing, in an address: what looks like a token
    (
        "?",
        (
            r"(?i)[?&](?:key|appid)=(?=[\w\-]{20})(?=[a-z_\-]{0,60}\d)(?=[\d_\-]{0,60}[a-z])"
            r"(?!(?:[a-z]{1,17}|\d{1,4})(?:[_\-](?:[a-z]{1,17}|\d{1,4}))*(?![\w\-]))"
        ),
    ),
    ("rabbitmqctl", r"\brabbitmqctl\s+(?:add_user|change_password)\s+\S+\s+"),
    # docker login -p, and whatever else logs in
    ("login", r"\blogin\b[^\n|;&]{0,200}?[\s\"']-p(?:[ =]|[\"'],[ ][\"'])?"),
    # SMTP, IMAP, FTP and Redis, as they are spoken
    ("auth login", r"AUTH LOGIN [\w+/=]+[ ](?=[\w+/=]{4})"),
    ("pass ", r"(?m)^PASS[ ](?=[^\s/.]{0,99}\d)(?=[^\s/.]{1,200}$)"),
    ("login ", r"\bLOGIN[ ]\"?[\w.@\-]+\"?[ ](?=\S{0,99}\d)"),
    ('"auth"', r'(?i)"auth"\s+(?:"[^"\n]{0,60}"\s+)?(?=")'),
    ("login(", r"\.login\(\s*[\"'][^\"'\n]{1,100}[\"']\s*,\s*(?=[\"'])"),
    ("bind", r"(?i)bind\w{0,30}\(\s*[\"'](?:cn|uid|dc)=[^\"'\n]*[\"']\s*,\s*(?=[\"'])"),
    ("chpasswd", r"\becho\s+(?:-n\s+)?[\"']?\w+:(?P<piped>[^\s\"'|]+)(?=[\"']?\s{0,3}\|[^\n|]{0,200}?chpasswd)"),
    (
        "echo ",
        (
            r"\b(?:echo|printf)\s+(?:-n\s+)?[\"']?(?P<stdin>[^\s\"'|]+)(?=[\"']?\s{0,3}\|[^\n|]{0,200}?"
            r"(?:\bsudo\s[^\n|]{0,40}?-\w{0,3}S\b|-stdin\b|passphrase-fd|\bcryptsetup\s|\bkinit\s))"
        ),
    ),
    ("key ", r"(?m)^[ ]*key[ ]\d[ ](?=[0-9A-F]{8})"),
    # ~/.pgpass: host, port, database, user, password
    (
        ":",
        r"(?m)^(?=\*|[^\s:]*[A-Za-z])[\w.*\-]{1,100}:(?:\d{4,5}|\*):[\w.*\-]{1,60}:[\w.*\-]{1,60}:(?=\S{6})(?=\S{0,99}[A-Za-z])",
    ),
    # Oracle: user/password@host:port/service
    ("jdbc:oracle:", r"jdbc:oracle:\w+:\w{1,60}/"),
    (
        "@",
        r"(?<![\w./@:\-])\w{1,60}/(?=[^\s/@\"']{0,60}\d[^\s/@\"']{0,60}@(?://|[\w.\-]{1,100}(?::\d{2,5})?/\w|[\w.\-]{1,100}:1521))",
    ),
    (
        "auth",
        r"(?i)auth\s*=\s*\w{0,30}\(\s*(?:username\s*=\s*)?[\"'][^\"'\n]{0,100}[\"']\s*,\s*(?:password\s*=\s*)?(?=[\"'])",
    ),
    ("auth(", r"(?i)(?:basic|digest|ntlm|plain|login)_?auth\(\s*[\"'][^\"'\n]{0,100}[\"']\s*,\s*(?=[\"'])"),
    ("auth ", r"(?i)\bauth[ ](?:plain|login|cram-md5|xoauth2)[ ](?=[\w+/=]{8,})"),
    ("code=", r"(?i)[?&]code=(?=[\w/\-.%~]{16})(?=[\w/\-.%~]{0,99}\d)"),
    ("user-pass", r"(?i)\buser-pass\s*[:=]\s*[\w.@\-]{1,60}[ ]?[/:][ ]?(?=\S{0,99}\d)"),
    ("cred", r"(?i)\bcred(?:ential)?s?\s*(?::|are|is|=)\s*[\w.@\-]{1,60}[ ]?[/:][ ]?(?=\S{0,99}\d)"),
    ("login", r"(?i)\blogins?(?:[ ](?:is|are|was)|[ ]?:)[ ][\w.@\-]{1,60}[ ]/[ ](?=\S{0,99}\d)"),
    (
        "credentials ",
        r"(?i)\bcredentials[ ](?:for[ ])?[\w.@\-]{1,60}:(?=[^\s:]{6})(?!//|v?\d)(?=[^\s:]{0,99}\d)",
    ),
    (
        "credential",
        r"(?i)\b(?:network|plain|(?:user(?:name)?)?password)credentials?\(\s*[\"'][^\"'\n]{0,100}[\"']\s*,\s*(?=[\"'])",
    ),
    (" using ", r"(?i)\buser\s+\S{1,60}\s+using\s+(?!(?-i:[a-z]+)[/\-]?[\d.]+(?!\S))(?=\S{0,99}\d)"),
    ("wandb ", r"\bwandb[ ]login[ ](?:--\S{1,60}[ ]){0,3}(?=[0-9a-f]{40})"),
    (
        "privilege ",
        r"(?i)\busername[ ]\S{1,60}[ ]privilege[ ]\d{1,2}[ ](?:secret|password)[ ](?:\d[ ])?(?=\S{0,99}[\d!#$%&*@])",
    ),
    (" /d ", r"(?i)\s/v\s+\w{0,30}passw\w{0,20}\s+(?:/t\s+\w{1,20}\s+)?/d\s+"),
    ("user-secrets", r"(?i)\buser-secrets\s+set\s+[\"'][^\"'\n]{1,200}[\"']\s+(?=[\"'])"),
    ("net use", r"(?i)\bnet\s+use\s+(?:\S:\s+)?\\\\\S{1,200}\s+(?=[^\s/*]\S*\s+/user:)"),
    *(
        (f"{call}(", rf"(?i)\b{call}\(\s{{0,9}}[\"'][\w.\-]{{0,80}}?{_DEFINED}[\"']\s{{0,9}},\s{{0,9}}(?=[\"'])")
        for call in ("define", "putenv", "setenv", "setdefault", "setproperty")
    ),
    ("securestring", r"(?i)convertto-securestring\s+(?:-string\s+)?(?=[\"'])"),
    ('"kty"', r'"(?:d|k|p|q|dp|dq|qi)"\s*:\s*(?=")'),
    ("wpa_passphrase", r"\bwpa_passphrase[ ]+\S+[ ]+"),
    ("wifi:", r"\bWIFI:[^\n]{0,100}?P:"),
    *((name, rf"(?i){name}{_SAID_ELSEWHERE}{_LETTERS_AND_DIGITS}") for name in _PASSWORDS_ELSEWHERE),
    *_CODES_ELSEWHERE,
    *((name, f"{name}{_SAID_WITHOUT_BLANKS}{_LETTERS_AND_DIGITS}") for name in _PASSWORDS_WITHOUT_BLANKS),
    ("input", r"(?i)<input[ ][^<>]{0,200}?type=[\"']?password\b[^<>]{0,200}?\bvalue="),
)
