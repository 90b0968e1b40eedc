"""The commands `lifecycle show`, `plan` and `apply`: the rules of the lake's bucket."""

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import as_of_option
from thermocline.cli.words import Table, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thermocline.model.bucket_rules import Rule, RulesPlan

_NAMED = 4


@command(examples=("thermocline lifecycle show",))
@as_of_option
def show(invocation: Invocation, *, as_of: date | None) -> None:
    """Say which rules the bucket has, and if the policy has them.

    Ends with exit code 1 where a rule, be it of others, would delete what the ledger names or archive what queries
    read.
    """
    with invocation.opened() as opened:
        plan = opened.plan_bucket_rules(as_of=as_of)
    drift = bool(plan.added or plan.removed)
    what = (
        "The rules are not those of the policy; `thermocline lifecycle plan` says what is different."
        if drift
        else "The rules are those of the policy."
    )
    from thermocline.model.bucket_rules import as_json  # noqa: PLC0415

    rules = [as_json(rule) for rule in plan.current]
    invocation.answer(
        {**plan.document(), "rules": rules, "drift": drift}, *_table(plan.current, plan.others), *_harms(plan), what
    )
    if plan.harms:
        exit_with(FAILED)


@command(examples=("thermocline lifecycle plan", "thermocline lifecycle plan --json"))
@as_of_option
def plan(invocation: Invocation, *, as_of: date | None) -> None:
    """Say how the bucket's rules differ from the policy.

    Which of ours would be added and removed, how many of others stay, and what any of them would do to the lake.
    """
    with invocation.opened() as opened:
        planned = opened.plan_bucket_rules(as_of=as_of)
    invocation.answer(planned.document(), *_planned(planned))
    if planned.harms:
        exit_with(FAILED)


@command(examples=("thermocline lifecycle apply", "thermocline lifecycle apply --yes"))
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--digest", metavar="DIGEST", help="Don't ask, but do exactly the plan of this digest or refuse.")
@as_of_option
def apply(invocation: Invocation, *, yes: bool, digest: str | None, as_of: date | None) -> None:
    """Make the bucket's rules those of the policy.

    Beside the rules of others, which stay. Shows the plan, asks, and does exactly that; where the rules changed
    meanwhile, or one of them would do harm, nothing is done.
    """
    if invocation.as_json and not (yes or digest):
        msg = "with --json nobody can be asked; add --yes, or --digest with the digest of `thermocline lifecycle plan`"
        raise click.UsageError(msg)
    with invocation.opened() as opened:
        if digest is None:
            planned = opened.plan_bucket_rules(as_of=as_of)
            digest = planned.digest
            if not (yes or planned.harms) and (planned.added or planned.removed):
                invocation.answer({}, *_planned(planned))
                if not click.confirm("Do this?", err=True):
                    invocation.answer({}, "Nothing was changed.")
                    return
        done = opened.apply_bucket_rules(digest, as_of=as_of)
    changed = (
        f"{plural(len(done.added), 'rule')} added, {len(done.removed)} removed; {len(done.others)} of others stay."
    )
    invocation.answer(done.document(), changed if done.added or done.removed else "The rules are those of the policy.")


def _planned(plan: "RulesPlan") -> tuple[Table | str, ...]:
    if not (plan.added or plan.removed):
        return (*_harms(plan), "The rules are those of the policy.")
    rows = [("add", in_a_line(rule)) for rule in plan.added] + [("remove", in_a_line(rule)) for rule in plan.removed]
    return (
        Table(("what", "rule"), rows),
        *_harms(plan),
        f"{plural(len(plan.others), 'rule')} of others would stay. The digest of this plan is {plan.digest}.",
    )


def _table(rules: "Sequence[Rule]", others: "Sequence[Rule]") -> tuple[Table | str, ...]:
    rows = [("others" if rule in others else "ours", in_a_line(rule)) for rule in rules]
    return (Table(("whose", "rule"), rows),) if rows else ("The bucket has no rules.",)


def _harms(plan: "RulesPlan") -> tuple[Table | str, ...]:
    rows = [("LOSS" if harm.is_loss else "stop", in_a_line(harm.rule), harm.what) for harm in plan.harms]
    return (Table(("harm", "rule", "what it would do"), rows),) if rows else ()


def in_a_line(rule: "Rule") -> str:
    """A rule in a line: its name where it has one, what it does, and to what; --json has it as it is written."""
    from thermocline.model.bucket_rules import as_json  # noqa: PLC0415

    said: dict[str, Any] = as_json(rule)
    name = said.pop("ID", "")
    action = said.pop("action", {})
    does = " ".join(str(action[key]) for key in ("type", "storageClass") if key in action)
    return "; ".join(part for part in (name, does, *_parts(said.pop("condition", {})), *_parts(said)) if part)


def _parts(conditions: dict[str, Any]) -> list[str]:
    """What a rule says, a text each; of long lists the beginning."""
    return [f"{key} {_value(value)}" for key, value in conditions.items() if (key, value) != ("Status", "Enabled")]


def _value(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - _NAMED} more" if len(value) > _NAMED else ""
        return ", ".join(_value(each) for each in value[:_NAMED]) + more
    if isinstance(value, dict) and value:
        return " ".join(f"{key} {_value(each)}" for key, each in value.items())
    return str(value).removesuffix("T00:00:00+00:00")


@group(show, plan, apply)
def lifecycle() -> None:
    """Keep the lifecycle rules of the lake's bucket.

    The rules by which the bucket itself moves objects to colder classes, from the retention policy.
    """
