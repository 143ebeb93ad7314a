"""State that several processes share: sessions, a cache, rate limits, and the records of jobs."""

from .cache import Cache as Cache
from .ratelimit import RateLimit as RateLimit
from .sessions import StoredSessions as StoredSessions
from .stores import MemoryStore as MemoryStore
from .stores import RedisStore as RedisStore
from .stores import SQLiteStore as SQLiteStore
from .stores import Store as Store
from .stores import StoreUnavailable as StoreUnavailable
from .stores import open_store as open_store
