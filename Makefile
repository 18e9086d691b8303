# What one does here: `make run` to see it work, `make test` before a commit.

CARGO ?= cargo
ACCEPTANCE ?= ../shared/acceptance

.PHONY: run render test format lint docs tests acceptance suites simulate year bench bench-peers tools

# Builds and starts the demo: server, what renders documents, simulated parties, sample work.
run: render
	CASEWORKER_PDF_PROGRAM=target/render/caseworker-pdf $(CARGO) run --release -- demo

# The program that renders documents; its engine takes long to build, once.
render:
	$(CARGO) build -p caseworker-pdf --profile render

# Everything that has to hold.
test: tools format lint docs tests acceptance

tools:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; fi

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

tests:
	$(CARGO) build -p caseworker-pdf
	$(CARGO) nextest run --workspace

# The conformance scenarios and other projects' own tests, where their folder is there.
acceptance:
	@if [ -f $(ACCEPTANCE)/ctk.py ]; then \
		$(CARGO) build --release && \
		python3 $(ACCEPTANCE)/ctk.py target/release/caseworker && \
		$(MAKE) suites; \
	fi

# What deviates is right by the specification, open there, or told with its reason in the file.
suites:
	@python3 $(ACCEPTANCE)/suites/run.py target/release/caseworker > target/suites.log || true
	@! grep '^failed ' target/suites.log | grep -v -e '\[ours:' -e '\[open:' | \
		grep -v -F -f tests/suites-deviations.txt
	@grep ' passed, ' target/suites.log | tail -1

# Looks for more than the tests do: one case among hostile parties, and several that want the same
# people, SEEDS times.
SEEDS ?= 20000
simulate:
	SEEDS=$(SEEDS) $(CARGO) test --lib _agree -- --nocapture

# A year of 5,000 onboardings with everything that can happen to them, of a seed by chance; it is printed.
year:
	YEAR_SEED=$$(date +%s) YEAR_CASES=5000 $(CARGO) test --lib a_year_of_onboardings -- --nocapture

# Figures of this build on this machine.
bench:
	$(CARGO) run --release -- bench

# The figures of jobs, and those of BullMQ in the same run; needs node, npm and redis-server.
bench-peers:
	$(CARGO) run --release -- bench work
	cd benches/peers/bullmq && npm ci --no-fund --no-audit --ignore-scripts && node jobs.js
