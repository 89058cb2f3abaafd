"""Every bound of the product, named once. Validation, the OpenAPI document and messages read them from here.

Durations are milliseconds (`_MS`), sizes are bytes (`_BYTES`), counts end in `_MAX`.
"""

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
TEN_YEARS_MS = 3_650 * DAY_MS
INT31_MAX = 2**31
INT63_MAX = 2**63 - 1

# Request
URL_LENGTH_MAX = 8_192
"""What servers take in common (RFC 9110 section 4.1 asks for 8000), and URLs that are signed with a session need."""
NAME_LENGTH_MAX = 64
KEY_PATTERN = r"^[a-zA-Z0-9$_.\-\[\]]+$"
"""Of names that users give to headers, lanes, handlers."""
TOKEN_LENGTH_MAX = 8_192
"""Of whatever may be or hold a token: a header's value, a value of the query, a username, a password."""
COOKIE_LENGTH_MAX = 4_096
"""What browsers keep of one cookie."""
COOKIES_LENGTH_MAX = 8_180
"""Of all cookies as they are sent; of what is more, libcurl would leave some out."""
COOKIES_SENT_MAX = 150
"""The same for their number."""
SIGNING_SCOPE_LENGTH_MAX = 64
"""Of region and service; libcurl would put parts of the host in the place of longer ones."""
SOCKS_CREDENTIAL_BYTES_MAX = 255
"""RFC 1929 counts in one byte."""
HEADERS_MAX = 64
QUERY_MAX = 64
FORM_PARTS_MAX = 64
DATA_DEPTH_MAX = 32
USER_AGENT_LENGTH_MIN = 8
USER_AGENT_LENGTH_MAX = 256
REDIRECTS_MAX = 32
KEEP_ALIVE_MAX_SECONDS = 259_200
IGNORED_STATUS_CODES_MAX = 40
METADATA_ENTRIES_MAX = 8
METADATA_VALUE_LENGTH_MAX = 512
IDEMPOTENCY_KEY_LENGTH_MAX = 255
IDEMPOTENCY_KEPT_MS = DAY_MS

# Time
EXECUTION_DELAY_MAX_MS = TEN_YEARS_MS
RETRY_MAX = INT31_MAX
HANDLER_RETRY_BASE_MS = 1_000
"""The first wait of a handler's retries, when nothing says how long it is."""
NAMED_RETRIES_DEFAULT = 3
"""Retries of a task that comes by `/tasks`."""
REPEAT_MAX = INT31_MAX
TIMEOUT_MIN_MS = 100
TIMEOUT_MAX_MS = DAY_MS
AFTER_DUE_MIN_MS = 1_000
"""`retryAt`, `repeatAt` and `timeoutAt` lie at least this long after the due time."""
RETRY_AFTER_MAX_MS = DAY_MS
"""How long a target's `Retry-After` may hold a task back."""
CLOCK_SET_MS = 2_000
"""From so far on a clock was set. Less is a leap second, or a clock that is steered: nothing that waits minds it."""
PROMOTE_AHEAD_MS = 30
"""A waiting task becomes available this long before it is due; the engine holds it until its very millisecond."""

PRIORITY_MAX = 9
URGENCY_FORCED = -1
"""Sorts before every priority: a task that its owner wants run now."""

# Owners
OWNER_NAME_LENGTH_MIN = 5
OWNER_NAME_LENGTH_MAX = 32
TASKS_IN_QUEUE_MAX_DEFAULT = 1_000
TASKS_IN_QUEUE_MAX_MAX = 1_000_000_000
KEYS_PER_OWNER_MAX = 2
KEY_USE_NOTED_MS = 5 * 60_000
"""How exactly it is known when a key was used last."""
REQUESTS_PER_MINUTE_MAX = 1_000_000
AUDIT_DAYS_DEFAULT = 90
SUSPENDED_LOOK_MS = 10 * 60_000
"""How often it is looked whether schedules of an owner that is suspended go on, beside when it is resumed."""
KEY_LENGTH = 64

# Signing
SIGNING_SECRET_BYTES = 32
SIGNING_SECRETS_MAX = 2
SIGNING_OVERLAP_DEFAULT_SECONDS = 86_400
SIGNING_OVERLAP_MAX_SECONDS = 604_800

# Lists
PAGE_SIZE_DEFAULT = 10
PAGE_SIZE_MAX = 1_000
OFFSET_MAX = 1_000_000
HISTORY_MAX = 1_000
"""Attempts of a page, and attempts and events that a timeline is told from."""

# Bodies
BODY_REQUEST_MAX_BYTES = 32_768
BODY_RESPONSE_MAX_BYTES = 32_768
BODY_TASKS_MAX_BYTES = 262_144
BATCH_TASKS_MAX = 1_000
ERROR_LENGTH_MAX = 500
FAULTS_MAX = 200
"""Faults that an answer names; nobody looks for more."""

RETENTION_DAYS_DEFAULT = 3
RETENTION_MIN_MS = HOUR_MS
RETENTION_DAYS_MAX = 3_650
"""The bounds of what an owner may be given of its own."""
LEASE_MS = 30_000

# Schedules
SCHEDULES_MAX = 1_000
"""Schedules of one owner."""
CRON_LENGTH_MAX = 512
EVERY_MIN_MS = SECOND_MS
EVERY_MAX_MS = TEN_YEARS_MS
SCHEDULE_JITTER_MAX_MS = DAY_MS
SCHEDULE_RUNS_MAX = INT31_MAX
SCHEDULE_LATE_MS = 5_000
"""A fire time that found no engine for so long counts as missed."""
MISSED_WINDOW_MIN_MS = SECOND_MS
MISSED_WINDOW_MAX_MS = 366 * DAY_MS
MISSED_WINDOW_DEFAULT_MS = DAY_MS
SCHEDULE_FIRES_MAX = 100
"""Tasks that one schedule makes in one step; the rest follows with the next."""
SCHEDULE_BUFFER_LOOK_MS = 1_000
"""How often to look whether the task is final that a buffered fire time waits for."""
PREVIEW_DEFAULT = 10
PREVIEW_MAX = 100

# Bulk work
BULKS_OPEN_MAX = 20
"""Pieces of bulk work of one owner that have not ended."""
BULK_IDS_MAX = 1_000
BULK_SIGHT_MAX = 10_000
"""Tasks that a dry run looks at."""
BULK_SAMPLE_MAX = 10
BULK_ERROR_LENGTH_MAX = 200

# Lanes
LANES_MAX = 10_000
"""Lanes of one owner that may be set up; tasks may name more."""
LANE_CONCURRENT_MAX = 1_000_000
LANE_RATE_MIN = 0.00001
LANE_RATE_MAX = 100_000
LANE_BURST_MAX = 1_000_000
LANE_BURST_DEFAULT_MS = 100
"""Without a burst of its own, a lane may start at once what its rate brings in this time."""
LANE_LOOK_MS = 100
"""How often an engine looks for a place in a lane that other engines hold."""
LANE_GATHER_MS = 5
"""For so long a high rate's tokens are gathered before the next look."""

CALLBACK_RETRIES_DEFAULT = 8
"""With waits from 10 seconds that double: for 42 minutes."""
CALLBACK_RETRY_WAIT_MS = 10 * SECOND_MS
CALLBACK_RESPONSE_MAX_BYTES = 65_536
"""So much of an answer goes along with the callback that tells of it."""
