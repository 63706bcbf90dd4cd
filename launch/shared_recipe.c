#include "launch/shared_recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"

static gd_status share(gd_comm *c, const char *path, const gd_recipe_opts *o, gd_recipe **recipe, char **text) {
    bool root = gd_comm_rank(c) == 0;
    gd_status st = GD_OK;
    uint64_t bytes = 0;
    if (root) {
        st = gd_recipe_load(path, o, recipe);
        if (st == GD_OK) st = gd_recipe_text(*recipe, false, text);
        if (st == GD_OK) bytes = strlen(*text) + 1;
    }
    GD_TRY(gd_comm_agree(c, st));
    GD_TRY(gd_comm_bcast(c, 0, &bytes, sizeof bytes));
    if (!root && !(*text = malloc(bytes)))
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "recipe: no memory for its text of %llu bytes",
                      (unsigned long long)bytes);
    GD_TRY(gd_comm_agree(c, st));
    GD_TRY(gd_comm_bcast(c, 0, *text, bytes));
    if (!root) st = gd_recipe_parse(path, *text, bytes - 1, NULL, recipe);
    return gd_comm_agree(c, st);
}

/* Of the recipe as this host finds it; 0: it finds none, or another rank of the host looks. */
static uint64_t own_hash(const gd_comm *c, const char *path, const gd_recipe_opts *o) {
    gd_recipe *r = NULL;
    char *text = NULL;
    uint64_t hash = 0;
    if (gd_comm_host_rank(c)) return 0;
    if (gd_recipe_load(path, o, &r) == GD_OK && gd_recipe_text(r, false, &text) == GD_OK)
        hash = gd_hash64(text, strlen(text), 0);
    else gd_error_clear();
    free(text);
    gd_recipe_free(r);
    return hash;
}

static void warn(const gd_comm *c, const char *path, const uint64_t *hash) {
    char list[1024] = "";
    size_t at = 0;
    for (int r = 0; r < gd_comm_size(c) && at < sizeof list; r++) {
        if (!hash[r]) continue;
        int n = snprintf(list + at, sizeof list - at, "%s%s %016llx", at ? ", " : "", gd_comm_host_name(c, r),
                         (unsigned long long)hash[r]);
        at += n > 0 ? (size_t)n : 0;
    }
    GD_LOG(LAUNCH, WARN, "%s: hosts have different recipes of this name, that of rank 0 counts; hashes: %s", path,
           list);
}

/* Most likely it is not what was meant. */
static gd_status compare(gd_comm *c, const char *path, const gd_recipe_opts *o) {
    int size = gd_comm_size(c);
    bool differ = false;
    if (gd_comm_hosts(c) == 1) return GD_OK;
    uint64_t mine = own_hash(c, path, o), *all = calloc((size_t)size, sizeof *all);
    gd_status st = all ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "recipe: no memory for %d ranks", size);
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = gd_comm_allgather(c, &mine, sizeof mine, all);
    for (int r = 0; st == GD_OK && r < size; r++) differ = differ || (all[r] && all[r] != all[0]);
    if (differ && gd_comm_rank(c) == 0) warn(c, path, all);
    free(all);
    return st;
}

gd_status gd_shared_recipe(gd_comm *c, const char *path, const gd_recipe_opts *o, gd_recipe **recipe, char **text) {
    GD_TRY(share(c, path, o, recipe, text));
    return compare(c, path, o);
}
