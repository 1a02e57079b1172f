"""Settings: the environment first (12-factor), with defaults that run on a laptop with nothing installed.

Every variable is listed, with its meaning, in docs/configuration.md.
"""

from contextlib import suppress
from pathlib import Path

from csp.constants import NONCE, NONE, SELF

from .environment import env, secret_key, whole_number

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = secret_key(VAR_DIR)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "knox",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "import_export",
    "workflows",
    "departments",
    # After `workflows`, whose `qcluster` stands in the place of its own.
    "django_q",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# ---- databases ------------------------------------------------------------------------------------------------------


def database(url: str) -> dict[str, object]:
    """Django's settings for one database URL, with the options that make the product's promises true."""
    settings: dict[str, object] = env.db_url_config(url)
    options: dict[str, object] = settings.setdefault("OPTIONS", {})  # type: ignore[assignment]
    if str(settings["ENGINE"]).endswith("sqlite3"):
        # IMMEDIATE: a write transaction takes the one writer's place when it begins, so it waits instead of failing
        # half-way. WAL: readers never wait. FULL: an acknowledged commit survives a power cut; WAL alone does not.
        options.update(
            transaction_mode="IMMEDIATE",
            timeout=30,
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;",
        )
    else:
        # No pool: clusters fork. A kept connection is checked before it is used again: a restart is noticed.
        settings.update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
        options.setdefault("connect_timeout", 5)
        # A process that is frozen in the middle of a transaction keeps its locks for a minute, and no longer.
        options.setdefault("options", "-c idle_in_transaction_session_timeout=60000")
    return settings


DATABASE_URL = env.str("DATABASE_URL", default="") or f"sqlite:///{VAR_DIR / 'workflow.sqlite3'}"
if DATABASE_URL.startswith("sqlite:///"):
    VAR_DIR.mkdir(parents=True, exist_ok=True)
DATABASES = {"default": database(DATABASE_URL)}

DEFINITIONS_DATABASE_URL = env.str("DEFINITIONS_DATABASE_URL", default="")
if DEFINITIONS_DATABASE_URL:
    DATABASES["definitions"] = database(DEFINITIONS_DATABASE_URL)
for alias, connection in DATABASES.items():
    # Tests on SQLite use a file, as the product does: another process or thread must see the same data.
    name = env.str("TEST_DATABASE_NAME", default="workflow_tests") + ("" if alias == "default" else f"_{alias}")
    is_file = str(connection["ENGINE"]).endswith("sqlite3")
    connection["TEST"] = {"NAME": str(VAR_DIR / f"{name}.sqlite3") if is_file else name}
