/* compute/exchange.h -- sums over ranks where programs are: what a device may offer beside its executor (NCCL between GPUs).
 *
 * gd_exchanges is a provider, gd_exchange the sums of one network's gradients, or those of batch statistics, which are steps. A round
 * goes on beside the executor's steps, bucket by bucket, each as soon as its floats are final, and steps after its end see the sums.
 * All ranks do the same rounds in the same order, of equal counts, and say in the same order what is final: what a network's sums are
 * made of must not depend on the rank. The order of additions is the provider's: replicas get the same bits, another number of ranks
 * or of GPUs a host does not. One thread, the executor's. */
#ifndef GANDIST_COMPUTE_EXCHANGE_H
#define GANDIST_COMPUTE_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { GD_EXCHANGE_ID = 160, GD_EXCHANGE_JOURNAL = 1312 };

typedef struct gd_exchange gd_exchange;
typedef struct gd_exchange_opts {
    const char *name;        /* "gradients of G", for messages                              */
    int rank, size;
    const unsigned char *id; /* of rank 0's make_id; one an exchange                        */
    size_t bucket;           /* floats that travel together, 0: 1 Mi                        */
    const size_t *slice;     /* size + 1 borders: of a round's floats those from slice[r] to slice[r + 1] get their sum on rank r
                                alone, and stay as they are on the others; copied. NULL: all ranks get all sums */
    double open_seconds;     /* until all ranks have to be there; 0: 120                    */
    double seconds;          /* from the end of the steps before until a round is done; 0: 300 */
    void (*idle)(void *ctx); /* called now and then while something is waited for           */
    void *ctx;
} gd_exchange_opts;

typedef struct gd_exchange_journal { /* which sums a rank has asked for: plain bytes, to be gathered */
    _Alignas(8) unsigned char bytes[GD_EXCHANGE_JOURNAL];
} gd_exchange_journal;

typedef struct gd_exchanges { /* every entry is there. Errors of all: NCCL, CUDA, TIMEOUT, INTERNAL (out of order) */
    /* On rank 0, to be handed to all. */
    gd_status (*make_id)(unsigned char id[GD_EXCHANGE_ID]);
    /* Collective. Errors besides: UNSUP, USAGE (versions differ), NOMEM; then nothing is left. *out: owner: caller. */
    gd_status (*open)(const gd_exchange_opts *o, gd_exchange **out);
    /* Memory of the device that sums are fastest in; every rank as much, in the same order. Until close. */
    gd_status (*alloc)(gd_exchange *x, size_t bytes, void **out);
    /* A round over count floats of such memory. At once. */
    gd_status (*begin)(gd_exchange *x, float *data, size_t count);
    /* Those from first to last (exclusive) are final behind all steps so far; each is said once, and nobody touches it until
     * the end. all_ready: so are all the others. A bucket begins when all of it is final. At once. */
    gd_status (*ready)(gd_exchange *x, size_t first, size_t last);
    gd_status (*all_ready)(gd_exchange *x);
    /* Steps from here on see the sums. At once; a few rounds may have ended and not be over. */
    gd_status (*end)(gd_exchange *x);
    /* Waits on the host until all rounds that have ended are over, as everybody does who waits for steps behind them. What a round
     * does not survive ends all exchanges on this rank: only close is of use then. *waited: seconds that steps had to wait for
     * sums since the last settle, as far as the host has seen it. */
    gd_status (*settle)(gd_exchange *x, double *waited);
    /* Outside of rounds, in order with the steps, which run on behind it. At once; while steps are being captured it is captured
     * with them and happens at every launch: replayed with equal data it gives the same bits as put there step by step. Not count,
     * not bytes may differ between ranks. Memory of the device, of any owner, 4-byte aligned (bytes: a multiple of 4), alive as
     * long as what was captured. What it does not survive ends all exchanges on this rank, as in a round; who waits on the host
     * for steps behind it waits `seconds` at most. */
    gd_status (*sum)(gd_exchange *x, float *data, size_t count); /* data: its sum over the ranks, in place */
    /* all: size parts of that many bytes, of rank 0, 1, ...; part may be its own place in `all`, and overlaps it nowhere else. */
    gd_status (*gather)(gd_exchange *x, const void *part, size_t bytes, void *all);
    /* Outside of rounds, in order with the steps, beside which it is put as a round is, and settled; not while steps are captured. At
     * once. Of data, memory of the device, floats border[r] to border[r + 1] of rank r become those of all ranks; or as many bytes of
     * anything. Borders (size + 1) are equal on all ranks. */
    gd_status (*share)(gd_exchange *x, float *data, const size_t *border);
    void (*journal)(const gd_exchange *x, gd_exchange_journal *out);
    /* Whether all ranks asked for the same. false: text says the first difference, and of whom. */
    bool (*same)(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room);
    /* Together with all ranks, with no round under way; or (abort) at once, whatever is under way, as every rank then must, and with
     * all exchanges. Captured steps with its sums are freed by then, or (abort) go with it. Its memory is gone when steps that were
     * there have ended; and x is, whatever comes back. NULL is fine. */
    gd_status (*close)(gd_exchange *x, bool abort);
} gd_exchanges;

#endif
