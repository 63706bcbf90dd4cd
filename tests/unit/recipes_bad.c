/* Bad recipes and the exact message each of them gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recipes/recipe.h"

/* Good on its own; what a case adds begins at line 5. */
#define BASE                                                                                                           \
    "data: {source: ring}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: "                        \
    "10}\n"
#define IMAGES                                                                                                         \
    "data: {source: synthetic}\ngenerator: {arch: dcgan}\ndiscriminator: {arch: dcgan}\ntrain: "                       \
    "{steps: 10}\n"

#define PAIRED                                                                                                         \
    "data: {source: edges2fashion}\ngenerator: {arch: unet}\ndiscriminator: {arch: patchgan}\ntrain: {steps: "         \
    "10}\ntopology: paired\n"
#define TWO_WAY                                                                                                        \
    "data: {source: bags2shoes}\ngenerator: {arch: resnet}\ndiscriminator: {arch: patchgan}\ntrain: {steps: "          \
    "10}\ntopology: two-way\n"
#define CLASSIFIER "data: {source: fashion32}\ntopology: classifier\ndiscriminator: {arch: mlp}\ntrain: {steps: 10}\n"

typedef struct bad_case {
    const char *text, *says[3];
} bad_case;

// clang-format off
static const bad_case cases[] = {
    /* nothing, or something else altogether */
    {"", {"x.yaml: empty; expected a recipe"}},
    {"# only a comment\n", {"x.yaml: empty; expected a recipe"}},
    {"- a\n- b\n", {"x.yaml:1:1: a recipe is a map of keys such as 'seed: 1', not a list"}},
    {"hello\n", {"x.yaml:1:1: a recipe is a map of keys such as 'seed: 1', not text \"hello\""}},
    {"{}\n", {"x.yaml:1:1: 'data.source' is required (where training samples come from); one of: fashion-mnist, fashion32, edges2fashion",
              "x.yaml:1:1: 'generator.arch' is required", "x.yaml:1:1: 'train.steps' is required"}},
    {"data: {}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 3}\n", {"x.yaml:1:7: 'data.source' is required"}},

    /* YAML that is none */
    {BASE "\tseed: 3\n", {"x.yaml:5:1: tab used for indentation; use spaces"}},
    {BASE "batch:\n\tglobal: 3\n", {"x.yaml:6:1: tab used for indentation; use spaces\n  \tglobal: 3\n  ^"}},
    {BASE "batch: {global: 16\n", {"x.yaml:5:8: '{' opened here is never closed\n  batch: {global: 16\n         ^"}},
    {BASE "optimizer: {g: {betas: [0.5, 0.9}}\n", {"x.yaml:5:24: '[' opened here is never closed"}},
    {BASE "name: \"abc\nseed: 1\n", {"x.yaml:5:7: the quote opened here is never closed"}},
    {BASE "name: 'abc\n", {"x.yaml:5:7: the quote opened here is never closed"}},
    {BASE "seed 3\n", {"x.yaml:5:1: expected ':' behind this key"}},
    {BASE "name: a: b\n", {"x.yaml:5:8: a ':' cannot stand here"}},
    {BASE "name: @x\n", {"x.yaml:5:7: a value cannot start with '@'; put it in quotes"}},
    {BASE "name: \"a\\qb\"\n", {"x.yaml:5:9: unknown escape after '\\'"}},
    {BASE "batch: {global: 16} 3\n", {"x.yaml:5:21: expected a key here; check the indentation"}},
    {BASE "  seed: 3\n", {"x.yaml:5:3: "}},
    {BASE "batch: &a {global: 16}\n", {"x.yaml:5:8: anchors and aliases are not supported; write the value out"}},
    {BASE "seed: *a\n", {"x.yaml:5:7: anchors and aliases are not supported"}},
    {BASE "seed: !!int 3\n", {"x.yaml:5:7: tags are not supported; remove the '!...'"}},
    {BASE "<<: {seed: 3}\n", {"x.yaml:5:1: merge keys are not supported; use 'extends: other.yaml'"}},
    {BASE "---\nseed: 3\n", {"x.yaml:5:1: a second document starts at line 5; a recipe is one document"}},
    {BASE "? [a, b]\n: 3\n", {"x.yaml:5:3: a key must be a word, not a list"}},
    {BASE "name: |\n  a\n  b\n", {"x.yaml:5:7: line breaks and control characters are not allowed in a text"}},
    {BASE "name: \"a\\u2028b\"\n", {"x.yaml:5:7: line breaks and control characters are not allowed in a text"}},
    {BASE "name: \"\\0\"\n", {"x.yaml:5:7: line breaks and control characters are not allowed in a text"}},
    {BASE "name: a\x01\n", {"x.yaml:5:8: control character U+0001 at offset 97; remove it"}},
    {BASE "name: \xff\n", {"x.yaml:5:7: byte 0xFF at offset 96 is not UTF-8; save the recipe as UTF-8"}},
    {BASE "name: \xc0\x80\n", {"x.yaml:5:7: byte 0xC0 at offset 96 is not UTF-8"}},
    {"\xff\xfes\0e\0", {"x.yaml:1:1: UTF-16 text; save it as UTF-8"}},

    /* keys */
    {BASE "seeed: 3\n", {"x.yaml:5:1: unknown key 'seeed'; did you mean 'seed'?\n  seeed: 3\n  ^"}},
    {"data: {source: ring}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {stesp: 4}\n",
     {"x.yaml:4:9: unknown key 'stesp' in 'train'; did you mean 'steps'?"}},
    {BASE "optimizer: {g: {lerning_rate: 1}}\n", {"x.yaml:5:17: unknown key 'lerning_rate' in 'optimizer.g'; one of: kind, lr"}},
    {BASE "optimizer: {g: {learning_rate: 1}}\n", {"x.yaml:5:17: unknown key 'learning_rate' in 'optimizer.g'; did you mean 'lr'?"}},
    {BASE "batch_size: 4\n", {"x.yaml:5:1: unknown key 'batch_size'; did you mean 'batch.global'?"}},
    {BASE "lr: 4\n", {"x.yaml:5:1: unknown key 'lr'; it belongs under 'optimizer.g' or 'optimizer.d'"}},
    {BASE "optimizer: {topology: noise}\n", {"x.yaml:5:13: unknown key 'topology' in 'optimizer'; it belongs at the top"}},
    {BASE "epochs: 4\n", {"x.yaml:5:1: unknown key 'epochs'; did you mean 'train.steps'?"}},
    {BASE "n-critic: 4\n", {"x.yaml:5:1: unknown key 'n-critic'; did you mean 'schedule.d_steps'?"}},
    {BASE "optimizer.g.lr: 4\n", {"x.yaml:5:1: unknown key 'optimizer.g.lr'; write it nested, or with --set optimizer.g.lr=..."}},
    {BASE "frobnicate: 4\n", {"x.yaml:5:1: unknown key 'frobnicate'; one of: name, seed, topology, data, batch"}},
    {BASE "seed: 3\nseed: 4\n", {"x.yaml:6:1: 'seed' given twice; first at line 5\n  seed: 4\n  ^"}},
    {BASE "batch: {global: 4, global: 8}\n", {"x.yaml:5:20: 'global' given twice; first at line 5"}},
    {BASE "batch: 16\n", {"x.yaml:5:8: 'batch' wants a map such as {global: 16}, got text \"16\""}},
    {BASE "loss: hinge\n", {"x.yaml:5:7: 'loss' wants a map such as {kind: hinge}, got text \"hinge\""}},
    {BASE "loss: [hinge]\n", {"x.yaml:5:7: 'loss' wants a map of keys, got a list"}},
    {BASE "loss:\n", {"x.yaml:5:6: 'loss' has no keys; give some, write {}, or remove it"}},
    {BASE "gandist: 2\n", {"x.yaml:5:10: recipes of format 2 are not known; this version reads format 1"}},
    {BASE "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg: 1\n",
     {"x.yaml:5:1: a key of 65 bytes; the longest allowed is 64"}},

    /* values */
    {BASE "seed: many\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"many\"\n  seed: many\n        ^"}},
    {BASE "seed: 1e5\n", {"x.yaml:5:7: 'seed' wants an integer; write 100000"}},
    {BASE "seed: 1.0\n", {"x.yaml:5:7: 'seed' wants an integer; write 1"}},
    {BASE "seed: 1.5\n", {"x.yaml:5:7: 'seed' wants an integer, got 1.5"}},
    {BASE "seed: \"3\"\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"3\"; remove the quotes"}},
    {BASE "seed: 99999999999999999999\n", {"x.yaml:5:7: 'seed' does not fit 64 bits: 99999999999999999999"}},
    {BASE "seed: .nan\n", {"x.yaml:5:7: 'seed' must be a finite number; got .nan"}},
    {BASE "loss: {d_scale: -.inf}\n", {"x.yaml:5:17: 'loss.d_scale' must be a finite number; got -.inf"}},
    {BASE "seed: -0\n", {"x.yaml:5:7: 'seed' must be a finite number; write 0 instead of -0"}},
    {BASE "seed: 0x10\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"0x10\""}},
    {BASE "seed: 010\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"010\""}},
    {BASE "seed: 1_000\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"1_000\""}},
    {BASE "seed: +1\n", {"x.yaml:5:7: 'seed' wants an integer, got text \"+1\""}},
    {BASE "seed: -1\n", {"x.yaml:5:7: 'seed' must be >= 0; got -1 (decides every random draw)"}},
    {BASE "seed: [1]\n", {"x.yaml:5:7: 'seed' wants an integer, got a list"}},
    {BASE "seed: {a: 1}\n", {"x.yaml:5:7: 'seed' wants an integer, got a map"}},
    {BASE "seed:\n", {"x.yaml:5:6: 'seed' has no value; give one or remove the key"}},
    {BASE "seed: null\n", {"x.yaml:5:7: 'seed' has no value; give one or remove the key"}},
    {BASE "loss: {d_scale: 1e999}\n", {"x.yaml:5:17: 'loss.d_scale' does not fit a double: 1e999"}},
    {BASE "optimizer: {g: {lr: -1}}\n", {"x.yaml:5:21: 'optimizer.g.lr' must be in (0, 1000]; got -1 (learning rate)"}},
    {BASE "optimizer: {g: {betas: [0.5, 1]}}\n", {"x.yaml:5:30: 'optimizer.g.betas' must be in [0, 1); got 1"}},
    {BASE "optimizer: {g: {betas: 0.5}}\n", {"x.yaml:5:24: 'optimizer.g.betas' wants a list of 2 numbers such as [0.5, 0.999], got text \"0.5\""}},
    {BASE "optimizer: {g: {betas: [1, 2, 3]}}\n", {"x.yaml:5:24: 'optimizer.g.betas' wants a list of 2 numbers"}},
    {BASE "schedule: {d_steps: 0}\n", {"x.yaml:5:21: 'schedule.d_steps' must be in [1, 1000]; got 0 (discriminator updates of one iteration)"}},
    {BASE "schedule: {d_steps: 5000}\n", {"x.yaml:5:21: 'schedule.d_steps' must be in [1, 1000]; got 5000"}},
    {BASE "schedule: {share_fake: yes}\n", {"x.yaml:5:24: 'schedule.share_fake' wants true or false, got text \"yes\"; write true"}},
    {"data: {source: ring, resident: maybe}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 3}\n",
     {"x.yaml:1:32: unknown value 'maybe' of 'data.resident'; one of: auto, always, never"}},
    {"data: {source: ring, resident: true}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 3}\n",
     {"x.yaml:1:32: unknown value 'true' of 'data.resident'", "did you mean 'always'?"}},
    {"data: {source: ring, in_memory: always}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 3}\n",
     {"x.yaml:1:22: unknown key 'in_memory' in 'data'; did you mean 'resident'?"}},
    {BASE "loss: {kind: hindge}\n", {"x.yaml:5:14: unknown value 'hindge' of 'loss.kind'; one of: non-saturating, minimax, least-squares, wasserstein, hinge, blend; did you mean 'hinge'?"}},
    {BASE "loss: {kind: wgan_gp}\n", {"x.yaml:5:14: unknown value 'wgan_gp' of 'loss.kind'", "did you mean 'wasserstein'?"}},
    {BASE "loss: {kind: []}\n", {"x.yaml:5:14: 'loss.kind' wants a word, got a list"}},
    {BASE "name: [a]\n", {"x.yaml:5:7: 'name' wants text, got a list"}},
    {BASE "name: ../x\n", {"x.yaml:5:7: 'name' names a folder: at most 100 bytes, no '/', no '.' in front; got ../x"}},
    {BASE "extends: 3.yaml\n", {"x.yaml:5:10: 'extends' cannot be followed: 3.yaml: no such file"}},
    {BASE "extends: [a]\n", {"x.yaml:5:10: 'extends' wants the path of a recipe, got a list"}},

    /* layers */
    {IMAGES "data2: 1\n", {"x.yaml:5:1: unknown key 'data2'; did you mean 'data'?"}},
    {"data: {source: synthetic}\ngenerator: {arch: layers}\ndiscriminator: {arch: dcgan}\ntrain: {steps: 1}\n",
     {"x.yaml:2:19: 'generator.arch' is layers, but there is no 'generator.layers'"}},
