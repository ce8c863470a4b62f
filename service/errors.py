"""Every error the service raises on purpose, as one tree.

InterlinearError
├── StartupError                 the service must not start
│   ├── ConfigurationError       a setting is wrong
│   ├── ProviderError            the execution provider asked for cannot be had
│   └── BundleError              a model bundle cannot be served; names file and field
├── InstallationError            a bundle cannot be put where models are served from
├── DecodingError                the model failed on accepted work                500
└── RequestError                 the caller can do something about it
    ├── InvalidRequestError      a field has a wrong value                       422
    ├── TextTooLongError         more text than the limits allow                 413
    ├── ModelNotFoundError       no such model or language pair                  404
    └── UnavailableError         not now; carries `retry_after_s`                503
        ├── OverloadedError      queue full or waited too long
        └── ShuttingDownError    the service is draining
(anything else is a defect and becomes a 500 that says nothing of internals)
"""

from __future__ import annotations


class InterlinearError(Exception):
    """Base of all errors raised on purpose. The message is one line and safe to show."""


class StartupError(InterlinearError):
    """The service must not start."""


class ConfigurationError(StartupError):
    """A setting has a wrong value; the message names it and says what is allowed."""


class ProviderError(StartupError):
    """The requested onnxruntime execution provider is not available; the message says what to install."""


class BundleError(StartupError):
    """A model bundle is incomplete or inconsistent; the message names the file and the field."""

    def __init__(self, file: str, field: str, problem: str) -> None:
        self.file = file
        self.field = field
        self.problem = problem
        super().__init__(f"{file}: {field}: {problem}")


class InstallationError(InterlinearError):
    """A bundle cannot be installed: it cannot be had, is not what it should be, or its place is taken."""


class DecodingError(InterlinearError):
    """The model could not be run on work that was accepted; the cause is for the log, not for the caller."""


class RequestError(InterlinearError):
    """The caller sent something that cannot be served; `field` is where (a dotted path), or None."""

    def __init__(self, message: str, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class InvalidRequestError(RequestError):
    """A field has a value that is not allowed."""


class TextTooLongError(RequestError):
    """The text, the list or a sentence exceeds a configured limit."""


class ModelNotFoundError(RequestError):
    """No installed model has this name or serves this language pair."""


class UnavailableError(RequestError):
    """The request cannot be served now."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class OverloadedError(UnavailableError):
    """The queue is full, or the request waited longer than it may."""


class ShuttingDownError(UnavailableError):
    """The service is draining and takes no new work."""
