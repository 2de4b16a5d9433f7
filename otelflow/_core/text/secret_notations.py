"""How secrets are written in texts: the regular expressions of names, of what joins them to values, and of values."""

from typing import Final

LONG_WORD: Final = r"(?:\A|[\s\"'=:/,()])[^\s\"'=,()]{16}"
ADDRESS: Final = r"""(?x) (?P<head> :// [^\s:/@"'<>]{0,200} :) (?!\d{1,5}[/?\#])
             [^\s"'<>@]{1,500}+ (?:@[^\s"'<>@/]{0,100}+(?=@))*+ (?=@)
           | (?P<start> ://) [A-Za-z0-9_\-]{20,200} (?=@)"""
# After "basic", what words and small numbers make is a name: "basic test_login passed", "bearer expires_in=3600".
SCHEME: Final = (
    r"(?i)(?P<head>\b(?:bearer|basic)[ ]+)"
    r"(?!(?-i:[A-Za-z][a-z]{0,17}|\d{1,4})(?:[_.=](?-i:[A-Za-z][a-z]{0,17}|\d{1,4}))+(?![\w+/\-=~]))"
    r"(?=[^\s\"']{0,200}(?:[0-9=_]|\.[A-Za-z]))[A-Za-z0-9+/_\-.=~]{12,}"
    r"|(?P<start>(?<!\S)(?:-u|--user)[ =]{1,9}(?!\d{1,9}:\d{1,9}(?!\S))[^\s:\"']{1,100}:(?!//))[^\s\"']{1,200}"
)

# No value is joined to a name in a text without one of these.
JOIN: Final = r"[=:<]|->|(?<!\S)-[A-Za-z\-]|[\"'][ ]{0,3},"
# name=value, name: value, "name": "value", 'name' => value, "name", "value", name: type = "value", and "name: |" before
# lines that are deeper
NAME: Final = r"""(?ix)
    (?<![\w.\-]) (?<! \d{12}: )  # what an account of AWS names "secret" is the kind of a resource
    (?P<name> [\w.\-]++ )
    (?P<join> \\{0,3}["']?\]?[ \t]{0,3}(?:[ \t]{1,40}+(?==[ \t]))?
              (?: :[ \t]{0,3}[|>][+\-]?\d?[ \t]{0,3}\r?\n
              | (?<=\w) :[ ]{0,3} &?(?:'static[ ])?
                (?!\w{0,30}(?:pass|secret|token|key|pwd)) [a-z][\w.]{0,30}+ (?:\[\w{1,20}\])? (?:[ ]\|[ ]None)?
                [ ]{0,3}=[ ]{0,3} (?=["'])
              | [:=][ \t]{0,3}<<[\-~]?["']?\w{1,40}["']?\r?\n
              | =>\s{0,8}string\(\d+\)[ ] | [ ]->[ ] | (?: =>|:=|(?<![ ]):(?![=:])|:(?=[ \t"'])|=(?!=) ) [ \t]{0,3} )
            | ,[ ]{0,3}<<(?=")
            | \\{0,3}["'] [ ]{0,3} , \s{0,3} (?=[brfu]{0,2}\\{0,3}["']) )"""
KEY_END: Final = r"(?P<quote>\\{0,3}[\"'])[^,]*:"
# "the password of Bob is hunter2", "token was changed to a1b2c3", "use password hunter2"
SPOKEN: Final = r"""(?ix)
    (?<![a-z])
    (?P<name> pass(?:word|wd|phrase|code|wort)|kennwort|mot[ ]de[ ]passe|pwd|pw|pin|token|secret
            | (?:t?otp|mfa|fa)[ _\-]seed
            | secret[ _\-]?access[ _\-]?key
            | (?: api|access|secret|private|signing|encryption|master|account|shared|auth|license|ssh|network|wifi
                | unseal|recovery|verification|security|activation|unlock|backup|otp
                | login|reset|confirmation|one[ _\-]time ) [ _\-]? (?:key|code) )
    (?P<join> (?:[ ](?:for|of|on|in|at|from|between|to|used[ ]by|di|do|da|del|della)(?:[ ][\w.\-/@']{1,40}+){1,6}?)?
              (?: [ ](?:is|was|are|to|will[ ]be|has[ ]been|became|ist|lautet|est|es|är|jest|è|é
                       | (?:set|changed|reset|updated|rotated)(?=[ ]to))
                  (?:[ ](?:now|currently|still|set|changed|reset|updated|rotated|simply|just))?(?:[ ](?:to|as))?
                  [ ]{0,2}[:=]?[ ]{1,3}
                | (?:[ ]\#?\d{1,2})?:\s{1,4} )
            | [ \t]{1,40}(?:\|[ \t]{1,40}|[0-9][ ]{1,3}(?=[\w$./]{8}))?[(\[`]? )(?=[^\s(\[`=:|])"""