#define LAYERS(l) "data: {source: synthetic}\ngenerator: {arch: layers, layers: " l "}\ndiscriminator: {arch: dcgan}\ntrain: {steps: 1}\n"
    {LAYERS("[{cnv: 3}]"), {"x.yaml:2:37: unknown layer 'cnv'; its first key is one of: dense, conv", "did you mean 'conv'?"}},
    {LAYERS("[conv]"), {"x.yaml:2:36: 'conv' has no value; write it as in {conv: 64, kernel: 4, stride: 2, pad: 1}"}},
    {LAYERS("[{conv: 4, kernl: 3}]"), {"x.yaml:2:46: a conv layer has no 'kernl'; did you mean 'kernel'?"}},
    {LAYERS("[{dense: 4, kernel: 3}]"), {"x.yaml:2:47: a dense layer has no 'kernel'; it is written as in {dense: 256, act: relu}"}},
    {LAYERS("[{dense: 0}]"), {"x.yaml:2:44: 'dense' must be in [1, 1048576]; got 0"}},
    {LAYERS("[{dropout: 1}]"), {"x.yaml:2:46: 'dropout' must be in (0, 1); got 1"}},
    {LAYERS("[{flatten: 1}]"), {"x.yaml:2:46: 'flatten' has no value; write the word alone"}},
    {LAYERS("[{reshape: [4, 4]}]"), {"x.yaml:2:46: 'reshape' wants [height, width, channels], got another number of values"}},
    {LAYERS("[{conv: 4, act: rlu}]"), {"x.yaml:2:51: unknown value 'rlu' of 'act' of conv", "did you mean 'relu'?"}},
    {LAYERS("[{conv: 4, bias: 1}]"), {"x.yaml:2:52: 'bias' of conv wants true or false, got text \"1\"; write true"}},
    {LAYERS("[{conv: 4, pad: 1, pad: 2}]"), {"x.yaml:2:54: 'pad' given twice; first at line 2"}},
    {LAYERS("[[conv, 4]]"), {"x.yaml:2:36: a layer is a map such as {dense: 256, act: relu}, not a list"}},
    {LAYERS("[{}]"), {"x.yaml:2:36: an empty layer; write it as in {dense: 256, act: relu}"}},
    {LAYERS("[]"), {"x.yaml:2:35: 'generator.layers' wants a list of layers, got an empty one"}},
    {LAYERS("{conv: 4}"), {"x.yaml:2:35: 'generator.layers' wants a list of layers, got a map"}},

    /* several keys together */
    {BASE "loss: {clip: 0.01}\n", {"x.yaml:5:14: 'loss.clip' (every discriminator parameter is kept in [-clip, clip]; 0: off) means nothing "
                                   "while 'loss.kind' is non-saturating (default); remove it, or set 'loss.kind' to wasserstein"}},
    {BASE "loss: {kind: hinge, penalty: {lambda: 3}}\n", {"x.yaml:5:39: 'loss.penalty.lambda'", "while 'loss.penalty.kind' is none (default)"}},
    {BASE "optimizer: {d: {kind: sgd, betas: [0.5, 0.9]}}\n", {"x.yaml:5:35: 'optimizer.d.betas'", "while 'optimizer.d.kind' is sgd (x.yaml:5:23)"}},
    {BASE "ema: {start: 5}\n", {"x.yaml:5:14: 'ema.start'", "while 'ema.decay' is 0 (default); remove it, or set 'ema.decay' to something other than 0"}},
    {IMAGES "schedule: {simultaneous: true, d_steps: 2}\n", {"x.yaml:5:26: 'schedule.simultaneous' updates both sides once an iteration"}},
    {IMAGES "schedule: {simultaneous: true, share_fake: true}\n", {"x.yaml:5:44: 'schedule.share_fake' means nothing with 'schedule.simultaneous'"}},
    {IMAGES "schedule: {warmup: {steps: 5}}\n", {"x.yaml:5:28: 'schedule.warmup' plans iterations but no updates for them; set 'schedule.warmup.d_steps'"}},
    {IMAGES "schedule: {warmup: {d_steps: 5}}\n", {"x.yaml:5:30: 'schedule.warmup.d_steps' is never used"}},
    {IMAGES "optimizer: {g: {kind: sgd, momentum_final: 0.5}}\n", {"x.yaml:5:44: 'optimizer.g.momentum_final' is never reached; set 'optimizer.g.momentum_steps'"}},
    {IMAGES "optimizer: {g: {kind: sgd, momentum_steps: 5}}\n", {"x.yaml:5:44: 'optimizer.g.momentum_steps' leads nowhere; set 'optimizer.g.momentum_final'"}},
    {IMAGES "optimizer: {d: {decay: linear, decay_start: 10}}\n", {"x.yaml:5:45: 'optimizer.d.decay_start' is 10, but the decay ends at iteration 10 (train.steps)"}},
    {IMAGES "optimizer: {d: {decay: exponential, lr_floor: 1}}\n", {"x.yaml:5:47: 'optimizer.d.lr_floor' is 1, above the learning rate 0.0002 itself"}},
    {IMAGES "numerics: {shards: 6}\n", {"x.yaml:5:20: global batch 64 does not divide into 6 shards; use a batch of 60 or 66, or another number of shards"}},
    {"data: {source: idx}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n", {"x.yaml:1:16: 'data.path' is required by the source 'idx'"}},
    {"data: {source: synthetic, image: {channels: 2}}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n",
     {"x.yaml:1:45: 'data.image.channels' must be 1 (grey) or 3 (colour); got 2"}},
    {"data: {source: ring}\ngenerator: {arch: dcgan}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n",
     {"x.yaml:2:19: 'generator.arch' dcgan works on images, the source 'ring' has points in the plane; use mlp"}},
    {"data: {source: ring, flip: true}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n",
     {"x.yaml:1:28: 'data.flip' (mirror every second image at random) means nothing while 'data.source' is ring (x.yaml:1:16)"}},

    /* topologies: what each of them has and has not */
    {IMAGES "topology: pix2pix\n", {"x.yaml:5:11: unknown value 'pix2pix' of 'topology'; one of: noise, paired, two-way, classifier; did you mean 'paired'?"}},
    {IMAGES "topology: paired\n", {"x.yaml:1:16: source 'synthetic' does not fit: topology 'paired' (x.yaml:5:11) learns from aligned pairs",
                                  "x.yaml:2:19: 'generator.arch' dcgan starts from a random vector, topology 'paired' has images; use unet or resnet"}},
    {"data: {source: bags2shoes}\ngenerator: {arch: dcgan}\ndiscriminator: {arch: dcgan}\ntrain: {steps: 1}\n",
     {"x.yaml:1:16: source 'bags2shoes' does not fit: topology 'noise' (default) works on images of one domain"}},
    {IMAGES "generator: {arch: unet}\n", {"x.yaml:5:1: 'generator' given twice"}},
    {"data: {source: synthetic}\ngenerator: {arch: unet}\ndiscriminator: {arch: dcgan}\ntrain: {steps: 1}\n",
     {"x.yaml:2:19: 'generator.arch' unet starts from an image, topology 'noise' has random vectors; use mlp or dcgan or dcgan-k5 or resnet-gp or layers"}},
    {"data: {source: synthetic}\ngenerator: {arch: patchgan}\ndiscriminator: {arch: basic}\ntrain: {steps: 1}\n",
     {"x.yaml:2:19: unknown value 'patchgan' of 'generator.arch'", "x.yaml:3:23: unknown value 'basic' of 'discriminator.arch'; one of: mlp, dcgan, dcgan-k5, patchgan, pixel, resnet-gp, disco, layers; did you mean 'patchgan'?"}},
    {"data: {source: pairs, path: x}\ngenerator: {arch: resnet_9blocks, n_blocks: 9}\ndiscriminator: {arch: patchgan, n_layers_D: 3}\ntrain: {steps: 1}\n",
     {"did you mean 'resnet'?", "x.yaml:2:35: unknown key 'n_blocks' in 'generator'; did you mean 'depth'?", "x.yaml:3:33: unknown key 'n_layers_D' in 'discriminator'; did you mean 'depth'?"}},
    {PAIRED "generator: {latent: 3}\n", {"x.yaml:6:1: 'generator' given twice"}},
    {"data: {source: pairs, path: x}\ntopology: paired\ngenerator: {arch: unet, latent: 8}\ndiscriminator: {arch: pixel, depth: 3}\ntrain: {steps: 1}\n",
     {"x.yaml:3:33: 'generator.latent' (length of the random vector) means nothing while 'topology' is paired (x.yaml:2:11); remove it, or set 'topology' to noise",
      "x.yaml:4:37: 'discriminator.depth'"}},
    {IMAGES "data.direction: BtoA\n", {"x.yaml:5:1: unknown key 'data.direction'; write it nested"}},
    {"data: {source: fashion32, direction: BtoA}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n",
     {"x.yaml:1:38: 'data.direction' (which domain is the first, that of the input; BtoA exchanges the two) means nothing while 'data.source' is fashion32"}},
    {"data: {source: pairs}\ntopology: paired\ngenerator: {arch: unet}\ndiscriminator: {arch: pixel}\ntrain: {steps: 1}\n", {"x.yaml:1:16: 'data.path' is required by the source 'pairs'"}},
    {"data: {source: synthetic, image: {load: 286}}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n", {"x.yaml:1:41: 'data.image.load' is what 'data.image.size' pixels are cut out of; set that, too"}},
    {"data: {source: synthetic, image: {load: 32, size: 64}}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: 1}\n", {"x.yaml:1:41: 'data.image.load' is 32, but 64 pixels ('data.image.size') are cut out of it"}},
    {CLASSIFIER "generator: {arch: dcgan}\n", {"x.yaml:5:19: 'generator.arch' (network: a named architecture, or `layers` for a list of your own) means nothing while 'topology' is classifier (x.yaml:2:11)"}},
    {CLASSIFIER "generator: {width: 64}\n", {"x.yaml:5:20: 'generator.width'", "means nothing while 'topology' is classifier (x.yaml:2:11); remove it, or set 'topology' to something other than classifier"}},
    {CLASSIFIER "loss: {kind: wasserstein, clip: 0.01}\n", {"x.yaml:5:14: 'loss.kind' (adversarial loss) means nothing", "x.yaml:5:33: 'loss.clip'"}},
    {CLASSIFIER "schedule: {d_steps: 2}\nema: {decay: 0.9, start: 2}\n", {"x.yaml:5:21: 'schedule.d_steps'", "x.yaml:6:14: 'ema.decay'", "x.yaml:6:26: 'ema.start'"}},
    {CLASSIFIER "optimizer: {g: {lr: 1e-3, betas: [0, 0.9]}, d: {lr: 1e-3}}\n", {"x.yaml:5:21: 'optimizer.g.lr'", "x.yaml:5:34: 'optimizer.g.betas'"}},
    {IMAGES "pool: {size: 50}\n", {"x.yaml:5:14: 'pool.size' (generated images of each domain", "means nothing while 'topology' is noise (default); remove it, or set 'topology' to two-way"}},
    {IMAGES "loss: {terms: {l1: 100}}\n", {"x.yaml:5:20: 'loss.terms.l1'", "set 'topology' to paired"}},
    {PAIRED "loss: {terms: {cycle_a: 10}}\n", {"x.yaml:6:25: 'loss.terms.cycle_a'", "set 'topology' to two-way"}},
    {PAIRED "loss: {lambda_l1: 100}\n", {"x.yaml:6:8: unknown key 'lambda_l1' in 'loss'; did you mean 'loss.terms.l1'"}},
    {TWO_WAY "lambda_A: 10\n", {"x.yaml:6:1: unknown key 'lambda_A'; did you mean 'loss.terms.cycle_a'"}},
    {TWO_WAY "pool_size: 50\n", {"x.yaml:6:1: unknown key 'pool_size'; did you mean 'pool.size'"}},

    /* losses, penalties, terms */
    {IMAGES "loss: {penalty: {kind: gradient, lambda: -1}}\n", {"x.yaml:5:42: 'loss.penalty.lambda' must be > 0; got -1"}},
    {IMAGES "loss: {penalty: {kind: gradient, lambda: 1e10}}\n", {"x.yaml:5:42: 'loss.penalty.lambda' must be in (0, 1000000000]; got 1e10"}},
    {IMAGES "loss: {penalty: {lambda: 10}}\n", {"x.yaml:5:26: 'loss.penalty.lambda' (weight of the penalty) means nothing while 'loss.penalty.kind' is none (default); remove it, or set 'loss.penalty.kind' to something other than none"}},
    {IMAGES "loss: {penalty: {kind: r1, target: 1}}\n", {"x.yaml:5:36: 'loss.penalty.target' (norm that costs nothing) means nothing while 'loss.penalty.kind' is r1 (x.yaml:5:24); remove it, or set 'loss.penalty.kind' to gradient or dragan"}},
    {IMAGES "loss: {penalty: {kind: dragan, at: real}}\n", {"x.yaml:5:36: 'loss.penalty.at'"}},
    {IMAGES "loss: {penalty: {kind: r1, one_sided: true}}\n", {"x.yaml:5:39: 'loss.penalty.one_sided'"}},
    {IMAGES "loss: {penalty: {kind: gp}}\n", {"x.yaml:5:24: unknown value 'gp' of 'loss.penalty.kind'; one of: none, gradient, r1, dragan; did you mean 'gradient'?"}},
    {IMAGES "loss: {penalty: {kind: gradient, fraction: 0.4}}\n", {"x.yaml:5:44: 'loss.penalty.fraction' must be one n-th of the samples; got 0.4; nearest: 0.333333 (1/3)"}},
    {IMAGES "loss: {penalty: {kind: gradient, fraction: 0.3333}}\n", {"x.yaml:5:44: 'loss.penalty.fraction' 0.3333 is one of 3 samples, but the global batch of 64 is no multiple of 3"}},
    {IMAGES "loss: {penalty: {kind: gradient, fraction: 1e-6}}\n", {"x.yaml:5:44: 'loss.penalty.fraction' must be one n-th of the samples; got 1e-06; nearest: 0.015625 (1/64)"}},
    {IMAGES "loss: {penalty: {kind: gradient, fraction: 0}}\n", {"x.yaml:5:44: 'loss.penalty.fraction' must be in (0, 1]; got 0"}},
    {IMAGES "loss: {minimax: 0.3}\n", {"x.yaml:5:17: 'loss.minimax'", "set 'loss.kind' to blend"}},
    {IMAGES "loss: {g_scale: 0}\n", {"x.yaml:5:17: 'loss.g_scale' is 0, and there is no term in 'loss.terms': the generator would learn nothing"}},
    {PAIRED "loss: {g_scale: 0}\n", {"x.yaml:6:17: 'loss.g_scale' is 0"}},
    {IMAGES "loss: {noise: {start: 0.1}}\n", {"x.yaml:5:23: 'loss.noise' goes from 0.1 to 0 at once; set 'loss.noise.steps'"}},
    {IMAGES "loss: {noise: {start: 0.1, end: 0.1, steps: 5}}\n", {"x.yaml:5:45: 'loss.noise.steps' leads nowhere: 'loss.noise.start' and 'loss.noise.end' are both 0.1"}},
    {TWO_WAY "loss: {terms: {identity: 0.5}}\n", {"x.yaml:6:26: 'loss.terms.identity' changes nothing without a cycle term; set 'loss.terms.cycle_a' and 'loss.terms.cycle_b'"}},
    {TWO_WAY "loss: {terms: {rate: {enabled: true}}}\n", {"x.yaml:6:32: 'loss.terms.rate.enabled' changes nothing without a cycle term"}},
    {TWO_WAY "loss: {terms: {cycle_kind: l2}}\n", {"x.yaml:6:28: 'loss.terms.cycle_kind' changes nothing without a cycle term"}},
    {TWO_WAY "loss: {terms: {cycle_a: 1, rate: {start: 0.1}}}\n", {"x.yaml:6:42: 'loss.terms.rate.start'", "set 'loss.terms.rate.enabled' to true"}},
    {TWO_WAY "loss: {terms: {cycle_a: -1}}\n", {"x.yaml:6:25: 'loss.terms.cycle_a' must be in [0, 1000000]; got -1"}},

    /* schedules */
    {IMAGES "schedule: {first: generator}\n", {"x.yaml:5:19: 'schedule.first'", "set 'schedule.share_fake' to true"}},
    {IMAGES "schedule: {alternate: 10, share_fake: true}\n", {"x.yaml:5:23: 'schedule.alternate' trains one side at a time, 'schedule.share_fake' (x.yaml:5:39) needs both in one iteration; remove one of the two"}},
    {IMAGES "schedule: {alternate: 10, simultaneous: true}\n", {"x.yaml:5:23: 'schedule.alternate' trains one side at a time, 'schedule.simultaneous'"}},
    {IMAGES "schedule: {adaptive: {low: 0.5}}\n", {"x.yaml:5:28: 'schedule.adaptive.low'", "while 'schedule.adaptive.kind' is none"}},
    {IMAGES "schedule: {adaptive: {kind: accuracy, low: 0.9, high: 0.6}}\n", {"x.yaml:5:44: 'schedule.adaptive.low' is 0.9 and 'schedule.adaptive.high' 0.6; the first must be smaller"}},
    {IMAGES "schedule: {adaptive: {kind: accuracy, high: 2}}\n", {"x.yaml:5:45: 'schedule.adaptive.high' is 2; an accuracy is at most 1"}},
    {IMAGES "schedule: {d_steps: 7, adaptive: {kind: grad-ratio}}\n", {"x.yaml:5:21: 'schedule.d_steps' is 7, where an adaptive schedule starts; expected a number within 'schedule.adaptive.min' (1) and 'schedule.adaptive.max' (5)"}},
    {IMAGES "schedule: {d_steps: 3, adaptive: {kind: grad-ratio, min: 4, max: 2}}\n", {"x.yaml:5:21: 'schedule.d_steps' is 3"}},
    {IMAGES "schedule: {adaptive: {kind: accuracy}}\nloss: {kind: wasserstein}\n", {"x.yaml:5:29: 'schedule.adaptive.kind' accuracy means nothing with the loss wasserstein"}},
    {IMAGES "schedule: {simultaneous: true, adaptive: {kind: accuracy}}\n", {"x.yaml:5:49: 'schedule.adaptive' changes d_steps, 'schedule.simultaneous' needs one"}},
    {IMAGES "schedule: {d_steps: 0}\n", {"x.yaml:5:21: 'schedule.d_steps' must be in [1, 1000]; got 0"}},
    {IMAGES "watch: {collapse: abort}\n", {"x.yaml:5:19: unknown value 'abort' of 'watch.collapse'; one of: none, warn, stop, rollback; did you mean 'stop'?"}},
    {IMAGES "watch: {collapse: none, every: 10}\n", {"x.yaml:5:32: 'watch.every'", "set 'watch.collapse' to something other than none"}},
    {IMAGES "ema: {warmup: true}\n", {"x.yaml:5:15: 'ema.warmup'", "set 'ema.decay' to something other than 0"}},
};
// clang-format on
enum { CASES = sizeof cases / sizeof *cases };