DATABASE_ROUTERS = ["workflows.models.router.DefinitionsRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIGRATION_MODULES = {"knox": None}
"""Its tokens are `workflows.ApiToken`: its own migrations would make a second table, which nobody uses."""

# ---- the engine and its workers -------------------------------------------------------------------------------------

WORKFLOW_PLUGIN_PACKAGES = env.list("WORKFLOW_PLUGIN_PACKAGES", default=["plugins"])
"""Packages whose modules may be named in a PluginRegistration; nothing else is ever imported by name."""

WORKFLOW_LEASE_SECONDS = whole_number("WORKFLOW_LEASE_SECONDS", 30, least=2, most=3600)
WORKFLOW_HEARTBEAT_SECONDS = whole_number("WORKFLOW_HEARTBEAT_SECONDS", 10, least=1, most=1200)
WORKFLOW_STEP_SECONDS = whole_number("WORKFLOW_STEP_SECONDS", 60, least=1, most=240)
"""The longest a step may take where its task has no `timeout` of its own. The product's bound is 240 s."""
WORKFLOW_MAX_CLAIMS = whole_number("WORKFLOW_MAX_CLAIMS", 3, least=1, most=100)
"""Claims of a job that may end in the death of the worker before its running step fails as WorkerLost."""
WORKFLOW_CLAIM_BATCH = whole_number("WORKFLOW_CLAIM_BATCH", 50, least=1, most=100)
"""The most jobs that a worker takes at once; it begins with 10, and takes fewer where their steps are slow."""
WORKFLOW_CONCURRENT_STEPS = whole_number("WORKFLOW_CONCURRENT_STEPS", 100, least=1, most=1000)
"""How many steps that wait for the network a worker runs side by side."""
WORKFLOW_PRIORITY_SECONDS = whole_number("WORKFLOW_PRIORITY_SECONDS", 60, least=0, most=86400)
"""How much earlier one point of priority puts a job in the queue."""
WORKFLOW_DOCUMENT_MAX_BYTES = whole_number("WORKFLOW_DOCUMENT_MAX_BYTES", 10 * 2**20, least=1024, most=2**30)
WORKFLOW_BODY_MAX_BYTES = whole_number("WORKFLOW_BODY_MAX_BYTES", 4 * 2**20, least=1024, most=2**28)
WORKFLOW_VALUE_MAX_BYTES = whole_number("WORKFLOW_VALUE_MAX_BYTES", 256 * 1024, least=1024, most=2**24)
"""The largest input, step output or answer, as JSON text."""
WORKFLOW_MAP_MAX_BYTES = whole_number("WORKFLOW_MAP_MAX_BYTES", 4 * 2**20, least=1024, most=2**26)
"""The outputs of all items of a map together, as JSON text."""
WORKFLOW_ARCHIVE_AFTER_DAYS = whole_number("WORKFLOW_ARCHIVE_AFTER_DAYS", 30, least=0, most=36500)
"""Days after its end that a job is moved to the archive; 0: never."""
WORKFLOW_HTTP_ALLOW = env.list("WORKFLOW_HTTP_ALLOW", default=[])
"""Inner services that `http` tasks may call: hosts (`*.inner.example`), addresses, networks, with a port or not."""
WORKFLOW_EVENT_TTL_MAX_SECONDS = whole_number("WORKFLOW_EVENT_TTL_MAX_SECONDS", 30 * 86400, least=1, most=366 * 86400)
WORKFLOW_EVENT_TTL_SECONDS = whole_number(
    "WORKFLOW_EVENT_TTL_SECONDS", 86400, least=0, most=WORKFLOW_EVENT_TTL_MAX_SECONDS
)
"""How long an event counts for those who begin to wait after it came, where it does not say so itself."""

WORKFLOW_FAILPOINTS = env.bool("WORKFLOW_FAILPOINTS", default=False)
"""For tests of faults alone: lets them arm `workflows.models.failpoints`. Refused where the server is deployed."""

WORKERS = whole_number("WORKERS", 2, least=1, most=64)
TICK_SECONDS = 1

Q_CLUSTER = {
    # Fixed for ever: it is the salt of the signatures.
    "name": "workflows",
    # Q_CLUSTER_NAME names another queue than `default`; its clusters have the same settings.
    "ALT_CLUSTERS": {},
    # The Job table is the queue; the broker only keeps the workers in ticks.
    "broker_class": "workflows.execution.broker.TickBroker",
    # 1-2 a core; said in full, for the default counts the host's cores even in a container.
    "workers": WORKERS,
    # As many ticks in memory as workers: no more is needed, and each delays a stop by its length.
    "queue_limit": WORKERS,
    "bulk": 1,
    # Whole seconds, longer than a tick and the longest step: 240 (WORKFLOW_STEP_SECONDS' bound) + tick + margin.
    "timeout": 300,
    # > timeout x (1 + (queue_limit + bulk) / workers) + 3, the time a tick may wait in memory and run.
    "retry": 1000,
    # The guard compares a float with exactly 0: the cycle must divide `timeout + 3` without a rest.
    "guard_cycle": 0.5,
    # A tick is disposable: the engine counts attempts, at the claim.
    "max_attempts": 1,
    "ack_failures": True,
    # No success is saved: saving one locks all others.
    "save_limit": -1,
    "recycle": 500,
    "max_rss": 400_000,
    # One bad row stops all of django-q2's schedules, so the product has services of its own.
    "scheduler": False,
    "catch_up": False,
    "log_level": "WARNING",
    "label": "Queue",
}

# ---- web ------------------------------------------------------------------------------------------------------------

HTTPS = env.bool("HTTPS", default=False)
"""True behind TLS: cookies are secure, plain HTTP is redirected, browsers remember it for a year."""
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if env.bool("TRUST_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": [],
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

DATA_UPLOAD_MAX_MEMORY_SIZE = WORKFLOW_BODY_MAX_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
DATA_UPLOAD_MAX_NUMBER_FILES = 20

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "inbox"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
with suppress(OSError):  # whitenoise warns at every start where collectstatic has not made it yet
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# No build step: whitenoise finds the files where they lie, also without collectstatic.
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(VAR_DIR / "documents")))
"""Documents. They are outside every URL; one view serves them, as attachments."""
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# ---- REST -----------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workflows.api.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["workflows.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["workflows.api.parsers.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["workflows.api.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "workflows.api.problems.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Workflow server",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "workflows.api.schema.name_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "workflows.models.JobStatus",
        "TaskRunStatus": "workflows.models.TaskRunStatus",
        "WorkItemStatus": "departments.models.WorkItemStatus",
        "BulkRepairStatus": "workflows.models.BulkRepair.Status",
    },
}
KNOX_TOKEN_MODEL = "workflows.ApiToken"  # noqa: S105  (the name of a model)
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_TTL": None, "AUTO_REFRESH": False}

IMPORT_EXPORT_USE_TRANSACTIONS = True
IMPORT_EXPORT_SKIP_ADMIN_LOG = False
IMPORT_EXPORT_ESCAPE_FORMULAE_ON_EXPORT = True
IMPORT_EXPORT_ESCAPE_ILLEGAL_CHARS_ON_EXPORT = True

# ---- logs -----------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "workflows": {"level": LOG_LEVEL},
        "departments": {"level": LOG_LEVEL},
        # django-q2 installs a handler of its own where it finds none.
        "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},
        # Its debug lines hold URLs, and with them secrets.
        "urllib3": {"level": "INFO"},
    },
}
