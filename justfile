# The gate: what CI and pre-commit call.
check: lint types layers size docs-fresh

lint:
    uv run ruff check .
    uv run ruff format --check .

types:
    uv run mypy

layers:
    uv run lint-imports

size:
    uv run python -m tests.gates.file_length

docs-fresh:
    uv run python -m tests.gates.docs
    uv run python -m tests.gates.offers

fix:
    uv run ruff check --fix .
    uv run ruff format .

test *ARGS:
    uv run pytest {{ARGS}}

# Programs on the real Pulumi engine, against a real API server. Builds both (minutes, once) where they are not on PATH.
engine *ARGS:
    uv run pytest -m engine -n 0 {{ARGS}}

# A measured comparison, such as `just bench orchestration`; each is a module of tests/bench.
bench NAME *ARGS:
    uv run python -m tests.bench.{{NAME}} {{ARGS}}