/* The two cases whose text holds a NUL give their length here. */
static size_t length_of(const bad_case *c) { return c->text[0] == '\xff' ? 6 : strlen(c->text); }

static void every_case_says_what_is_wrong(void **state) {
    (void)state;
    int failures = 0;
    for (size_t i = 0; i < CASES; i++) {
        gd_recipe *r = NULL;
        gd_status st = gd_recipe_parse("x.yaml", cases[i].text, length_of(&cases[i]), NULL, &r);
        if (st != GD_CONFIG) {
            print_error("case %zu: status %s, expected CONFIG\n%s\n", i, gd_status_name(st), cases[i].text);
            failures++;
            if (st == GD_OK) gd_recipe_free(r);
            continue;
        }
        for (int s = 0; s < 3 && cases[i].says[s]; s++)
            if (!strstr(gd_error_message(), cases[i].says[s])) {
                print_error("case %zu:\n%s\n  lacks: %s\n  says:  %s\n", i, cases[i].text, cases[i].says[s],
                            gd_error_message());
                failures++;
            }
    }
    assert_int_equal(failures, 0);
}

static int count_of(const char *text, const char *what) {
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what)) n++;
    return n;
}

static void fails_with(const char *text, size_t bytes, const char *says) {
    gd_recipe *r = NULL;
    assert_int_equal(gd_recipe_parse("x.yaml", text, bytes, NULL, &r), GD_CONFIG);
    if (!strstr(gd_error_message(), says)) fail_msg("lacks: %s\nsays: %s", says, gd_error_message());
}

