# `make model`: from sentence pairs to a measured bundle and its archive, the commands that model_export/README.md
# explains. What is there already is not made again, and a training that was interrupted goes on.
#
#   PAIRS      stem of PAIRS.train.tsv, PAIRS.dev.tsv and PAIRS.test.tsv, as `interlinear-export split` writes them
#   FROM, TO   language codes of the files' columns; with SWAP=1 of the second and the first
#   NAME       of the model: runs/NAME, bundles/NAME, bundles/NAME.tar.gz
#   GOLD       gold alignments with parts `tune` and `report`, if there are any for this pair
#   CONFIG     what to train
#   BACKEND    Keras's, for training: tensorflow or jax
#   TOKENIZER  SentencePiece model to use instead of a new one
#   START      run whose weights and tokenizer training begins with (`train --start-from`)
#   PARTING    subwords from which on sentences are parted (`evaluate --preferred-source-tokens`)

FROM ?= en
TO ?= fr
NAME ?= eng-fra
PAIRS ?= data/$(NAME)
SWAP ?=
CONFIG ?= model_export/configs/eng-fra.yaml
GOLD ?=
PARTING ?= 40
BACKEND ?= tensorflow
TOKENIZER ?=
START ?=

run := runs/$(NAME)
bundle := bundles/$(NAME)
swap := $(if $(SWAP),--swap)
export_command := $(VENV)/bin/interlinear-export

.PHONY: model
model: $(bundle).tar.gz ## train, export, measure and pack a model (NAME=..., see model_export/model.mk; needs eflomal)

$(PAIRS).words/pairs.words: $(PAIRS).train.tsv | $(VENV)/.export
	$(export_command) words --input $< --output $(@D)

# Both directions share the links.
$(PAIRS).links: $(PAIRS).words/pairs.words | $(VENV)/.export
	@command -v eflomal-align >/dev/null || { echo "eflomal-align is missing: see https://github.com/robertostling/eflomal" >&2; exit 1; }
	eflomal-align --overwrite -i $< -f $(PAIRS).forward.links -r $(PAIRS).reverse.links
	$(export_command) symmetrise --forward $(PAIRS).forward.links --reverse $(PAIRS).reverse.links --output $@

$(run)/.trained: $(PAIRS).train.tsv $(PAIRS).dev.tsv $(PAIRS).links $(CONFIG) | $(VENV)/.export
	KERAS_BACKEND=$(BACKEND) $(export_command) train --source-language $(FROM) --target-language $(TO) $(swap) --config $(CONFIG) \
	    $(if $(wildcard $(run)/config.yaml),--resume,$(if $(START),--start-from $(START))) \
	    $(if $(TOKENIZER),--tokenizer $(TOKENIZER)) --train $(PAIRS).train.tsv --dev $(PAIRS).dev.tsv \
	    --alignments $(PAIRS).links --output $(run)
	@touch $@

$(bundle)/manifest.json: $(run)/.trained | $(VENV)/.export
	KERAS_BACKEND=tensorflow $(export_command) export --run $(run) --dev $(PAIRS).dev.tsv --precision int8 --output $(bundle) $(swap)

$(bundle).tar.gz: $(bundle)/manifest.json $(PAIRS).test.tsv $(GOLD) | $(VENV)/.export
ifneq ($(GOLD),)
	$(export_command) evaluate --bundle $(bundle) --gold $(GOLD) --part tune --tune-threshold --diagnostics --record $(swap)
	$(export_command) evaluate --bundle $(bundle) --gold $(GOLD) --part report --diagnostics --record $(swap)
endif
	$(export_command) evaluate --bundle $(bundle) --test $(PAIRS).test.tsv --preferred-source-tokens $(PARTING) --by-length --record $(swap)
	$(export_command) evaluate --bundle $(bundle) --test $(PAIRS).test.tsv --beam-size 1 --record $(swap)
	$(export_command) archive --bundle $(bundle) --output $@
