"""What `embed_files` raises of its own. What the disk, the model or an argument raises stays as it is."""


class Refused(ValueError):
    """The output belongs to another job, or inputs and options do not fit: the message names what, and a way out."""


class InUse(Refused):
    """Another process is writing this output."""


class RowRejected(ValueError):
    """A row that cannot be embedded, where `strict=True`: the message has its place and the reason."""
