# The two commands: `make demo` and `make test`. They do everything else that they need.
# CMakeLists.txt is the build; this file adds set-up, the base model and the demo.

BUILD  ?= build
JOBS   ?= $(shell nproc)
# Some tests wait for processes most of their time.
TEST_JOBS ?= $(shell expr $(JOBS) + 1)
MODEL  := models/SmolLM2-135M-Instruct.Q4_1.gguf
GEMMA  := models/gemma-3-270m-q4_k_m.gguf
MINILM := models/all-MiniLM-L6-v2
PREFIX ?= /usr/local

.PHONY: all setup headers mpi arrow configure build parquet dist cuda model models demo test test-all asan fuzz lint bench install clean help

all: build

help:
	@echo "make demo     set up, build, fetch the base model, train the demo task, compare before and after (under 5 minutes)"
	@echo "make test     set up, build, run the tests (under 5 minutes on two cores)"
	@echo "make test-all the rest: slow and long tests, ranks under mpirun, all tests under ASan and UBSan, a minute of fuzzing for"
	@echo "              each reader, cppcheck (under 25 minutes on two cores)"
	@echo "make fuzz     every reader of files fuzzed for FUZZ_SECONDS (60) with libFuzzer; needs clang"
	@echo "make lint     cppcheck and clang-tidy over the product (some minutes)"
	@echo "make bench    speed and memory, next to PyTorch + PEFT where its venv is given: make bench RIVAL=path/to/venv;"
	@echo "              with SAVE=1 the results replace those of tests/bench/README.md (idle machine only)"
	@echo "make models   fetch the base models of configs/: SmolLM2, Gemma 3 270M, MiniLM (a BERT)"
	@echo "make parquet  fetch Apache Arrow's C++ library (55 MB) and build lorac-parquet.so, which reads .parquet files"
	@echo "make cuda     build with the CUDA modules; cuDNN and NCCL are fetched (800 MB) where the system has none; ends with doctor"
	@echo "make dist     a .tar.gz and a Python wheel (glibc 2.31 and newer) and a .deb in $(BUILD)-dist (configs/package/dist.sh); with"
	@echo "              the CUDA Toolkit also a .tar.gz for NVIDIA GPUs since Ampere (CUDA=no: not)"
	@echo "make install  install the binary under PREFIX=$(PREFIX) (DESTDIR is respected)"

setup:
	@sh tests/setup.sh

# For the tests of the CUDA backend on machines without the CUDA Toolkit; without them these tests skip, visibly.
headers: setup
	@python3 tests/fetch_cuda_headers.py || true

configure: setup
	@cmake -S . -B $(BUILD) -G Ninja > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

build: configure
	@cmake --build $(BUILD) -j $(JOBS) --target product

# Parquet files are read by a module over Arrow's C++ library, which is fetched.
parquet: setup
	@sh data/dataset/parquet/fetch_arrow.sh
	@$(MAKE) --no-print-directory build

# With NVIDIA's toolkit; the log stays in $(BUILD)/make_cuda.log.
cuda: setup
	@BUILD=$(BUILD) JOBS=$(JOBS) sh kernels/cuda/make_cuda.sh

model: $(MODEL)
models: $(MODEL) $(GEMMA) $(MINILM)
$(MODEL): | setup
	@sh data/examples/fetch_model.sh smollm2 models
$(GEMMA): | setup
	@sh data/examples/fetch_model.sh gemma3 models
$(MINILM): | setup
	@sh data/examples/fetch_model.sh minilm models

demo: build model
	@BUILD=$(BUILD) sh tests/demo.sh

# Tests that need the base model skip, visibly, when it cannot be fetched.
test: headers configure
	@cmake --build $(BUILD) -j $(JOBS) --target product tests
	@$(MAKE) --no-print-directory model || echo "make test: no base model; its tests will be reported as skipped"
	@ctest --test-dir $(BUILD) --output-on-failure -j $(TEST_JOBS) -LE 'slow|long'

# Tests under mpirun skip, visibly, where Open MPI is not there and cannot be installed.
mpi: setup
	@sh tests/setup.sh mpi || echo "make test-all: no Open MPI; tests under mpirun will be reported as skipped"

arrow: setup
	@sh data/dataset/parquet/fetch_arrow.sh || echo "make test-all: no Arrow; tests of Parquet files will be left out"

# Where the CUDA Toolkit is, lorac-cuda.so is compiled for one architecture and PTX, GPU or not.
test-all: headers mpi arrow configure
	@cmake --build $(BUILD) -j $(JOBS)
	@if cmake --build $(BUILD) --target help | grep -q '^cuda_modules'; then \
	  cmake --build $(BUILD) -j $(JOBS) --target cuda_modules; fi
	@ctest --test-dir $(BUILD) --output-on-failure -j $(TEST_JOBS) -L 'slow|long'
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory fuzz
	@sh tests/setup.sh lint
	@sh tests/lint.sh cppcheck

asan:
	@cmake -S . -B $(BUILD)-asan -G Ninja -DSANITIZE=ON > $(BUILD)-asan.log 2>&1 || { cat $(BUILD)-asan.log; exit 1; }
	@cmake --build $(BUILD)-asan -j $(JOBS)
	@rm -f $(BUILD)-asan.log
	@ctest --test-dir $(BUILD)-asan --output-on-failure -j $(TEST_JOBS) -LE long

# Needs clang. FUZZ_SECONDS for each target; what it finds becomes a file in tests/fuzz/found.
fuzz:
	@sh tests/setup.sh fuzz
	@CC=clang CXX=clang++ cmake -S . -B $(BUILD)-fuzz -G Ninja -DFUZZ=ON > $(BUILD)-fuzz.log 2>&1 || { cat $(BUILD)-fuzz.log; exit 1; }
	@cmake --build $(BUILD)-fuzz -j $(JOBS) --target fuzz_targets
	@rm -f $(BUILD)-fuzz.log
	@BUILD=$(BUILD)-fuzz sh tests/fuzz/run.sh

# Static analysis; a finding is an error. cppcheck takes seconds, clang-tidy minutes.
lint: configure
	@sh tests/setup.sh lint
	@BUILD=$(BUILD) sh tests/lint.sh

bench: build model
	@cmake --build $(BUILD) -j $(JOBS) --target benchmarks
	@BUILD=$(BUILD) RIVAL=$(RIVAL) SAVE=$(SAVE) sh tests/bench/bench.sh

dist: setup
	@BUILD=$(BUILD) sh configs/package/dist.sh

install: build
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD) $(BUILD)-libc $(BUILD)-libc.part $(BUILD)-asan $(BUILD)-fuzz $(BUILD)-cuda $(BUILD)-static $(BUILD)-deb $(BUILD)-dist