OPTION: Final = (
    r"(?:(?<![\w\-])--?|\b(?:setx|setenv|ENV|set[ ]-\w{1,4})[ ])"
    r"(?P<name>[A-Za-z][\w\-]{1,60}+)(?P<join>[ \t]{1,3})(?=[^\s\-])"
)
ELEMENT: Final = r"<(?:\w{1,20}:)?(?P<name>[\w.\-]{1,60})(?:[ ][^<>]{0,200})?+(?P<join>>)(?=[^<>\s])"
ENTRY: Final = r"<\w{1,20}[ ](?:key|name)=[\"'](?P<name>[\w.\-]{1,60})[\"'](?P<join>>)(?=[^<>\s])"
PROPERTY: Final = r"<key>(?P<name>[\w.\-]{1,60})</key>\s{0,80}<(?:string|data)(?P<join>>)(?=[^<>\s])"
BLOCK: Final = r"(?P<indent>[ \t]+)\S[^\n]*+(?:\n(?P=indent)[^\n]*+)*+"
LINE: Final = r"[^\s\"'][^\r\n]*+"
VALUE: Final = r"""(?ix)
      [brfu]{0,2} (?: "(?:[^"\\]|(?s:\\.))*+"? | '(?:[^'\\]|(?s:\\.)|'')*+'? )
    | \\{1,3}["'][^"'\\]*+
    | (?:digest|aws4-hmac-sha256)\s[^\r\n]*+
    # A scheme with parameters
    | (?:oauth|mac|hawk|signature|wsse|vapid|sharedkey(?:lite)?|googlelogin|ntlm|dpop)[ ]+(?=\w{1,40}[=:])[^\r\n]*+
    | (?:bearer|basic|token|negotiate|apikey|api-key|splunk|sso-key|oauth|ntlm|dpop)\s+[^\s"',;]++
    | t=\d{1,20}(?:,v\d=[0-9a-f]*+)+
    | \{[^{}]*+\}?+ | \[[^\[\]]*+\]?+
    # A separator belongs to the value unless a blank or another name follows.
    | (?:[^\s"',;&<>)\]}\\] | [,;&](?=[^\s"',;&\\]) (?![\w.\-]{1,60}[=:]) )++"""
COOKIES: Final = r"""(?!\d{1,2}[ ][a-z])[^\r\n"'{}]++"""  # "cookies: 3 set"
TEXT_NODE: Final = r"[^<>]++"

# What is hidden after a head that ends here; the last group is the secret.
ENDING: Final = r"""(?:"(?P<double>[^"\n]{2,})|'(?P<single>[^'\n]{2,})|(?P<bare>[^\s"'|;&<>`\\]{3,}))"""
PORTS: Final = r"\d{1,5}(?::\d{1,5})?(?:/(?:tcp|udp|sctp))?"

# {"name": "DB_PASSWORD", "value": "…"}, the other way round, as YAML, as XML, in a list of pydantic's errors.
_NAME_HELD: Final = r"""
    (?: (?:name|key|variable|option|header|field|id) \\{0,2}["']? [ ]{0,3} [=:] [ ]{0,3} [bu]?\\{0,2}["']?
      | ["']loc["'] [ ]{0,3} : [ ]{0,3} [\[(] (?:["'\w]{1,60},[ ]?){0,6} ["'] )
    (?P<name>[\w.\-/]{2,100}+) (?![\w.(]) (?P<join>)"""
HELD: Final = r"(?:value|input)\\{0,2}[\"']?[ ]{0,3}[=:][ ]{0,3}"
# What stands between the two: never the beginning of another object.
BETWEEN: Final = r"[^{}<>\n]{0,60}?(?:\n(?!\s{0,40}-[ ])[^{}<>\n]{0,60}?){0,2}?"
HOLDER: Final = "(?ix)" + _NAME_HELD
HOLDER_BEHIND: Final = "(?ix)" + BETWEEN + _NAME_HELD
# The field, and on the next line the value that it refused.
REFUSED: Final = r"(?m)^(?P<name>[\w.\-\[\]]{1,200}+)\n[ \t][^\n]*?\binput_value=(?P<join>)(?=[^{\[(])"

