/* Files that are not what they should be, on a real file system: cut, swapped, of another run, missing, unreadable;
 * folders, pipes, devices and links in place of files, links that lead nowhere, in circles or to a good copy.
 * One to three of these at once, in random places. What is still the saved bytes is accepted; anything else is
 * refused with the name of what is wrong, the older checkpoint is taken, and nothing behind a link is touched.
 * 300 cases, with --long 2000. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "tests/fault/checkpoint_rig.h"

enum { SHARDS = 3, FILES = SHARDS + 1, BYTES_MAX = 1 << 20, HANG_S = 20, NOBODY = 65534 };

static int cases = 300, only = -1;
static uint64_t seed = 1, dice;
static bool may_lose_rights; /* there is a user who may read less than this one */

static uint64_t roll(uint64_t below) {
    uint64_t z = dice += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % below;
}

/* ---- what is there ---- */

static const char *const names[FILES] = {"manifest.json", "shard-0000-of-0003.safetensors",
                                         "shard-0001-of-0003.safetensors", "shard-0002-of-0003.safetensors"};
typedef struct content {
    size_t bytes;
    char *data;
} content;
static content good[FILES], older[FILES], foreign[FILES]; /* of step 2, of step 1, of step 2 of another run */

/* What plain reading gives; false: it is no regular file, or cannot be read. */
static bool look(const char *path, content *out) {
    struct stat st;
    *out = (content){0, NULL};
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > BYTES_MAX) return false;
    int fd = open(path, O_RDONLY);
    if (fd < 0) return false;
    out->data = malloc((size_t)st.st_size + 1);
    assert_non_null(out->data);
    ssize_t n = read(fd, out->data, (size_t)st.st_size + 1);
    close(fd);
    out->bytes = n < 0 ? 0 : (size_t)n;
    return n == st.st_size;
}

