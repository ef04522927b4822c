"""What may be sent to another process."""

import pickle

from phdenoise.study.work import Work
from phdenoise.types import InputError


def check_sendable(work: Work) -> None:
    """Refuse, before a process is started, what cannot be sent to it.

    Raises:
        InputError: the function is not of a module.
    """
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"The function {getattr(work.run, '__qualname__', work.run)} cannot be sent to other processes: define it in a file, "
            "outside of other functions, or run in this process."
        ) from error
