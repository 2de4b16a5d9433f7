"""Which settings are in force, and where each came from; ``settings_table`` declares them.

An argument wins over an ``OTELFLOW_*`` variable, that over ``[tool.otelflow]`` in a ``pyproject.toml``, that over the
default; ``project_files`` tells which file counts, and for what. Variables and files are read at the first run, or when
``configure()`` or the command line asks.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from otelflow._core.process import losses, shutdown
from otelflow._core.process.environment import OTHER_VARIABLES, PREFIX
from otelflow._core.process.process import State
from otelflow._core.process.settings_table import SETTINGS, Setting, Settings
from otelflow._core.text import redaction
from otelflow._core.text.regex import half_pattern
from otelflow._core.text.safe_str import NAME_LENGTH, brief_repr
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from otelflow._core.process.project_files import ProjectFile

# Of one file that a stranger may have written, in one warning
_MOST_MISTAKES: Final = 3
#: A value, and where it came from: ``default``, a variable's name, a file, ``configure()``
_Origin: TypeAlias = tuple[Any, str]


class _Settings(State):
    """What is in force from the first run on, and the arguments of ``configure()``."""

    in_force: Settings | None = None
    arguments: dict[str, _Origin]
    is_lenient: bool

    def reset(self) -> None:
        """Read variables and files anew at the next run."""
        redaction.use_patterns(())
        self.in_force = None
        self.arguments = {}
        self.is_lenient = False


_settings: Final = _Settings()


def settings() -> Settings:
    """Return the settings in force; the first call reads the environment, where a mistake becomes one warning."""
    in_force = _settings.in_force
    return in_force if in_force is not None else _read(is_strict=False)


def configure(**arguments: Any) -> Settings:
    """Put *arguments* in force over variables and files.

    Raises ConfigurationError for an unknown argument or key of the file, and for a value that says nothing usable.
    """
    place = "configure()"
    checked = {name: (check(name, value, place, SETTINGS), place) for name, value in arguments.items()}
    mistakes: list[ConfigurationError] = []
    _compile(arguments.get("redact", ()), mistakes)
    if mistakes:
        raise mistakes[0]
    _settings.arguments.update(checked)
    return _read(is_strict=True)


def be_lenient() -> None:
    """Ignore with one warning, also in ``configure()``, what variables and files say wrongly; arguments are errors."""
    _settings.is_lenient = True


def replace(names: Iterable[str], arguments: Mapping[str, Any]) -> None:
    """Put *arguments* in force as ``configure`` does, in the place of those with *names*."""
    for name in names:
        _settings.arguments.pop(name, None)
    configure(**arguments)


def _read(*, is_strict: bool) -> Settings:
    """Put in force what file, variables and arguments say; a mistake is raised if *is_strict*, and else ignored."""
    mistakes: list[ConfigurationError] = []
    chosen = {**_from_environment(mistakes), **_settings.arguments}
    sources = {**_from_files(mistakes, chosen), **chosen}
    values = {name: value for name, (value, _) in sources.items()}
    in_force = Settings(values, {name: origin for name, (_, origin) in sources.items()})
    patterns = _compile(in_force.redact, mistakes)
    if mistakes and is_strict and not _settings.is_lenient:
        raise mistakes[0]
    for mistake in mistakes:
        # What stands before the value: what is wrong with one setting silences nothing of another
        setting = str(mistake).partition("=")[0]
        losses.warn_once(f"configuration {mistake}", "%s (ignored)", mistake, kind=f"configuration {setting:.200}")
    redaction.use_patterns(patterns)
    _settings.in_force = in_force
    return in_force


def _compile(patterns: Iterable[str], mistakes: list[ConfigurationError]) -> list[re.Pattern[str]]:
    """Return the *patterns* that can be used, compiled; each of the others becomes one of *mistakes*."""
    compiled = []
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except (re.error, TypeError, OverflowError, RecursionError, Warning) as error:
            mistake = f"is not a regular expression: {getattr(error, 'msg', error)}"
        else:
            mistake = half_pattern(pattern)
            if not mistake and expression.match(""):
                mistake = "matches an empty text, which is everywhere: write + for *"
            if not mistake:
                compiled.append(expression)
                continue
        mistakes.append(ConfigurationError(f"redact: {brief_repr(pattern)} {mistake}"))
    return compiled


def _from_environment(mistakes: list[ConfigurationError]) -> dict[str, _Origin]:
    values: dict[str, _Origin] = {}
    names = [*map(str.upper, SETTINGS), *(name.removeprefix(PREFIX) for name in OTHER_VARIABLES)]
    for variable, text in os.environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or text == "":
            continue
        setting = SETTINGS.get(variable.removeprefix(PREFIX).lower())
        if setting is None:
            # Never an error: a Kubernetes Service called "otelflow" sets OTELFLOW_SERVICE_HOST in every pod.
            from otelflow._core.text.hints import nearest  # noqa: PLC0415 only for mistakes

            similar = nearest(variable.removeprefix(PREFIX), names)
            cure = f"; did you mean {PREFIX + similar!r}?" if similar else ""
            losses.warn_once(f"variable {variable}", "%s is not a variable of otelflow%s (ignored)", variable, cure)
            continue
        try:
            values[setting.name] = setting.check(setting.parse(text.strip()), variable), variable
        except ConfigurationError as error:
            mistakes.append(error)
    return values


def _from_files(mistakes: list[ConfigurationError], chosen: Collection[str]) -> dict[str, _Origin]:
    """Return the settings of files; one warning names those that a stranger's may not set, if *chosen* does not."""
    try:
        from otelflow._core.process import project_files  # noqa: PLC0415 at the first run, not at an import
    except ImportError as error:
        if shutdown.is_too_late(error):  # the first run is one in a __del__ that the end of the interpreter calls
            return {}
        raise

    values: dict[str, _Origin] = {}
    for file in project_files.project_files():
        refused: list[str] = []
        wrong: list[ConfigurationError] = []
        for name, value in _table(file, wrong).items():
            if file.distrust and name in SETTINGS and not SETTINGS[name].is_harmless:
                refused += [name] if name not in chosen else []
                continue
            try:
                values[name] = check(name, value, f"{file.path} [tool.otelflow]", SETTINGS), str(file.path)
            except ConfigurationError as error:
                wrong.append(error)
        if file.distrust:
            _warn_of_stranger(file, refused, wrong)
        else:
            mistakes += wrong
    return values


