/* compute/exec.h -- the contract of an executor, for those who write one (ref, cpu, CUDA plug-in).
 *
 * The planner (program.c) turns the lowered graph into a sequence of steps. A step is one node, or a
 * fused group of elementwise, broadcast and reduction nodes over one iteration space. The executor
 * says what it supports and may fuse, prepares one kernel per step, and runs steps on an instance.
 *
 * What is a step. INPUT, PARAM and RESHAPE never are: they are memory of the caller or of another node.
 * Every other node is a step or a member of groups. An ALLREDUCE step puts its input where the result
 * belongs (often there already: then the pointers are equal); who runs the program adds up (gd_run_hooks.sum, or at a pause).
 *
 * A group (fuse.c forms them)
 * - has one iteration space. Every EW and BROADCAST member has it as its shape, every SUM member as
 *   the shape of its input. There are no other members, but a CONST that only groups read has no
 *   memory and is no member: its users take the number from its attributes.
 * - lists its members in graph order. What a member reads is an earlier member, a stored value of an
 *   earlier step (through views, too), or such a CONST. No member reads a SUM of its own group.
 * - Stored members (gd_view.stored) are its results; each belongs to exactly one group. Every SUM is
 *   stored. Virtual members are not: they have no memory, may be members of several groups, and are
 *   computed in each of them anew.
 * - A result that is no SUM may lie exactly over an input of equal shape and bytes (in place) when no
 *   later step reads that input, and no member behind the result needs it, itself or through virtual
 *   members. So a virtual member may be computed as late as its users, but all elements that an element
 *   of a result needs are read before it is written.
 *
 * All other steps read and write memory that does not overlap, ALLREDUCE aside. */
#ifndef GANDIST_COMPUTE_EXEC_H
#define GANDIST_COMPUTE_EXEC_H

#include "base/pick.h"
#include "compute/program.h"

/* A step of a program. nodes: in graph order; for a group all its members. */
typedef struct gd_exec_step {
    int first_node, n_nodes;  /* slice of gd_view.step_nodes                                        */
    int phase;
    bool fused;               /* a group; false: exactly one node                                   */
    size_t scratch_bytes;     /* asked by prepare; planned like a tensor that lives for this step   */
} gd_exec_step;

/* What an executor may see of a program. */
typedef struct gd_view {
    const gd_graph *graph;    /* lowered                                                            */
    int n_steps;
    const gd_exec_step *steps;
    const gd_node *step_nodes;
    const bool *stored;       /* per node: has memory (false: lives only inside its group)          */
    bool guard;
} gd_view;

/* Memory of one run. Pointers of stored nodes and the step's scratch. */
typedef struct gd_memory {
    void *const *node;        /* per node of the graph, NULL when not stored                        */
    void *scratch;            /* of the running step                                                */
    const gd_run_args *args;
} gd_memory;

/* One update of an optimiser over flat arrays of floats; the rules are those of dist/optimizer.h. Numbers that a rule does not
 * know are anything. */
typedef enum gd_update_rule { GD_UPDATE_ADAM, GD_UPDATE_RMSPROP, GD_UPDATE_MOMENTUM, GD_UPDATE_SGD } gd_update_rule;
typedef struct gd_update {
    gd_update_rule rule;
    size_t count;
    float rate, scale, decay, clip, eps, b1, rest1, b2, rest2, root2, alpha, rest, momentum;
    float average;            /* share of the moving average that is kept, where there is one           */
    double clip_norm;         /* with a norm: larger ones are scaled down to it; 0: none                */
    const double *sums;       /* with a norm: n_sums sums of squares (gd_executor.squares) that it is made of, where g is a part
                                 of the gradient; NULL: g is all of it                                  */
    size_t n_sums;
} gd_update;

enum { GD_SQUARES_BLOCK = 4096 };

/* An image pool, and the images that came just now; all on memory of the executor. */
typedef struct gd_images {
    size_t floats;            /* of an image                                                              */
    size_t count, places;     /* images that came; that the pool holds                                    */
    const float *made;
    float *pool;
} gd_images;
enum { GD_IMAGE_PLACE = 1 << 30 };

