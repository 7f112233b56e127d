"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake that the user can mend: one line with the value, what was expected, and what to do.

    The command line prints it and exits with code 2, without a traceback.
    """
