"""What rows must say to be believed: rules, declared by dataset, and how strictly they are taken."""

from thermocline.model.rules.declared import EVERYWHERE, RULES, TIME_UNIT, rules_of
from thermocline.model.rules.rows import Rows
from thermocline.model.rules.rule import Rule, Severity
from thermocline.model.rules.strictness import LENIENT, Rulebook, Strictness, Validation, wrong_rules

__all__ = [
    "EVERYWHERE",
    "LENIENT",
    "RULES",
    "TIME_UNIT",
    "Rows",
    "Rule",
    "Rulebook",
    "Severity",
    "Strictness",
    "Validation",
    "rules_of",
    "wrong_rules",
]
