"""The one error that a user sees; it is known without JAX, so that a refusal takes no time."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, expected, what to do."""