def _warn_of_stranger(file: "ProjectFile", refused: Collection[str], wrong: Sequence[ConfigurationError]) -> None:
    """Name in one warning the settings that are not taken from *file*: its writer may break no program."""
    sentences = []
    if refused:
        names, variables = " and ".join(refused), " and ".join(PREFIX + name.upper() for name in refused)
        sentences.append(
            f"{file.path} [tool.otelflow] may not set {names}, since {file.distrust} (ignored): "
            f"set {variables}, or use configure()"
        )
    if wrong:
        first, *others = wrong[:_MOST_MISTAKES]
        # The names that are known stand behind the first.
        words = [str(first), *(str(mistake).partition(";")[0] for mistake in others)]
        sentences += [f"{text} (ignored)" for text in words]
    if len(wrong) > _MOST_MISTAKES:
        sentences.append(f"and {len(wrong) - _MOST_MISTAKES:,} more (ignored)")
    if sentences:
        place, message = f"project file {file.path}", "; ".join(sentences)
        losses.warn_once(f"{place} {message}", "%s", message, kind=place)


def _table(file: "ProjectFile", wrong: list[ConfigurationError]) -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415 a few milliseconds that most processes never need

    from otelflow._core.process import project_files  # noqa: PLC0415 who calls this has it

    try:
        tool = tomllib.loads(project_files.read(file)).get("tool")
    except (OSError, ValueError, RecursionError) as error:
        wrong.append(ConfigurationError(f"{file.path} cannot be read: {error}"))
        return {}
    table = tool.get("otelflow", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        wrong.append(ConfigurationError(f"{file.path}: [tool.otelflow] must be a table"))
        return {}
    # [tool.otelflow.instrument] holds the patterns themselves: it is no setting, which would name a file.
    return {name: value for name, value in table.items() if name != "instrument" or not isinstance(value, dict)}


def check(name: str, value: Any, place: str, settings: Mapping[str, Setting]) -> Any:
    """Return *value* as the one of *settings* called *name* keeps it.

    Raises ConfigurationError that names *place* when there is no such setting, or when it takes no such value.
    """
    setting = settings.get(name)
    if setting is None:
        from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

        raise ConfigurationError(f"{place} has no field {brief_repr(name)}{suggestion(name[:NAME_LENGTH], settings)}")
    return setting.check(value, place)
