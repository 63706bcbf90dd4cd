/* tests/cuda/fake_code.h -- machine code of the fake: a mark and the kernel's text. */
#ifndef GANDIST_TESTS_CUDA_FAKE_CODE_H
#define GANDIST_TESTS_CUDA_FAKE_CODE_H

void *fake_code_load(const void *image); /* NULL: it is none */
void fake_code_unload(void *module);
void *fake_code_function(void *module, const char *name); /* NULL: not of this module */
int fake_code_pointers(const void *function);
void fake_code_run(void *function, unsigned grid, void *const *arg);

#endif