INSERT: Final = (
    r"(?i)\binsert\s+into\s+[^\s(]{1,100}\s*\((?P<columns>[^()]{1,2000})\)\s*values\s*(?P<values>\([^\n;]*+)"
)
INSERTED: Final = r"[NEBX]?'(?:[^']|'')*+'?|[^\s,()'][^,()']*+(?:\([^()]*+\)[^,()']*+)?"

# Fourteen to sixteen digits in the groups of a card, whose last digit fits (Luhn); not in an IBAN, a number or a path.
CARD: Final = r"""(?x)
    # A pattern that begins with a set is found many times faster than one that begins with a look-behind.
    [2-6] (?<![\w.\-+/].) (?<!\d{4}[ ].) (?<![A-Z]{2}\d\d[ ].)
    (?: (?: (?<=4)\d{3} | (?<=5)[1-5]\d\d | (?<=2)[2-7]\d\d | (?<=6)(?:011|5\d\d|4[4-9]\d) | (?<=3)5\d\d )
        (?P<four>[ \-]?) \d{4}(?P=four)\d{4}(?P=four)\d{4}
      | (?<=3)[47]\d\d (?P<amex>[ \-]?) \d{6} (?P=amex) \d{5}
      | (?<=3)[068]\d\d (?P<club>[ \-]?) \d{6} (?P=club) \d{4} )
    (?![\w\-+]|[.,]\d|[ ]\d{4}(?!\d))"""

# What is a name and no token, though it begins as one: words and small numbers.
WORDED: Final = r"(?:[A-Za-z][a-z]{0,17}|\d{1,4})(?:[\-_.](?:[A-Za-z][a-z]{0,17}|\d{1,4}))+"

# After "Authorization: ": any scheme, and what looks like its token.
ANY_SCHEME: Final = r"[A-Za-z][\w\-]{1,30}[ ]+(?=[^\s\"',;]*\d)[^\s\"',;&<>)\]}\\]{12,}"
SCHEME_WORD: Final = r"(?i)(?:bearer|basic|token|negotiate|apikey|api-key|splunk|sso-key|oauth|ntlm|dpop)[ ]+"
# Algorithms, paths and addresses: what is said about a secret in prose, with digits in it.
TECHNICAL: Final = (
    r"(?i)(?:sha|md|utf|argon|bcrypt|pbkdf|oauth|base|http|x|pkcs|[rhep]s|ed|aes|rsa|v|python|py|ipv)-?\d{1,4}"
    r"(?:\Z|[\-_./]|[a-z]{1,3}\d?\Z)|[./~]|\w+://|http/\d|[a-z][a-z.\-/]*:v?\d{1,5}(?:\.\d{1,5})*\Z|[\w\-/.]+\.(?:py|js|ts|go|rs|md|txt|json|ya?ml|html?|log)\Z"
)

# What is said of a secret after its name and a colon: "password: too short", "token: signature mismatch"
PROSE: Final = r"[^\W\d_A-Z]{2,15}[ ](?:\d{1,4}[ ])?[^\W\d_]{1,15}(?![\w:=/\-.@])"