static void all_errors_come_at_once_and_in_order(void **state) {
    (void)state;
    static const char text[] = BASE "seed: a\nbatch: {global: b, globl: 3}\nloss: {kind: c}\nema: {decay: 2}\n";
    fails_with(text, strlen(text), "x.yaml:5:7: 'seed' wants");
    const char *m = gd_error_message();
    const char *order[] = {"x.yaml:5:7", "x.yaml:6:17", "x.yaml:6:20", "x.yaml:7:14", "x.yaml:8:14"}, *last = m;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *at = strstr(last, order[i]);
        if (!at) fail_msg("no %s, or in the wrong order: %s", order[i], m);
        last = at;
    }
    assert_int_equal(count_of(m, "x.yaml:"), 5);
}

static void at_most_twenty_errors_are_told(void **state) {
    (void)state;
    char text[4096] = BASE;
    for (int i = 0; i < 30; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "zz%d: 1\n", i);
    fails_with(text, strlen(text), "more errors after these");
    assert_in_range(count_of(gd_error_message(), "unknown key"), 5, 20);
    assert_true(strlen(gd_error_message()) < 4000);
}

/* A text of `prefix`, then n times `repeat`, then `suffix`. owner: caller */
static char *repeated(const char *prefix, const char *repeat, size_t n, const char *suffix) {
    size_t a = strlen(prefix), b = strlen(repeat), c = strlen(suffix);
    char *text = malloc(a + b * n + c + 1);
    assert_non_null(text);
    memcpy(text, prefix, a);
    for (size_t i = 0; i < n; i++) memcpy(text + a + i * b, repeat, b);
    memcpy(text + a + n * b, suffix, c + 1);
    return text;
}

