// A shared object that is not a module of lorac: test_module.c.
int foreign(void);
int foreign(void) { return 1; }