WORDS: Final = r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+"
QUOTES: Final = r"""^[brfuBRFU]{0,2}\\{0,3}["']|["']$"""
# A date, a time of day, and numbers with dots between: of a version, of an address.
DATE: Final = r"\d{4}-\d\d|\d\d?:\d\d|v?\d{1,5}(?:\.\d{1,5}){1,3}\Z"
# The name of a file: words and numbers, and the ending of a usual kind; what is random has its digits anywhere.
FILE: Final = (
    r"(?:[^\W\d_]{1,24}\d{0,8}|\d{1,8})(?:[\-_./\\](?:[^\W\d_]{1,24}\d{0,8}|\d{1,8})){0,8}\.(?i:txt|csv|tsv|pdf|json|jsonl"
    r"|ya?ml|toml|ini|cfg|conf|env|log|md|rst|html?|xml|docx?|xlsx?|pptx?|od[ts]|rtf|zip|tar|gz|tgz|bz2|xz|7z|png|jpe?g|gif"
    r"|svg|py|js|ts|go|rs|java|sh|sql|db|sqlite|bak|pem|crt|cer|key|p12|pfx|jks|kdbx|parquet|lock|tmp|exe|dll)"
)
# A password of words, in prose: Capitals-With-Hyphens, four-long-small-words, a sign inside: Summer!Rain.
PHRASE: Final = (
    r"(?:[A-Z][a-z]{2,20}-){2,9}[A-Z][a-z]{2,20}|(?:[a-z]{4,20}-){3,9}[a-z]{4,20}"
    r"|[A-Za-z]{3,20}[!#$%^&*+][A-Za-z]{3,20}"
)
VARIABLE: Final = r"[$:@][A-Za-z_]\w*|(?:[A-Za-z]\w*\.)*[a-z]+(?:_[a-z]+)+|(?:[A-Za-z]\w*\.)+_?[A-Za-z_]+"
PLACEHOLDER: Final = r"""(?x)
    (?i:(?:your|my|insert|replace)[\-_][a-z\-_]{0,40}(?:key|token|secret|password)[a-z\-_]{0,20})  # "your-api-key-here"
    | \W* | \w{0,4}\*{3,}\w{0,4} | [xX]+ | \[[A-Z]+\] | %\w+% | \$\d+ | &\w+ | [A-Z][A-Za-z]*:[a-z]+
    | (?:required|nullable|optional|sometimes)\|.*                                               # what a form asks for
    | !(?:Ref|Sub|GetAtt|ImportValue|Select|Join|If|FindInMap|vault|env|reference)\b.*
    | \{\s*"?type"?\s*:.* | \((?:sensitive|known).* | \(\d{1,4}
    | <[^<>]*>? | \$\{.* | \$\(.* | \$[A-Z_][A-Z0-9_]*(?:\[.*)?
    | \{\{.* | \{[\w.!:\[\]]*\}? | \[["'][A-Za-z]+(?:[ ](?:[A-Za-z,.]+(?:'[a-z]{1,3})?+|\d{1,4}))+["']\]?
    | %[sdr(].*
    | =?\[?(?:redacted|masked|filtered|hidden|REDACTED|MASKED|FILTERED|HIDDEN).*
    | (?:self|cls|os|config|settings|args|env|environ|kwargs|params|options|request|req|ctx)\.[\w.\[\]]*  # code
    | [A-Za-z_][\w.]*[(\[].*                                                                 # calls, items
    | (?: ~ | [A-Za-z]:                                                                      # places of files
        | /(?:app|bin|boot|builds?|code|data|dev|etc|home|lib|media|mnt|nix|opt|private|proc|root|run|srv|sys|tmp|usr
            |var|Users|Volumes|work|workspaces?) ) (?:[/\\][\w.\-@+]{0,60})*
    """

# A line that may be the heading of a table, and one name in it; in a table with lines it may have blanks.
HEADING: Final = r"(?m)^(?P<line>[\w.\-\"'*` ]{0,80}[|\t;,][\w.\-\"'*`|;, \t]{0,4000}+)\r?\n"
HEADING_OF_CELLS: Final = r"[\"']?[\w.\-]{1,60}[\"']?\r?"
HEADING_OF_LINES: Final = r"[ \t]*[*`]{0,2}[\w.\-]{0,60}(?:[ ][\w.\-]{1,60}){0,3}[*`]{0,2}[ \t\r]*"

# The data of a Secret of Kubernetes, as YAML and as JSON, whatever its keys are called
MANIFEST: Final = r"\bkind[\"']?[ ]{0,3}:[ ]{0,3}[\"']?Secret(?!\w)"
DATA: Final = r"""(?mx)
    ^(?P<indent>[ ]{0,40})(?:data|stringData):[ ]{0,3}\r?\n (?P<lines>(?:(?P=indent)[ ]+[^\n]*+\n?)++)
    | ^(?P<dash>[ ]{0,40})-[ ](?:data|stringData):[ ]{0,3}\r?\n (?P<deeper>(?:(?P=dash)[ ]{3,}[^\n]*+\n?)++)
    | "(?:data|stringData)"\s{0,9}:\s{0,9}\{(?P<entries>[^{}]*+)"""
DATA_LINE: Final = r"(?m)^([ ]++(?:[\"']?[\w.\-/]+[\"']?:(?=[ ]))?+[ ]*+)(?![|>][+\-\d]*\r?$)[^\s#][^\r\n]*+"
DATA_ENTRY: Final = r"(\"[\w.\-/]+\"\s{0,9}:\s{0,9}\")(?:[^\"\\]|\\.)*+"
