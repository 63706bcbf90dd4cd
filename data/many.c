/* data/many.c -- looks at many pictures, several at a time, and reports the first bad one in order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/text.h"
#include "data/image_internal.h"

enum { THREADS_MAX = 8, PICTURES_PER_THREAD = 256 };

typedef struct job {
    gd_status (*check)(void *arg, size_t i);
    void *arg;
    size_t count;
    atomic_size_t next;
    pthread_mutex_t lock; /* guards what follows */
    size_t bad, first_bad;
    gd_error error; /* of first_bad */
} job;

static void *work(void *arg) {
    job *j = arg;
    for (size_t i; (i = atomic_fetch_add(&j->next, 1)) < j->count;) {
        gd_status st = j->check(j->arg, i);
        if (st == GD_OK) continue;
        pthread_mutex_lock(&j->lock);
        if (!j->bad++ || i < j->first_bad) {
            j->first_bad = i;
            gd_error_save(st, &j->error);
        }
        pthread_mutex_unlock(&j->lock);
    }
    return NULL;
}

/* A file that cannot be opened is a fault of the data set, whatever a single file would mean. */
static gd_status first_error(const char *where, const job *j) {
    char n[32];
    gd_status st = gd_error_restore(&j->error);
    if (st == GD_NOINPUT) st = gd_raise(GD_DATA, __FILE__, __LINE__, "%s", j->error.message);
    if (j->bad == 1) return st;
    gd_text_count(j->bad, n, sizeof n);
    return gd_context(st, "%s: %s files are bad; the first", where, n);
}

gd_status gd__check_all(const char *where, size_t count, gd_status (*check)(void *arg, size_t i), void *arg) {
    job j = {.check = check, .arg = arg, .count = count};
    pthread_t thread[THREADS_MAX];
    int started = 0;
    size_t helpers = count / PICTURES_PER_THREAD;
    if (helpers > THREADS_MAX) helpers = THREADS_MAX;
    pthread_mutex_init(&j.lock, NULL);
    /* This thread works too, so one that cannot be started costs time only. */
    while (started < (int)helpers && !pthread_create(&thread[started], NULL, work, &j)) started++;
    work(&j);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&j.lock);
    return j.bad ? first_error(where, &j) : GD_OK;
}
