"""Read the corpora of texts with secrets and of harmless texts, and make up what they only describe.

A text stands under a line ``=== kind``. What must not be seen stands in ``⟦⟧``; ``«hex 40»`` becomes 40 hexadecimal
digits from a fixed seed, so that no file has anything that a scanner takes for a secret.
"""

import pathlib
import random
import re
import string
import uuid
from typing import NamedTuple

_FOLDER = pathlib.Path(__file__).parents[1] / "core" / "text" / "corpora"
_LETTERS = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "alpha": string.ascii_letters,
    "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase + string.digits,
    "ALNUM": string.ascii_uppercase + string.digits,
    "B32": string.ascii_uppercase + "234567",
    "digits": string.digits,
    "b64": string.ascii_letters + string.digits + "+/",
    "b64url%": string.ascii_letters + string.digits,
    "url": string.ascii_letters + string.digits + "-_",
}


class Sample(NamedTuple):
    """A text, and the parts of it that are secret."""

    kind: str
    text: str
    secrets: tuple[str, ...]

    def leaks(self, text):
        """Return the pieces of the secrets, eight characters long or whole when shorter, that *text* shows."""
        pieces = []
        for secret in self.secrets:
            size = min(8, len(secret))
            pieces += [secret[at : at + size] for at in range(len(secret) - size + 1)]
        return [piece for piece in pieces if piece in text]


def read(name, seed=7):
    """Return the samples of the corpus *name*; another *seed* makes up other tokens."""
    noise = random.Random(f"{name} {seed}")
    samples = []
    for entry in re.split("(?m)^=== ", (_FOLDER / f"{name}.txt").read_text("utf-8"))[1:]:
        kind, _, text = entry.partition("\n")
        text = re.sub(r"«([^ »]+) ?(\d*)»", lambda part: _noise(noise, *part.groups()), text.removesuffix("\n"))
        secrets = tuple(re.findall(r"⟦(.*?)⟧", text, re.DOTALL))
        samples.append(Sample(kind, re.sub("[⟦⟧]", "", text), secrets))
    return samples


def _noise(noise, letters, length):
    if letters == "uuid":
        return str(uuid.UUID(int=noise.getrandbits(128), version=4))
    if letters == "sid":
        return "AC" + "".join(noise.choices(_LETTERS["hex"], k=32))
    if letters == "card":
        return card_number("4" + "".join(noise.choices(string.digits, k=14)))
    return "".join(noise.choices(_LETTERS[letters], k=int(length)))


def card_number(digits):
    """Return *digits* with the check digit that Luhn's formula gives them."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[::-2]]
    total = sum(doubled) + sum(map(int, digits[-2::-2]))
    return f"{digits}{-total % 10}"
