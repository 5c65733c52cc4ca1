"""Translate a folder of Parquet parts as one task of many: on a cluster, or with dask.

``python examples/job_array.py MODEL PARTS OUT [TASK TASKS]`` does every TASKS-th part, from
number TASK (from 0) on; without the two it does all. In a job array of Slurm:

    #SBATCH --array=0-99
    python job_array.py model.nc galah_parts/ translated/ $SLURM_ARRAY_TASK_ID 100

A task that is started again goes on where it was: what is there is skipped, what was
interrupted is resumed. A star's numbers do not depend on the part in which it is.
"""

import sys
from pathlib import Path

import bayestrans as bt


def translate_part(model: str, part: Path, out: Path) -> str:
    """Translate one part; with dask, ``dask.delayed(translate_part)(...)`` for each."""
    if out.exists():
        return f"{out.name}: done before"
    written = bt.translate_file(bt.load(model), part, out, resume=True, progress=False)
    return f"{out.name}: {written.stars} stars, {written.classes['outside']} outside"


def main(model: str, parts: str, out: str, task: str = "0", tasks: str = "1") -> None:
    Path(out).mkdir(exist_ok=True)
    for part in sorted(Path(parts).glob("*.parquet"))[int(task) :: int(tasks)]:
        print(translate_part(model, part, Path(out) / part.name))


if __name__ == "__main__":
    main(*sys.argv[1:])
