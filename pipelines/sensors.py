"""What runs when something happened: files that were dropped, bars that came."""

import json
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import dagster as dg

from assets.features import KEY as DERIVED_FEATURES
from pipelines.jobs import TAKE_DROPPED_FILE
from thermocline.errors import ThermoclineError
from thermocline.ports import DropFactory, Dropped
from thermocline.tasks.drops import Asked, due, settled

LOOK_EVERY_SECONDS = 30
FILES_A_LOOK = 100
"""More wait for the next look, so that a folder of thousands does not flood the queue at once."""
FILE_TAG = "thermocline/file"


def drop_sensor(*, watches: bool) -> dg.SensorDefinition:
    """Asks for a run for each file of a drop folder that is whole. Off where the settings declare no folder.

    What was seen and asked for is in the cursor; what became of a run is asked of Dagster. So neither a daemon nor a
    run that is killed loses a file, or has it taken twice at once.
    """

    @dg.sensor(
        name="drop_folders",
        job=TAKE_DROPPED_FILE,
        minimum_interval_seconds=LOOK_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if watches else dg.DefaultSensorStatus.STOPPED,
        description="Take in each file that was put into a folder of `drops` in thermocline.yaml, once it is whole.",
    )
    def drop_folders(context: dg.SensorEvaluationContext, drops: dg.ResourceParam[DropFactory]) -> dg.SensorResult:
        before, now = json.loads(context.cursor or "{}"), time.time()
        after: dict[str, Any] = {}
        requests: list[dg.RunRequest] = []
        troubles = []
        for drop in drops.names:
            known = after[drop] = before.get(drop, {"seen": {}, "asked": {}})
            try:
                folder = drops(drop)
                whole, seen = settled(folder, known["seen"], now=now)
            except ThermoclineError as error:
                troubles.append(f"{drop}: {error}")
                continue
            asked = {name: Asked(*entry) for name, entry in known["asked"].items() if name in seen}
            outcomes = {file.name: _outcome(context.instance, drop, file) for file in whole if file.name in asked}
            for file in due(folder, whole, asked, outcomes, now=now)[: FILES_A_LOOK - len(requests)]:
                again = asked[file.name].times + 1 if _is_asked(asked, file) else 1
                asked[file.name] = Asked(file.mark, again, now)
                requests.append(_request(drop, file, again))
            after[drop] = {"seen": seen, "asked": {name: list(each) for name, each in asked.items()}}
        skipped = "\n".join(troubles) or "no file is whole that was not taken in"
        for trouble in troubles:
            context.log.error(trouble)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(skipped),
            cursor=json.dumps(after),
        )

    return drop_folders


def derive_sensor(*, automatic: bool) -> dg.AutomationConditionSensorDefinition:
    """Asks for features to be derived when bars or splits were written, and nothing is writing any."""
    return dg.AutomationConditionSensorDefinition(
        "derive_when_bars_came",
        target=dg.AssetSelection.assets(DERIVED_FEATURES),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if automatic else dg.DefaultSensorStatus.STOPPED,
        description="Derive features when bars or splits came.",
    )


def _is_asked(asked: Mapping[str, Asked], file: Dropped) -> bool:
    return file.name in asked and asked[file.name].mark == file.mark


def _request(drop: str, file: Dropped, times: int) -> dg.RunRequest:
    config = {"drop": drop, "name": file.name, "mark": file.mark}
    return dg.RunRequest(
        run_key=f"{drop}/{file.name}/{file.mark}/{times}",
        run_config={"ops": {"dropped_files": {"config": config}}},
        tags={FILE_TAG: _word(drop, file)},
    )


def _word(drop: str, file: Dropped) -> str:
    """A word for a file as it is, that any tag can hold."""
    return blake2b(f"{drop}/{file.name}/{file.mark}".encode(), digest_size=16).hexdigest()


def _outcome(instance: dg.DagsterInstance, drop: str, file: Dropped) -> bool | None:
    """Whether the last run for the file did well; None while it waits or runs."""
    runs = instance.get_runs(dg.RunsFilter(tags={FILE_TAG: _word(drop, file)}), limit=1)
    if not runs:
        return False
    return runs[0].is_success if runs[0].is_finished else None
