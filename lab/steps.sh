# shellcheck shell=bash
# shellcheck disable=SC2154 # lab/lib.sh, sourced before it, sets the names used here
# The steps of the tests, one function each. Sourced by lab/test.sh.

# What git knows, or would if it were added: the tests judge the work tree.
ours() { git ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r file; do [[ ! -f $file ]] || echo "$file"; done; }

run_ruff() {
  ruff check . && ruff format --check .
}

# Several runs, because module_utils/keyfold.py and node/keyfold have one name.
run_mypy() {
  mypy node/keyfold && mypy lab/tour && mypy -p benchmarks.keyfold_bench -p benchmarks.programs &&
    ours 'module_utils/*.py' 'library/*.py' '*_plugins/*.py' | xargs mypy
}

run_yamllint() { yamllint --strict .; }

run_ansible_lint() { ansible-lint --offline; }

# A scenario's playbooks import the real ones, which ansible-lint then reads once more each.
run_ansible_lint_quick() { ansible-lint --offline playbooks roles library action_plugins lookup_plugins inventories; }

run_shellcheck() {
  apt_install shellcheck
  # By their first line: some scripts have no ending.
  ours | xargs awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh( |$)|^# shellcheck shell=/ { print FILENAME }' | xargs shellcheck
}

run_unit() { # DIRECTORY [MARKERS]
  apt_install age
  timeout --foreground 900 pytest "$1" -m "not container${2:+ and $2}"
}

run_unit_quick() { run_unit "$1" 'not exhaustive'; }

# The newest packages, on a machine that has what a node has and nothing else.
run_package() {
  tar --create --dereference --directory=.keyfold/dist keyfold-node.deb keyfold-subscriber.deb |
    docker run --rm --interactive "$node_image" sh -ec '
    cd /tmp
    tar --extract --no-same-owner
    # Alone first: it must not need the other.
    dpkg --install keyfold-subscriber.deb
    keyfold-subscriber --help
    dpkg --install keyfold-node.deb
    keyfold --help
    mkdir /tmp/tokens
    echo directories.tokendir = /tmp/tokens >/tmp/softhsm2.conf
    printf "KEYFOLDP\\1\\371\\0\\0\\0\\0\\0\\0" >/tmp/policy
    SOFTHSM2_CONF=/tmp/softhsm2.conf KEYFOLD_POLICY=/tmp/policy pkcs11-tool --module /usr/lib/*/pkcs11/keyfold-pkcs11.so --show-info
    test -z "$(systemctl list-unit-files --state=enabled "keyfold*" --no-legend)"
    dpkg --purge keyfold-node keyfold-subscriber
  '
}

# in_build_image COMMAND: on a machine with the package, compiler and test tools, with a copy of the sources,
# so that nothing is written into the checkout.
in_build_image() {
  {
    ours node tests module_utils library pyproject.toml roles/monitoring/files
    echo .keyfold/dist/keyfold-node.deb
    # Debian has no WsgiDAV; it is plain Python, as is what it needs.
    find .venv/lib/python3*/site-packages/{wsgidav,cheroot,jaraco,more_itertools,json5,jinja2,markupsafe,yaml} -type f -not -name '*.so' -not -name '*.pyc'
  } | tar --create --dereference --files-from=- |
    timeout "${in_build_seconds:-900}" docker run --rm --interactive --init --cap-add NET_ADMIN --tmpfs /tmp:exec --label keyfold.checkout="$lab_root" \
      "$build_image" sh -ec "mkdir /src; cd /src; tar --extract --no-same-owner; $1"
}

run_c() {
  in_build_image 'make -C node/pkcs11 --jobs=2 check asan valgrind
    make -C node/reconnect --jobs=2 check asan valgrind'
}

# Files without such tests may import what only the controller has.
# shellcheck disable=SC2016 # expanded in the container
run_node() {
  in_build_image 'dpkg --install .keyfold/dist/keyfold-node.deb >/dev/null
    make --silent -C node/pkcs11
    PYTHONPATH=$(echo "$PWD"/.venv/lib/python3*/site-packages) \
      python3 -m pytest -p no:cacheprovider -m container $(grep -rl --include="test_*.py" mark.container node/tests)'
}
