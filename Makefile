# make image                      the demo system as build/disk.raw
# make image SYSTEM=/nix/store/…  your own system
# make boot [FIRMWARE=efi]        boots build/disk.raw on this terminal, and does not change it
# make test                       linters, tests, and boots in QEMU
# make test-slow                  tests that measure with gigabytes, or with a million of inodes
# make man                        man pages and completions below build/package/share
# make clean                      removes everything that these made

SYSTEM ?=
FIRMWARE ?= bios
DEMO := build/demo-system

.PHONY: image boot test test-slow man bootstrap demo clean

image: $(if $(SYSTEM),bootstrap,demo)
	mkdir -p build
	.venv/bin/assemble --out build/disk.raw --system "$(or $(SYSTEM),$$(readlink $(DEMO)))"

boot: bootstrap
	@test -e build/disk.raw || { echo "there is no build/disk.raw yet: run 'make image' first" >&2; exit 1; }
	.venv/bin/python vm-tests/qemu.py build/disk.raw --firmware $(FIRMWARE)

test:
	scripts/run-tests

test-slow:
	scripts/run-tests slow

man: bootstrap
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --ignore-installed \
	  --no-deps --no-build-isolation --prefix build/package .

bootstrap:
	@scripts/bootstrap

demo:
	@scripts/build-demo

clean:
	rm -rf build .venv *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