static void put(const char *path, const void *data, size_t bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

static const char *in(const char *folder, const char *name) {
    static char path[8][1400];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static char run_dir[1024], step_dir[1100], old_dir[1100], apart[1024]; /* apart: what links lead to */

static void save_to(const char *dir, rig_state *r, content out[FILES]) {
    gd_comm *c = NULL;
    char *path = NULL;
    assert_int_equal(gd_comm_self(&c), GD_OK);
    rig_expect(gd_checkpoint_save(c, dir, &r->s, &path), GD_OK, NULL);
    rig_expect(gd_checkpoint_reshard(path, SHARDS), GD_OK, NULL);
    for (int f = 0; f < FILES; f++) assert_true(look(in(path, names[f]), &out[f]));
    free(path);
    gd_comm_free(c);
}

static void make_originals(void) {
    rig_state r;
    for (int64_t step = 1; step <= 2; step++) {
        rig_fill(&r, step);
        save_to(rig_path("first"), &r, step == 1 ? older : good);
        rig_free(&r);
    }
    rig_fill(&r, 7);
    r.s.counters.step = 2;
    r.s.run_id = "other";
    save_to(rig_path("other"), &r, foreign);
    rig_free(&r);
    snprintf(run_dir, sizeof run_dir, "%s/run", rig_root);
    snprintf(apart, sizeof apart, "%s/apart", rig_root);
    snprintf(step_dir, sizeof step_dir, "%s/step-000000000002", run_dir);
    snprintf(old_dir, sizeof old_dir, "%s/step-000000000001", run_dir);
}

static void fill_folder(const char *dir, const content from[FILES]) {
    rig_expect(gd_dir_make(dir), GD_OK, NULL);
    for (int f = 0; f < FILES; f++) put(in(dir, names[f]), from[f].data, from[f].bytes);
}

/* ---- attacks ---- */

static const char *victim(int f) { return in(step_dir, names[f]); }

static void away(const char *path) { rig_expect(gd_dir_remove(path), GD_OK, NULL); }

static void replace_by_link(const char *path, const char *to) {
    away(path);
    assert_int_equal(symlink(to, path), 0);
}

/* The file of victim f without its attack-made link, so that what is changed is its own. */
static content own(int f) {
    content c;
    struct stat st;
    if (lstat(victim(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && look(victim(f), &c)) return c;
    c.bytes = good[f].bytes;
    c.data = malloc(c.bytes + 1);
    assert_non_null(c.data);
    memcpy(c.data, good[f].data, c.bytes);
    away(victim(f));
    return c;
}

static void removed(int f) { away(victim(f)); }
static void emptied(int f) { away(victim(f)), put(victim(f), "", 0); }
static void cut(int f) {
    content c = own(f);
    put(victim(f), c.data, roll(c.bytes + 1));
    free(c.data);
}
static void extended(int f) {
    content c = own(f);
    size_t more = 1 + roll(5000);
    c.data = realloc(c.data, c.bytes + more);
    assert_non_null(c.data);
    memset(c.data + c.bytes, roll(2) ? ' ' : 0, more);
    put(victim(f), c.data, c.bytes + more);
    free(c.data);
}
static void huge(int f) {
    content c = own(f);
    put(victim(f), c.data, c.bytes);
    assert_int_equal(truncate(victim(f), (off_t)1 << 36), 0); /* a hole: takes no room */
    free(c.data);
}
static void changed(int f) {
    content c = own(f);
    if (c.bytes) c.data[roll(c.bytes)] ^= (char)(1 << roll(8));
    put(victim(f), c.data, c.bytes);
    free(c.data);
}
static void block_zeroed(int f) {
    content c = own(f);
    size_t at = roll(c.bytes + 1) / 512 * 512, n = c.bytes - at < 512 ? c.bytes - at : 512;
    memset(c.data + at, 0, n);
    put(victim(f), c.data, c.bytes);
    free(c.data);
}
static void rubbish(int f) {
    content c = own(f);
    for (size_t i = 0; i < c.bytes; i++) c.data[i] = (char)roll(256);
    put(victim(f), c.data, c.bytes);
    free(c.data);
}
static void folder(int f) { away(victim(f)), assert_int_equal(mkdir(victim(f), 0777), 0); }
static void folder_with_it(int f) {
    char inside[1600];
    folder(f);
    snprintf(inside, sizeof inside, "%s/%s/%s", step_dir, names[f], names[f]);
    put(inside, good[f].data, good[f].bytes);
}
static void fifo(int f) { away(victim(f)), assert_int_equal(mkfifo(victim(f), 0666), 0); }
static void dangling(int f) { replace_by_link(victim(f), "nowhere/at/all"); }
static void circle(int f) { replace_by_link(victim(f), names[f]); }
static void two_circle(int f) {
    replace_by_link(victim(f), "b");
    away(in(step_dir, "b"));
    assert_int_equal(symlink(names[f], in(step_dir, "b")), 0);
}
static void endless(int f) { replace_by_link(victim(f), "/dev/zero"); }
static void sizeless(int f) { replace_by_link(victim(f), "/proc/self/environ"); }
static void link_to_folder(int f) { replace_by_link(victim(f), ".."); }
static void link_to_good(int f) { replace_by_link(victim(f), in(apart, names[f])); }
static void hard_link(int f) { away(victim(f)), assert_int_equal(link(in(apart, names[f]), victim(f)), 0); }
static void of_another_run(int f) { away(victim(f)), put(victim(f), foreign[f].data, foreign[f].bytes); }
static void of_another_step(int f) { away(victim(f)), put(victim(f), older[f].data, older[f].bytes); }
static void of_another_place(int f) {
    int g = (f + 1 + (int)roll(FILES - 1)) % FILES;
    away(victim(f)), put(victim(f), good[g].data, good[g].bytes);
}
static void unreadable(int f) { assert_int_equal(may_lose_rights ? chmod(victim(f), 0) : 0, 0); }
static void one_more(int f) { put(in(step_dir, "shard-0003-of-0004.safetensors"), good[f].data, good[f].bytes); }
static void notes(int f) { put(in(step_dir, f & 1 ? "notes.txt" : ".hidden"), "x", 1); }
static void renamed(int f) {
    rename(victim(f), in(step_dir, f ? "SHARD-0001.safetensors" : "Manifest.json"));
    away(victim(f));
}
static void all_of_another_run(int f) {
    (void)f;
    for (int g = 1; g < FILES; g++) of_another_run(g);
}

typedef struct attack {
    const char *name;
    void (*run)(int file);
} attack;
#define ATTACK(f)                                                                                                      \
    { #f, f }
static const attack attacks[] = {
    ATTACK(removed),
    ATTACK(emptied),
    ATTACK(cut),
    ATTACK(extended),
    ATTACK(huge),
    ATTACK(changed),
    ATTACK(block_zeroed),
    ATTACK(rubbish),
    ATTACK(folder),
    ATTACK(folder_with_it),
    ATTACK(fifo),
    ATTACK(dangling),
    ATTACK(circle),
    ATTACK(two_circle),
    ATTACK(endless),
    ATTACK(sizeless),
    ATTACK(link_to_folder),
    ATTACK(link_to_good),
    ATTACK(hard_link),
    ATTACK(of_another_run),
    ATTACK(of_another_step),
    ATTACK(of_another_place),
    ATTACK(unreadable),
    ATTACK(one_more),
    ATTACK(notes),
    ATTACK(renamed),
    ATTACK(all_of_another_run),
    ATTACK(cut),
    ATTACK(changed),
};
enum { ATTACKS = sizeof attacks / sizeof *attacks };

/* Instead of files: the whole folder is something else. */
static void step_is_a_file(void) { away(step_dir), put(step_dir, "x", 1); }
static void step_leads_nowhere(void) { replace_by_link(step_dir, "nowhere"); }
static void step_is_a_circle(void) { replace_by_link(step_dir, "step-000000000002"); }
static void step_is_the_older(void) { replace_by_link(step_dir, "step-000000000001"); }
static void step_is_elsewhere(void) { replace_by_link(step_dir, apart); }
static void (*const whole_attacks[])(void) = {step_is_a_file, step_leads_nowhere, step_is_a_circle, step_is_the_older,
                                              step_is_elsewhere};
enum { WHOLE_ATTACKS = sizeof whole_attacks / sizeof *whole_attacks };

/* ---- what must hold ---- */

static char what[512]; /* was done */

static bool same_files(const char *dir, const content want[FILES]) {
    bool same = true;
    for (int f = 0; f < FILES; f++) {
        content c;
        same =
            look(in(dir, names[f]), &c) && c.bytes == want[f].bytes && !memcmp(c.data, want[f].data, c.bytes) && same;
        free(c.data);
    }
    return same;
}

static bool loads(const char *path, int64_t step) {
    gd_checkpoint *k = NULL;
    rig_state want, got;
    if (gd_checkpoint_open(path, &k) != GD_OK) return false;
    rig_fill(&want, step);
    rig_blank(&got);
    bool ok = gd_checkpoint_state(k)->counters.step == step;
    for (int i = 0; i < RIG_TENSORS && ok; i++) ok = gd_checkpoint_read(k, &got.tensor[i]) == GD_OK;
    if (ok) rig_expect_equal(&want, &got); /* what is accepted is right */
    gd_checkpoint_close(k);
    rig_free(&want);
    rig_free(&got);
    return ok;
}

static int64_t resume(void) {
    char **paths = NULL;
    int count = 0;
    int64_t found = -1;
    rig_expect(gd_checkpoint_recover(run_dir), GD_OK, NULL);
    rig_expect(gd_checkpoint_list(run_dir, &paths, &count), GD_OK, NULL);
    for (int i = 0; i < count && found < 0; i++)
        for (int64_t step = 1; step <= 2 && found < 0; step++)
            if (loads(paths[i], step)) found = strstr(paths[i], "step-000000000002") ? 2 : step;
    gd_checkpoint_list_free(paths, count);
    return found;
}

static bool lose_rights(bool lose) { return !may_lose_rights || seteuid(lose ? NOBODY : 0) == 0; }

static int accepted, refused;

static void judge(void) {
    gd_verify_report report;
    assert_true(lose_rights(true));
    bool intact = same_files(step_dir, good), more = access(in(step_dir, "shard-0003-of-0004.safetensors"), F_OK) == 0;
    /* By accident a whole checkpoint of another run: verify cannot know; who resumes looks at its origin. */
    bool other_run = same_files(step_dir, foreign);
    alarm(HANG_S);
    gd_status st = gd_checkpoint_verify(step_dir, GD_VERIFY_DEEP, &report);
    if ((intact || other_run) && !more ? st != GD_OK : st != GD_DATA && st != GD_NOINPUT)
        fail_msg("%s: verify answers %s: %s", what, gd_status_name(st), gd_error_message());
    if (st != GD_OK && !strstr(gd_error_message(), "step-000000000002"))
        fail_msg("%s: '%s' does not say where", what, gd_error_message());
    if (!other_run && loads(step_dir, 2) != intact) fail_msg("%s: %s", what, intact ? gd_error_message() : "it loads");
    assert_true(lose_rights(false));
    bool whole = same_files(step_dir, good); /* with all rights, as the run that resumes has */
    int64_t step = same_files(step_dir, foreign) ? 1 : resume();
    if (step != (whole ? 2 : 1)) fail_msg("%s: resumes from step %lld", what, (long long)step);
    gd_checkpoint *k = NULL;
    bool opens = gd_checkpoint_open(step_dir, &k) == GD_OK;
    gd_checkpoint_close(k);
    rig_expect(gd_checkpoint_retain(run_dir, 1), GD_OK, NULL);
    if (!opens && !same_files(old_dir, older)) fail_msg("%s: retention harmed the only good one", what);
    away(run_dir);
    alarm(0);
    if (!same_files(apart, good)) fail_msg("%s: something behind a link was changed", what);
    ++*(intact ? &accepted : &refused);
}

static void one_case(int number) {
    dice = seed * 1000003 + (uint64_t)number;
    fill_folder(old_dir, older);
    fill_folder(step_dir, good);
    size_t n = (size_t)snprintf(what, sizeof what, "case %d of seed %llu:", number, (unsigned long long)seed);
    if (roll(20) == 0) {
        int a = (int)roll(WHOLE_ATTACKS);
        snprintf(what + n, sizeof what - n, " whole folder %d", a);
        whole_attacks[a]();
    } else {
        for (uint64_t left = 1 + roll(3); left > 0; left--) {
            int f = (int)roll(FILES);
            const attack *a = &attacks[roll(ATTACKS)];
            n += (size_t)snprintf(what + n, sizeof what - n, " %s(%s)", a->name, names[f]);
            struct stat st;
            if (a->run == unreadable && (lstat(victim(f), &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1))
                continue;
            a->run(f);
        }
    }
    judge();
}

static void random_attacks(void **state) {
    (void)state;
    make_originals();
    fill_folder(apart, good);
    if (geteuid() == 0 && seteuid(NOBODY) == 0) { /* root reads everything: somebody else looks then */
        may_lose_rights = same_files(apart, good);
        assert_int_equal(seteuid(0), 0);
    }
    umask(0022);
    for (int i = 0; i < cases; i++)
        if (only < 0 || i == only) one_case(i);
    printf("%d accepted, %d refused%s\n", accepted, refused, may_lose_rights ? "" : " (permissions not tried)");
    if (only < 0) assert_true(accepted > cases / 40 && refused > cases / 2);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(random_attacks, rig_setup, rig_teardown)};
    bool longer = argc > 1 && !strcmp(argv[1], "--long");
    const char *given = getenv("GANDIST_SEED"), *one = getenv("GANDIST_CASE");
    if (longer) cases = 2000;
    if (given) seed = strtoull(given, NULL, 10);
    if (one) only = atoi(one);
    printf("seed %llu; repeat: GANDIST_SEED=%llu [GANDIST_CASE=n] ctest -R '^checkpoint_files%s$' -V\n",
           (unsigned long long)seed, (unsigned long long)seed, longer ? "_long" : "");
    gd_log_set_stderr(false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
