"""The parts of pages that are made of the product's own tables."""

from otelflow._core.process.environment import PREFIX
from otelflow._core.process.settings_table import RUN_SETTINGS, SETTINGS


def settings_of(table):
    """Return a Markdown table of *table*: a setting's names, its default, and what it means."""
    lines = ["| Variable, key, keyword | Default | Meaning |", "|---|---|---|"]
    for name, setting in table.items():
        default = {True: "on", False: "off", (): "none", "": "none"}.get(setting.default, setting.default)
        choices = f" ({', '.join(f'`{choice}`' for choice in setting.choices)})" if setting.choices else ""
        only_own = "" if setting.is_harmless else " *"
        meaning = setting.meaning.replace("|", "\\|")
        lines.append(f"| `{PREFIX}{name.upper()}`<br>`{name}`{only_own} | `{default}` | {meaning}{choices} |")
    return "\n".join(lines) + "\n"


def run_settings():
    return settings_of(RUN_SETTINGS)


def process_settings():
    return settings_of({name: setting for name, setting in SETTINGS.items() if name not in RUN_SETTINGS})


PARTS = {"settings of a flow": run_settings, "settings of the process": process_settings}