static void large_and_deep_texts_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *prefix, *repeat, *suffix, *says;
        size_t n;
    } big[] = {
        {"name: ", "x", "\n", "x.yaml: larger than 1 MiB (1.05 MB)", 1 << 20},
        {"name: ", "x", "\n", "x.yaml:1:7: a text of 5000 bytes; the longest allowed is 4096", 5000},
        {"name: ", "x", "\n", "x.yaml:1:7: a text of 1000000 bytes; the longest allowed is 4096", 1000000},
        {"", "k", ": 1\n", "x.yaml:1:1: ", 1000000},
        {"seed: ", "9", "\n", "x.yaml:1:7: 'seed' does not fit 64 bits: 9999999999999999999999999999999999999999...",
         4000},
        {"name: ", "[", "\n", "x.yaml:1:38: nesting deeper than 32", 100},
        {"name: ", "[", "\n", "x.yaml:1:38: nesting deeper than 32", 1000000},
        {"name: ", "{a: ", "\n", "nesting deeper than 32", 1000},
        {"name: [", "1, ", "]\n", "more than 20000 values; a recipe is smaller than that", 30000},
        {"name: ", "- ", "\n", "x.yaml:1:7: ", 50},
        {"a: 1\n", "b: 1\n", "", "more than 20000 values", 20000},
    };
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        char *text = repeated(big[i].prefix, big[i].repeat, big[i].n, big[i].suffix);
        fails_with(text, strlen(text), big[i].says);
        free(text);
    }
}

