"""The exceptions that are for the user to read: one line, no traceback."""


class UserError(ValueError):
    """A mistake that the user can mend: one line with the value, what was expected, and what to do.

    The command line prints it and exits with code 2, without a traceback.
    """

    exit_code = 2


class Fault(UserError):  # noqa: N818  (what surrounds the program failed, not the program)
    """What was asked for is right, and something around the run failed: a disk, a host, a file of the dataset.

    The command line prints it and exits with code 1, on which a scheduler may start the run again.
    """

    exit_code = 1
