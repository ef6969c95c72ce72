# Everything a person runs here. "make" lists the targets; each is one short script in lab/.
.DEFAULT_GOAL := help
.PHONY: help venv lab deb demo down check test fuzz bench distclean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

demo: ## set everything up, run playbooks/site.yml on five containers, show the tour
	@lab/demo.sh

down: ## remove the demo's cluster: containers, network, the controller's files about it
	@lab/down.sh

test: ## lint, types, unit, contract, C, package, node and Molecule tests; one summary
	@lab/test.sh all

check: ## the part of it to run every few minutes, without containers
	@lab/test.sh check

fuzz: ## a million hostile inputs at each socket (make test: ten thousand); for every night
	@lab/setup.sh
	@lab/fuzz.sh

bench: ## measure; results go to benchmarks/
	@lab/setup.sh
	@benchmarks/run

lab: ## engine, images, controller's Python, package; no cluster yet
	@lab/setup.sh

venv: ## the controller's Python and collections
	@lab/venv.sh

deb: ## the keyfold-node package, into .keyfold/dist
	@lab/image.sh
	@lab/deb.sh

distclean: ## down, and images, .venv and .keyfold as well
	@lab/down.sh --all
