// A module that needs a library which this machine does not have: test_module.c.
int foreign(void);
int lorac_cuda_open(void);
int lorac_cuda_open(void) { return foreign(); }