static void a_long_line_is_shown_around_the_caret(void **state) {
    (void)state;
    char *text = repeated("batch: {global: 4, ", " ", 500, "globl: 3}\n");
    fails_with(text, strlen(text), "x.yaml:1:520: unknown key 'globl' in 'batch'; did you mean 'global'?\n  ");
    const char *line = strstr(gd_error_message(), "globl: 3}");
    assert_non_null(line);
    const char *shown = strstr(gd_error_message(), "global'?\n");
    assert_non_null(shown);
    const char *end = strchr(shown + strlen("global'?\n"), '\n');
    assert_true(end && end - shown < 120); /* the line is cut */
    free(text);
}

static void a_nul_inside_is_named(void **state) {
    (void)state;
    static const char text[] = "seed: 1\nname: a\0b\n";
    fails_with(text, sizeof text - 1, "x.yaml:2:8: control character U+0000 at offset 15; remove it");
}

static void line_ends_and_byte_order_mark_are_accepted(void **state) {
    (void)state;
    static const char *const good[] = {
        BASE,
        "\xEF\xBB\xBF" BASE,
        "data: {source: ring}\r\ngenerator: {arch: mlp}\r\ndiscriminator: {arch: mlp}\r\ntrain: "
        "{steps: 10}\r\n",
        "%YAML 1.1\n---\n" BASE "...\n",
        BASE "name: h\xC3\xA4user\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        gd_recipe *r = NULL;
        gd_status st = gd_recipe_parse("x.yaml", good[i], strlen(good[i]), NULL, &r);
        if (st != GD_OK) fail_msg("case %zu: %s", i, gd_error_message());
        assert_int_equal(r->train.steps, 10);
        gd_recipe_free(r);
    }
    static const char crlf[] = "data: {source: ring}\r\nseeed: 1\r\n";
    fails_with(crlf, strlen(crlf), "x.yaml:2:1: unknown key 'seeed'; did you mean 'seed'?\n  seeed: 1\n  ^");
}

static void columns_count_characters(void **state) {
    (void)state;
    static const char text[] = BASE "batch: {\"gl\xC3\xB6"
                                    "bal\": 3, globl: 4}\n";
    fails_with(text, strlen(text), "x.yaml:5:22: unknown key 'globl'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_says_what_is_wrong),
        cmocka_unit_test(all_errors_come_at_once_and_in_order),
        cmocka_unit_test(at_most_twenty_errors_are_told),
        cmocka_unit_test(large_and_deep_texts_are_refused),
        cmocka_unit_test(a_long_line_is_shown_around_the_caret),
        cmocka_unit_test(a_nul_inside_is_named),
        cmocka_unit_test(line_ends_and_byte_order_mark_are_accepted),
        cmocka_unit_test(columns_count_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
