"""The names of secrets, the shapes of secrets, and the words that people say about secrets."""

from typing import Final


def _words(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(text.split(separator))


#: Whatever stands under such a name is hidden, unless it is plainly harmless ("token: expired").
STRONG_NAMES: Final = _words(
    "password passwords passwd passphrase passcode passwort pwd secret token apikey apitoken authtoken accesstoken "
    "secretkey accesskey authorization credential credentials cookie cookies jwt bearer dsn csrf xsrf csrftoken "
    "sessionid sessid phpsessid jsessionid cvv cvc mnemonic pw psk bindpw rootpw adminpw userpw privatekey signingkey "
    "refreshtoken sessiontoken bottoken idtoken encryptionkey masterkey sharedkey accountkey storepass keypass "
    "dockerconfigjson dockercfg privkey authkey requirepass masterauth kennwort "
    # Other languages, where the word means nothing else
    "contrasena senha wachtwoord adgangskode losenord salasana haslo jelszo contraseña lösenord hasło jelszó "
    "пароль 密码 密碼 パスワード 비밀번호 passord kodeord lozinka slaptažodis slaptazodis parool лозинка 口令 密钥 "
    "密鑰 パスフレーズ 暗証番号 암호 κωδικός κωδικος סיסמה סיסמא contrasenya"
)
#: Under such a name only what looks like a secret is hidden: "session: morning" stays.
WEAK_NAMES: Final = _words(
    "pass auth session otp totp pin puk ssn sig signature sid nonce salt creds "
    "parola parolă şifre sifre heslo geslo clave chave clé парола"  # elsewhere "word", "key", "motto"
)
#: Strong, too; their last words alone are ordinary.
TWO_WORD_NAMES: Final = _words(
    "api key,access key,account key,private key,signing key,encryption key,secret key,master key,shared key,auth key,"
    "service key,storage key,subscription key,functions key,ssh key,deploy key,license key,session key,session id,"
    "connection string,recovery code,backup code,security code,verification code,webhook url,security answer,secret id,"
    "access signature,key data,code verifier,device code,authorization code,auth code,activation code,saml response,"
    "saml request,client assertion,seed phrase,recovery phrase,community string,unseal key,unlock key,root key,"
    "admin key,write key,ingest key,integration key,application key,app key,consumer key,private pem,wifi key,"
    "network key,pre shared,preshared key,pass phrase,wep key,priv key,recovery codes,backup codes,scratch codes,"
    "access code,access codes,entry code,door code,gate code,alarm code,pairing code,login code,reset code,mfa code,"
    "fernet key,time code,confirmation code,otp code,totp seed,otp seed,mfa seed,fa seed,"
    "hmac key,aes key,cipher key,decryption key,jwt key,wallet key,bot key,honeycomb team,de passe",
    ",",
)
#: A word that ends so names a secret, unless it is one of the others.
NAME_TAILS: Final = ("password", "passwd", "apikey", "secret", "token", "pass", "pwd", "passphrase")
ORDINARY_NAMES: Final = _words(
    "pass bypass compass encompass surpass trespass overpass underpass singlepass multipass subtoken"
)
SECOND_WORDS: Final = frozenset(pair.partition(" ")[2] for pair in TWO_WORD_NAMES)
#: A name may end in such a word: password_old, TOKEN_PROD.
NAME_ENDINGS: Final = _words(
    "value text plain raw b64 base hash hashed encrypted new old current prod production staging stage dev test live "
    "default primary secondary"
)
#: Names whose value may be short or a number; under the others that is a count or a position.
NUMERIC_NAMES: Final = _words("pass pw password passwd passwort passcode pwd pin puk otp totp cvv cvc ssn code")
#: Of these, only digits are secrets.
DIGITS_ONLY_NAMES: Final = _words("pin puk otp totp ssn")
PASS_NAMES: Final = _words("pass")
HEADER_NAMES: Final = _words("authorization auth token")
#: Their values have blanks, and end with the line.
WHOLE_LINE_NAMES: Final = _words("cookie cookies mnemonic phrase codes")
#: Their values may be words
SPOKEN_NAMES: Final = _words("mnemonic phrase passphrase codes")
#: Of their values people speak without a sign between: "the password hunter2".
PASSWORD_NAMES: Final = _words("password passwd passphrase passcode passwort pwd pw")

#: No name in a text without one of these (in lower case) is a secret's.
NAME_STEMS: Final = (
    "pass", "key", "token", "auth", "secret", "pwd", "cred", "cookie", "sess", "jwt", "bearer", "dsn", "srf", "sig",
    "otp", "pin", "puk", "ssn", "sid", "nonce", "salt", "cv", "mnemonic", "code", "connection", "webhook", "answer",
    "pw", "psk",
    "mfa", "fa seed", "saml", "phrase", "dockerc", "community", "assertion", "shared", "honeycomb", "kennwort",
    "contrase", "senha", "wachtwoord", "adgangskode", "lösenord", "losenord", "salasana", "hasło", "haslo", "jelsz",
    "парол", "密码", "密碼", "パスワード", "비밀번호",
    "kodeord", "lozink", "slapta", "parool", "лозинк", "口令", "密钥", "密鑰", "パスフレーズ", "暗証番号", "암호",
    "κωδικ", "סיסמ", "parol", "şifre", "sifre", "heslo", "geslo", "clave", "chave", "clé",
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
    "authorization credentials password secret token cannot does did mismatch matches match ready done expire "
    "reused recommended visible protected policy reset forgotten options arguments "
    "include included omit same-origin malformed corrupt corrupted truncated stale blocked unsupported unverified "
    "untrusted unauthorized forbidden insufficient absent present available unavailable unchanged verified issued "
    "refused skipped ignored allowed mandatory rbac ldap oauth saml oidc kerberos flags parameters fields cookie "
    "accept host origin email username user name lambda await new return function see "
    "configured decoded decrypted encoded loaded parsed sent received generated regenerated validated stored saved "
    "copied retrieved fetched registered requested returned consumed cached cleared dropped exchanged exported "
    # In other languages: required, wrong, expired, see
    "erforderlich falsch ungültig abgelaufen geändert siehe obligatoire incorrect expiré modifié voir obligatoria "
    "obligatorio requerida requerido incorrecta incorrecto caducada inválida inválido obrigatória expirada alterada "
    "ver richiesta errata obbligatoria scaduta vedi verplicht vereist ongeldig verlopen onjuist zie krävs felaktigt "
    "påkrævet vaaditaan wymagane nieprawidłowe wygasło povinné zorunlu gerekli требуется неверный обязателен істек "
    "imported obtained signed used unused authenticated unauthenticated authorized pending exhausted"
)

#: Secrets whatever stands before them: the text they begin with, and a pattern for the rest. A pattern that begins
#: with "^" is for the whole, and the text may be anywhere in it.
TOKEN_SHAPES: Final = (
    (
        "-----BEGIN ",
        r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S])*+(?:-----END [A-Z0-9 ]{0,40}-----)?",
    ),
    ("-----BEGIN PGP MESSAGE-----", r"(?:(?!-----END)[\s\S])*+(?:-----END PGP MESSAGE-----)?"),
    ("Private-Lines: ", r"\d+(?:\\[rn]|\s)+(?:[A-Za-z0-9+/=]{1,80}(?:(?:\\[rn]|\s)+|\Z|(?=[\"'])))*+"),
    ("$ANSIBLE_VAULT;", r"[\d.]+;\w+(?:;[\w.\-]+)?(?:(?:\\[rn]|\s)+[0-9a-f]{6,100}(?![^\s\\\"']))*+"),
    # Of a key file in base64 (kubeconfig): no certificate, and no public key.
    ("LS0tLS1CRUdJTi", r"(?!BDRVJU|BQVUJM)[\w+/=]{16,}"),
    ("A", r"(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])[A-Z0-9]{16}\b(?:[,:\s\"']{1,4}[A-Za-z0-9+/]{40}(?![\w+/=]))?"),
    ("AC", r"[a-f0-9]{32}[,:\s\"']{1,4}[a-f0-9]{32}\b"),
    ("ABSK", r"[\w+/=]{40,}"),
    ("amzn.mws.", r"[\da-f\-]{36}"),
    ("amzn1.oa2-cs.", r"v1\.[a-f0-9]{40,}"),
    ("LTAI", r"[A-Za-z0-9]{12,26}\b"),
    ("AKID", r"[A-Za-z0-9]{32}\b"),
    ("pcsk_", r"\w{40,}"),
    ("tgp_v1_", r"[\w\-]{40,}"),
    ("csk-", r"[a-z0-9]{40,}"),
    ("fc-", r"[a-f0-9]{32}\b"),
    ("sdk-", r"[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b"),
    ("1/", r"\d{13,19}:[a-f0-9]{32}\b"),
    ("2/", r"\d{13,19}/\d{13,19}:[a-f0-9]{32}\b"),
    ("apify_api_", r"[A-Za-z0-9]{30,}"),
    ("vercel_blob_rw_", r"\w{30,}"),
    ("bb_live_", r"[\w\-]{20,}"),
    ("cal_live_", r"[a-f0-9]{32}\b"),
    ("tr_", r"(?:dev|prod)_[A-Za-z0-9]{20,}"),
    ("secret-", r"(?=[a-z]{0,60}[\dA-Z])[A-Za-z0-9]{40,}"),
    ("gh", r"[pousr]_[A-Za-z0-9]{16,}"),
    ("gl", r"(?:pat|dt|rt|ptt|cbt|ft|soat|ffct|imt|agent|oas|wt)-[\w\-.]{16,}"),
    ("k_", r"^\b[sr]k_(?:live|test|prod)_\w{10,}"),
    # The beginning of a JWT, in base64 once more
    ("ZXlKaGJHY2lPaU", r"[\w+/=]{40,}"),
    ("dnkey-", r"[a-z0-9]{26}-[a-z0-9]{40,}"),
    ("tk-us-", r"[\w\-]{40,}"),
    ("s-s4t2", r"(?:ud|af)-[a-f0-9]{64}"),
    ("p8e-", r"[a-z0-9]{32}\b"),
    ("sm_", r"(?:pat|aat|sat)_[A-Za-z0-9]{16}\b"),
    ("pat-", r"(?:na|eu|ap)\d-[\da-f\-]{36}"),
    ("api_org_", r"[A-Za-z]{30,}"),
    ("lin_oauth_", r"[a-f0-9]{40,}"),
    ("waka_", r"[\da-f\-]{36}"),
    ("phx_", r"\w{40,}"),
    ("rzp_", r"(?:live|test)_\w{10,}"),
    ("shp", r"(?:at|ca|pa|ss|tka)_[a-fA-F0-9]{32}"),
    ("sntry", r"[a-z]_[\w=+/\-]{20,}"),
    ("do", r"[opr]_v1_[a-f0-9]{40,}"),
    ("ATBB", r"[A-Za-z0-9]{24,}"),
    ("BBDC-", r"[\w+/@]{30,}"),
    ("AKCp", r"[A-Za-z0-9]{30,}"),
    ("cmVmdGtu", r"[\w+/=]{40,}"),
    ("dt0", r"[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{40,}"),
    ("NR", r"(?:II|JS|RA|AA|SP)-[\w\-]{20,}"),
    ("NRAL", r"^\b[a-f0-9]{36}NRAL\b"),
    ("hc", r"(?:aik|bik|cik|mik)_\w{20,}"),
    ("pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    ("sl.", r"[\w\-]{60,}"),
    ("sgp_", r"[\w]{40,}"),
    ("sha256~", r"[\w\-]{40,}"),
    ("nfp_", r"[\w]{30,}"),
    ("vcp_", r"[\w]{20,}"),
    ("rnd_", r"[\w]{20,}"),
    ("re_", r"[A-Za-z0-9]{6,10}_[A-Za-z0-9]{20,}"),
    ("CCIPAT_", r"[\w]{20,}"),
    ("CLOJARS_", r"[\w]{40,}"),
    ("cio", r"[A-Za-z0-9]{32}\b"),
    ("oy2", r"[a-z0-9]{43}\b"),
    ("squ_", r"[a-f0-9]{40}"),
    ("sqp_", r"[a-f0-9]{40}"),
    ("sqa_", r"[a-f0-9]{40}"),
    ("napi_", r"\w{40,}"),
    ("nvapi-", r"[\w\-]{30,}"),
    ("tvly-", r"[\w\-]{20,}"),
    ("jina_", r"\w{30,}"),
    ("e2b_", r"[a-f0-9]{30,}"),
    ("fo1_", r"[\w\-]{40,}"),
    ("fm", r"[12][a-z]?_[\w+/=\-]{40,}"),
    ("t1.9eu", r"[\w\-.=]{40,}"),
    ("y0_", r"[\w\-]{40,}"),
    ("AQVN", r"[\w\-]{35,}"),
    ("EAAA", r"[\w\-+=]{40,}"),
    ("EAA", r"[MC][A-Za-z0-9]{60,}"),
    ("AAAAAAAAAAAAAAAAAAAA", r"A{0,4}(?!A)[A-Za-z0-9%]{60,}"),
    ("sk.eyJ", r"[\w\-]{20,}(?:\.[\w\-]*)?"),
    ("access-", r"(?:sandbox|development|production)-[\da-f\-]{36}"),
    ("access_token$", r"[a-z]+\$[a-z0-9]{16}\$[a-f0-9]{32}"),
    ("EZ", r"[AT]K[A-Za-z0-9]{54}\b"),
    ("FLWSECK", r"[_\w\-]{20,}"),
    ("fio-u-", r"[\w\-=]{40,}"),
    ("pn", r"[bu]_[A-Za-z0-9]{36}\b"),
    ("rdme_", r"[a-z0-9]{60,}"),
    ("tfp_", r"[\w\-.=]{40,}"),
    ("aio_", r"[A-Za-z0-9]{28}\b"),
    ("shippo_", r"(?:live|test)_[a-f0-9]{40}"),
    ("duffel_", r"(?:live|test)_[\w\-=]{30,}"),
    ("ico-", r"[A-Za-z0-9]{32}\b"),
    ("API-", r"[A-Z0-9]{25,26}\b"),
    ("xsmtpsib-", r"[\w\-]{40,}"),
    ("MDEyOk", r"[\w+/=]{30,}"),
    ("bkua_", r"[a-f0-9]{40}"),
    ("secret_", r"[A-Za-z0-9]{40,}"),
    ("v1.0-", r"[a-f0-9]{24}-[a-f0-9]{100,}"),
    ("Atzr|", r"[\w\-]{40,}"),
    ("xprv", r"[A-Za-z0-9]{100,}"),
    # What a password is stored as: crypt, bcrypt, Argon2, Django, LDAP.
    ("$2", r"[abxy]\$\d\d\$[./A-Za-z0-9]{53}"),
    ("$apr1$", r"[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"),
    ("$argon2", r"[a-z]{1,2}\$[\w=,$+/\-.]{30,}"),
    ("pbkdf2_sha", r"\d+\$\d+\$[\w+/=.]+\$[\w+/=]+"),
    ("$scrypt$", r"[\w=,$+/\-.]{30,}"),
    ("{SSHA", r"(?:\d{3})?\}[\w+/=]{20,}"),
    ("$", r"(?:[1567]|y|gy)\$(?:rounds=\d+\$)?[./A-Za-z0-9$]{1,40}\$[./A-Za-z0-9]{22,}"),
    # The token is a part of the address.
    ("hooks.slack.com/", r"[a-z]+/[\w/]{16,}"),
    ("/webhooks/", r"\d+/[\w\-]{16,}"),
    ("/services/T", r"[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{16,}"),
    ("webhook.office.com/", r"[\w/@\-]{16,}"),
    ("outlook.office.com/webhook/", r"[\w/@\-]{16,}"),
    ("hooks.zapier.com/hooks/", r"[\w/\-]{8,}"),
    ("maker.ifttt.com/", r"[\w/\-]{16,}"),
    ("infura.io/", r"(?:ws/)?v3/[a-f0-9]{32}\b"),
    ("alchemy.com/", r"v2/[\w\-]{20,}"),
    (".quiknode.pro/", r"[a-f0-9]{30,}"),
    ("hc-ping.com/", r"[\w\-]{20,}"),
    ("api.render.com/deploy/", r"[\w\-]+\?key=[\w\-]+"),
    ("/bot", r"\d{6,12}:[\w\-]{30,}"),
    ("/hooks/", r"(?=[a-z]{0,60}\d)[a-z0-9]{24,}\b"),
    (":AA", r"^(?<!\d)\d{8,10}:AA[\w\-]{32,34}(?![\w\-])"),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{20,}"),
    # Where no dot follows, the whole is read over at once: a text of nothing but beginnings was read again from each.
    ("eyJ", r"[\w\-]++(?:(?<=[\w\-]{11})\.[\w\-]{8,}(?:\.[\w\-.]*)?|(?P<none>))"),
    ("github_pat_", r"\w{20,}"),
    ("xox", r"[a-z][\-.][\w\-.]{10,}"),
    ("xapp-", r"[\w\-]{10,}"),
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
    ("key-", r"(?=[a-z]*\d)[a-z0-9]{32}\b"),
    ("SK", r"[a-f0-9]{32}\b"),
    ("xkeysib-", r"[\w\-]{20,}"),
    ("hvs.", r"[\w\-]{20,}"),
    ("hvb.", r"[\w\-]{20,}"),
    ("dp.", r"[a-z]{2,5}\.\w{20,}"),
    ("pul-", r"[a-f0-9]{40}"),
    ("tskey-", r"[\w\-]{16,}"),
    ("sq0", r"[a-z]{3}-[\w\-]{20,}"),
    ("dapi", r"[a-f0-9]{32}"),
    ("PMAK-", r"[\w\-]{20,}"),
    ("lin_api_", r"\w{20,}"),
    ("ntn_", r"\w{20,}"),
    ("figd_", r"[\w\-]{20,}"),
    ("glsa_", r"[\w=+/]{20,}"),
    ("glc_", r"[\w=+/]{20,}"),
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
    ("GR1348941", r"[\w\-]{20,}"),
    ("A3-", r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b"),
    ("eyJrIjoi", r"[\w+/=]{60,}"),
    ("_mmk", r"^\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b"),
    ("-us", r"^\b[0-9a-f]{32}-us\d{1,2}\b"),
    (".atlasv1.", r"^\b[A-Za-z0-9]{14}\.atlasv1\.[\w\-]{40,}"),
    ("8Q~", r"^(?<![\w~.\-])[\w~.\-]{3}8Q~[\w~.\-]{31,34}"),
    (".G", r"^\b[MNO][\w\-]{23,25}\.G[\w\-]{5}\.[\w\-]{27,40}"),
)