/* Batches of one part of a data set on their way to memory of the executor. A batch travels as one piece: gd_pick_bytes(count)
 * of picks, and behind them the samples, each height x width pixels. It arrives in one of several slots. */
typedef struct gd_feed_opts {
    int slots;
    size_t count;             /* samples of a batch                                                       */
    size_t take;              /* of them in one take                                                      */
    size_t pixel;             /* bytes that are moved as they are                                         */
    uint32_t height, width;   /* of a sample                                                              */
    uint32_t out_height, out_width; /* of the window that a pick takes of it                              */
    const void *set;          /* memory of the executor with set_count samples, of which picks take: then a batch
                                 is picks alone; or NULL                                                  */
    size_t set_count;
} gd_feed_opts;

struct gd_executor {
    const char *name;         /* "ref", "cpu"                                                       */
    bool fuses;               /* groups are offered                                                 */
    size_t (*element_bytes)(gd_dtype t); /* required: 8 for all in ref                              */
    /* required: whether node n can run; if not, writes the reason (shapes, dtype) to why. */
    bool (*supports)(const gd_graph *g, gd_node n, char *why, size_t room);
    /* required: builds kernels of all steps; sets scratch_bytes in scratch[step]. state: owner: program,
     * released by release. shared_bytes: memory that state holds. Errors: UNSUP, NOMEM. */
    gd_status (*prepare)(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **state);
    /* required: runs step s. Must not allocate, lock or open. */
    gd_status (*run)(void *state, const gd_view *v, int s, const gd_memory *m);
    void (*release)(void *state); /* required */
    const char *(*describe_step)(void *state, const gd_view *v, int s); /* optional: kernel chosen  */
    /* Optional, all or none: memory that its steps work on where that is not the host's. Arenas come from alloc
     * (64-byte aligned, undefined content), bindings must be such memory, pauses point into it, and copies are put in
     * order with the steps. Such programs have no guard bands. */
    gd_status (*alloc)(size_t bytes, void **out);
    void (*free)(void *memory); /* NULL is fine */
    gd_status (*copy)(void *state, void *to, const void *from, size_t bytes); /* within such memory */
    gd_status (*put)(void *to, const void *host, size_t bytes);   /* `host` may change from the return on */
    gd_status (*get)(void *host, const void *from, size_t bytes); /* waits until it is there             */
    size_t pinned_bytes;      /* of the host's memory that these copies go through                        */
    /* Optional, with alloc, all or none. get_later: `get` in two halves; copies, in order with the steps, what take hands to
     * the host when it is there, after waiting if it must. host NULL: it is not wanted. Each ticket is taken once. */
    gd_status (*get_later)(const void *from, size_t bytes, void **ticket);
    gd_status (*take)(void *ticket, void *host);
    /* Of running statistics x on such memory, in order with the steps: what is not finite becomes what it was in `before`, and
     * average (NULL: none) keeps its share `decay` and takes the rest of x. *kept, a double of such memory: how many that were. */
    gd_status (*keep)(float *x, const float *before, float *average, size_t count, float decay, double *kept);
    /* Sums of squares of x[first, last), a block each, to sums, as gd_square_sums (dist/optimizer.h) has them, bit for bit. In order
     * with the steps. */
    gd_status (*squares)(const float *x, size_t first, size_t last, double *sums);
    /* Behind an update: average keeps its share `decay` and takes the rest of x, unless *norm (a double of such memory; NULL: none) is
     * not finite. In order with the steps. */
    gd_status (*average)(float *average, const float *x, size_t count, float decay, const double *norm);
    /* An update on such memory, in order with the steps. m: ADAM's alone; v: the other moment of ADAM, the one of RMSPROP and
     * MOMENTUM; average: NULL: none. norm: NULL: u->scale holds; else a double of such memory that gets the norm of g, which is
     * scaled as clip_norm says, and the update is not made where the norm is not finite, or, to a rule that squares, infinite:
     * all with the bits of dist/update.c. Then u->count is a multiple of 16. */
    gd_status (*update)(const gd_update *u, float *p, const float *g, float *m, float *v, float *average, double *norm);
    /* Optional, both or none, with get_later: image pools, in order with the steps; the numbers may change from the return on.
     * images_out: image which[i] of those that came, or, from GD_IMAGE_PLACE on, of a place, goes to out as image i, for i below n.
     * images_in: image i of those that came goes to place[i], no two to the same, -1: nowhere; but not if it has a number that is not finite:
     * then refused[i] is 1, else 0. */
    gd_status (*images_out)(const gd_images *u, const int32_t *which, size_t n, float *out);
    gd_status (*images_in)(const gd_images *u, const int32_t *place, float *refused);
    /* Optional, all or none, with alloc: batches that travel beside the steps. pin: memory of the host that they start from,
     * GD_PICK_ALIGN aligned. feed_new: *feed: owner: caller, feed_free. */
    gd_status (*room)(size_t *bytes); /* of alloc that are free now */
    gd_status (*pin)(size_t bytes, void **out);
    void (*unpin)(void *memory); /* NULL is fine */
    gd_status (*feed_new)(const gd_feed_opts *o, void **feed);
    /* A whole batch in pinned memory sets out for a slot, behind the takes from it so far. Until feed_sent nobody writes
     * there. */
    gd_status (*feed_send)(void *feed, int slot, const void *pinned);
    /* Waits until what set out for the slot last has left pinned memory; at once where nothing ever did. */
    gd_status (*feed_sent)(void *feed, int slot);
    /* In order with the steps, behind the slot's arrival: for i below `take`, the window of pick first + i, cut out of its
     * sample and mirrored or not, goes to out as sample i. out: memory of the executor. */
    gd_status (*feed_take)(void *feed, int slot, size_t first, void *out);
    void (*feed_free)(void *feed); /* waits for what is under way; NULL is fine */
    /* Optional, all or none: runs of an instance that the device remembers after the first ones, with the same bytes. What the
     * instance is bound to, its sets and its hooks must not change. start and resume as those of instances, holds and
     * hooks included, but that `between` is called more seldom. */
    gd_status (*replay_new)(const gd_program *p, gd_instance *i, void **replay); /* owner: caller, replay_free; p is i's */
    gd_status (*replay_start)(void *replay, const gd_run_args *a, gd_pause *pause);
    gd_status (*replay_resume)(void *replay, gd_pause *pause);
    void (*replay_free)(void *replay); /* NULL is fine */
    /* Optional, all or none: prepare may choose kernels by measuring them (measures), so that two processes may choose
     * differently. choices: all that were chosen here so far as text, owner: caller, free. take_choices: from now on
     * prepare measures nothing, but takes these; what is not among them it chooses as every process does. Errors of
     * take_choices: DATA (damaged), CONFIG (made for another device, library or wish). */
    bool (*measures)(void);
    gd_status (*choices)(char **text);
    gd_status (*take_choices)(const char *text);
};

/* ---- for executors that replay runs ---- */

unsigned gd_instance_held(const gd_instance *i);        /* as gd_instance_hold was last told       */
gd_run_hooks gd_instance_hooks(const gd_instance *i);   /* as gd_instance_set_hooks was last told  */
/* The sets that what comes next touches: of the run under way, or of its beginning. */
unsigned gd_instance_needs(const gd_instance *i, bool start);
/* The sets that steps have touched since the last call. */
unsigned gd_instance_take_touched(gd_instance *i);
/* Whether runs pause with CUT behind outputs that gd_run_hooks.cuts names, unless their phase ends there. */
void gd_instance_cut(gd_instance *i, bool on);

const gd_executor *gd_executor_ref(void);
const gd_executor *gd_executor_cpu(void);
/* By name; NULL when there is none. */
const gd_executor *gd_executor_find(const char *name);
/* Threads that the cpu executor uses for its loops; 0: what OpenMP says. Results do not depend on it. */
void gd_cpu_set_threads(int threads);

#endif
