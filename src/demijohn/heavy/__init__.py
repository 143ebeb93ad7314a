"""Functions that compute for long, and work that outlasts a request."""

from .errors import CallCancelled as CallCancelled
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import EngineUnavailable as EngineUnavailable
from .errors import HeavyError as HeavyError
from .errors import ProcessDied as ProcessDied
from .errors import QueueFull as QueueFull
from .functions import Heavy as Heavy
from .functions import heavy as heavy
from .jobs import Jobs as Jobs
from .jobs import progress as progress
from .jobs import report as report
