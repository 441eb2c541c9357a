"""The one exception that bdflow raises for bad input."""


class BDFlowError(Exception):
    """Something the caller can mend; the message is one line that says how."""
