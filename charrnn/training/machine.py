"""Where a run computes."""

from dataclasses import dataclass

from charrnn.fields import Settings, setting
from charrnn.machine import MAX_THREADS


@dataclass(frozen=True, kw_only=True)
class MachineSettings(Settings):
    """Where a run computes; it may go on elsewhere.

    Attributes:
        device: "auto" takes CUDA, else MPS, where there is one, else the CPU.
        precision: of the products; sums are float32. "auto" is bfloat16 where the processor has it in hardware.
        threads: CPU threads; None takes all cores.
    """

    device: str = setting(
        "auto",
        help="Where to compute.",
        choices=("auto", "cpu", "cuda", "mps"),
        panel="Machine",
        changes_on_resume=True,
    )
    precision: str = setting(
        "auto",
        help="Precision of the products; sums are float32. auto is bfloat16 where the processor has it.",
        choices=("auto", "float32", "bfloat16"),
        panel="Machine",
        changes_on_resume=True,
    )
    threads: int | None = setting(
        None,
        help="CPU threads.",
        low=1,
        high=MAX_THREADS,
        panel="Machine",
        shown_default="all cores",
        changes_on_resume=True,
    )
