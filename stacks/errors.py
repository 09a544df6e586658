"""The one error a person is meant to read. It knows nothing of who raises it; `cli.main` prints it as one line."""


class UserError(Exception):
    """Something a person can mend: `what` is wrong, and `do` is the next move.

    Raised anywhere, shown by the command as one line without a traceback (unless `--debug`).
    """

    def __init__(self, what: str, do: str) -> None:
        super().__init__(f"{what.rstrip('.')}. {do}")
        self.what = what
        self.do = do
